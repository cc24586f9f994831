"""Which supernet is trained, on what, and how."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import supernets.runtime.option_types as kinds
from supernets.data.config import DataConfig
from supernets.networks.names import OFA_WEIGHTS
from supernets.networks.settings import SupernetSettings, settings_class
from supernets.runtime.instances import check_instance
from supernets.runtime.options import Options, option
from supernets.runtime.wording import flag, one_of
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES, spaces_with
from supernets.training.paths import PATHS, PATHS_NAME, PROGRESSIVE, WHICH_PATHS
from supernets.training.phases import PhaseOptions
from supernets.training.supernet_config import TrainConfig


@dataclass(frozen=True)
class PathOptions(Options):
    """Which paths a step of a supernet's training runs.

    Args:
        paths: One of ``PATHS``, ``PROGRESSIVE``, or where a ``PathsDefinition`` of one's own is;
            None for those of the space.
        macs_bins: Minimum, maximum and number of the bins of ``"macs-bins"``; None for others.
        num_paths: Paths per step; None for the sampler's own.

    Raises:
        ValueError: If a value is out of range, or they do not go together.

    Example:
        >>> PathOptions("macs-bins", macs_bins=(1e7, 2e8, 10)).macs_bins
        (10000000.0, 200000000.0, 10)
    """

    paths: str | None = option(
        None,
        f"paths of a step: {WHICH_PATHS}",
        PATHS_NAME,
        metavar="NAME",
        default_text="fair for nasbench201 and nasbench_macro, sandwich for mobilenetv3, resnet50d "
        "and vit, uniform for others",
    )
    macs_bins: tuple[float, float, int] | None = option(
        None,
        "of --paths macs-bins: NUM bins of equal width from MIN to MAX MACs",
        kinds.NON_NEGATIVE,
        nargs=3,
        metavar=("MIN", "MAX", "NUM"),
    )
    num_paths: int | None = option(
        None, "paths per step", kinds.BATCH, metavar="K", default_text="the sampler's"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named = self.paths not in (None, PROGRESSIVE)
        takes_bins = named and PATHS.find(str(self.paths)).takes_macs_bins
        if takes_bins != (self.macs_bins is not None):
            raise ValueError(
                "--paths macs-bins and --macs-bins MIN MAX NUM go together; give both or neither."
            )
        if self.macs_bins is not None:
            minimum, maximum, num_bins = self.macs_bins
            if not float(num_bins).is_integer():
                raise ValueError(
                    f"The third value of --macs-bins is a number of bins, got {num_bins:g}."
                )
            object.__setattr__(self, "macs_bins", (minimum, maximum, int(num_bins)))


@dataclass(frozen=True)
class ReleasedWeights(Options):
    """Released weights of OFA's that a supernet starts from.

    Args:
        from_ofa: Their file; None for fresh weights.
        ofa_weights: Which of its weights, one of ``OFA_WEIGHTS``; None for averaged ones.

    Raises:
        ValueError: If there is no file to choose from.

    Example:
        >>> ReleasedWeights(ofa_weights="raw")
        Traceback (most recent call last):
            ...
        ValueError: --ofa-weights says which of the weights of --from-ofa to take; give it.
    """

    from_ofa: Path | None = option(
        None,
        "mobilenetv3, resnet50d: start from released OFA weights",
        kinds.path,
        metavar="FILE",
        default_text="fresh weights",
    )
    ofa_weights: str | None = option(
        None,
        "averaged or raw ones, where such a file has both",
        choices=OFA_WEIGHTS,
        default_text="ema",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ofa_weights is not None and self.from_ofa is None:
            raise ValueError(
                "--ofa-weights says which of the weights of --from-ofa to take; give it."
            )


#: What the supernets of some spaces alone can do, by the recipe's rate for it.
_ABILITIES = {"drop_path": "has_drop_path", "aux_weight": "has_auxiliary_head"}


@dataclass(frozen=True)
class TrainJob:
    """Which supernet is trained, on what, and how.

    Args:
        space: Name of the space, or ``package.module:Object`` or ``file.py:Object`` of a
            ``SpaceDefinition``.
        settings: Settings of the supernet, of the space's class; None for its defaults.
        released: Released weights to start from.
        data: Which data.
        batch_size: Images per minibatch and process.
        paths: Which paths a step runs.
        config: The recipe. With progressive paths ``phases`` replace its ``epochs``,
            ``warmup_epochs`` and ``lr``, and ``min_lr`` is 0.
        phases: The plan of progressive shrinking, for ``paths="progressive"``.

    Raises:
        ValueError: If the space is unknown, or has not what is asked for.

    Example:
        >>> job = TrainJob("nasnet", data=DataConfig("digits"), batch_size=128)
        >>> job.sampler, job.recipe.inactive_grads
        ('uniform', 'skip')
    """

    space: str = "nasbench201"
    settings: SupernetSettings | None = None
    released: ReleasedWeights = ReleasedWeights()
    data: DataConfig = DataConfig()
    batch_size: int = 64
    paths: PathOptions = PathOptions()
    config: TrainConfig = field(default_factory=TrainConfig)  # which imports PyTorch
    phases: PhaseOptions = PhaseOptions()

    def __post_init__(self) -> None:
        space = self.definition
        if not space.has_networks:
            raise ValueError(f"There are only tables of space {space.name!r}, nothing to train.")
        check_instance("released", self.released, ReleasedWeights)
        check_instance("data", self.data, DataConfig, "DataConfig('digits') names a data set")
        check_instance("paths", self.paths, PathOptions, "PathOptions('fair') names paths")
        check_instance("config", self.config, TrainConfig, "TrainConfig(epochs=10) sets its fields")
        check_instance("phases", self.phases, PhaseOptions)
        kinds.BATCH.check("batch_size", self.batch_size)
        expected = settings_class(self.space)
        if not isinstance(self.settings, expected | None):
            raise ValueError(
                f"The settings of space {space.name!r} must be {expected.__name__}, got "
                f"{type(self.settings).__name__}."
            )
        for name, ability in _ABILITIES.items():
            if getattr(self.recipe, name) > 0 and not getattr(space, ability):
                raise not_able(flag(name), ability, space)
        if self.sampler == PROGRESSIVE and not space.trains_progressively:
            raise not_able("--paths progressive", "trains_progressively", space)
        if self.released.from_ofa is None:
            if self.recipe.epochs == 0:
                raise ValueError(
                    "--epochs 0 stores released weights as they are; it needs --from-ofa."
                )
        elif not space.released_weights:
            raise not_able("--from-ofa", "released_weights", space)
        elif self.sampler == PROGRESSIVE:
            raise ValueError(
                "--paths progressive trains all phases itself; leave --from-ofa out, or choose "
                "other --paths to go on from released weights."
            )

    @property
    def definition(self) -> SpaceDefinition:
        """The space."""
        return SPACES.find(self.space)

    @property
    def sampler(self) -> str:
        """The paths of a step, or those of the space."""
        return self.paths.paths or self.definition.default_paths

    @property
    def recipe(self) -> TrainConfig:
        """The recipe, with what suits the space where it leaves that open."""
        if self.config.inactive_grads is not None:
            return self.config
        return replace(self.config, inactive_grads=self.definition.inactive_grads)


def not_able(what: str, ability: str, space: SpaceDefinition) -> ValueError:
    """Builds the error for an option of spaces with an ability that this space does not have.

    Args:
        what: The option.
        ability: Name of the field of ``SpaceDefinition`` that says which spaces have it.
        space: The space.
    """
    return ValueError(f"{what} is for --space {one_of(spaces_with(ability))}, not {space.name}.")
