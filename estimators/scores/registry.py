"""Estimators by name, through one door for those built in and those of one's own."""

from __future__ import annotations

from estimators.scores.definition import EstimatorDefinition
from estimators.scores.names import SCORES
from estimators.scores.settings import EstimatorSettings
from supernets.runtime.named_objects import HOW_TO_NAME, NamedObjects

_HERE = "estimators.scores.built_in"
#: The estimators by name.
ESTIMATORS: NamedObjects[EstimatorDefinition] = NamedObjects(
    "estimator",
    "paceline.estimators",
    EstimatorDefinition,
    {name: f"{_HERE}:{name.upper()}" for name in (*SCORES, "from_scratch", "table", "combined")},
)
#: Which names there are, for the help of options.
WHICH_ESTIMATOR = f"{', '.join(ESTIMATORS)}, or your own as {HOW_TO_NAME}"


def estimator_classes(own: str | None = None) -> dict[str, type[EstimatorSettings]]:
    """Returns the classes of settings by the names of estimators, which commands make flags of.

    Args:
        own: An estimator beside those that are built in, whose flags come first; None for none.

    Raises:
        ValueError: If there is no such estimator.
    """
    names = dict.fromkeys([own, *ESTIMATORS])
    return {name: ESTIMATORS.find(name).settings for name in names if name}
