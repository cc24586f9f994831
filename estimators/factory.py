"""Estimators by name, from their settings and what they measure on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch

from estimators.base import Estimator
from estimators.benchmarks.tabular import open_table
from estimators.scores.combined_estimator import CombinedEstimator, Reference
from estimators.scores.definition import EstimatorDefinition, EstimatorInputs
from estimators.scores.extra_steps import machine_facts
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.inherited import folding_facts
from estimators.scores.minibatches import Draws, Minibatches, check_batch_size, draw_minibatches
from estimators.scores.multi_score_factory import (
    create_multi_score,
    minibatches_of,
    score_of,
    val_accuracy,
)
from estimators.scores.names import BENCHMARK_SCORES, Score
from estimators.scores.own_scores import OwnScore, plain_settings
from estimators.scores.registry import ESTIMATORS
from estimators.scores.settings import (
    CombinedSettings,
    EstimatorSettings,
    FromScratchSettings,
    MultiScoreSettings,
    TableSettings,
    TSESettings,
)
from estimators.scores.tse import TSEEstimator
from estimators.scores.windows import window_in_epochs
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.runtime.device import resolve_device
from supernets.runtime.instances import check_instance, told
from supernets.runtime.own_code import running_own
from supernets.spaces import SearchSpace
from supernets.training.checkpoint import weights_digest
from supernets.training.standalone_config import RetrainConfig


def create_estimator(
    name: str,
    settings: EstimatorSettings | None = None,
    *,
    supernet: Supernet | None = None,
    data: Loaders | Minibatches | None = None,
    space: SearchSpace | None = None,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> Estimator:
    """Builds an estimator by name.

    Args:
        name: One of ``ESTIMATORS``: a score of ``estimators.scores.names``, "from_scratch", "table"
            or "combined"; or ``package.module:Object`` or ``file.py:Object`` of an
            ``EstimatorDefinition``.
        settings: Settings of the class of its definition; None for its defaults.
        supernet: Trained supernet; only read. For all but "table"; that of "from_scratch" need not
            be trained.
        data: Loaders of the supernet's data, from which minibatches are drawn as the settings say,
            or the minibatches themselves, whose number and size are then not looked up there.
            "from_scratch" and "combined" need loaders; "table" and costs need no data.
        space: Space that parses the architectures of a table.
        device: Device to run on; the table ignores it.
        amp: Whether to compute in bfloat16 autocast; the table ignores it.

    Returns:
        The estimator.

    Raises:
        ValueError: If the name is unknown, something needed is missing, the settings are of another
            estimator, or they do not fit the data.

    Example:
        >>> from estimators import create_estimator
        >>> from supernets import create_supernet
        >>> supernet = create_supernet("nasbench201", num_classes=10, channels=4)
        >>> arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
        >>> create_estimator("params", supernet=supernet).estimate(arch).score
        37654.0
    """
    estimator, _ = create_described_estimator(
        name, settings, supernet=supernet, data=data, space=space, device=device, amp=amp
    )
    return estimator


def create_described_estimator(
    name: str,
    settings: EstimatorSettings | None = None,
    *,
    supernet: Supernet | None = None,
    data: Loaders | Minibatches | None = None,
    space: SearchSpace | None = None,
    device: torch.device | str = "cpu",
    amp: bool = False,
    draws: Draws | None = None,
) -> tuple[Estimator, dict[str, Any]]:
    """Does what ``create_estimator`` does, and describes all that decides the scores.

    Args:
        name: As of ``create_estimator``, and so are the others.
        settings: Settings.
        supernet: Trained supernet.
        data: Loaders, or minibatches.
        space: Space.
        device: Device.
        amp: Whether to compute in bfloat16 autocast.
        draws: Minibatches of the loaders that other scores are given too; None for none.

    Returns:
        The estimator; and plain values for the header of its trials, by name.

    Raises:
        ValueError: As ``create_estimator``.
    """
    definition = ESTIMATORS.find(name)
    kind = definition.settings
    settings = kind() if settings is None else settings
    if type(settings) is not kind:
        raise ValueError(
            f"Estimator {definition.name!r} takes {kind.__name__}, got {type(settings).__name__}."
        )
    _check_needs(definition.name, kind, supernet, data, space)
    if isinstance(data, Loaders) and {"train minibatches", "loaders as data"} & set(kind.needs):
        check_batch_size(settings.train_batch_size, data)
    computes = "supernet" in kind.needs
    device = resolve_device(device) if computes else torch.device("cpu")
    inputs = EstimatorInputs(definition.name, supernet, data, space, device, amp, draws)
    built = _build(definition, settings, inputs)
    estimator, facts = built if isinstance(built, tuple) else (built, plain_settings(settings))
    check_estimator(definition.name, estimator)
    check_instance(f"What build of estimator {definition.name!r} returns beside it", facts, dict)
    described = {"name": definition.name, **facts}
    if not computes:
        return estimator, described
    described |= machine_facts(settings, device, amp)
    if supernet is not None and definition.name in ESTIMATORS:
        scores = [definition.name, *facts.get("scores", ())]
        recalibrates = facts.get("recalibration") is not None
        described |= folding_facts(scores, supernet, device, amp=amp, recalibrates=recalibrates)
    return estimator, described


def _build(
    definition: EstimatorDefinition, settings: EstimatorSettings, inputs: EstimatorInputs
) -> Estimator | tuple[Estimator, dict[str, Any]]:
    """Builds an estimator; what fails in one of one's own is told in a line."""
    build = definition.builder
    if definition.name in ESTIMATORS:
        return build(settings, inputs)
    what, advice = f"Estimator {definition.name!r}", "it is built by build(settings, inputs)"
    with running_own(what, build, doing="could not be built", advice=advice):
        return build(settings, inputs)


