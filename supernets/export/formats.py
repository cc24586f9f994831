"""Names of the formats of a subnet that load without this package; ``programs`` writes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec

from supernets.spaces.factory import SPACES

FORMATS = ("pt2", "onnx", "timm")
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

_logger = logging.getLogger(__name__)


def choose_formats(formats: Sequence[str] | None, space: str) -> tuple[str, ...]:
    """Checks the formats asked for, or finds those that can be written.

    Args:
        formats: Some of ``FORMATS``; None for all that the space has and the installed packages
            write. What is missing for ONNX is then logged.
        space: Name of the subnet's space.

    Raises:
        ValueError: If one is unknown, not of this space, or needs packages that are missing.
    """
    has_timm = SPACES.find(space).timm_files is not None
    missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
    need = f"ONNX needs {', '.join(missing)}; pip install 'paceline[onnx]'."
    if formats is None:
        if missing:
            _logger.info("subnet.onnx is left out: %s", need)
        return tuple(
            name
            for name in FORMATS
            if not (name == "onnx" and missing) and not (name == "timm" and not has_timm)
        )
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"Unknown format {name!r}; choose from {', '.join(FORMATS)}.")
    if "onnx" in formats and missing:
        raise ValueError(need)
    if "timm" in formats and not has_timm:
        raise ValueError(f"timm has no networks of space {space!r}; leave timm out of the formats.")
    return tuple(name for name in FORMATS if name in formats)
