"""``supernet-export``: hands a found subnet over as an ordinary model.

An export is a folder:

- ``subnet.json``: space, architecture, cost, metrics, where it came from, versions;
- ``weights.safetensors``: the weights, for ``load_subnet``;
- ``subnet.pt2``: the whole network as a ``torch.export`` program, which PyTorch alone loads:
  ``torch.export.load("subnet.pt2").module()(images)``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from supernets.base import Supernet
from supernets.batchnorm import recalibrate_bn
from supernets.checkpoint import (
    read_training_checkpoint,
    reopen_data,
    supernet_from_checkpoint,
    weights_digest,
)
from supernets.command_line import (
    add_config_option,
    add_machine_options,
    parse_args,
    prepare_output,
    print_result,
    run_command,
    set_threads,
    versions,
)
from supernets.cost import CostModel
from supernets.data import Loaders
from supernets.device import resolve_device
from supernets.evaluation import evaluate
from supernets.factory import SPACES, create_space, create_subnet
from supernets.spaces import Architecture, SearchSpace

PROGRAM = "supernet-export"
FORMAT = "paceline-subnet"
VERSION = 1
#: Largest difference of a logit after reloading; zero in practice on one machine.
TOLERANCE = 1e-5


def export_subnet(
    supernet: Supernet,
    arch: Architecture,
    loaders: Loaders,
    output: Path,
    *,
    device: torch.device,
    recalibrate_batches: int = 50,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the folder of a subnet with inherited weights, and proves that it loads.

    BatchNorm is made affine and tracked and its statistics are recalibrated on train images; the
    accuracy is then measured on the test split, once. The folder appears whole or not at all.

    Args:
        supernet: Trained supernet; only read.
        arch: What to export.
        loaders: Of the data the supernet was trained on.
        output: The folder; an earlier export there is replaced, anything else is refused.
        device: Where to run.
        recalibrate_batches: Train minibatches for BatchNorm; at most an epoch is used.
        provenance: Plain values recorded in ``subnet.json``.

    Returns:
        What ``subnet.json`` holds.

    Raises:
        ValueError: If ``output`` holds something else, or a number is out of range.
        RuntimeError: If the reloaded network computes other logits.
    """
    check_export_target(output)
    supernet.space.validate(arch)
    num_batches = min(recalibrate_batches, len(loaders.train_eval))
    subnet = supernet.to_standalone(supernet.extract(arch)).to(device)
    recalibrate_bn(subnet, loaders.train_eval, num_batches)
    test = evaluate(subnet, loaders.test, device=device)
    cost = CostModel(supernet).measure(arch)
    subnet = subnet.cpu().to(memory_format=torch.contiguous_format).eval()
    record = {
        "format": FORMAT,
        "version": VERSION,
        "space": supernet.space.name,
        "architecture": supernet.space.format(arch),
        "settings": {k: v for k, v in supernet.settings.items() if k != "bn_mode"},
        "cost": {"params": cost.params, "macs": cost.macs},
        "metrics": {
            "test_top1": test.top1,
            "test_loss": test.loss,
            "num_test_images": test.num_images,
        },
        "data": {
            key: loaders.settings[key]
            for key in ("dataset", "image_size", "mean", "std", "class_names", "split_digest")
        },
        "recalibrate_batches": num_batches,
        "provenance": dict(provenance or {}),
        "versions": versions(),
    }
    x = next(iter(loaders.test))[0][:8].cpu().contiguous()  # (8, C, H, W)
    _write_folder(output, subnet, record, x)
    return record


def load_subnet(folder: str | Path) -> nn.Module:
    """Loads an exported subnet; neither the supernet nor its checkpoint is needed.

    Returns:
        The network on the CPU, in eval mode, giving (N, num_classes) logits.

    Raises:
        ValueError: If the folder is missing, incomplete, damaged, or something else.
    """
    folder = Path(folder)
    record = read_subnet_record(folder)
    try:
        space = create_space(record["space"])
        subnet = create_subnet(space.parse(record["architecture"]), **record["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'subnet.json'} is damaged: {error}") from error
    path = folder / "weights.safetensors"
    if path.is_file() and _sha256(path) != record.get("weights_sha256"):
        raise ValueError(f"{path} is damaged: its checksum is not the one in subnet.json.")
    try:
        subnet.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"The weights in {path} cannot be loaded: {reason}") from error
    return subnet.eval()


def read_subnet_record(folder: Path) -> dict[str, Any]:
    """Reads ``subnet.json`` of an export.

    Raises:
        ValueError: If it is missing or was not written by an export.
    """
    path = folder / "subnet.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is not an exported subnet: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by {PROGRAM}.")
    if record.get("version", 0) > VERSION:
        raise ValueError(
            f"{path} has version {record['version']}, this version reads up to {VERSION}; "
            "update paceline."
        )
    return record


