"""What ``supernet-retrain`` starts from: an exported subnet, or an architecture alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from supernets.data.names import is_known
from supernets.data.own_sets import check_set_trusted, located_set
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.export.architecture_file import read_notation
from supernets.export.files import RECORD
from supernets.export.folder import load_subnet, read_subnet_record
from supernets.networks.factory import create_supernet, settings_of_subnet
from supernets.networks.names import STEMS
from supernets.networks.nasnet_subnet import default_stem
from supernets.runtime.foreign_fields import check_field, fields_of, naming_field
from supernets.spaces.factory import SPACES, create_space, spaces_with


@dataclass(frozen=True)
class RetrainSource:
    """An architecture, and what is known of a network of it.

    Args:
        name: What the user gave to name the network, for messages.
        space: Name of the search space.
        architecture: The architecture in the space's notation.
        settings: Settings of the network: those it was exported with, or the space's defaults.
        provenance: What the record of a training says of where the network came from.
        data: What the record of an export says of its data; None of an architecture alone.
        weights: The exported network, with its weights; None of an architecture alone.
        weights_sha256: Checksum of their file, as the record of the export has it.

    Example:
        >>> source = RetrainSource.of_architecture(
        ...     "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", "nasbench201"
        ... )
        >>> source.settings["cells_per_stage"], source.weights
        (5, None)
    """

    name: str
    space: str
    architecture: str
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    data: Mapping[str, Any] | None = None
    weights: nn.Module | None = None
    weights_sha256: str | None = None

    @classmethod
    def of_subnet(
        cls, folder: str | Path, space: str | None = None, *, trust_code: bool = False
    ) -> RetrainSource:
        """Reads an exported subnet.

        Args:
            folder: Folder of the export.
            space: Name of the space it is expected to be of; None for any.
            trust_code: Whether the code of a space that is not built in may be imported.

        Raises:
            ValueError: If it cannot be read, is of another space, or is not trusted.
        """
        folder = Path(folder)
        expected = None if space is None else SPACES.find(space).name
        weights = load_subnet(folder, trust_code=trust_code)
        record = read_subnet_record(folder, trust_code=trust_code)
        check_set_trusted(folder, record["data"].get("dataset"), trust_code=trust_code)
        if expected not in (None, record["space"]):
            raise ValueError(
                f"{folder} is a subnet of space {record['space']!r}, not {space!r}; leave --space "
                "out or pass another --subnet."
            )
        return cls(
            name=str(folder),
            space=record["space"],
            architecture=record["architecture"],
            settings=record["settings"],
            provenance={"subnet": str(folder), "exported": record["provenance"]},
            data=record["data"],
            weights=weights,
            weights_sha256=record["weights_sha256"],
        )

    @classmethod
    def of_architecture(
        cls, text: str, space: str | None = None, *, trust_code: bool = False
    ) -> RetrainSource:
        """Reads an architecture from its notation or from the ``best.json`` of a search.

        Args:
            text: The notation, or the path of the file.
            space: Name of the search space; None for that of the file.
            trust_code: Whether the code of a space that is not built in may be imported.

        Raises:
            ValueError: If it cannot be read, is of another space, or there are no networks of its
                space or of its resolution.
        """
        asked = None if space is None else SPACES.find(space).name
        found, notation, trial = read_notation(text, trust_code=trust_code)
        if found is not None and asked not in (None, found):
            raise ValueError(
                f"{text} is from space {found!r}, not {space!r}; leave --space out or pass "
                "another --arch."
            )
        name = found or space
        if name is None:
            raise ValueError(
                "--arch in a space's notation needs --space; choose from "
                f"{', '.join(SPACES.names())}."
            )
        definition = SPACES.find(name)
        if not definition.has_networks:
            raise ValueError(
                f"{text} is from space {name!r}, which has no networks to train; those that have "
                f"are {', '.join(spaces_with('has_networks'))}."
            )
        if "resolutions" in definition.space_settings and ";r=" in notation:
            raise ValueError(
                f"{notation!r} has one of the resolutions that its supernet searched; export it "
                "and pass --subnet, or leave ';r=…' out and pass that as --image-size."
            )
        search_space = create_space(name)
        arch = search_space.parse(notation)
        with torch.device("meta"):  # no weights are needed to know the defaults
            defaults = create_supernet(name, num_classes=2).settings
        return cls(
            name=text,
            space=search_space.name,
            architecture=search_space.format(arch),
            settings=settings_of_subnet(name, defaults),
            provenance={"arch": text, **({"trial": trial} if trial else {})},
        )

    def network_settings(
        self,
        num_classes: int,
        input_size: tuple[int, int, int],
        sizes: Mapping[str, Any],
        *,
        keep_weights: bool,
    ) -> dict[str, Any]:
        """Returns the settings of the network to train: these, with the data and ``sizes``.

        Args:
            num_classes: Number of classes of the data.
            input_size: Size of the images, as (channels, height, width).
            sizes: The settings that were asked for.
            keep_weights: Whether the network starts from the exported weights.

        Raises:
            ValueError: If the images call for another stem than that of the export.
        """
        settings = {
            **self.settings,
            "num_classes": num_classes,
            "input_size": input_size,
            **sizes,
        }
        if "stem" in self.settings and "stem" not in sizes and not keep_weights:
            old, stem = self.settings["input_size"], default_stem(input_size)
            if self.weights is None:
                settings["stem"] = stem
            elif default_stem(old) != stem:
                raise ValueError(
                    f"{self.name} has stem {settings['stem']} for images of {old[1]} pixels, these "
                    f"have {input_size[1]}; pass --stem {' or --stem '.join(STEMS)}."
                )
        return settings

    def data_fields(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns fields of ``DataConfig`` that open the data of the export again.

        Args:
            given: Fields that were asked for otherwise.

        Raises:
            ValueError: If the record does not say enough, or what could not be opened.
        """
        stored, path = self.data or {}, Path(self.name) / RECORD
        if not {"dataset", "image_size", "val_fraction", "seed", "split_digest"} <= stored.keys():
            raise ValueError(f"{self.name} does not say what it was trained on; pass --dataset.")
        dataset, folder = stored["dataset"], stored.get("data_dir")
        check_field(is_known(dataset), path, "dataset", "a known one", dataset)
        check_field(folder is None or isinstance(folder, str), path, "data_dir", "a folder", folder)
        recorded = {
            "dataset": located_set(path, dataset),
            "image_size": stored["image_size"],
            "val_fraction": stored["val_fraction"],
            # the number would win over a fraction
            "num_val": None if "val_fraction" in given else stored.get("requested_num_val"),
            "cutout": stored.get("cutout"),
            "data_dir": None if folder is None else Path(folder),
            "skip_bad_images": bool(stored.get("skip_bad_images")),
        }
        with fields_of(path), naming_field(path, "data"):  # refuses what would not open
            if "augmentation" in stored:
                recorded["augmentation"] = TimmAugmentation(**stored["augmentation"])
                recorded["timm_options"] = TimmOptions(**stored.get("timm_options", {}))
        found = {name: value for name, value in {**recorded, **given}.items() if value is not None}
        if "data_dir" not in found and dataset in ("cifar10", "cifar100", "folder", "timm"):
            raise ValueError(
                f"{self.name} does not say where its images lie ({dataset}), only names of "
                "folders below the current one are kept; pass --data-dir."
            )
        return found
