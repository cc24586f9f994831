"""Learning curves of trainings from scratch: how early, and from what, their end can be told.

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492; LcSVR is that of Baker et al., https://arxiv.org/abs/1705.10823,
as the former compares with it.

Differs from the authors' code:

1. Curves are cut at the budget before their differences are taken; theirs take them of the whole
   curve, and so let one or two later epochs in.
2. LcSVR has no features of hyper-parameters: one recipe trains all, so they would be constant.
   Theirs has four, and the latency.
3. LcSVR standardises its features by those it is fitted to; theirs are as they are.
4. The three folds of its cross-validation are drawn; theirs are cut in the order of the data.
5. At a budget of T epochs all use epochs 1 to T; theirs differ by one among each other.
6. They leave open what overfitting is. Here it is a training loss below 0.1 nats or, if one
   chooses, a validation loss that has risen for some epochs in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import loguniform, uniform
from sklearn.model_selection import KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import NuSVR

from estimators.rank_metrics import spearman
from estimators.scores.loss_curves import tse, tse_e, tse_ema

#: Says of losses (num_archs, num_epochs) after which epochs an architecture overfits; bool.
IsOverfit = Callable[[NDArray[np.float64]], NDArray[np.bool_]]

NUM_FOLDS = 3
#: With fewer epochs a curve has no second differences.
MIN_EPOCHS = 3
#: R^2 of a fold needs two architectures.
MIN_ARCHS = 2 * NUM_FOLDS


class LcSVR:
    """Predicts final accuracies from beginnings of validation curves.

    A nu-SVR with RBF kernel sees the costs of an architecture, its curve, and the curve's first and
    second differences. Its C and gamma are drawn log-uniformly from [1e-5, 10] and its nu uniformly
    from (0, 1); the draw with the best mean R^2 of a 3-fold cross-validation is fitted to all.

    Args:
        num_draws: Number of draws of hyper-parameters. At least 1.
        seed: Seed of the draws and folds, in 0..2**32 - 1.

    Raises:
        ValueError: If ``num_draws`` is less than 1.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> final = rng.uniform(60, 95, 30)
        >>> curves = final[:, None] * (1 - 0.5 ** np.arange(1, 6))  # the first 5 epochs
        >>> costs = rng.uniform(1e6, 2e6, (30, 2))
        >>> model = LcSVR(num_draws=20)
        >>> model.fit(curves[:20], costs[:20], final[:20])
        >>> predicted = model.predict(curves[20:], costs[20:])
        >>> bool(np.corrcoef(predicted, final[20:])[0, 1] > 0.9)
        True
    """

    def __init__(self, *, num_draws: int = 1000, seed: int = 0) -> None:
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}.")
        self._search = RandomizedSearchCV(
            make_pipeline(StandardScaler(), NuSVR(kernel="rbf")),
            {
                "nusvr__C": loguniform(1e-5, 10),
                "nusvr__gamma": loguniform(1e-5, 10),
                "nusvr__nu": uniform(0, 1),
            },
            n_iter=num_draws,
            scoring="r2",
            cv=KFold(NUM_FOLDS, shuffle=True, random_state=seed),
            random_state=seed,
        )

    def fit(
        self, curves: NDArray[np.float64], costs: NDArray[np.float64], final: NDArray[np.float64]
    ) -> None:
        """Fits from nothing.

        Args:
            curves: Validation accuracies up to the budget, percent, (num_archs, num_epochs).
            costs: Costs of the architectures, such as params and macs, (num_archs, num_costs).
            final: Accuracies to predict, percent, (num_archs,).

        Raises:
            ValueError: If shapes do not fit, a number is not finite, or there are fewer than 6
                architectures or 3 epochs.
        """
        features = _features(curves, costs)
        if final.shape != (len(features),) or len(features) < MIN_ARCHS:
            raise ValueError(
                f"A fit needs at least {MIN_ARCHS} architectures and a final accuracy for each, "
                f"got {len(features)} architectures and accuracies of shape {final.shape}."
            )
        if not (np.isfinite(features).all() and np.isfinite(final).all()):
            raise ValueError("A fit needs finite numbers; leave out trainings that diverged.")
        self._search.fit(features, final)

    def predict(
        self, curves: NDArray[np.float64], costs: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Predicts accuracies (num_archs,), percent; NaN where a number is not finite.

        Args:
            curves: Validation accuracies, percent, (num_archs, num_epochs), of as many epochs as
                those fitted.
            costs: Costs of the architectures, (num_archs, num_costs).

        Raises:
            ValueError: If shapes do not fit.
        """
        features = _features(curves, costs)
        is_finite = np.isfinite(features).all(axis=1)
        predicted = np.full(len(features), np.nan)
        if is_finite.any():
            predicted[is_finite] = self._search.predict(features[is_finite])
        return predicted


