"""Scores from stored curves of training losses, for every number of steps at once.

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492

All functions take losses of shape (..., B) in nats: those of single minibatches, each recorded
before its own update, or means over epochs. They give scores of shape (...,) in their natural sign,
where lower is better; negate them to rank. A loss that is not finite makes the scores nan from its
step on. The paper's SoVL, the sum of validation losses, is ``tse`` of a curve of those.

Differs from the authors' code:

1. Scores of ``num_steps`` use steps 1 to ``num_steps``; theirs use ranges that differ by a step.
2. ``tse_ema`` follows the paper's formula; what their code computes is ``variant="ref"``.
3. ``gamma`` is per step of the curve. The paper's steps are epochs, whose 0.999 is 0.999 here as
   well where the losses are means of epochs. For single minibatches the same number forgets faster,
   as 0.68 per epoch of 391 would; converted it would be 0.9999974, by which ``tse_ema`` of 100
   minibatches were ``tse`` to four digits.
4. The window of ``tse_e`` counts steps of the curve too; see ``estimators.scores.windows``.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

from estimators.rank_metrics import diverged_last, spearman
from estimators.scores.names import GAMMA

CurveScore = Literal["tse", "tse_e", "tse_ema", "tlmini"]
EMAVariant = Literal["paper", "ref"]

#: Weight of the newest loss in the authors' code.
_REF_MU = 0.9


def tse(losses: ArrayLike, num_steps: int) -> NDArray[np.float64]:
    """Sums the first ``num_steps`` losses (..., B), in nats, shape (...,).

    Raises:
        ValueError: If ``num_steps`` is not from 1 to B.
    """
    return _at(prefix_scores(losses, "tse"), num_steps)


def tse_e(losses: ArrayLike, num_steps: int, window: int) -> NDArray[np.float64]:
    """Sums the last ``window`` of the first ``num_steps`` losses (..., B), in nats, (...,).

    Where there are fewer steps than ``window``, all are summed.

    Raises:
        ValueError: If ``num_steps`` is not from 1 to B, or ``window`` less than 1.
    """
    return _at(prefix_scores(losses, "tse_e", window=window), num_steps)


def tse_ema(
    losses: ArrayLike, num_steps: int, gamma: float | None = None, variant: EMAVariant = "paper"
) -> NDArray[np.float64]:
    """Sums the first losses (..., B), forgetting old ones, in nats, shape (...,).

    Args:
        losses: Losses of shape (..., B).
        num_steps: T, how many of them to use.
        gamma: What a step of the curve, a minibatch or an epoch, leaves of the losses before it,
            0.999 unless given. Of ``"paper"`` only.
        variant: ``"paper"`` is ``sum_{t<=T} gamma^(T-t) l_t``. ``"ref"`` is what the authors' code
            computes: ``e <- 0.1 e + 0.9 l_t``, started with the first loss.

    Raises:
        ValueError: If ``num_steps`` is not from 1 to B, or ``gamma`` not in (0, 1] or given for
            ``"ref"``.
    """
    return _at(prefix_scores(losses, "tse_ema", gamma=gamma, variant=variant), num_steps)


def tlmini(losses: ArrayLike, num_steps: int) -> NDArray[np.float64]:
    """Returns the last of the first ``num_steps`` losses (..., B), in nats, shape (...,).

    Raises:
        ValueError: If ``num_steps`` is not from 1 to B.
    """
    return _at(prefix_scores(losses, "tlmini"), num_steps)


def prefix_scores(
    losses: ArrayLike,
    kind: CurveScore,
    *,
    window: int | None = None,
    gamma: float | None = None,
    variant: EMAVariant | None = None,
) -> NDArray[np.float64]:
    """Computes the score of every number of steps from 1 to B at once.

    Args:
        losses: Losses of shape (..., B).
        kind: Name of the function whose score is computed.
        window: Number of last steps that ``tse_e`` sums, which needs it.
        gamma: Decay of ``tse_ema`` per step of the curve.
        variant: Variant of ``tse_ema``.

    Returns:
        Shape (..., B); index ``[..., b - 1]`` holds the score after ``b`` steps.

    Raises:
        ValueError: If an argument is out of range, or of another kind of score.
    """
    losses = _curves(losses)
    if kind not in get_args(CurveScore):
        raise ValueError(
            f"Unknown curve score {kind!r}; choose from {', '.join(get_args(CurveScore))}."
        )
    if kind != "tse_e" and window is not None:
        raise ValueError(f"window is of tse_e, {kind} has none; leave it out.")
    if kind != "tse_ema" and (gamma is not None or variant is not None):
        raise ValueError(f"gamma and variant are of tse_ema, {kind} has none; leave them out.")
    has_been_finite = np.logical_and.accumulate(np.isfinite(losses), axis=-1)
    finite = np.where(has_been_finite, losses, 0.0)
    if kind == "tse":
        scores = np.cumsum(finite, axis=-1)
    elif kind == "tse_e":
        scores = _windowed(finite, window)
    elif kind == "tse_ema":
        scores = _averaged(finite, gamma, variant or "paper")
    else:
        scores = finite
    return np.where(has_been_finite, scores, math.nan)


def choose_num_batches(losses: ArrayLike, threshold: float = 0.98) -> int:
    """Finds the fewest steps after which the order by TSE hardly changes any more.

    Needs no truth: it compares with the order after all B steps that were measured, so it tells
    when going on up to that B is a waste, not whether more than B would rank better.

    Args:
        losses: Losses of shape (num_archs, B).
        threshold: The Spearman correlation with TSE(B) that this and every later step must reach.

    Raises:
        ValueError: If there are fewer than 2 architectures, or ``threshold`` is not in (0, 1].
    """
    losses = _curves(losses)
    if losses.ndim != 2 or len(losses) < 2:
        raise ValueError(
            f"losses must be (num_archs, B) of at least 2 architectures, got {losses.shape}."
        )
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be more than 0 and at most 1, got {threshold}.")
    scores = -prefix_scores(losses, "tse").T  # (B, num_archs)
    final_ranks = np.unique(diverged_last(scores[-1]), return_inverse=True)[1].astype(np.float64)
    num_batches = len(scores)
    while num_batches > 1 and spearman(scores[num_batches - 2], final_ranks) >= threshold:
        num_batches -= 1
    return num_batches


class TopK:
    """The k least of the values seen, and what a further one must not exceed to be among them.

    Args:
        k: Number of values to keep.

    Raises:
        ValueError: If ``k`` is less than 1.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        self._k = k
        self._least: list[float] = []

    @property
    def threshold(self) -> float:
        """The k-th least value so far; infinite until there are k."""
        return self._least[-1] if len(self._least) == self._k else math.inf

    def add(self, value: float) -> None:
        """Adds one value.

        Raises:
            ValueError: If it is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"Values must be finite, got {value}; leave diverged candidates out.")
        insort(self._least, value)
        del self._least[self._k :]


@dataclass(frozen=True)
class Race:
    """What a race of candidates, one after another, used and found.

    Args:
        num_steps: Minibatches used, shape (num_archs,).
        is_finished: Whether all B were used and every loss was finite, shape (num_archs,).
        bounds: Sums of the losses used, in nats, shape (num_archs,): TSE where finished, a lower
            bound of it where stopped, nan where diverged.
        top: The candidates of least TSE, best first, ties by index. At most k: the diverged are
            never among them.
        share_saved: Share of all ``num_archs * B`` minibatches that were not needed.
    """

    num_steps: NDArray[np.int64]
    is_finished: NDArray[np.bool_]
    bounds: NDArray[np.float64]
    top: NDArray[np.int64]
    share_saved: float


def race(losses: ArrayLike, k: int) -> Race:
    """Finds the k candidates of least TSE exactly, stopping all others early.

    Losses are not negative, so the sum over the first steps bounds TSE from below: a candidate
    whose sum exceeds the k-th least TSE before it cannot be among the k best and is stopped.

    Args:
        losses: Losses of shape (num_archs, B), candidates in the order they are raced in. One of
            a good candidate early on saves most.
        k: Number of architectures to find.

    Raises:
        ValueError: If a loss is negative, or ``k`` is not from 1 to num_archs.
    """
    losses = _curves(losses)
    if losses.ndim != 2 or not len(losses):
        raise ValueError(f"losses must be (num_archs, B), got {losses.shape}.")
    if (losses < 0).any():
        raise ValueError(
            f"A race needs losses of 0 or more, got {np.nanmin(losses)}; measure full curves."
        )
    num_archs, num_batches = losses.shape
    if k > num_archs:
        raise ValueError(f"k must be at most the {num_archs} candidates, got {k}.")
    best = TopK(k)
    sums = prefix_scores(losses, "tse")
    num_steps = np.full(num_archs, num_batches)
    for i, partial in enumerate(sums):
        is_stopped = ~(partial <= best.threshold)  # where it is nan as well
        if is_stopped.any():
            num_steps[i] = is_stopped.argmax() + 1
        else:
            best.add(float(partial[-1]))
    bounds = sums[np.arange(num_archs), num_steps - 1]
    is_finished = (num_steps == num_batches) & np.isfinite(bounds)
    finished = np.flatnonzero(is_finished)
    return Race(
        num_steps=num_steps,
        is_finished=is_finished,
        bounds=bounds,
        top=finished[np.argsort(bounds[finished], kind="stable")][:k],
        share_saved=float(1 - num_steps.sum() / losses.size),
    )


def _curves(losses: ArrayLike) -> NDArray[np.float64]:
    """Returns the losses as an array of at least one step."""
    curves = np.asarray(losses, np.float64)
    if not curves.ndim or not curves.shape[-1]:
        raise ValueError(f"losses must be (..., B) of at least 1 step, got {curves.shape}.")
    return curves


def _at(scores: NDArray[np.float64], num_steps: int) -> NDArray[np.float64]:
    """Returns the scores after ``num_steps`` steps, of scores (..., B)."""
    if not 1 <= num_steps <= scores.shape[-1]:
        raise ValueError(
            f"num_steps must be from 1 to the {scores.shape[-1]} steps recorded, got {num_steps}."
        )
    return scores[..., num_steps - 1]


def _windowed(losses: NDArray[np.float64], window: int | None) -> NDArray[np.float64]:
    """Sums over the last ``window`` steps, shape (..., B)."""
    if window is None or window < 1:
        raise ValueError(f"tse_e needs a window of at least 1 step, got {window}.")
    # Filtered rather than as differences of cumulated sums, which would lose digits.
    taps = np.ones(min(window, losses.shape[-1]))
    return np.asarray(lfilter(taps, [1.0], losses, axis=-1), np.float64)


def _averaged(
    losses: NDArray[np.float64], gamma: float | None, variant: EMAVariant
) -> NDArray[np.float64]:
    """Sums that forget, shape (..., B)."""
    if variant not in get_args(EMAVariant):
        raise ValueError(
            f"Unknown variant {variant!r}; choose from {', '.join(get_args(EMAVariant))}."
        )
    if variant == "ref":
        if gamma is not None:
            raise ValueError("gamma is of variant 'paper', 'ref' has none; leave it out.")
        start = (1 - _REF_MU) * losses[..., :1]
        averaged, _ = lfilter([_REF_MU], [1.0, _REF_MU - 1], losses, axis=-1, zi=start)
        return np.asarray(averaged, np.float64)
    gamma = GAMMA if gamma is None else gamma
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be more than 0 and at most 1, got {gamma}.")
    return np.asarray(lfilter([1.0], [1.0, -gamma], losses, axis=-1), np.float64)
