"""The combined score as an estimator: fitted to a ranking's architectures, asked of any other."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.base import Estimate, EstimateError
from estimators.scores.combined import MIN_NUM_KNOWN, CombinedScore
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.names import COST_SCORES, Score
from estimators.scores.own_scores import OwnScore
from estimators.scores.registry import ESTIMATORS
from estimators.scores.revisions import revisions
from estimators.scores.score_tables import WHOLE_CURVES, combined_features
from estimators.trials.store import Trial
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.digests import digest_of
from supernets.runtime.foreign_fields import (
    ForeignFileError,
    check_dict,
    check_field,
    check_numbers,
    check_text,
    naming_field,
    read_json,
)
from supernets.runtime.trusted_code import object_of_file
from supernets.spaces import Architecture

_logger = logging.getLogger(__name__)

FORMAT = "paceline-reference"
#: What a ranking measured with, and an estimator fitted to it measures with again.
_SETTINGS: Mapping[str, kinds.Whole | kinds.Real] = {
    "tse_batches": kinds.BATCH,
    "tse_batch_size": kinds.BATCH,
    "tse_lr": kinds.POSITIVE,
    "val_batches": kinds.POSITIVE_INT,
}


@dataclass(frozen=True)
class Reference:
    """Architectures whose truth is known, with the cheap scores of one supernet.

    Args:
        digest: Digest of the supernet's weights.
        settings: Settings that the scores were measured with, as plain values.
        scores: The scores that were measured.
        features: Features that ``combined_features`` returned, each of num_archs rows.
        truth: True values, shape (num_archs,), higher is better.
        revisions: Revisions of the scores whose numbers have changed, see
            ``estimators.scores.revisions``; scores of files from before that are of the first
            revision.
        own: Where each of the scores of one's own is, and its settings, as plain values by name.
    """

    digest: str
    settings: Mapping[str, Any]
    scores: Sequence[Score]
    features: Mapping[str, NDArray[np.float64]]
    truth: NDArray[np.float64]
    revisions: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def content_digest(self) -> str:
        """SHA-256 of all that the combined score is fitted to."""
        return digest_of(self._content())

    def write(self, path: Path) -> None:
        """Writes a JSON file, atomically."""
        with atomic_write(path) as file:
            file.write(json.dumps(self._content(), allow_nan=False) + "\n")

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "supernet": self.digest,
            "settings": self.settings,
            "scores": [[s.name, s.window, s.gamma] for s in self.scores],
            "features": {name: _plain(table) for name, table in self.features.items()},
            "truth": self.truth.tolist(),
            **({"revisions": dict(self.revisions)} if self.revisions else {}),
            **({"own_scores": dict(self.own)} if self.own else {}),
        }

    def own_scores(self, path: Path, trust_code: bool) -> tuple[OwnScore, ...]:
        """Finds the scores of one's own.

        Args:
            path: The file, for messages.
            trust_code: Whether code that only the file names may be imported.

        Raises:
            ValueError: If code is not trusted or not found, or does not have such settings.
        """
        found = []
        for name, record in self.own.items():
            definition = object_of_file(
                ESTIMATORS, path, name, record["reference"], trust_code=trust_code
            )
            given = {
                k: tuple(v) if isinstance(v, list) else v for k, v in record["settings"].items()
            }
            try:
                settings = definition.settings(**given)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: settings of {name!r} are others now: {error}") from error
            found.append(OwnScore(name, name, settings))
        return tuple(found)

    def as_measured_now(self, space: str, path: Path) -> Reference:
        """Returns a copy with scores under the names they have now, and warns of changes.

        Costs of before were the benchmark's, which count edges of a cell that no path reaches. They
        go on as ``benchmark_macs`` and ``benchmark_params``, so that they are compared with their
        like; what cannot be measured in the old way is left out.

        Args:
            space: Name of the space.
            path: The file, for messages.

        Raises:
            ValueError: If nothing is left.
        """
        now = revisions(space, self.features).get("revisions", {})
        names = {score.name: score.name for score in self.scores}
        old = [name for name in names if now.get(name, 1) != self.revisions.get(name, 1)]
        if not old:
            return self
        for name in old:
            names[name] = f"benchmark_{name}" if name in COST_SCORES else ""
        scores = [replace(s, name=names[s.name]) for s in self.scores if names[s.name]]
        if not scores:
            raise ValueError(f"{path} has no score that is measured as it was; rank again.")
        said = [
            f"{name} are the benchmark's ({names[name]})" if names[name] else f"{name} is left out"
            for name in old
        ]
        _logger.warning(
            "%s was written before scores of %s were of the network one gets: its %s. Rank again "
            "for those of now.",
            path,
            space,
            ", its ".join(said),
        )
        return replace(
            self,
            scores=scores,
            features={names[name]: t for name, t in self.features.items() if names[name]},
            revisions={},
        )

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Reads what ``write`` wrote.

        Raises:
            ValueError: If the file is missing or something else.
        """
        content = read_json(path, "a reference")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ForeignFileError(
                f"{path} is not a reference; expected reference.json of a ranking."
            )
        settings = check_dict(path, content, "settings")
        _check_settings(path, settings)
        own = _read_own(path, content.get("own_scores", {}))
        scores = _read_scores(path, content.get("scores"), own)
        truth = check_numbers(path, "truth", content.get("truth"))
        check_field(truth.ndim == 1, path, "truth", "a list of numbers", truth.tolist())
        tables = check_dict(path, content, "features")
        expected = combined_features(scores, ())
        check_field(tables.keys() == expected.keys(), path, "features", f"{[*expected]}", [*tables])
        features = {}
        for name in expected:
            features[name] = check_numbers(path, name, tables[name], may_lack=True)
            shape: tuple[int, ...] = (len(truth),)
            if name in WHOLE_CURVES:
                shape = (len(truth), settings.get("tse_batches"))
            check_field(
                features[name].shape == shape, path, name, f"of shape {shape}", features[name].shape
            )
        found = check_dict(path, {"revisions": content.get("revisions", {})}, "revisions")
        for name, revision in found.items():
            with naming_field(path, "revisions"):
                kinds.POSITIVE_INT.check(name, revision)
        return cls(
            digest=check_text(path, content, "supernet"),
            settings=settings,
            scores=scores,
            features=features,
            truth=truth,
            revisions=found,
            own=own,
        )


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Makes sure of what is measured with again."""
    for name, kind in _SETTINGS.items():
        if settings.get(name) is not None:
            with naming_field(path, "settings"):
                kind.check(name, settings[name])
    if settings.get("recalibration") is not None:
        recalibration = check_dict(path, settings, "recalibration", ("num_batches",))
        with naming_field(path, "recalibration"):
            kinds.POSITIVE_INT.check("num_batches", recalibration["num_batches"])


def _read_own(path: Path, found: object) -> dict[str, dict[str, Any]]:
    """Where scores of one's own are, and their settings."""
    own = {}
    for name, record in check_dict(path, {"own_scores": found}, "own_scores").items():
        given = check_dict(path, {name: record}, name, ("reference", "settings"))
        where, settings = given["reference"], check_dict(path, given, "settings")
        check_field(isinstance(where, str | None), path, "reference", "text or null", where)
        own[name] = {"reference": where, "settings": settings}
    return own


