"""Pools of images larger than a machine: their shards, what is written of each, and the result as training data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
