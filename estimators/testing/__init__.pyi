"""The contract of estimators as a class of tests, for pytest."""

from .estimator_contract import EstimatorContract as EstimatorContract
from .estimator_contract import Measured as Measured