def _features(
    curves: NDArray[np.float64], costs: NDArray[np.float64]
) -> NDArray[np.float64]:  # (num_archs, num_costs + 3 * num_epochs - 3)
    if curves.ndim != 2 or costs.ndim != 2 or len(curves) != len(costs):
        raise ValueError(
            "Expected curves (num_archs, num_epochs) and costs (num_archs, num_costs), got "
            f"{curves.shape} and {costs.shape}."
        )
    if curves.shape[1] < MIN_EPOCHS:
        raise ValueError(f"Curves need at least {MIN_EPOCHS} epochs, got {curves.shape[1]}.")
    with np.errstate(invalid="ignore"):  # differences of infinities
        return np.hstack([costs, curves, np.diff(curves), np.diff(curves, n=2)])


def early_correlations(
    train_losses: NDArray[np.float64],
    val_top1: NDArray[np.float64],
    truth: NDArray[np.float64],
    at_epochs: Sequence[int],
) -> dict[str, NDArray[np.float64]]:
    """Computes the Spearman correlation with the truth of what the first epochs tell.

    Args:
        train_losses: Mean training loss of each epoch, nats, (num_archs, num_epochs).
        val_top1: Validation top-1 after each epoch, percent, (num_archs, num_epochs).
        truth: True values to rank by, such as test top-1 at the end, (num_archs,).
        at_epochs: Budgets T, from 1 to num_epochs; epochs 1 to T are looked at.

    Returns:
        Correlations by estimator, one per budget, (len(at_epochs),): ``"TSE"``, the sum of the
        losses; ``"TSE-E"``, the last loss; ``"TSE-EMA"``, with gamma 0.999; ``"VAccES"``, the last
        accuracy. Losses are negated. Architectures without a finite score rank last.

    Raises:
        ValueError: If shapes do not fit, or a budget is out of range.
    """
    if train_losses.shape != val_top1.shape:
        raise ValueError(
            "Expected as many training losses as validation accuracies, got "
            f"{train_losses.shape} and {val_top1.shape}."
        )
    _check_budgets(val_top1, truth, at_epochs)
    scores: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "TSE": lambda budget: -tse(train_losses, budget),
        "TSE-E": lambda budget: -tse_e(train_losses, budget, 1),
        "TSE-EMA": lambda budget: -tse_ema(train_losses, budget),
        "VAccES": lambda budget: val_top1[:, budget - 1],
    }
    return {
        name: np.array([spearman(score(budget), truth) for budget in at_epochs])
        for name, score in scores.items()
    }


