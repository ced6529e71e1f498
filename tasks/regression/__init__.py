"""Regression of rows of features, with a predicted variance as confidence: the task adapter."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
