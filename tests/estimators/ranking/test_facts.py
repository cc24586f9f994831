"""How good supernets are, against chance."""

from __future__ import annotations

from estimators.ranking.facts import supernet_facts
from estimators.trials.store import Trial
from supernets.spaces import Architecture


def trials_of(*top1: float) -> list[Trial]:
    return [
        Trial(i, Architecture("toy", (i,)), 1.0, {"val_top1": value}, 0.1, None)
        for i, value in enumerate(top1)
    ]


def test_accuracy_of_a_supernet_is_told_from_chance() -> None:
    history = [{"epoch": 1.0, "probe_val_top1": 20.0}, {"epoch": 2.0, "probe_val_top1": 55.0}]
    found = supernet_facts(trials_of(40, 60), history, chance=10.0, num_val_images=1000)
    assert (found["val_top1"], found["best_val_top1"], found["probe_val_top1"]) == (50, 60, 55)
    assert (found["epochs"], found["chance"], found["is_above_chance"]) == (2, 10, True)
    # a standard error is 0.95
    for mean, expected in ((11.8, False), (12.0, True)):
        found = supernet_facts(trials_of(mean), [], chance=10.0, num_val_images=1000)
        assert found["is_above_chance"] is expected
    found = supernet_facts([], [], chance=25.0, num_val_images=1000)
    assert found["chance"] == 25
    assert found["val_top1"] is found["is_above_chance"] is found["epochs"] is None