def check_export_target(output: Path) -> None:
    """Makes sure that an export may be written to ``output``.

    Raises:
        ValueError: If something is there that is no export.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        try:
            read_subnet_record(output)
        except ValueError as error:
            raise ValueError(
                f"{output} exists and is no exported subnet; choose another folder."
            ) from error


def _write_folder(output: Path, subnet: nn.Module, record: dict[str, Any], x: Tensor) -> None:
    """Writes into a temporary folder, checks what was written, and moves it into place."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    temporary.chmod(0o755)
    try:
        weights = {name: tensor.contiguous() for name, tensor in subnet.state_dict().items()}
        save_file(weights, temporary / "weights.safetensors", metadata={"format": "pt"})
        record["weights_sha256"] = _sha256(temporary / "weights.safetensors")
        text = json.dumps(record, indent=2) + "\n"
        (temporary / "subnet.json").write_text(text, encoding="utf-8")
        program = torch.export.export(
            subnet, (x,), dynamic_shapes=({0: torch.export.Dim("num_images", min=1)},)
        )
        torch.export.save(program, temporary / "subnet.pt2")
        with torch.inference_mode():
            expected = subnet(x)
            for name, loaded in (
                ("weights.safetensors", load_subnet(temporary)),
                ("subnet.pt2", torch.export.load(temporary / "subnet.pt2").module()),
            ):
                difference = (loaded(x) - expected).abs().max().item()
                if not difference <= TOLERANCE:
                    raise RuntimeError(
                        f"The reloaded {name} gives logits that differ by {difference:.3g}; "
                        "nothing was exported."
                    )
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors makes its file unreadable for others
            _sync(path)
        if output.exists():
            shutil.rmtree(output)
        os.replace(temporary, output)
        _sync(output.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def build_parser() -> argparse.ArgumentParser:
    """The options of ``supernet-export``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Export a subnet of a trained supernet as an ordinary model.",
        allow_abbrev=False,
    )
    add_config_option(parser)
    add = parser.add_argument
    add("--supernet", type=Path, metavar="FILE", help="checkpoint of supernet-train (required)")
    add(
        "--arch",
        metavar="ARCH",
        help="architecture in the space's notation, or a best.json of supernet-search (required)",
    )
    add("--output", type=Path, metavar="DIR", help="folder for the subnet (required)")
    add("--space", choices=SPACES, help="checked against the supernet's (default: the supernet's)")
    add("--data-dir", type=Path, metavar="DIR", help="where the data is (default: as in training)")
    add(
        "--recalibrate-batches",
        type=int,
        default=50,
        metavar="N",
        help="train minibatches for BatchNorm's statistics, at most an epoch (default: 50)",
    )
    add_machine_options(parser.add_argument_group("run"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``supernet-export``; gives back the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(PROGRAM, lambda: _prepare(args))


def _prepare(args: argparse.Namespace) -> Callable[[], int]:
    for name in ("supernet", "arch", "output"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is required.")
    if args.recalibrate_batches < 1:
        raise ValueError(
            f"--recalibrate-batches must be at least 1, got {args.recalibrate_batches}."
        )
    set_threads(args.threads)
    device = resolve_device(args.device)
    checkpoint = read_training_checkpoint(args.supernet)
    check_space(args.space, checkpoint, args.supernet)
    supernet = supernet_from_checkpoint(checkpoint, args.supernet).to(device).eval()
    arch, trial = read_architecture(args.arch, supernet.space)
    check_export_target(args.output)
    prepare_output(args.output.parent)
    loaders = reopen_data(
        checkpoint,
        args.supernet,
        data_dir=args.data_dir,
        device=device,
        num_workers=args.num_workers,
    )

    def work() -> int:
        provenance = {
            "supernet": str(args.supernet),
            "supernet_digest": weights_digest(supernet),
            **({"trial": trial} if trial else {}),
        }
        record = export_subnet(
            supernet,
            arch,
            loaders,
            args.output,
            device=device,
            recalibrate_batches=args.recalibrate_batches,
            provenance=provenance,
        )
        print_result({"status": "finished", "subnet": args.output, **export_summary(record)})
        return 0

    return work


def check_space(name: str | None, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Makes sure that a checkpoint is of the space that was asked for, if one was.

    Raises:
        ValueError: If it is of another space.
    """
    if name is not None and name != checkpoint["space"]:
        raise ValueError(
            f"{path} holds a supernet of space {checkpoint['space']!r}, not {name!r}; "
            "leave --space out or use another checkpoint."
        )


def read_architecture(text: str, space: SearchSpace) -> tuple[Architecture, dict[str, Any] | None]:
    """Reads an architecture from its notation or from the ``best.json`` of a search.

    Returns:
        The architecture, and the trial it came from if there was one.

    Raises:
        ValueError: If it cannot be read, or is of another space.
    """
    if not text.endswith(".json"):
        return space.parse(text), None
    try:
        best = json.loads(Path(text).read_text(encoding="utf-8"))
        trial = best["best"][0]
        name, notation = best["space"], trial["architecture"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{text} is not a best.json of supernet-search: {error!r}") from error
    if name != space.name:
        raise ValueError(
            f"{text} is from space {name!r}, but this supernet searches {space.name!r}."
        )
    return space.parse(notation), trial


def export_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``subnet.json`` worth printing."""
    return {key: record[key] for key in ("space", "architecture", "cost", "metrics")}
