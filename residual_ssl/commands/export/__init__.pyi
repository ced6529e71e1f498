from .onnx_file import Exported as Exported
from .onnx_file import export_onnx as export_onnx
from .pt2_file import export_pt2 as export_pt2

__all__ = ["Exported", "export_onnx", "export_pt2"]
