"""The predictors that are built in, defined as one's own would be."""

from __future__ import annotations

from search.predictors.definition import PredictorDefinition

_HERE = "search.predictors"

MLP = PredictorDefinition("mlp", f"{_HERE}.ensemble:mlp")
RANDOM_FOREST = PredictorDefinition("random_forest", f"{_HERE}.sklearn_models:random_forest")
GRADIENT_BOOSTING = PredictorDefinition(
    "gradient_boosting", f"{_HERE}.sklearn_models:gradient_boosting"
)
GAUSSIAN_PROCESS = PredictorDefinition(
    "gaussian_process", f"{_HERE}.gaussian_process:GaussianProcess", has_own_view=True
)
MLP_ENSEMBLE = PredictorDefinition("mlp_ensemble", f"{_HERE}.ensemble:mlp_ensemble")
GCN = PredictorDefinition(
    "gcn", f"{_HERE}.gcn:GCNPredictor", has_own_view=True, takes_features=False
)