def check_estimator(name: str, estimator: object) -> None:
    """Makes sure that what a definition built is an estimator of its name.

    Raises:
        ValueError: If it is not.
    """
    if not callable(getattr(estimator, "estimate", None)) or isinstance(estimator, type):
        raise ValueError(
            f"build of estimator {name!r} must return an object with estimate(arch), got "
            f"{told(estimator)}."
        )
    if getattr(estimator, "name", None) != name:
        raise ValueError(
            f"What build of estimator {name!r} returns must have that name, got "
            f"{getattr(estimator, 'name', None)!r}."
        )


def create_own_scores(
    own: Sequence[OwnScore],
    supernet: Supernet,
    loaders: Loaders,
    device: torch.device,
    amp: bool,
    draws: Draws,
) -> tuple[list[Estimator], dict[str, Any]]:
    """Builds scores of one's own that are compared with others.

    Args:
        own: The scores.
        supernet: Trained supernet; only read.
        loaders: Loaders of its data.
        device: Device to run on.
        amp: Whether to compute in bfloat16 autocast.
        draws: Minibatches of the loaders that other scores are given too.

    Returns:
        Their estimators; and what decides their scores, as plain values under ``"own_scores"``,
        empty without any.

    Raises:
        ValueError: As ``create_estimator``.
    """
    estimators, facts = [], {}
    for each in own:
        estimator, described = create_described_estimator(
            each.given,
            each.settings,
            supernet=supernet,
            data=loaders,
            space=supernet.space,
            device=device,
            amp=amp,
            draws=draws,
        )
        estimators.append(estimator)
        of_all = ("name", "device", "amp")
        facts[each.name] = {k: v for k, v in described.items() if k not in of_all}
    return estimators, {"own_scores": facts} if facts else {}


def build_table(
    settings: TableSettings, inputs: EstimatorInputs
) -> tuple[Estimator, dict[str, Any]]:
    """Opens the table of an estimator's settings; see ``open_table``."""
    assert inputs.space is not None
    return open_table(settings, inputs.space)


def build_score(
    settings: EstimatorSettings, inputs: EstimatorInputs
) -> tuple[Estimator, dict[str, Any]]:
    """Builds what measures a score of ``estimators.scores.names``."""
    name, supernet, data = inputs.name, inputs.supernet, inputs.data
    device, amp = inputs.device, inputs.amp
    assert supernet is not None
    estimator: Estimator
    shared = MultiScoreSettings.of(settings)
    minibatches, facts = minibatches_of([name], shared, supernet, data)
    if name == "val_acc":
        estimator = val_accuracy(supernet, minibatches, device, amp)
    elif isinstance(settings, TSESettings):
        if settings.race_for is not None:
            facts["race_for"] = settings.race_for
        estimator = TSEEstimator(
            supernet,
            minibatches.train,
            num_batches=settings.num_batches,
            lr=settings.lr,
            race_for=settings.race_for,
            device=device,
            amp=amp,
            kernels=settings.kernels,
        )
    else:
        epoch_batches = len(data.train) if isinstance(data, Loaders) else None
        score = score_of(name, shared, epoch_batches)
        if name == "tse_e":
            facts |= {"window": score.window, "window_unit": "minibatches"}
        if name == "tse_ema":
            facts |= {"gamma": score.gamma, "gamma_unit": "minibatch"}
        estimator = create_multi_score(
            [name], shared, score=score, supernet=supernet, data=minibatches, device=device, amp=amp
        )
    return estimator, facts


