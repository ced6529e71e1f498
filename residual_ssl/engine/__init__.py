"""The engine: steps, devices, precision, checkpoints and logs."""

from residual_ssl.engine.evaluation import evaluate_model
from residual_ssl.engine.provenance import provenance
from residual_ssl.engine.result import RunResult
from residual_ssl.engine.settings import Settings
from residual_ssl.engine.stages import stages_of, train

__all__ = ["RunResult", "Settings", "evaluate_model", "provenance", "stages_of", "train"]
