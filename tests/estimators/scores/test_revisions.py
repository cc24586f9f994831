"""What headers record of scores whose numbers changed."""

from __future__ import annotations

from estimators.scores.names import SCORES
from estimators.scores.revisions import revisions
from supernets.spaces.factory import SPACES


def test_only_scores_that_changed_are_recorded() -> None:
    assert revisions("nasbench201", ["tse", "val_acc"]) == {}
    assert revisions("mobilenetv3", ["macs"]) == {}
    assert revisions("nasbench201", ["tse", "macs"]) == {"revisions": {"macs": 2}}


def test_revisions_are_of_scores_that_exist() -> None:
    for known in (SPACES.find(name).score_revisions for name in SPACES):
        assert set(known) <= set(SCORES)
        assert min(known.values(), default=2) > 1
