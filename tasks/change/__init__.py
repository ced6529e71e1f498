"""Change detection: the task adapter, pairs of images from folders, embedded pairs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
