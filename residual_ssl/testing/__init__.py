"""Test classes that check a selector or a task of your own against the contract of all; they need pytest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
