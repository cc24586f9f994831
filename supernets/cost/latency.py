"""A table that predicts how long every subnet takes on this machine.

A table holds the seconds of each block of elastic MobileNetV3 in each of its forms; a subnet takes
their sum. What the sum leaves out, such as the calls between blocks, is made up for by a scale and
an offset fitted to whole networks where that helps.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import supernets.runtime.option_types as kinds
from supernets.cost.analytic import Counting
from supernets.cost.latency_options import LatencyOptions
from supernets.cost.timing import CLOCKS, measurement_conditions, time_calls
from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.mobilenetv3_subnet import ResizingNetwork
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.device import autocast, resolve_device
from supernets.runtime.foreign_fields import (
    ForeignFileError,
    check_dict,
    check_field,
    check_numbers,
    check_version,
    naming_field,
    read_json,
)
from supernets.runtime.option_types import shown
from supernets.spaces import MobileNetV3Space
from supernets.spaces.mobilenetv3 import EXPANDS, KERNELS, MAX_DEPTH, NUM_BLOCKS, NUM_STAGES

FORMAT = "paceline-latency-table"
VERSION = 1
#: Settings of a supernet that the latency of its subnets depends on.
SETTINGS = ("num_classes", "width", "input_size", "resolutions", "strides")
#: How much longer than the fastest call the median one may take without a warning.
SPREAD_WARNED_OF = 0.25
_NOTHING = "nothing"
#: What corrects a sum; a block that takes next to nothing can be measured as less than that.
_NUMBERS: Mapping[str, kinds.Real] = {
    "scale": kinds.POSITIVE,
    "offset": kinds.Real("must be a finite number", -kinds.MAX_FLOAT, kinds.MAX_FLOAT),
}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatencyTable:
    """Predicts the seconds per batch of all subnets of a ``MobileNetV3Supernet``.

    Args:
        settings: The settings of the supernet that ``SETTINGS`` names.
        conditions: Device, software and settings of the measurement, in plain types.
        fixed: Seconds of stem, first and last block and head, (resolutions,).
        blocks: Seconds of elastic blocks, (resolutions, 20, kernels, expansions).
        scale: Multiplies the sum.
        offset: Seconds added to the scaled sum.
        error: How far predictions were from ``networks`` that were measured as a whole.
            ``median_relative_error`` is that of the ``sums`` of parts, and that of sums
            ``corrected`` by a scale and an offset fitted without the network predicted; ``used``
            says which ``predict`` gives. ``spearman`` is the rank correlation of either.
            ``spread`` is how much longer than the fastest call of a network the median one took.

    Example:
        >>> import numpy as np
        >>> table = LatencyTable(
        ...     settings={"resolutions": (160,)},
        ...     conditions={"device": "cpu"},
        ...     fixed=np.array([0.004]),
        ...     blocks=np.full((1, 20, 3, 3), 0.001),
        ...     scale=1.0,
        ...     offset=0.0,
        ...     error={},
        ... )
        >>> space = MobileNetV3Space((160,))
        >>> table.predict(space.choices_of(space.extremes())).round(3).tolist()  # 10 and 20 blocks
        [0.014, 0.024]
    """

    settings: Mapping[str, Any]
    conditions: Mapping[str, Any]
    fixed: NDArray[np.float64]
    blocks: NDArray[np.float64]
    scale: float
    offset: float
    error: Mapping[str, Any]

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts seconds per batch, (num_archs,), of architectures (num_archs, num_decisions)."""
        space = MobileNetV3Space(self.settings["resolutions"])
        sizes = choices[:, -1] if space.has_resolution else np.zeros(len(choices), np.int64)
        sums = self.fixed[sizes] + space.sum_over_blocks(self.blocks, choices)
        seconds: NDArray[np.float64] = self.scale * sums + self.offset
        return seconds

    def save(self, path: str | Path) -> None:
        """Writes the table as JSON; ``path`` is the old file or the whole new one."""
        arrays = {"fixed": self.fixed.tolist(), "blocks": self.blocks.tolist()}
        content = {"format": FORMAT, "version": VERSION, **asdict(self), **arrays}
        with atomic_write(path) as file:
            file.write(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path, supernet: Counting) -> LatencyTable:
        """Reads a table of the subnets of ``supernet``.

        Raises:
            ValueError: If the file is missing, damaged, or of another supernet; says in what the
                two differ.
        """
        path = Path(path)
        settings = latency_settings(supernet)
        content = _read(path)
        stored = check_dict(path, content, "settings", SETTINGS)
        differences = [
            f"{name} {shown(stored[name])}, not {settings[name]}"
            for name in SETTINGS
            if _plain(stored[name]) != settings[name]
        ]
        if differences:
            raise ValueError(
                f"{path} is for another supernet: {'; '.join(differences)}. "
                "Measure one for this supernet with supernet-latency."
            )
        num_sizes = max(1, len(settings["resolutions"]))
        shapes = {
            "fixed": (num_sizes,),
            "blocks": (num_sizes, NUM_BLOCKS, len(KERNELS), len(EXPANDS)),
        }
        seconds = {}
        for name, shape in shapes.items():
            seconds[name] = check_numbers(path, name, content.get(name))
            found = seconds[name].shape
            check_field(found == shape, path, name, f"a table of shape {shape}", found)
        for name, kind in _NUMBERS.items():
            with naming_field(path, "the table"):
                kind.check(name, content.get(name))
        return cls(
            settings=settings,
            conditions=check_dict(path, content, "conditions"),
            **seconds,
            scale=float(content["scale"]),
            offset=float(content["offset"]),
            error=check_dict(path, content, "error"),
        )


