"""The version of the whole package, which its build reads here as well."""

__version__ = "0.1.0"
