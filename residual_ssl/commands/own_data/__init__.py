"""Folders of a user's own images as a configuration: made from a few options, written as files for the next time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
