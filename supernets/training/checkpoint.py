"""Self-describing supernet checkpoints, written atomically and read with ``weights_only=True``."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import torch

from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.data.own_sets import check_set_trusted, located_set
from supernets.data.timm_options import TimmAugmentation, TimmOptions, as_before_val_beside_test
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.foreign_fields import (
    check_dict,
    check_shapes,
    check_weights,
    fields_of,
    naming_field,
)
from supernets.runtime.option_types import shown
from supernets.runtime.wording import some
from supernets.spaces.code_of_files import (
    check_options,
    code_of,
    options_of,
    space_of_file,
    warn_of_other_code,
)
from supernets.spaces.factory import SPACES
from supernets.training.checkpoint_fields import check_training

#: Whatever reading an archive of something else meets.
_UNPICKLING_ERRORS = (
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)
FORMAT = "paceline-supernet"
VERSION = 1


def save_supernet(path: str | Path, supernet: Supernet, **training_state: Any) -> None:
    """Writes a checkpoint that ``load_supernet`` rebuilds the supernet from.

    Args:
        path: The file; replaced only once the new one is complete on disk.
        supernet: The supernet whose space, settings and weights are stored.
        **training_state: Further entries, of plain types and tensors only.
    """
    checkpoint = {
        "format": FORMAT,
        "version": VERSION,
        "space": supernet.space.name,
        **code_of(supernet.space.name),
        **options_of(supernet.space),
        "supernet_settings": supernet.settings,
        "state_dict": supernet.state_dict(),
        **training_state,
    }
    write_archive(Path(path), checkpoint)


def write_archive(path: Path, content: object) -> None:
    """Writes what ``torch.load`` reads, replacing the file whole.

    Raises:
        OSError: If it cannot be written; ``path`` is then as it was before.
    """
    with atomic_write(path, "wb") as file:
        target = _ErrorKeeper(file)
        torch.save(content, cast(IO[bytes], target))
        if target.error is not None:
            raise target.error


class _ErrorKeeper:
    """A file that keeps the first error of writing.

    PyTorch's archive writer would put an error of its own, of positions, in its place, or abort.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes bytes, or nothing once an error has come."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Leaves that to the file's owner."""


def read_checkpoint(path: Path, *, trust_code: bool = False) -> dict[str, Any]:
    """Reads a checkpoint of a supernet onto the CPU and checks that it is one of ours.

    Args:
        path: The file.
        trust_code: Whether the code of a space that is not built in may be imported, if the file
            names some; without a question where this process has loaded it already.

    Raises:
        ValueError: If the file is missing, truncated, or something else, or its space is unknown or
            not trusted.
    """
    what = "a supernet checkpoint; expected one from supernet-train"
    checkpoint = read_dict(path, FORMAT, VERSION, what)
    space_of_file(path, checkpoint, trust_code=trust_code)
    return checkpoint


def read_dict(path: Path, name: str, version: int, what: str) -> dict[str, Any]:
    """Reads a dict that ``torch.save`` wrote, with its name and version under two keys.

    Args:
        path: The file.
        name: Value that the dict has to hold under ``"format"``.
        version: The newest ``"version"`` that can be read.
        what: Words for what was expected, for messages.

    Raises:
        ValueError: If the file is missing, truncated, too new, or something else.
    """
    if not path.is_file():
        within = path / "last.pt"
        hint = f"; it is a folder, give {within}" if within.is_file() else ""
        raise ValueError(f"There is no checkpoint at {path}{hint}.")
    _check_archive(path, what)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:  # an archive of something else
        raise ValueError(f"{path} is not {what}.") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != name:
        raise ValueError(f"{path} is not {what}.")
    stored = checkpoint.get("version")
    if not isinstance(stored, int) or stored < 1:
        raise ValueError(f"{path} is not {what}: its version is {shown(stored)}.")
    if stored > version:
        raise ValueError(
            f"{path} has checkpoint version {shown(stored)}, this version reads up to "
            f"{version}; update paceline."
        )
    return checkpoint


def read_training_checkpoint(path: Path, *, trust_code: bool = False) -> dict[str, Any]:
    """Reads a checkpoint that also holds the data settings and the state of its training.

    Args:
        path: The file.
        trust_code: As of ``read_checkpoint``.

    Raises:
        ValueError: As ``read_checkpoint``, or if the file holds a supernet alone.
    """
    checkpoint = read_checkpoint(path, trust_code=trust_code)
    if "train_config" not in checkpoint or "data" not in checkpoint:
        raise ValueError(
            f"{path} holds a supernet without its training and data settings; "
            "use the last.pt of supernet-train."
        )
    check_training(path, checkpoint)
    check_set_trusted(path, checkpoint["data"].get("dataset"), trust_code=trust_code)
    return checkpoint


def _check_archive(path: Path, what: str) -> None:
    """Compares the checksums in the file, which ``torch.load`` does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise ValueError(f"{path} is truncated or damaged, or is not {what}.") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged: the checksum of {damaged} is wrong; use a copy.")


