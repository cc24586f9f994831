"""Files of a subnet that load without this package, each compared with the subnet once written.

- ``pt2``: ``subnet.pt2``, a ``torch.export`` program;
- ``onnx``: ``subnet.onnx``, one file, run by ONNX Runtime for the comparison;
- ``timm``: ``config.json`` and ``load_with_timm.py``, where the space has networks of timm's; see
  ``timm_files`` and ``timm_vit_files``.

All take any number of images. They are made from made-up images and hold neither those nor the
paths of the machine that made them.
"""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from supernets.export.files import LOADER
from supernets.export.timm_files import logits_of_timm
from supernets.runtime.atomic_write import naming_file
from supernets.runtime.outputs import WorkError
from supernets.spaces import Architecture
from supernets.spaces.factory import SPACES

#: Largest difference of a logit after reloading, as a part of the largest logit. The same kernels
#: give zero; others sum in another order, which makes up to 1e-5 in float32.
TOLERANCE = 1e-4
_TALKATIVE = ("onnxscript", "onnx_ir")  # they log every step of theirs


class WrongLogitsError(WorkError, RuntimeError):
    """What was written does not compute what the network does; nothing is exported."""


class ConversionError(WorkError, RuntimeError):
    """A network, such as one of one's own, cannot be written in a format."""


def check_repeats(network: nn.Module, x: Tensor) -> None:
    """Makes sure that a network gives the same logits for the same images.

    Args:
        network: The network, in eval mode.
        x: Images (N, C, H, W).

    Raises:
        WrongLogitsError: If it does not; its files could not compute what it does.
    """
    with torch.inference_mode():
        first, second = network(x), network(x)
    if torch.allclose(first, second, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        return
    difference = ((first - second).abs().max() / first.abs().max()).item()
    raise WrongLogitsError(
        f"The logits of the same images differ by {difference:.3g} of the largest between two "
        "calls of the network: it is random in eval mode, or keeps something. Let it "
        "draw where self.training is True alone; nothing was exported."
    )


def write_formats(
    folder: Path,
    network: nn.Module,
    x: Tensor,
    formats: Sequence[str],
    *,
    arch: Architecture,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Writes the files of ``formats`` and compares what they compute with ``network``.

    Args:
        folder: An existing folder; for timm it holds the weights already.
        network: The network, on the CPU and in eval mode.
        x: Made-up images (N, C, H, W) of the size the network is for, at least 2: of one a program
            would be for one only.
        formats: Formats that ``choose_formats`` returned.
        arch: The architecture of ``network``.
        settings: Settings of the supernet.
        data: ``mean``, ``std`` and ``class_names``, for timm.

    Returns:
        For each file, ``max_difference`` of the logits relative to the largest, and what there is
        to know of it.

    Raises:
        ConversionError: If the network cannot be written in a format.
        WrongLogitsError: If a file computes other logits.
    """
    with torch.inference_mode():
        expected = network(x)
    facts: dict[str, dict[str, Any]] = {}
    if "pt2" in formats or "onnx" in formats:
        images = {0: Dim("num_images", min=1)}
        with _converting("a program of torch.export", "pt2 and onnx"):
            program = torch.export.export(_out_of_place(network), (x,), dynamic_shapes=(images,))
        _forget_origin(program)
    if "pt2" in formats:
        path = folder / "subnet.pt2"
        # torch cannot open a path that is not UTF-8, and hides why a file cannot be written
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        with naming_file(path):
            path.write_bytes(buffer.getbuffer())
        with torch.inference_mode(), open(path, "rb") as file:
            found = torch.export.load(file).module()(x)
        facts[path.name] = {"max_difference": check_logits(path.name, found, expected)}
    if "onnx" in formats:
        path = folder / "subnet.onnx"
        facts[path.name] = _write_onnx(path, program, x, expected)
    if "timm" in formats:
        write_timm_files = SPACES.find(arch.space).object_of("timm_files")
        known = write_timm_files(folder, arch, x.shape[1:], settings=settings, data=data)
        difference = check_logits(LOADER, logits_of_timm(folder, x), expected)
        facts[LOADER] = {"max_difference": difference, **known}
    return facts


@contextmanager
def _converting(what: str, formats: str) -> Iterator[None]:
    """Says in a line what a network cannot be converted to, and why."""
    try:
        yield
    except (OSError, WorkError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ConversionError(
            f"The network cannot be made {what}: {type(error).__name__}: {reason.rstrip('.')}. "
            f"Leave {formats} out of --formats, or change its forward; nothing was exported."
        ) from error


def _out_of_place(network: nn.Module) -> nn.Module:
    """A copy whose activations overwrite nothing. The export to ONNX takes those that do apart and
    joins the parts again, to the same nodes in 1.7 times the seconds.
    """
    network = copy.deepcopy(network)
    for module in network.modules():
        if "inplace" in vars(module):
            vars(module)["inplace"] = False
    return network


def _forget_origin(program: ExportedProgram) -> None:
    """Drops the example inputs, of which PyTorch stores all the memory behind them, and every stack
    trace, which names files of this machine. Without example inputs a program also says plainly
    which size it expected of an image, where with them it fails with the text of a guard.
    """
    program._example_inputs = None  # PyTorch 2.6 has no public way
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


def check_logits(name: str, found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> float:
    """Compares logits of a reloaded network with those of the original.

    Args:
        name: The file, for the message.
        found: Logits (N, num_classes).
        expected: Logits (N, num_classes).
        tolerance: Largest difference allowed, as a part of the largest logit.

    Returns:
        The largest difference, as a part of the largest logit.

    Raises:
        WrongLogitsError: If it is above the tolerance or not a number.
    """
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    difference = ((found - expected).abs().max() / scale).item()
    if not difference <= tolerance:
        raise WrongLogitsError(
            f"The reloaded {name} gives logits that differ by {difference:.3g} of the largest; "
            "nothing was exported."
        )
    return difference


def _write_onnx(
    path: Path, program: ExportedProgram, x: Tensor, expected: Tensor
) -> dict[str, Any]:
    import onnx
    import onnxruntime

    with _converting("an ONNX file", "onnx"), _quiet(_TALKATIVE), naming_file(path):
        torch.onnx.export(
            program,
            (x,),
            path,
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: "num_images"},),  # its name in the file
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    _clear_notes(model)  # the stack trace of every node among them
    with naming_file(path):
        onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    differences = []
    for size in (len(x), 1):
        (found,) = session.run(["logits"], {"images": x[:size].numpy()})
        differences.append(check_logits(path.name, torch.from_numpy(found), expected[:size]))
    return {"max_difference": max(differences)}


def _clear_notes(message: Any) -> None:
    """Removes what an ONNX model says of where its parts come from; running it needs none."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if isinstance(value, Sequence) else [value]:
                _clear_notes(part)


@contextmanager
def _quiet(loggers: Sequence[str]) -> Iterator[None]:
    """Lets only warnings of these loggers through."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
