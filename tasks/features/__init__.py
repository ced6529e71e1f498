"""Classification of vectors of features, made of tables or texts: the task adapter."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
