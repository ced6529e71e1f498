from .chart import Chart as Chart
from .chart import chart as chart
from .curves import training_charts as training_charts
from .render import rendered as rendered
from .words import ABSENT as ABSENT
from .words import metric_name as metric_name
from .words import number as number

__all__ = [
    "ABSENT",
    "Chart",
    "chart",
    "metric_name",
    "number",
    "rendered",
    "training_charts",
]
