"""Classification of time series for residual_ssl: the task adapter, a network, views, files, drawn recordings."""

from residual_ssl_series.data import DrawnHeartbeats, SeriesFile
from residual_ssl_series.network import SeriesResNet
from residual_ssl_series.task import SeriesLabelsTask, SeriesTask
from residual_ssl_series.views import Shift, TimeWarp

__all__ = [
    "DrawnHeartbeats",
    "SeriesFile",
    "SeriesLabelsTask",
    "SeriesResNet",
    "SeriesTask",
    "Shift",
    "TimeWarp",
]
