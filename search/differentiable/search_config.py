"""The recipe of a differentiable search, beside that of its weights.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; DrNAS:
Dirichlet Neural Architecture Search, https://arxiv.org/abs/2006.10355; Speedy Performance
Estimation for Neural Architecture Search (TSE), https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import supernets.runtime.option_types as kinds
from supernets.runtime.instances import check_instance, check_list
from supernets.runtime.option_types import check_settings
from supernets.runtime.options import Options, option
from supernets.runtime.wording import flag, one_of, unknown_names
from supernets.spaces.factory import SPACES, spaces_with

RelaxationName = Literal["softmax", "dirichlet", "dirichlet-kl", "gumbel"]
GradientName = Literal[
    "first-order", "second-order", "second-order-exact", "tse-joint", "tse-rollout"
]
RELAXATIONS: tuple[RelaxationName, ...] = ("softmax", "dirichlet", "dirichlet-kl", "gumbel")
GRADIENTS: tuple[GradientName, ...] = (
    "first-order",
    "second-order",
    "second-order-exact",
    "tse-joint",
    "tse-rollout",
)
_STAGE_KINDS: dict[str, kinds.Whole | kinds.Real] = dict.fromkeys(
    ("epochs", "partial_channels", "keep_ops", "freeze_epochs"), kinds.NON_NEGATIVE_INT
)
#: Part of a stage's epochs in which DrNAS leaves alphas as they are.
_FROZEN_PART = 0.2
_DARTS_EPOCHS = (50,)
_DRNAS_EPOCHS = (50, 50)
_DRNAS_PARTIAL_CHANNELS = (4, 2)


@dataclass(frozen=True)
class Stage:
    """A part of a search (DrNAS).

    Args:
        epochs: Number of epochs. At least 1.
        partial_channels: One over the share of channels that go through operations.
        keep_ops: Number of operations left on every edge, at least 2; None for all.
        freeze_epochs: Number of first epochs, in which alphas stay as they are.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> SearchConfig(stages=(Stage(20), Stage(10, keep_ops=3))).epochs
        30
    """

    epochs: int
    partial_channels: int = 1
    keep_ops: int | None = None
    freeze_epochs: int = 0

    def __post_init__(self) -> None:
        check_settings(_STAGE_KINDS, vars(self))
        if self.epochs < 1:
            raise ValueError(f"The epochs of a stage must be at least 1, got {self.epochs}.")
        if self.partial_channels < 1:
            raise ValueError(f"partial_channels must be at least 1, got {self.partial_channels}.")
        if self.keep_ops is not None and self.keep_ops < 2:
            raise ValueError(
                f"keep_ops must be at least 2, to leave a choice, got {self.keep_ops}."
            )
        if not 0 <= self.freeze_epochs < self.epochs:
            raise ValueError(
                f"freeze_epochs must leave at least one of the {self.epochs} epochs of a stage to "
                f"move alphas in, got {self.freeze_epochs}."
            )


@dataclass(frozen=True)
class SearchConfig(Options):
    """What decides the result of a differentiable search beside its weights' recipe.

    Args:
        relaxation: How alphas become weights of operations.
        gradient: Name of the gradient that alphas follow. Those of TSE need no validation images.
        tse_batches: K, the number of minibatches per step of alphas with TSE; an epoch's last group
            is smaller.
        alpha_lr: Learning rate of the alphas' Adam.
        alpha_betas: Betas of the alphas' Adam.
        alpha_weight_decay: Weight decay of the alphas' Adam, added to the gradient; with relaxation
            "dirichlet-kl" the divergence takes its place, and it should be 0.
        macs_penalty: Weight, in nats, of the expected multiply-accumulates of the mixture, relative
            to those of the heaviest architecture of the mixture. Every edge counts, also where the
            derived cell would leave it unreached.
        max_skips: Skip connections a derived cell may have; the lightest ones beyond make way for
            other operations. None for any number.
        exclude_none: Whether the derived cell has the heaviest operations other than none, as in
            DARTS' own space; otherwise an edge of NAS-Bench-201 may be left out.
        stages: The stages in the order they are run in.
        seed: Seed of the alphas and of what is drawn.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> SearchConfig(relaxation="gumbel", stages=(Stage(10),)).epochs
        10
    """

    relaxation: RelaxationName = option(
        "softmax",
        "how architecture parameters become weights of operations",
        choices=RELAXATIONS,
        default_text="softmax for darts, dirichlet for drnas, gumbel for gdas",
    )
    gradient: GradientName = option(
        "first-order",
        "what architecture parameters follow; the second order needs --opt momentum",
        choices=GRADIENTS,
        flag="--arch-gradient",
        default_text="first-order, tse-joint for algorithms with tse",
    )
    tse_batches: int = option(
        100, "of tse: minibatches per step of the parameters", kinds.BATCH, metavar="K"
    )
    alpha_lr: float = option(3e-4, "of Adam", kinds.POSITIVE, metavar="LR")
    alpha_betas: tuple[float, float] = option(
        (0.5, 0.999), "of Adam", kinds.RATE, nargs=2, metavar="B"
    )
    alpha_weight_decay: float = option(
        1e-3,
        "of Adam",
        kinds.NON_NEGATIVE,
        metavar="WD",
        default_text="0.001; 0 with dirichlet-kl, which has a penalty in its place",
    )
    macs_penalty: float = option(
        0.0,
        "weight, in nats, of the expected MACs of the mixture, in which every edge counts, "
        "relative to those of the heaviest operations on all edges",
        kinds.NON_NEGATIVE,
        metavar="W",
    )
    max_skips: int | None = option(
        None,
        "skip connections that a derived cell may have; the lightest ones beyond make way",
        kinds.NON_NEGATIVE_INT,
        metavar="N",
        default_text="any number",
    )
    exclude_none: bool = option(
        False,
        "nasbench201: keep the heaviest operation other than none on every edge, as darts and "
        "nasnet always do",
        default_text="none may win",
    )
    stages: tuple[Stage, ...] = (Stage(50),)
    seed: int = option(0, "", kinds.SEED, metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_list("stages", self.stages, Stage, "(Stage(epochs=50),) is one")
        if not self.stages:
            raise ValueError("There must be at least one stage, got none.")
        kept = [stage.keep_ops for stage in self.stages]
        for before, after in zip(kept, kept[1:], strict=False):
            if before is not None and (after is None or after > before):
                raise ValueError(
                    f"keep_ops must not rise from stage to stage, got {before}, then {after}."
                )
        partial = [stage.partial_channels for stage in self.stages]
        if partial != sorted(partial, reverse=True):
            raise ValueError(
                "partial_channels must not rise from stage to stage, so that operations only get "
                f"wider, got {', '.join(map(str, partial))}."
            )

    @property
    def epochs(self) -> int:
        """Number of epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def uses_tse(self) -> bool:
        """Whether alphas follow training losses."""
        return self.gradient.startswith("tse")