def measure_latency_table(
    supernet: Supernet,
    options: LatencyOptions | None = None,
    *,
    device: torch.device | str = "cpu",
) -> LatencyTable:
    """Times every block of elastic MobileNetV3 and, to know the error, some whole networks.

    All are called in turn, and the fastest of the rounds counts, since what slows a call down is
    other work on the machine; a warning is logged if there was much of it. Between two calls of a
    block the weights of all others pass through the caches, as they do in a network.

    Args:
        supernet: A ``MobileNetV3Supernet``; its weights are not looked at.
        options: How to measure; None for the defaults.
        device: Device to run on.

    Raises:
        ValueError: If the supernet is of another space.

    Example:
        >>> from supernets import LatencyOptions, create_supernet
        >>> supernet = create_supernet("mobilenetv3", num_classes=10, width=0.1)
        >>> table = measure_latency_table(supernet, LatencyOptions(repeats=1, num_networks=4))
        >>> table.conditions["batch_size"]
        1
    """
    options, device = options or LatencyOptions(), resolve_device(device)
    from scipy.stats import spearmanr  # here, as loading takes a second, and reading needs none

    settings = latency_settings(supernet)
    assert isinstance(supernet, MobileNetV3Supernet)
    amp, num_networks = options.amp, options.num_networks
    conditions = measurement_conditions(
        device,
        batch_size=options.batch_size,
        repeats=options.repeats,
        warmup=options.warmup,
        amp=amp,
        channels_last=options.channels_last,
    )
    space = supernet.space
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(num_networks)]
    parts = _Parts(supernet, device, options.batch_size, amp, options.channels_last)
    calls: dict[Hashable, Callable[[], object]] = {_NOTHING: lambda: None}
    for size in range(len(parts.images)):
        calls |= parts.calls(size)
    for i, arch in enumerate(archs):
        size = arch.choices[-1] if space.has_resolution else 0
        calls["network", i] = parts.network_call(supernet.build_subnet(arch), size)
    timed = time_calls(
        calls,
        device=device,
        warmup=options.warmup,
        repeats=options.repeats,
        amp=amp,
        clock=CLOCKS[conditions["clock"]],
    )
    nothing = timed.pop(_NOTHING).min()
    seconds = {name: float(times.min() - nothing) for name, times in timed.items()}
    fixed = np.array([seconds["fixed", size] for size in range(len(parts.images))])
    blocks = np.zeros((len(fixed), NUM_BLOCKS, len(KERNELS), len(EXPANDS)))
    for size, i, k, e in np.ndindex(blocks.shape):
        stage, block = divmod(i, MAX_DEPTH)
        blocks[size, i, k, e] = seconds["block", size, stage, min(block, 1), k, e]
    raw = LatencyTable(settings, conditions, fixed, blocks, scale=1.0, offset=0.0, error={})
    sums = raw.predict(np.array([arch.choices for arch in archs]))
    measured = np.array([seconds["network", i] for i in range(num_networks)])
    corrected, scale, offset = fit_correction(sums, measured)
    errors = {"sums": _error(sums, measured), "corrected": _error(corrected, measured)}
    used = "corrected" if scale > 0 and errors["corrected"] < errors["sums"] else "sums"
    if used == "sums":
        scale, offset = 1.0, 0.0
    error = {
        "median_relative_error": errors,
        "used": used,
        "spearman": float(spearmanr(sums, measured).statistic),
        "spread": _spread([timed["network", i] for i in range(num_networks)]),
        "networks": [
            {"architecture": space.format(arch), "measured": float(m), "sum": float(s)}
            for arch, m, s in zip(archs, measured, sums, strict=True)
        ],
    }
    return LatencyTable(settings, conditions, fixed, blocks, scale, offset, error)


