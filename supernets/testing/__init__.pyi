"""Contracts as classes of tests, for pytest: what a space and a supernet of one's own must do."""

from .space_contract import SpaceContract as SpaceContract
from .supernet_contract import SupernetContract as SupernetContract