@dataclass(frozen=True)
class StageOptions(Options):
    """The stages of a search, one value for each; what is given is given for as many.

    Args:
        epochs: Epochs of each stage; None for those of the algorithm, as for all.
        partial_channels: One over the share of channels that go through operations.
        keep_ops: Operations on every edge; all of them in the first stage.
        freeze_epochs: First epochs of a stage that train weights alone.

    Raises:
        ValueError: If a value is out of range, or they are of different lengths.

    Example:
        >>> StageOptions(epochs=(10, 5)).of("drnas", "nasbench201")[1]
        Stage(epochs=5, partial_channels=2, keep_ops=3, freeze_epochs=1)
    """

    epochs: tuple[int, ...] | None = option(
        None, "", kinds.POSITIVE_INT, nargs="+", metavar="N", default_text="50; 50 50 for drnas"
    )
    partial_channels: tuple[int, ...] | None = option(
        None,
        "one of every K channels goes through operations",
        kinds.POSITIVE_INT,
        nargs="+",
        metavar="K",
        default_text="1; 4 2 for drnas",
    )
    keep_ops: tuple[int, ...] | None = option(
        None,
        "operations on every edge; all in the first stage",
        kinds.AT_LEAST_TWO,
        nargs="+",
        metavar="N",
        default_text="all; drnas in its second stage 3 for nasbench201, else 4",
    )
    freeze_epochs: tuple[int, ...] | None = option(
        None,
        "first epochs of a stage that train weights alone",
        kinds.NON_NEGATIVE_INT,
        nargs="+",
        metavar="N",
        default_text="0; a fifth for drnas",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self._given
        if len({len(values) for values in given.values()}) > 1:
            shown = ", ".join(
                f"{flag(name)} {' '.join(map(str, values))}" for name, values in given.items()
            )
            raise ValueError(
                f"Options of stages must have as many values as there are, got {shown}."
            )

    @property
    def _given(self) -> dict[str, tuple[int, ...]]:
        return {name: values for name, values in vars(self).items() if values is not None}

    def of(self, name: str, space: str) -> tuple[Stage, ...]:
        """Returns the stages, those of an algorithm where nothing else is said.

        Args:
            name: One of ``GRADIENT_ALGORITHMS``.
            space: Space that is searched.

        Raises:
            ValueError: If a value is out of range, or given for other stages than there are.
        """
        given, is_drnas = self._given, gradient_algorithm(name).has_two_stages
        epochs = self.epochs or (_DRNAS_EPOCHS if is_drnas else _DARTS_EPOCHS)
        if given and self.epochs is None and len(next(iter(given.values()))) != len(epochs):
            raise ValueError(
                f"{flag(next(iter(given)))} is for other stages than the "
                f"{len(epochs)} of {name}; give --epochs for as many."
            )
        # DrNAS' own only fit its own number of stages
        has_shape = is_drnas and len(epochs) == len(_DRNAS_EPOCHS)
        same = [1] * len(epochs)
        partial = self.partial_channels or (_DRNAS_PARTIAL_CHANNELS if has_shape else same)
        none = [None] * len(epochs)
        keep = self.keep_ops or ((None, SPACES.find(space).drnas_operations) if has_shape else none)
        freeze = self.freeze_epochs
        if freeze is None:
            freeze = tuple(round(_FROZEN_PART * n) if is_drnas else 0 for n in epochs)
        return tuple(Stage(*values) for values in zip(epochs, partial, keep, freeze, strict=True))


@dataclass(frozen=True)
class GradientAlgorithm:
    """What the name of an algorithm by gradients stands for.

    Args:
        relaxation: How alphas become weights of operations.
        gradient: Name of the gradient that alphas follow.
        has_two_stages: Whether the search has DrNAS' two stages, or DARTS' one.
    """

    relaxation: RelaxationName
    gradient: GradientName
    has_two_stages: bool = False


GRADIENT_ALGORITHMS = {
    "darts": GradientAlgorithm("softmax", "first-order"),
    "darts-tse": GradientAlgorithm("softmax", "tse-joint"),
    "drnas": GradientAlgorithm("dirichlet", "first-order", has_two_stages=True),
    "drnas-tse": GradientAlgorithm("dirichlet", "tse-joint", has_two_stages=True),
    "gdas": GradientAlgorithm("gumbel", "first-order"),
}


def gradient_algorithm(name: str) -> GradientAlgorithm:
    """Returns what a name in ``GRADIENT_ALGORITHMS`` stands for.

    Raises:
        ValueError: If there is none.
    """
    if name not in GRADIENT_ALGORITHMS:
        known = ", ".join(GRADIENT_ALGORITHMS)
        raise ValueError(f"Unknown algorithm {name!r}; choose from {known}.")
    return GRADIENT_ALGORITHMS[name]


def search_config(
    name: str,
    space: str = "nasbench201",
    stages: StageOptions | None = None,
    given: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """Builds the settings of a search by gradients, with those of its algorithm as defaults.

    Args:
        name: One of ``GRADIENT_ALGORITHMS``.
        space: Space that is searched.
        stages: The stages; None for the algorithm's.
        given: Fields of ``SearchConfig`` that are not to be as the algorithm has them.

    Raises:
        ValueError: If a value is out of range, of another space, or would have no effect.

    Example:
        >>> search_config("gdas", given={"alpha_lr": 0.001}).relaxation
        'gumbel'
    """
    algorithm = gradient_algorithm(name)
    check_instance(
        "stages", stages, (StageOptions, type(None)), "StageOptions(epochs=(20,)) is one"
    )
    check_instance("given", given, (Mapping, type(None)), "{'alpha_lr': 0.001} is one")
    given = dict(given or {})
    if "stages" in given:
        raise ValueError("Stages are given as stages=StageOptions(...), not among the fields.")
    known = [field.name for field in fields(SearchConfig) if field.name != "stages"]
    unknown = [field for field in given if field not in known]
    if unknown:
        raise ValueError(unknown_names("Settings of a search by gradients", unknown, known))
    settings = {"relaxation": algorithm.relaxation, "gradient": algorithm.gradient, **given}
    if settings["relaxation"] == "dirichlet-kl":
        settings.setdefault("alpha_weight_decay", 0.0)
    if "exclude_none" in given and not SPACES.find(space).derives_none:
        deriving = spaces_with("derives_none")
        raise ValueError(f"--exclude-none is for --space {one_of(deriving)}, not {space}.")
    if "tse_batches" in given and not settings["gradient"].startswith("tse"):
        raise ValueError(
            f"--tse-batches is for gradients of TSE, not for {settings['gradient']}; leave it out, "
            "or choose --arch-gradient tse-joint."
        )
    return SearchConfig(**settings, stages=(stages or StageOptions()).of(name, space))
