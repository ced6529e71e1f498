"""Models of segmentation and classification, each with a branch of perturbed features."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
