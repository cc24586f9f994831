"""Which architectures a ranking is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.ranking.macs_windows import MacsWindow, macs_in_words
from supernets.cost.analytic import NUM_RANGE_SAMPLES, CostModel
from supernets.runtime.text_files import read_text
from supernets.spaces import Architecture, SearchSpace

DEFAULT_NUM_ARCHS = 200
MIN_NUM_ARCHS = 3
#: Draws per architecture until they are distinct.
MAX_DRAWS = 100
#: Architectures of a space that are drawn, and counted, at once.
CHUNK_SIZE = 20_000


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


def sample_within_windows(
    costs: CostModel,
    table: Mapping[Architecture, float] | None,
    windows: Sequence[MacsWindow],
    num_archs: int,
    *,
    seed: int,
) -> list[Architecture]:
    """Draws as many architectures within each window of MACs, without replacement.

    There is one random order of all, of which each window gets the first that it holds. So windows
    that overlap share what they can, and have more than ``num_archs`` between them.

    Args:
        costs: Counts their MACs; they are of its space.
        table: Values that must be known of all; they are drawn from it. None for the whole space,
            of which up to 500,000 are drawn, with every decision uniform.
        windows: The windows.
        num_archs: Number of architectures for each.
        seed: Seed of the draw.

    Returns:
        The architectures, each only once, in random order.

    Raises:
        ValueError: If a window holds too few; names all of these.
    """
    rng = np.random.default_rng(seed)
    chosen: list[dict[Architecture, None]] = [{} for _ in windows]
    num_seen, least, most = 0, np.inf, -np.inf
    for choices in _in_random_order(costs, table, rng):
        macs = costs.measure_all(choices)["macs"]
        num_seen += len(choices)
        least, most = min(least, macs.min()), max(most, macs.max())
        for window, found in zip(windows, chosen, strict=True):
            if len(found) < num_archs:
                inside = costs.space.architectures(choices[window.holds(macs)])
                missing = dict.fromkeys(arch for arch in inside if arch not in found)
                found |= dict.fromkeys(list(missing)[: num_archs - len(found)])
        if all(len(found) == num_archs for found in chosen):
            together = list(dict.fromkeys(chain.from_iterable(chosen)))
            return [together[i] for i in rng.permutation(len(together))]
    few = [
        f"{len(found)} in {window}"
        for window, found in zip(windows, chosen, strict=True)
        if len(found) < num_archs
    ]
    where = "that the table lists" if table is not None else "drawn of the space"
    raise ValueError(
        f"--archs-per-window is {num_archs}, but of {num_seen:,} architectures {where}, of "
        f"{macs_in_words(least)} to {macs_in_words(most)} MACs, there are {' and '.join(few)}; "
        "lower it, or give other --macs-windows or a larger --macs-tolerance."
    )


def _in_random_order(
    costs: CostModel, table: Mapping[Architecture, float] | None, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Choices of the architectures of a table, or of random ones, in chunks."""
    if table is not None:
        yield rng.permutation(costs.space.choices_of(table))
        return
    for _ in range(NUM_RANGE_SAMPLES // CHUNK_SIZE):
        yield costs.space.sample_choices(CHUNK_SIZE, rng)


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
