"""The data sets with random access to their images, each opened as one ``ImageSet``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, CIFAR100

from supernets.data.image_folder import FolderReader, find_images, fit_square, guess_image_size
from supernets.data.image_loader import Augmentation, ImageReader
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.data.timm_readers import TimmReader, open_images
from supernets.data.timm_transforms import MEAN, STD, eval_transform, train_transform

# Of NAS-Bench-201's code, on the scale 0..255.
_CIFAR_MEAN = {"cifar10": (125.3, 123.0, 113.9), "cifar100": (129.3, 124.1, 112.4)}
_CIFAR_STD = {"cifar10": (63.0, 62.1, 66.7), "cifar100": (68.2, 65.4, 70.4)}


@dataclass(frozen=True)
class ImageSet:
    """All images of a data set and the splits it comes with."""

    reader: ImageReader
    labels: NDArray[np.int64]  # (num_images,)
    class_names: tuple[str, ...]
    splits: dict[str, NDArray[np.int64]]  # "train" and, unless they are to be drawn, "val", "test"
    mean: tuple[float, ...] = MEAN  # per channel, of pixels scaled to 0..1
    std: tuple[float, ...] = STD
    augmentation: Augmentation | None = None  # of the minibatches of training
    augmenting_reader: ImageReader | None = None  # in its place: for training
    path: Callable[[int], Path] | None = None  # the file of each image, where they have one
    passed_over: Counter[str] | None = None  # the number of files not used, by reason


def open_digits(image_size: int | None) -> ImageSet:
    """Opens scikit-learn's digits, (1797, 8, 8, 1), in a single split."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    reader = ArrayReader(images, [str(index) for index in range(len(images))], image_size)
    return ImageSet(
        reader=reader,
        labels=bunch.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        splits={"train": np.arange(len(images))},
        mean=(0.305,),
        std=(0.376,),
        augmentation=Augmentation(pad=reader.shape[0] // 8, flip=False),
    )


def open_cifar(dataset: str, data_dir: Path, image_size: int | None, download: bool) -> ImageSet:
    """Opens torchvision's "cifar10" or "cifar100", with the official test split.

    Raises:
        ValueError: If it is missing or cannot be downloaded.
    """
    cifar = CIFAR10 if dataset == "cifar10" else CIFAR100
    try:
        train = cifar(data_dir, train=True, download=download)
        test = cifar(data_dir, train=False, download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise ValueError(f"Cannot download {dataset} to {data_dir} ({error}).") from error
        raise ValueError(
            f"{dataset} is missing or incomplete in {data_dir}; "
            "pass --download, or its folder as --data-dir."
        ) from error
    num_train = len(train.data)
    names = [f"train/{i}" for i in range(num_train)] + [f"test/{i}" for i in range(len(test.data))]
    reader = ArrayReader(np.concatenate([train.data, test.data]), names, image_size)
    return ImageSet(
        reader=reader,
        labels=np.array(train.targets + test.targets, np.int64),
        class_names=tuple(train.classes),
        splits={"train": np.arange(num_train), "test": np.arange(num_train, len(names))},
        mean=tuple(value / 255 for value in _CIFAR_MEAN[dataset]),
        std=tuple(value / 255 for value in _CIFAR_STD[dataset]),
        augmentation=Augmentation(pad=reader.shape[0] // 8, flip=True),
    )


def open_folder(data_dir: Path, image_size: int | None, skip_bad_images: bool) -> ImageSet:
    """Opens images in one folder per class, as central squares; see ``image_folder``.

    Raises:
        ValueError: If the folders are unfit, or no image tells the size.
    """
    folder = find_images(data_dir)
    if len(folder.class_names) < 2:
        raise ValueError(
            f"{data_dir} has the single class {folder.class_names[0]!r}; add at least another."
        )
    if image_size is None:
        image_size = guess_image_size(folder, skip_bad_images)
    return ImageSet(
        reader=FolderReader(folder, image_size),
        labels=folder.labels,
        class_names=folder.class_names,
        splits=folder.splits,
        path=folder.path,
        passed_over=folder.passed_over,
        augmentation=Augmentation(pad=image_size // 8, flip=True),
    )


def open_timm(
    dataset: str,
    data_dir: Path | None,
    image_size: int,
    augmentation: TimmAugmentation,
    options: TimmOptions,
    seed: int,
    download: bool,
) -> ImageSet:
    """Opens images that timm's readers and transforms give; see ``timm_readers``.

    Raises:
        ValueError: If the data are missing or unfit.
    """
    images = open_images(dataset, data_dir, options, download=download)
    evaluated = eval_transform(image_size, options.crop_pct, augmentation.interpolation)
    augmented = train_transform(image_size, augmentation)
    return ImageSet(
        reader=TimmReader(images, image_size, evaluated, seed),
        labels=images.labels,
        class_names=images.class_names,
        splits=images.splits,
        path=images.path if images.has_files else None,
        passed_over=images.passed_over,
        augmenting_reader=TimmReader(images, image_size, augmented, seed),
    )


class ArrayReader:
    """Images of an array (num_images, H, W, C), resized to ``image_size`` unless that is None."""

    def __init__(self, images: NDArray[np.uint8], names: list[str], image_size: int | None) -> None:
        size = image_size or images.shape[1]
        self.shape = (size, size, images.shape[3])
        self._images = images
        self._names = names

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        return self._names[index]

    def read(self, index: int, epoch: int = 0) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self._images[index]
        if image.shape == self.shape:
            return image
        plane = image[:, :, 0] if image.shape[2] == 1 else image
        return fit_square(Image.fromarray(plane), self.shape[0])
