"""How good selections and rankings by reliability are, where labels are known, and predictions where none are."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
