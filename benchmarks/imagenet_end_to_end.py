#!/usr/bin/env python3
"""The whole way of an ImageNet user, on however few pictures: train, search, export, reload.

Trains a supernet for an epoch, searches ten subnets within a window of MACs with TSE, exports the
best and loads it with ONNX Runtime, and with timm or, where timm has no such networks, PyTorch
alone, in a process that cannot import this project. NASNet cells are then trained from scratch with
an auxiliary head. The accuracies mean nothing; that every step runs does.

    python benchmarks/imagenet_end_to_end.py --space mobilenetv3 --data-dir DIR \
        --runs runs/imagenet --output benchmarks/results/imagenet_end_to_end.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hardware import write_result

STRANGER = """
import json, sys
sys.path[:] = [path for path in sys.path if path not in PROJECT and "__editable__" not in path]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
try:
    import supernets
    raise SystemExit("supernets can be imported")
except ImportError:
    pass
import os, runpy
import numpy, onnxruntime, torch
if os.path.exists(FOLDER + "/load_with_timm.py"):
    network = runpy.run_path(FOLDER + "/load_with_timm.py")["load"]()
else:
    network = torch.export.load(FOLDER + "/subnet.pt2").module()
record = json.load(open(FOLDER + "/subnet.json"))
images = torch.randn(3, *record["input_size"], generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    logits = network(images)
session = onnxruntime.InferenceSession(FOLDER + "/subnet.onnx", providers=["CPUExecutionProvider"])
(other,) = session.run(None, {"images": images.numpy()})
print(json.dumps({
    "class": f"{type(network).__module__}.{type(network).__name__}",
    "logits": list(logits.shape),
    "onnx_difference": float(numpy.abs(other - logits.numpy()).max() / numpy.abs(other).max()),
}))
"""


#: Options of the training of each space, and the default window of MACs of its search.
SPACES = {
    "mobilenetv3": (["--resolutions", "160", "192", "224", "--auto-augment=rand-m9-mstd0.5"], 200),
    "nasnet": (["--image-size=224", "--channels=16", "--layers=8", "--aux-weight=0.4"], 40),
}


def main() -> None:
    """Runs all steps and writes what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--space", choices=SPACES, required=True)
    add("--data-dir", type=Path, required=True)
    add("--runs", type=Path, required=True, help="an empty or missing folder")
    add("--output", type=Path, required=True)
    add("--min-macs", type=float, help="(default: one that suits the space)")
    add("--max-macs", type=float, help="(default: half as much again)")
    add("--batch-size", default="16")
    add("--threads", default="1")
    args = parser.parse_args()
    options, millions = SPACES[args.space]
    min_macs = args.min_macs or 1e6 * millions
    max_macs = args.max_macs or 1.5 * min_macs
    runs = args.runs.resolve()
    threads = f"--threads={args.threads}"
    train = [
        "train_supernet.py",
        f"--space={args.space}",
        "--dataset=timm",
        f"--data-dir={args.data_dir.resolve()}",
        *options,
        f"--batch-size={args.batch_size}",
        "--num-val=100",
        "--epochs=1",
        "--num-probes=0",
        f"--output={runs / 'supernet'}",
        threads,
    ]
    search = [
        "search.py",
        f"--supernet={runs / 'supernet' / 'last.pt'}",
        "--num-trials=10",
        "--num-initial=5",
        "--batch-size=5",
        "--tse-batches=2",
        f"--tse-batch-size={args.batch_size}",
        f"--min-macs={min_macs}",
        f"--max-macs={max_macs}",
        f"--output={runs / 'search'}",
        f"--export={runs / 'subnet'}",
        threads,
    ]
    commands = {"train": train, "search and export": search}
    if args.space == "nasnet":
        commands["retrain"] = [
            *("-c", "from supernets.cli.retrain import main; raise SystemExit(main())"),
            f"--subnet={runs / 'subnet'}",
            f"--data-dir={args.data_dir.resolve()}",
            f"--output={runs / 'retrained'}",
            *("--epochs=1", "--lr=0.05", "--aux-weight=0.4", "--drop-path=0.2", "--clip-grad=5"),
            *("--drop-path-ramp", "--formats", f"--batch-size={args.batch_size}", threads),
        ]
    seconds: dict[str, float] = {}
    results = {}
    for name, command in commands.items():
        started = time.monotonic()
        results[name] = run([sys.executable, *command])
        seconds[name] = round(time.monotonic() - started, 1)
    project = [str(Path(__file__).resolve().parent.parent), ""]
    names = f"FOLDER = {str(runs / 'subnet')!r}; PROJECT = {project!r}\n"
    started = time.monotonic()
    stranger = run([sys.executable, "-I", "-c", names + STRANGER], cwd="/")
    seconds["reload without this project"] = round(time.monotonic() - started, 1)
    write_result(
        args.output,
        {
            "note": "One picture a class: every step runs; accuracies mean nothing.",
            "seconds": seconds,
            "supernet": results["train"]["last_epoch"],
            "best": results["search and export"]["best"][0],
            **({"retrained": results["retrain"]} if "retrain" in results else {}),
            "without this project": stranger,
        },
    )


def run(command: list[str], cwd: str | None = None) -> dict[str, Any]:
    """Runs a command and reads the JSON block it ends with."""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=cwd or root, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