def _check_needs(
    name: str,
    kind: type[EstimatorSettings],
    supernet: Supernet | None,
    data: Loaders | Minibatches | None,
    space: SearchSpace | None,
) -> None:
    """Makes sure that an estimator is given all that it is built from."""
    has_loaders = isinstance(data, Loaders)
    given = {
        "supernet": supernet is not None,
        "train minibatches": has_loaders or isinstance(data, Minibatches) and data.train != (),
        "val minibatches": has_loaders or isinstance(data, Minibatches) and data.val != (),
        "loaders as data": has_loaders,
        "space": space is not None,
    }
    missing = [need for need in kind.needs if not given[need]]
    if missing:
        raise ValueError(f"Estimator {name!r} needs {', '.join(missing)}.")


def build_from_scratch(
    settings: FromScratchSettings, inputs: EstimatorInputs
) -> tuple[FromScratchEstimator, dict[str, Any]]:
    """Builds what trains architectures from scratch."""
    supernet, loaders, device, amp = inputs.supernet, inputs.data, inputs.device, inputs.amp
    assert supernet is not None and isinstance(loaders, Loaders)
    epochs, folder = settings.epochs, settings.folder
    assert epochs is not None
    if folder is None:
        raise ValueError("Estimator 'from_scratch' needs a folder for its trainings.")
    schedule_epochs = epochs if settings.schedule_epochs is None else settings.schedule_epochs
    recipe = RetrainConfig(
        epochs=schedule_epochs,
        stop_after=epochs if epochs < schedule_epochs else None,
        lr=settings.lr,
        amp=amp,
    )
    window = window_in_epochs(settings.window, epochs)
    score = Score(settings.score, window=window, gamma=settings.gamma)
    try:
        estimator = FromScratchEstimator(
            supernet, loaders, recipe, folder, score=score, device=device
        )
    except OSError as error:
        raise ValueError(
            f"Cannot write to {folder}: {error.strerror}; choose another --scratch-dir."
        ) from error
    shape: dict[str, dict[str, Any]] = {
        "tse_e": {"window": score.window, "window_unit": "epochs"},
        "tse_ema": {"gamma": score.gamma, "gamma_unit": "epoch"},
    }
    # SHA-256 of what decides trainings: network, data and the whole recipe
    trainings = json.dumps(estimator.settings, sort_keys=True).encode()
    return estimator, {
        "name": "from_scratch",
        "score": score.name,
        **shape.get(score.name, {}),
        "epochs": epochs,
        "schedule_epochs": schedule_epochs,
        "lr": recipe.lr,
        "batch_size": settings.batch_size,
        "trainings": hashlib.sha256(trainings).hexdigest(),
    }


def build_combined(
    settings: CombinedSettings, inputs: EstimatorInputs
) -> tuple[CombinedEstimator, dict[str, Any]]:
    """Builds what measures as the reference was measured."""
    supernet, loaders, device, amp = inputs.supernet, inputs.data, inputs.device, inputs.amp
    assert supernet is not None and isinstance(loaders, Loaders)
    path = settings.reference
    assert path is not None
    reference = Reference.read(path)
    if reference.digest != weights_digest(supernet):
        raise ValueError(
            f"{path} was measured with another supernet; rank architectures with this one."
        )
    reference = reference.as_measured_now(supernet.space.name, path)
    stored = reference.settings
    batch_size = stored.get("tse_batch_size", loaders.train.batch_size)
    if batch_size != loaders.train.batch_size:
        raise ValueError(
            f"{path} was measured with minibatches of {batch_size} images, this run has "
            f"{loaders.train.batch_size}; give --tse-batch-size {batch_size}."
        )
    measured = {
        "num_batches": stored.get("tse_batches"),
        "lr": stored.get("tse_lr"),
        "num_val_batches": stored.get("val_batches"),
        "num_recalibrate_batches": (stored.get("recalibration") or {}).get("num_batches"),
    }
    # the size is not taken over, and so recorded as the default: searches of before go on
    shared = MultiScoreSettings(**{k: v for k, v in measured.items() if v is not None})
    names = [score.name for score in reference.scores]
    of_tables = [score for score in reference.scores if score.name in BENCHMARK_SCORES]
    built_in = [score.name for score in reference.scores if not score.is_own]
    own_scores, draws = reference.own_scores(path, settings.trust_code), Draws(supernet, loaders)
    minibatches, facts = draw_minibatches(built_in, shared, supernet, loaders, draws)
    own, facts_of_own = create_own_scores(own_scores, supernet, loaders, device, amp, draws)
    multi_score = create_multi_score(
        built_in,
        shared,
        supernet=supernet,
        data=minibatches,
        score=(of_tables or reference.scores)[0],  # of tables, a pass has them only if for one
        own=own,
        draws=draws,
        device=device,
        amp=amp,
    )
    return CombinedEstimator(multi_score, reference), {
        **facts,
        **facts_of_own,
        "name": "combined",
        "reference": reference.truth.tolist(),
        "reference_digest": reference.content_digest,
        "scores": names,
    }
