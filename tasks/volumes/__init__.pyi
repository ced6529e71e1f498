from .drawn_hearts import DrawnHearts as DrawnHearts
from .patches import Patches as Patches
from .task import VolumeTask as VolumeTask
from .volume_files import VolumeFiles as VolumeFiles
from .volume_files import read_volume as read_volume

__all__ = [
    "DrawnHearts",
    "Patches",
    "VolumeFiles",
    "VolumeTask",
    "read_volume",
]
