"""The supernets of a ranking, and the stores of what was measured of their subnets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from estimators.factory import create_own_scores
from estimators.ranking.facts import supernet_facts
from estimators.scores.extra_steps import machine_facts
from estimators.scores.inherited import folding_facts
from estimators.scores.minibatches import TRAINS, Draws, check_batch_size, draw_minibatches
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.multi_score_factory import create_multi_score
from estimators.scores.names import BENCHMARK_SCORES, COST_SCORES, PROXY_SCORES, Score
from estimators.scores.own_scores import OwnScore
from estimators.scores.revisions import revisions
from estimators.scores.score_tables import check_measured
from estimators.scores.settings import MultiScoreSettings
from estimators.trials.store import Trial, TrialStore
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.runtime.instances import check_instance
from supernets.runtime.outputs import Outputs
from supernets.spaces import Architecture
from supernets.training.checkpoint import weights_digest
from supernets.training.evaluation import chance_top1


@dataclass(frozen=True)
class RankedSupernet:
    """A supernet whose subnets are ranked.

    Args:
        supernet: The trained supernet; only read.
        loaders: Loaders of its data, with train minibatches of the size that the settings say.
        name: Name in the report.
        path: Where it is from; None for nowhere.
        history: Rows of its training, one for each epoch; may be empty.

    Raises:
        ValueError: If the supernet, its loaders or the name are something else.

    Example:
        >>> from supernets import create_loaders, create_supernet
        >>> loaders = create_loaders("digits", batch_size=64, seed=0)
        >>> supernet = create_supernet(
        ...     "nasbench201", num_classes=10, input_size=(1, 8, 8), channels=2, cells_per_stage=1
        ... )
        >>> RankedSupernet(supernet, loaders, "untrained").name
        'untrained'
    """

    supernet: Supernet
    loaders: Loaders
    name: str = "supernet"
    path: Path | None = None
    history: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        check_instance("supernet", self.supernet, Supernet, "load_supernet reads one")
        check_instance("loaders", self.loaders, Loaders, "create_loaders('digits') makes some")
        check_instance("name", self.name, str)


@dataclass(frozen=True)
class MeasuredSupernet:
    """A supernet with what its subnets are measured by, and where that is kept.

    Args:
        given: The supernet.
        digest: Digest of its weights.
        multi_score: Measures its subnets.
        store: Keeps the measurements.
        settings: All that decides them, as plain values.
    """

    given: RankedSupernet
    digest: str
    multi_score: MultiScoreEstimator
    store: TrialStore
    settings: Mapping[str, Any]

    def facts(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """Returns what ``ranking.json`` says of the supernet, whose subnets' trials are given."""
        given, val = self.given, self.given.loaders.val
        num_images, num_batches = val.num_images, self.settings.get("val_batches")
        if num_batches is not None:
            num_images = min(num_images, num_batches * val.batch_size)
        return {
            "name": given.name,
            "path": str(given.path or ""),
            "digest": self.digest,
            **supernet_facts(
                trials,
                given.history,
                chance=chance_top1(given.loaders),
                num_val_images=num_images,
            ),
        }


def open_measurements(
    given: RankedSupernet,
    archs: Sequence[Architecture],
    scores: Sequence[Score],
    own: Sequence[OwnScore],
    settings: MultiScoreSettings,
    output: Path,
    outputs: Outputs,
    device: torch.device,
    amp: bool,
) -> MeasuredSupernet:
    """Draws what a supernet is measured on, and opens the store of its measurements.

    Args:
        given: The supernet.
        archs: The architectures to measure.
        scores: The scores.
        own: Those of one's own among them, with their settings.
        settings: Settings of the others.
        output: Existing folder of the store.
        outputs: What is written, the store from now on among it.
        device: Device of the supernet and its data.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If there is too little data, or the store holds other measurements.
    """
    supernet = given.supernet
    names = [score.name for score in scores]
    built_in = [score.name for score in scores if not score.is_own]
    draws = Draws(supernet, given.loaders)
    if {*built_in} & {*TRAINS, *PROXY_SCORES}:
        check_batch_size(settings.batch_size, given.loaders)
    minibatches, facts = draw_minibatches(built_in, settings, supernet, given.loaders, draws)
    estimators, facts_of_own = create_own_scores(own, supernet, given.loaders, device, amp, draws)
    multi_score = create_multi_score(
        built_in,
        settings,
        supernet=supernet,
        data=minibatches,
        score=Score(names[0], is_own=scores[0].is_own),
        own=estimators,
        draws=draws,
        device=device,
        amp=amp,
    )
    if any(each.looks_at_train_minibatches for each in own):
        facts["tse_batch_size"] = given.loaders.train.batch_size
    facts |= facts_of_own
    facts |= machine_facts(settings if multi_score.training is not None else None, device, amp)
    recalibrates = minibatches.recalibrate is not None
    facts |= folding_facts(built_in, supernet, device, amp=amp, recalibrates=recalibrates)
    digest = weights_digest(supernet)
    header = {
        "space": supernet.space.name,
        "supernet": digest,
        "estimators": sorted(names),
        "settings": facts,
        "archs": [supernet.space.format(arch) for arch in archs],
        **revisions(supernet.space.name, names),
    }
    path = output / f"measurements-{digest[:12]}.db"
    outputs.new_file(path)
    store = TrialStore.open(path, header, supernet.space)
    outputs.close_on_failure(store.close)
    # costs do not depend on when or where something was measured, and are counted anew
    counted = (*COST_SCORES, *BENCHMARK_SCORES)
    check_measured(path, store.trials, [each for each in scores if each.name not in counted])
    return MeasuredSupernet(given, digest, multi_score, store, facts)


def check_alike(supernets: Sequence[Supernet], names: Sequence[object]) -> None:
    """Makes sure that the subnets of all supernets can be told by one notation.

    Args:
        supernets: The supernets.
        names: What to call each of them.

    Raises:
        ValueError: If they cannot, or there is no supernet.
    """
    if not supernets:
        raise ValueError("There is no supernet to rank subnets of; give one at least.")
    first = supernets[0].space.name
    for supernet, name in zip(supernets, names, strict=True):
        if supernet.space.name != first:
            raise ValueError(
                f"{name} is of space {supernet.space.name!r}, {names[0]} of {first!r}; compare "
                "supernets of one space."
            )
