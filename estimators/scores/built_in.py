"""The estimators that are built in, defined as one's own would be."""

from __future__ import annotations

from estimators.scores.definition import EstimatorDefinition
from estimators.scores.names import COST_SCORES, CURVE_SCORES, PROXY_SCORES, VAL_SCORES
from estimators.scores.settings import RANKED, CombinedSettings, FromScratchSettings, TableSettings


def _of_one_pass(name: str) -> EstimatorDefinition:
    return EstimatorDefinition(name, "estimators.factory:build_score", RANKED[name])


TSE, TSE_E, TSE_EMA, TLMINI, SOVL = map(_of_one_pass, CURVE_SCORES)
VAL_ACC, VAL_LOSS, VAL_ACC_AFTER, VAL_LOSS_AFTER = map(_of_one_pass, VAL_SCORES)
GRAD_NORM, SNIP, GRASP, FISHER, SYNFLOW, JACOB_COV, NASWOT = map(_of_one_pass, PROXY_SCORES)
PARAMS, MACS = map(_of_one_pass, COST_SCORES)
FROM_SCRATCH = EstimatorDefinition(
    "from_scratch",
    "estimators.factory:build_from_scratch",
    FromScratchSettings,
    trains_anew=True,
)
TABLE = EstimatorDefinition("table", "estimators.factory:build_table", TableSettings)
COMBINED = EstimatorDefinition("combined", "estimators.factory:build_combined", CombinedSettings)
