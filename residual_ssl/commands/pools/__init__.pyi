from .label import LabelledPoolReport as LabelledPoolReport
from .label import label as label
from .labeller import PoolLabeller as PoolLabeller
from .query import Query as Query
from .query import query as query

__all__ = [
    "LabelledPoolReport",
    "PoolLabeller",
    "Query",
    "label",
    "query",
]
