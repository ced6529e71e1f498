"""Domain adaptation: the labels of one domain, the images of another, in the place of a single data set."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
