"""The contract of search algorithms as a class of tests, for pytest."""

from .algorithm_contract import AlgorithmContract as AlgorithmContract
