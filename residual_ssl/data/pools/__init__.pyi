from .manifest import Manifest as Manifest
from .manifest import own_then_others as own_then_others
from .manifest import remove_left_behind as remove_left_behind
from .reading import PoolImage as PoolImage
from .reading import UnreadableShardError as UnreadableShardError
from .reading import shard_images as shard_images
from .rows import LabelledRow as LabelledRow
from .rows import RowFile as RowFile
from .rows import mask_bytes as mask_bytes
from .rows import mask_of as mask_of
from .rows import quantised as quantised
from .rows import shard_facts as shard_facts
from .rows import table_of_rows as table_of_rows
from .rows import weight_of as weight_of
from .shards import Shard as Shard
from .shards import own_shards as own_shards
from .shards import pool_root as pool_root
from .shards import pool_shards as pool_shards

__all__ = [
    "LabelledRow",
    "Manifest",
    "PoolImage",
    "RowFile",
    "Shard",
    "UnreadableShardError",
    "mask_bytes",
    "mask_of",
    "own_shards",
    "own_then_others",
    "pool_root",
    "pool_shards",
    "quantised",
    "remove_left_behind",
    "shard_facts",
    "shard_images",
    "table_of_rows",
    "weight_of",
]
