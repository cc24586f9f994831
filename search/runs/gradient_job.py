"""What a search by gradients is to do, as options of its command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import supernets.runtime.option_types as kinds
from estimators.scores.settings import TableSettings
from search.differentiable.search_config import SearchConfig, search_config
from supernets.data.config import DataConfig
from supernets.networks.settings import settings_class
from supernets.runtime.instances import check_instance
from supernets.runtime.options import Options, option, options_of
from supernets.runtime.wording import one_of, unknown_names
from supernets.spaces.factory import SPACES, spaces_with
from supernets.training.supernet_config import TrainConfig

#: Share of the training images that alphas learn from.
VAL_FRACTION = 0.5
_CLIP_GRAD = 5.0
#: How weights are trained, where it is not as a supernet's are.
RECIPE: Mapping[str, Any] = {
    "opt": "momentum",
    "weight_decay": 3e-4,
    "inactive_grads": "skip",
    "num_probes": 0,
}
#: Options of a recipe that a search has.
RECIPE_OPTIONS = (
    *("opt", "lr", "min_lr", "momentum", "weight_decay", "sched", "warmup_epochs"),
    *("channels_last", "kernels"),
)


@dataclass(frozen=True)
class GradientBasics(Options):
    """The least that a search by gradients is told.

    Args:
        algorithm: One of ``GRADIENT_ALGORITHMS``.
        space: One of the spaces that have a network of all operations at once.
        batch_size: Images per minibatch and process.
        clip_grad: Largest norm of the weights' gradient, 0 for none; None for 5, or none with
            gradients of TSE.
    """

    algorithm: str = option("darts", "", kinds.name)
    space: str = option("nasbench201", "", SPACES, metavar="NAME")
    batch_size: int = option(64, "images per process", kinds.BATCH, metavar="N")
    clip_grad: float | None = option(
        None,
        "largest gradient norm; 0 for none",
        kinds.NON_NEGATIVE,
        metavar="NORM",
        default_text=f"{_CLIP_GRAD:g}; none with tse",
    )

    def recipe(self, config: SearchConfig, amp: bool, given: Mapping[str, Any]) -> TrainConfig:
        """Builds the recipe that the weights are trained with.

        Args:
            config: Settings of the search.
            amp: Whether to compute in bfloat16 autocast.
            given: Fields of the recipe that are not to be as searches have them.

        Raises:
            ValueError: If a value is out of range.
        """
        clip_grad = self.clip_grad
        if clip_grad is None and not config.uses_tse:
            clip_grad = _CLIP_GRAD
        return TrainConfig(
            **{**RECIPE, **given},
            epochs=config.epochs,
            clip_grad=clip_grad or None,
            amp=amp,
            seed=config.seed,
        )


@dataclass(frozen=True)
class GradientJob:
    """A search by gradients of architecture parameters.

    Args:
        algorithm: One of ``GRADIENT_ALGORITHMS``, the default of ``config``.
        space: One of the spaces that have a network of all operations at once.
        config: Settings of the search; None for those of the algorithm. Its relaxation and gradient
            may be others, as by ``--relaxation`` and ``--arch-gradient``: ``best.json`` names all.
        recipe: Recipe of the weights, with as many epochs; None for that of searches.
        network: Settings of the network other than its defaults, such as ``{"channels": 8}``.
        data: Which data; weights learn from one part, alphas from the rest, unless they follow
            training losses.
        batch_size: Images per minibatch and process.
        table: Table of true values, for the record alone; None for none.

    Raises:
        ValueError: If the algorithm, the space or a setting is unknown, or not of its kind.

    Example:
        >>> GradientJob("gdas", network={"channels": 8}).settings.relaxation
        'gumbel'
    """

    algorithm: str = "darts"
    space: str = "nasbench201"
    config: SearchConfig | None = None
    recipe: TrainConfig | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig = DataConfig(val_fraction=VAL_FRACTION)
    batch_size: int = 64
    table: TableSettings | None = None

    def __post_init__(self) -> None:
        GradientBasics(self.algorithm, self.space, self.batch_size)
        none = type(None)
        check_instance(
            "config", self.config, (SearchConfig, none), "search_config('darts') makes one"
        )
        check_instance("recipe", self.recipe, (TrainConfig, none), "TrainConfig(lr=0.1) is one")
        check_instance("network", self.network, Mapping, "{'channels': 8} is one")
        check_instance("data", self.data, DataConfig, "DataConfig('digits') names a data set")
        check_instance("table", self.table, (TableSettings, none))
        definition = SPACES.find(self.space)
        if definition.relaxed is None:
            able = spaces_with("relaxed")
            raise ValueError(
                f"Space {definition.name!r} has no network of all operations, which searches by "
                f"gradients train; {one_of(able)} has one."
            )
        settings = settings_class(self.space)
        known = options_of(settings)
        unknown = [name for name in self.network if name not in known]
        if unknown:
            raise ValueError(unknown_names(f"Networks of space {self.space!r}", unknown, known))
        settings(**self.network)  # refuses values that are out of range
        if self.network.get("bn_mode") == "affine":
            raise ValueError("Mixtures have no BatchNorm of their own weights; leave bn_mode out.")
        search_config(self.algorithm, self.space)  # refuses a name that is unknown

    @property
    def settings(self) -> SearchConfig:
        """Settings of the search."""
        return self.config or search_config(self.algorithm, self.space)

    @property
    def weights(self) -> TrainConfig:
        """The recipe of the weights."""
        return self.recipe or GradientBasics().recipe(self.settings, amp=False, given={})
