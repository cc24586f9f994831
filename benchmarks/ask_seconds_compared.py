#!/usr/bin/env python3
"""How long do asks take with this code, and with that of another version?

Times both with ``ask_seconds.py``, in turn, in processes of their own. The other version is a clone
of it; given is the least time of all rounds.

    git clone -q . runs/before && git -C runs/before checkout -q COMMIT
    python benchmarks/ask_seconds_compared.py --before runs/before --searches weaknas \
        --output benchmarks/results/ask_seconds_weaknas.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ask_seconds import SEARCHES, SPACES
from hardware import write_result
from tqdm import tqdm

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Times both versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--before", type=Path, required=True, help="folder of the other version's code")
    add("--searches", nargs="+", choices=tuple(SEARCHES), default=["weaknas"])
    add("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    add("--num-trials", nargs="+", type=int, default=[100, 500, 1000])
    add("--rounds", type=int, default=2)
    add("--output", type=Path, required=True)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    if not (args.before / "search").is_dir():
        parser.error(f"--before {args.before} holds no code of the searches.")
    head = ["git", "-C", str(args.before), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    asked = ["--searches", *args.searches, "--spaces", *args.spaces, "--repeats", "1"]
    asked += ["--num-trials", *map(str, args.num_trials)]
    folders = {"before": args.before.resolve(), "now": HERE.parent}
    found: dict[str, list[Any]] = {name: [] for name in folders}
    for _ in tqdm(range(args.rounds), "Rounds", disable=None):
        for name, folder in folders.items():
            found[name].append(seconds(folder, asked))
    result: dict[str, Any] = {}
    for space in args.spaces:
        for search in args.searches:
            for number in map(str, args.num_trials):
                least = {
                    name: min(each[space][search][number] for each in rounds)
                    for name, rounds in found.items()
                }
                by_number = result.setdefault(space, {}).setdefault(search, {})
                by_number[number] = {**least, "ratio": least["before"] / least["now"]}
    write_result(args.output, {"note": args.note, "before": commit, "cpu_seconds": result})


def seconds(folder: Path, asked: list[str]) -> Any:
    """What ``ask_seconds.py`` finds with the code of a folder, by space, search and trials told."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "seconds.json"
        command = [sys.executable, str(HERE / "ask_seconds.py"), *asked, "--output", str(output)]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return json.loads(output.read_text(encoding="utf-8"))["seconds"]


if __name__ == "__main__":
    main()
