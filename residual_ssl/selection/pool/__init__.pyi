from .decide import decide as decide
from .decide import judges_pool as judges_pool
from .statistics import PoolStatistics as PoolStatistics
from .statistics import summarise as summarise

__all__ = [
    "PoolStatistics",
    "decide",
    "judges_pool",
    "summarise",
]
