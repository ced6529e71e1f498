from .task import RegressionTask as RegressionTask

__all__ = [
    "RegressionTask",
]
