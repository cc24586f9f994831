"""Search algorithms, the predictors they use, and the record of their trials."""

import lazy_loader

# What is offered is listed in __init__.pyi, and imported once it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
