"""Selection over a pool larger than a machine, in two passes: statistics of its parts, then one decision for all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