def lc_svr_correlations(
    val_top1: NDArray[np.float64],
    costs: NDArray[np.float64],
    truth: NDArray[np.float64],
    at_epochs: Sequence[int],
    *,
    num_train_archs: int = 200,
    num_draws: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Computes the Spearman correlation of ``LcSVR`` with the truth, (len(at_epochs),).

    Some architectures are drawn, the same for all budgets, and taken as trained to the end: LcSVR
    is fitted to their last validation accuracies. The correlation is over all others.

    Args:
        val_top1: Validation top-1 after each epoch, percent, (num_archs, num_epochs).
        costs: Costs of the architectures, such as params and macs, (num_archs, num_costs).
        truth: True values to rank by, such as test top-1 at the end, (num_archs,).
        at_epochs: Budgets T, from 1 to num_epochs; below 3 the correlation is NaN.
        num_train_archs: Number of architectures that are drawn, of those whose numbers are all
            finite. At least 6.
        num_draws: Number of draws of hyper-parameters.
        seed: Seed of everything that is drawn, in 0..2**32 - 1.

    Raises:
        ValueError: If shapes do not fit, a budget is out of range, or there are too few
            architectures.
    """
    _check_budgets(val_top1, truth, at_epochs)
    usable = np.flatnonzero(np.isfinite(val_top1).all(axis=1) & np.isfinite(costs).all(axis=1))
    num_others = len(val_top1) - num_train_archs
    if num_train_archs < MIN_ARCHS or len(usable) < num_train_archs or num_others < 2:
        raise ValueError(
            f"num_train_archs must be from {MIN_ARCHS} to the {len(usable)} architectures with "
            f"finite numbers, and leave 2 of all {len(val_top1)}, got {num_train_archs}."
        )
    is_known = np.zeros(len(val_top1), np.bool_)
    is_known[np.random.default_rng(seed).choice(usable, num_train_archs, replace=False)] = True
    model = LcSVR(num_draws=num_draws, seed=seed)

    def correlation(budget: int) -> float:
        if budget < MIN_EPOCHS:
            return float("nan")
        curves = val_top1[:, :budget]
        model.fit(curves[is_known], costs[is_known], val_top1[is_known, -1])
        return spearman(model.predict(curves[~is_known], costs[~is_known]), truth[~is_known])

    return np.array([correlation(budget) for budget in at_epochs])


def _check_budgets(
    val_top1: NDArray[np.float64], truth: NDArray[np.float64], at_epochs: Sequence[int]
) -> None:
    if val_top1.ndim != 2 or truth.shape != (len(val_top1),):
        raise ValueError(
            "Expected curves (num_archs, num_epochs) and a truth for each architecture, got "
            f"{val_top1.shape} and {truth.shape}."
        )
    for budget in at_epochs:
        if not 1 <= budget <= val_top1.shape[1]:
            raise ValueError(
                f"at_epochs must be from 1 to the {val_top1.shape[1]} epochs of the curves, got "
                f"{budget}."
            )


def nearly_zero(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns whether a cross entropy is below 0.1 nats, as of images known by heart; any shape."""
    return losses < 0.1


def val_loss_rising(patience: int = 5) -> IsOverfit:
    """Tells overfitting by validation losses that have risen after each of the last epochs.

    Args:
        patience: Number of epochs in a row. At least 1.

    Raises:
        ValueError: If it is less.
    """
    if patience < 1:
        raise ValueError(f"patience must be at least 1, got {patience}.")

    def is_overfit(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = np.zeros(losses.shape, np.bool_)
        if losses.shape[1] > patience:
            rises = np.diff(losses) > 0  # (num_archs, num_epochs - 1)
            found[:, patience:] = sliding_window_view(rises, patience, axis=1).all(axis=2)
        return found

    return is_overfit


def effective_budget(losses: NDArray[np.float64], is_overfit: IsOverfit = nearly_zero) -> int:
    """Returns the number of epochs up to which training losses rank (Algorithm 1).

    It is 0.9 of the epochs after which the first architecture overfits, or of all if none does,
    rounded down but at least 1. Beyond it, validation accuracy is the better guide.

    Args:
        losses: Training losses, or whatever ``is_overfit`` is about, of each epoch, nats,
            (num_archs, num_epochs).
        is_overfit: Says of them where an architecture overfits, (num_archs, num_epochs).

    Raises:
        ValueError: If there are no losses.
    """
    first = first_overfit(losses, is_overfit)
    return max(1, 9 * (losses.shape[1] if first is None else first) // 10)


def first_overfit(losses: NDArray[np.float64], is_overfit: IsOverfit = nearly_zero) -> int | None:
    """Returns the epoch, from 1, after which the first architecture overfits, or None.

    Args:
        losses: Losses of each epoch, (num_archs, num_epochs), as for ``effective_budget``.
        is_overfit: Tells from the losses where an architecture overfits, as for
            ``effective_budget``.

    Raises:
        ValueError: If there are no losses.
    """
    if losses.ndim != 2 or losses.size == 0:
        raise ValueError(f"Expected losses (num_archs, num_epochs), got {losses.shape}.")
    epochs = np.flatnonzero(is_overfit(losses).any(axis=0))
    return int(epochs[0]) + 1 if len(epochs) else None
