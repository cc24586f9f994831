"""One measurement of a ranking: from the command to the network in a few steps of our own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import estimators.cli.rank
import supernets.cli.train
from supernets import create_space
from tests.own_frames import frames_to_forward

SPACE = create_space("nasbench201")
TINY = "--channels 2 --cells-per-stage 1 --batch-size 600 --num-probes 0 --epochs 1"
SCORES = "--estimators tse val_acc snip macs --tse-batches 1 --tse-batch-size 32 --val-batches 1"


def test_a_measurement_is_a_few_steps_from_the_command(tmp_path: Path) -> None:
    assert supernets.cli.train.main([*TINY.split(), "--output", str(tmp_path / "supernet")]) == 0
    rng, table = np.random.default_rng(0), tmp_path / "table.csv"
    with open(table, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "accuracy"])
        for number, arch in enumerate(dict.fromkeys(SPACE.sample(rng) for _ in range(4))):
            writer.writerow([SPACE.format(arch), number])
    given = ["--supernet", str(tmp_path / "supernet" / "last.pt"), "--table", str(table)]
    given += [*SCORES.split(), "--table-column", "accuracy", "--top-k", "1"]
    given += ["--num-bootstrap", "10", "--output", str(tmp_path / "rank")]
    ways = frames_to_forward(lambda: estimators.cli.rank.main(given))
    begin = ("main", "rank_scores", "measure_all", "trial_of_scores", "measure")
    assert ways and all(way[:5] == begin for way in ways)
    assert (*begin, "_train", "run", "forward") in ways
    assert max(map(len, ways)) <= 8, ways
