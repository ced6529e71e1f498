"""Perturbations of inputs and features; :class:`residual_ssl.TrustedMask` is the one that needs a selection."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
