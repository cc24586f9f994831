"""Executors: where candidates are measured, in this process, in several, or on a cluster."""

import lazy_loader

# What is offered is listed in __init__.pyi, and imported once it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
