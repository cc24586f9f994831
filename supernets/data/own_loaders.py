"""PyTorch ``DataLoader``s of one's own: minibatches as they come, for data that only they can make.

What they cannot do is said once: splits are not drawn, and a training that was stopped is not
continued to the same bits, as nobody knows what their workers draw.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from supernets.data.axes import look_swapped
from supernets.data.image_loader import Loader
from supernets.data.own_minibatches import checked_minibatch
from supernets.data.rebatching import rebatched, without_single_images
from supernets.runtime.option_types import shown
from supernets.runtime.own_code import OwnCodeError, running_own
from supernets.runtime.wording import one_of, some

logger = logging.getLogger(__name__)

_SPLITS = ("train", "val", "test")


class OwnLoader(Loader):
    """Minibatches of a ``DataLoader``, cut to another size.

    Its order is drawn anew for every epoch from the seed, if it shuffles; what its transforms draw
    is its own affair.

    Args:
        loader: Yields ``(x, y)`` with x (N, C, H, W) float and y (N,) int64.
        batch_size: Images per minibatch, whatever the loader's.
        device: Device that the minibatches are moved to.
        seed: Seed of its order.
        what: What it is called in messages.
        class_names: Names of the classes, whose labels are from 0 on.

    Raises:
        ValueError: If it does not say how many images it has, or has none.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        batch_size: int,
        device: torch.device,
        seed: int,
        what: str,
        class_names: Sequence[str],
    ) -> None:
        self._loader, self._device, self._seed, self._what = loader, device, seed, what
        self._class_names = class_names
        self.batch_size = batch_size
        self.num_images = _num_images(loader, what)
        #: Size that its images have to have, as (channels, height, width), once that is known.
        self.size: tuple[int, int, int] | None = None
        if self.num_images == 0:
            raise ValueError(f"{what} has no images, or not enough for a minibatch of it.")

    def __len__(self) -> int:
        """The number of minibatches of an epoch; a last one of a single image joins another."""
        whole, rest = divmod(self.num_images, self.batch_size)
        return max(whole + (rest > 1), 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterates over the minibatches of one epoch, without the first ``start``."""
        self._check_epoch(epoch, start)
        return self._minibatches(epoch, start)

    def _minibatches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        minibatches = rebatched(map(self._checked, self._given(epoch)), self.batch_size)
        yield from itertools.islice(without_single_images(minibatches), start, None)

    def _given(self, epoch: int) -> Iterator[Any]:
        """The minibatches as the loader has them."""
        order = torch.Generator().manual_seed((self._seed << 16) + epoch)
        samplers: list[Any] = [
            self._loader.sampler,
            getattr(self._loader.batch_sampler, "sampler", None),
        ]
        for each in (self._loader, *samplers):  # all draw from theirs
            if getattr(each, "generator", self) is not self:
                each.generator = order
        for sampler in dict.fromkeys(samplers):
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
        with running_own(self._what):
            yield from self._loader

    def _checked(self, minibatch: Any) -> tuple[Tensor, Tensor]:
        """A minibatch on the device, of the kinds that are computed with."""
        x, y = checked_minibatch(minibatch, self._what)
        wrong = y[(y < 0) | (y >= len(self._class_names))]
        if len(wrong):
            raise OwnCodeError(
                f"Labels of {self._what} must be from 0 to {len(self._class_names) - 1}, as there "
                f"are {len(self._class_names)} classes, got {some(sorted(set(wrong.tolist())))}."
            )
        if self.size is not None and tuple(x.shape[1:]) != self.size:
            raise OwnCodeError(
                f"Images of {self._what} must be {self.size} as (channels, height, width), as the "
                f"first of train, got {tuple(x.shape[1:])}; make them so there."
            )
        x = x.to(self._device).contiguous(memory_format=torch.channels_last)
        return x, y.to(self._device)

    def image_shape(self) -> tuple[int, int, int]:
        """Returns (channels, height, width) of its first image.

        Raises:
            ValueError: If it yields something else than minibatches of images.
        """
        given = next(self._given(0), None)
        if given is None:
            raise ValueError(f"{self._what} yields no minibatch.")
        x, _ = self._checked(given)
        channels, height, width = x.shape[1:]
        if look_swapped((channels, height, width), 0):
            raise ValueError(
                f"The axes of images of {self._what} look swapped: they must be (N, C, H, W), got "
                f"{tuple(x.shape)}; permute(0, 3, 1, 2) them there."
            )
        if height != width:
            raise ValueError(
                f"Images of {self._what} must be squares, got {height}x{width}; resize them there."
            )
        return channels, height, width


def size_of_images(loaders: Mapping[str, OwnLoader]) -> tuple[int, int, int]:
    """Returns (channels, height, width) of the images of all splits, which all of them then have.

    Reads the first minibatch of each.

    Args:
        loaders: The loaders by split.

    Raises:
        ValueError: If the images of a split are others than those of train, or none.
    """
    size = loaders["train"].image_shape()
    for split in loaders:
        loaders[split].size = size
    others = {id(each._loader): each for each in (loaders["val"], loaders["test"])}
    for each in others.values():
        each.image_shape()
    return size


def are_loaders(parts: Mapping[str, Any]) -> bool:
    """Returns whether what a function made are loaders rather than data sets."""
    return any(isinstance(part, DataLoader) for part in parts.values())


def own_loaders(
    parts: Mapping[str, Any],
    *,
    name: str,
    batch_size: int,
    eval_batch_size: int,
    device: torch.device,
    seed: int,
) -> tuple[dict[str, OwnLoader], tuple[str, ...]]:
    """Returns the loaders of the splits, and the names of the classes.

    Args:
        parts: ``DataLoader``s by split: train, val and, if there is one, test.
        name: What made them, for messages.
        batch_size: Images per minibatch of train.
        eval_batch_size: Images per minibatch of the others.
        device: Device that the minibatches are moved to.
        seed: Seed of their order.

    Raises:
        ValueError: If a split is missing or no loader, or the number of classes is not known.
    """
    others = [split for split, part in parts.items() if not isinstance(part, DataLoader)]
    if others or not {"train", "val"} <= set(parts):
        raise ValueError(
            f"{name} must make DataLoaders of train, val and, if there is one, test, or data sets "
            f"of all, got DataLoaders of {one_of([s for s in parts if s not in others])} alone."
        )
    classes = getattr(parts["train"].dataset, "classes", None)
    if not isinstance(classes, Iterable) or not isinstance(classes, Sized) or len(classes) < 2:
        raise ValueError(
            f"{name} must say which classes there are, as attribute classes of the data set of its "
            f"train loader, got {shown(classes)}."
        )
    if "test" not in parts:
        logger.warning("%s has no test split; val is taken for it.", name)
    logger.warning(
        "%s makes DataLoaders: images are trained on and measured as they give them, and a "
        "training that is stopped is continued, but not to the same bits. Data sets in their place "
        "are.",
        name,
    )
    names = tuple(map(str, classes))
    of = {"train": "train", "train_eval": "train", "val": "val"}
    of["test"] = "test" if "test" in parts else "val"
    return {
        split: OwnLoader(
            parts[source],
            batch_size if source == "train" else eval_batch_size,
            device,
            seed,
            f"{source} of {name}",
            names,
        )
        for split, source in of.items()
    }, names


def _num_images(loader: DataLoader[Any], what: str) -> int:
    try:
        num_batches = len(loader)
    except TypeError as error:
        raise ValueError(f"{what} must have a length; give its data set a __len__.") from error
    if loader.batch_size is None:
        if loader.batch_sampler is None:
            raise ValueError(
                f"{what} must say how many images a minibatch has; give it a batch_size, or a "
                "batch_sampler."
            )
        return sum(map(len, loader.batch_sampler))
    sampler: Any = loader.sampler
    num_images = len(sampler) if isinstance(sampler, Sized) else len(loader.dataset)  # type: ignore[arg-type]
    return num_batches * loader.batch_size if loader.drop_last else num_images