def fit_correction(
    sums: NDArray[np.float64], measured: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """Fits ``measured = scale * sums + offset`` by least squares of the relative errors.

    Args:
        sums: Sums of the seconds of the parts of each network, (num_networks,).
        measured: Measured seconds of each network as a whole, (num_networks,).

    Returns:
        The seconds of each network that a fit to all others predicts, (num_networks,); then scale
        and offset of the fit to all.
    """
    inputs = np.stack([sums, np.ones_like(sums)], axis=1)

    def fit(used: NDArray[np.bool_]) -> NDArray[np.float64]:
        relative = inputs[used] / measured[used, None]
        return np.linalg.lstsq(relative, np.ones(len(relative)), rcond=None)[0].astype(np.float64)

    others = ~np.eye(len(sums), dtype=np.bool_)
    held_out = np.array([inputs[i] @ fit(used) for i, used in enumerate(others)])
    scale, offset = fit(np.ones(len(sums), np.bool_))
    return held_out, float(scale), float(offset)


def latency_settings(supernet: Counting) -> dict[str, Any]:
    """Returns the settings that a table of ``supernet`` is for, as they are read back from JSON.

    Raises:
        ValueError: If the supernet is of a space that has no tables.
    """
    if not isinstance(supernet, MobileNetV3Supernet):
        raise ValueError(
            "Latency tables are for space 'mobilenetv3', "
            f"this supernet is of space {supernet.space.name!r}."
        )
    return {name: _plain(supernet.settings[name]) for name in SETTINGS}


def check_table_target(path: Path) -> None:
    """Makes sure that a table may be written to ``path``.

    Raises:
        ValueError: If something is there that is no latency table.
    """
    if path.exists():
        try:
            _read(path)
        except ValueError as error:
            raise ValueError(
                f"{path} exists and is no latency table; choose another file."
            ) from error


class _Parts:
    """The parts of subnets as timm builds them, on the inputs they have in a network."""

    def __init__(
        self,
        supernet: MobileNetV3Supernet,
        device: torch.device,
        batch_size: int,
        amp: bool,
        channels_last: bool,
    ) -> None:
        self._device = device
        self._amp = amp
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        space = supernet.space
        channels, height, width = supernet.input_size
        shapes = [(height, width)]
        if space.has_resolution:
            shapes = [(side, side) for side in space.resolutions]
        self.images = [
            torch.randn(batch_size, channels, *shape, device=device).to(memory_format=self._layout)
            for shape in shapes
        ]
        # of two blocks per stage: those after the second are like the second
        self._networks = {}
        for k, e in np.ndindex(len(KERNELS), len(EXPANDS)):
            choices = [0] * NUM_STAGES + [k] * NUM_BLOCKS + [e] * NUM_BLOCKS
            arch = space.architecture([*choices, *[0] * space.has_resolution])
            self._networks[k, e] = self._stock(supernet.build_subnet(arch))

    def _stock(self, subnet: nn.Module) -> Any:
        network = subnet.network if isinstance(subnet, ResizingNetwork) else subnet
        return network.to(self._device, memory_format=self._layout).eval()  # type: ignore

    def network_call(self, subnet: nn.Module, size: int) -> Callable[[], object]:
        """A whole network on images of its resolution."""
        return partial(self._stock(subnet), self.images[size])

    @torch.inference_mode()
    def calls(self, size: int) -> dict[Hashable, Callable[[], object]]:
        """All blocks of one resolution by stage, 0 for the first of a stage, kernel, expansion."""
        any_network, image = self._networks[0, 0], self.images[size]

        def first(x: torch.Tensor) -> torch.Tensor:
            x = any_network.bn1(any_network.conv_stem(x))
            return cast(torch.Tensor, any_network.blocks[0](x))

        calls: dict[Hashable, Callable[[], object]] = {}
        with autocast(self._device, self._amp):  # the inputs of blocks are of its type
            x = first(image)
            for stage, block in np.ndindex(NUM_STAGES, 2):
                for (k, e), network in self._networks.items():
                    module = network.blocks[1 + stage][block]
                    calls["block", size, stage, block, k, e] = partial(module, x)
                x = any_network.blocks[1 + stage][block](x)

        def fixed() -> None:
            first(image)
            any_network.forward_head(any_network.blocks[-1](x))

        calls["fixed", size] = fixed
        return calls


def _plain(value: Any) -> Any:
    """Returns a value as it is read back from JSON: lists for tuples."""
    return list(value) if isinstance(value, tuple) else value


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, "a latency table")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ForeignFileError(
            f"{path} is not a latency table; expected one from supernet-latency."
        )
    check_version(path, content, VERSION)
    return content


def _spread(times: list[NDArray[np.float64]]) -> float:
    spread = float(np.median([np.median(seconds) / seconds.min() for seconds in times]) - 1)
    if spread > SPREAD_WARNED_OF:
        _logger.warning(
            "Half of the calls took %.0f%% longer than the fastest: this machine is busy, so "
            "measure again when it is not, or with more rounds.",
            100 * spread,
        )
    return spread


def _error(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(predicted / measured - 1)))