def _read_scores(path: Path, found: object, own: Collection[str]) -> list[Score]:
    """The scores that were measured, which must be distinct."""
    is_list = isinstance(found, list) and all(isinstance(e, list) and len(e) == 3 for e in found)
    check_field(is_list and found != [], path, "scores", "names with window and gamma", found)
    assert isinstance(found, list)
    scores = []
    for name, window, gamma in found:
        with naming_field(path, "scores"):
            if window is not None:
                kinds.BATCH.check("window", window)
            kinds.SHARE.check("gamma", gamma)
            is_own = isinstance(name, str) and name in own
            scores.append(Score(name, window=window, gamma=gamma, is_own=is_own))
    names = [score.name for score in scores]
    check_field({*own} <= {*names}, path, "own_scores", f"of {names}", [*own])
    check_field(len(set(names)) == len(names), path, "scores", "distinct", names)
    return scores


def _plain(table: NDArray[np.float64]) -> list[Any]:
    """Replaces what is not finite by None for JSON, which has no nan."""
    values: list[Any] = table.astype(object).tolist()
    if table.ndim > 1:
        return [_plain(row) for row in table]
    return [value if math.isfinite(value) else None for value in values]


class CombinedEstimator:
    """Predicts what an architecture is truly worth from several cheap scores.

    Every architecture is measured once and ranked among those of the reference, whose truths the
    score is fitted to. Its score is a normal score, see ``CombinedScore.fit``.

    Args:
        multi_score: Measures the scores of the reference, with the same settings and weights.
        reference: The reference that a ranking wrote.

    Raises:
        ValueError: If the reference has too few architectures.
    """

    name = "combined"

    def __init__(self, multi_score: MultiScoreEstimator, reference: Reference) -> None:
        if len(reference.truth) < MIN_NUM_KNOWN:
            raise ValueError(
                f"A combined score needs at least {MIN_NUM_KNOWN} architectures of known truth, "
                f"the reference has {len(reference.truth)}; rank more of them."
            )
        self.multi_score, self.reference = multi_score, reference

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures ``arch``.

        Returns:
            Estimate with the metrics and curves of the pass, and ``"combined"``.

        Raises:
            EstimateError: If its training diverges.
        """
        started = time.perf_counter()
        record = self.multi_score.measure(arch)
        if record.problem is not None:
            raise EstimateError(record.problem)
        trial = Trial(0, arch, 0.0, record.metrics, 0.0, None, record.curves)
        row = combined_features(self.reference.scores, [trial])
        combined = CombinedScore(
            {
                name: np.concatenate([table, row[name]])
                for name, table in self.reference.features.items()
            }
        )
        truth = self.reference.truth
        score = float(combined.fit(np.arange(len(truth)), truth)[-1])
        metrics = {name: value for name, value in record.metrics.items() if math.isfinite(value)}
        return Estimate(
            score=score,
            metrics={**metrics, "combined": score},
            seconds=time.perf_counter() - started,
            curves=record.curves,
        )
