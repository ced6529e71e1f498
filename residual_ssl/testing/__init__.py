"""Test classes that check a selector of your own against the contract of all selectors; they need pytest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
