"""What every search space promises, as tests of a space of one's own."""

from __future__ import annotations

from supernets.testing.space_arrays import ArraysContract
from supernets.testing.space_draws import DrawsContract
from supernets.testing.space_notation import NotationContract


class SpaceContract(NotationContract, DrawsContract, ArraysContract):
    """Tests of a search space: notation, sampling, mutation, crossover, restriction, encodings.

    A test module has a subclass that says which space it is; pytest runs what it inherits. A space
    that is not a product of its decisions says so by overriding ``merges_active_choices`` or
    ``refuses_choices``; one that has no name overrides the fixture ``search_space``.

    Example:
        >>> class TestMySpace(SpaceContract):
        ...     space = "nasbench201"  # or "my_space.py:SPACE"
    """