def supernet_from_checkpoint(checkpoint: dict[str, Any], path: Path) -> Supernet:
    """Rebuilds the supernet of a checkpoint that ``read_checkpoint`` gave.

    Args:
        checkpoint: The checkpoint that was read.
        path: File that the checkpoint was read from, for messages.

    Raises:
        ValueError: If its space is unknown or has other options than in the training, or the
            weights do not fit the settings.
    """
    space = space_of_file(path, checkpoint).name
    settings = check_dict(path, checkpoint, "supernet_settings")
    check_weights(path, checkpoint)
    with fields_of(path):
        # what does not fit the file's weights is not allocated
        with naming_field(path, "supernet_settings"), torch.device("meta"):
            expected = create_supernet(space, **settings)
        check_options(path, checkpoint, expected.space)
        check_shapes(path, checkpoint["state_dict"], expected.state_dict())
        warn_of_other_code(path, checkpoint)
        supernet = create_supernet(space, **settings)
        supernet.load_state_dict(checkpoint["state_dict"])
    return supernet


def trained_supernet(checkpoint: dict[str, Any], path: Path, device: torch.device) -> Supernet:
    """Rebuilds a supernet on a device, in the memory format it was trained in.

    Args:
        checkpoint: The checkpoint that ``read_training_checkpoint`` returned.
        path: File that the checkpoint was read from, for messages.
        device: Device to move the supernet to.

    Raises:
        ValueError: As ``supernet_from_checkpoint``.
    """
    supernet = supernet_from_checkpoint(checkpoint, path).to(device)
    if checkpoint["train_config"].get("channels_last", True):
        supernet.to(memory_format=torch.channels_last)
    return supernet


def load_supernet(path: str | Path, *, trust_code: bool = False) -> Supernet:
    """Rebuilds a trained supernet from its checkpoint, on the CPU and in eval mode.

    Args:
        path: The file.
        trust_code: Whether the code of a space that is not built in may be imported, if the file
            names some; without a question where this process has loaded it already.

    Raises:
        ValueError: If the file is missing, truncated, foreign, or does not fit, or its space is
            code that is not trusted.
    """
    path = Path(path)
    return supernet_from_checkpoint(read_checkpoint(path, trust_code=trust_code), path).eval()


def reopen_data(
    checkpoint: dict[str, Any],
    path: Path,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    device: torch.device,
    num_workers: int = 2,
) -> Loaders:
    """Opens the data a supernet was trained on, with the very same splits.

    Args:
        checkpoint: The checkpoint that ``read_checkpoint`` returned.
        path: File that the checkpoint was read from, for messages.
        data_dir: Folder that holds the data now; None if it has not moved since training.
        image_size: Height and width in pixels; None for those of the training.
        batch_size: Images per minibatch of the train split; None for as many as in the training.
        device: Device that the minibatches are made on.
        num_workers: Number of threads or processes that read images.

    Raises:
        ValueError: If the data is missing, has other classes, or gives other splits.
    """
    stored = checkpoint["data"]
    given = data_dir or checkpoint.get("given_data_dir")
    if data_dir is None and checkpoint["data_dir"] is not None:
        data_dir = Path(checkpoint["data_dir"])
    augmentation = options = None
    if "augmentation" in stored:
        with fields_of(path):
            augmentation = TimmAugmentation(**stored["augmentation"])
            options = TimmOptions(**stored["timm_options"])
    if options is not None and stored["dataset"] == "timm" and "found" not in stored:
        options = as_before_val_beside_test(options, data_dir)
    config = DataConfig(
        located_set(path, stored["dataset"]),
        data_dir=data_dir,
        image_size=stored["image_size"] if image_size is None else image_size,
        val_fraction=stored["val_fraction"],
        num_val=stored.get("requested_num_val"),
        skip_bad_images=checkpoint["skip_bad_images"],
        cutout=stored.get("cutout", 0),
        augmentation=augmentation,
        timm_options=options,
    )
    loaders = create_loaders(
        config,
        batch_size=stored["batch_size"] if batch_size is None else batch_size,
        seed=stored["seed"],
        device=device,
        num_workers=num_workers,
    )
    found = loaders.settings
    if found["class_names"] != stored["class_names"]:
        raise ValueError(
            f"{path} was trained on {len(stored['class_names'])} classes "
            f"({some(stored['class_names'], 3)}), {data_dir} has {len(found['class_names'])} "
            f"({some(found['class_names'], 3)}); pass the --data-dir it was trained on."
        )
    if found["split_digest"] != stored["split_digest"]:
        raise ValueError(
            f"The images of {data_dir or stored['dataset']} are not those {path} was trained on, "
            "so its train, val and test splits cannot be told apart; pass the same data."
        )
    return replace(loaders, data_dir=None if given is None else Path(given))


def check_space(name: str | None, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Makes sure that a checkpoint is of the space that was asked for, if one was.

    Args:
        name: Name of the space; None for any.
        checkpoint: What ``read_training_checkpoint`` read.
        path: Its file, for messages.

    Raises:
        ValueError: If it is of another space.
    """
    if name is not None and SPACES.find(name).name != checkpoint["space"]:
        raise ValueError(
            f"{path} holds a supernet of space {checkpoint['space']!r}, not {name!r}; "
            "leave --space out or use another checkpoint."
        )


def weights_digest(supernet: Supernet) -> str:
    """Computes SHA-256 over names and bytes of the weights, whatever file they lie in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(supernet.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
