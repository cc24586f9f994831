"""Which architectures a ranking is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from supernets.runtime.text_files import read_text
from supernets.spaces import Architecture, SearchSpace

DEFAULT_NUM_ARCHS = 200
MIN_NUM_ARCHS = 3
#: Draws per architecture until they are distinct.
MAX_DRAWS = 100


def sample_evaluation_set(
    space: SearchSpace,
    table: Mapping[Architecture, float] | None,
    *,
    path: Path | None,
    num_archs: int | None,
    seed: int,
) -> list[Architecture]:
    """Returns the architectures to rank: of a file, or random ones without replacement.

    Args:
        space: Space of the architectures.
        table: Values that must be known of all; random ones are drawn from it. None for any.
        path: Text file of architectures, one a line; None for random ones.
        num_archs: Number of random architectures; None for 200, or as many as there are.
        seed: Seed of the draw.

    Raises:
        ValueError: If the file cannot be read, the table lacks one, or there are too few.
    """
    if path is not None:
        archs = _read_archs(path, space)
    elif table is not None:
        listed = list(table)
        num_archs = num_archs or min(DEFAULT_NUM_ARCHS, len(listed))
        if num_archs > len(listed):
            raise ValueError(f"--num-archs is {num_archs}, but the table lists {len(listed)}.")
        order = np.random.default_rng(seed).permutation(len(listed))
        archs = [listed[i] for i in order[:num_archs]]
    else:
        archs = _sample_archs(space, num_archs or min(DEFAULT_NUM_ARCHS, space.size), seed)
    missing = [] if table is None else [arch for arch in archs if arch not in table]
    if missing:
        raise ValueError(
            f"The table does not list {len(missing)} of {len(archs)} architectures, such as "
            f"{space.format(missing[0])}; leave them out."
        )
    return archs


def _read_archs(path: Path, space: SearchSpace) -> list[Architecture]:
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    archs: dict[Architecture, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            arch = space.parse(line.strip())
            if arch in archs:
                raise ValueError(f"the architecture of line {archs[arch]} again.")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        archs[arch] = number
    if len(archs) < MIN_NUM_ARCHS:
        raise ValueError(
            f"{path} must hold at least {MIN_NUM_ARCHS} architectures, got {len(archs)}."
        )
    return list(archs)


def _sample_archs(space: SearchSpace, num_archs: int, seed: int) -> list[Architecture]:
    if num_archs > space.size:
        raise ValueError(f"--num-archs is {num_archs}, but the space has only {space.size}.")
    rng = np.random.default_rng(seed)
    archs: dict[Architecture, None] = {}
    for _ in range(MAX_DRAWS * num_archs):
        archs[space.sample(rng)] = None
        if len(archs) == num_archs:
            return list(archs)
    raise ValueError(f"Only {len(archs)} distinct architectures were drawn; lower --num-archs.")
