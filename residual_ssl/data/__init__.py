"""Datasets: what their labels mean, which images are labelled, and how the files are read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
