"""What lies in a folder of images: its splits, its classes, their images, and what is passed over.

Every reader of folders takes its images from here, so that all find the same:

1. Splits are folders called ``train``, ``val`` or ``test``, in any case and usual spelling (see
   ``image_scan.SPLIT_NAMES``), with a folder per class in each; without any, the folders are
   classes, of which none may be called like a split.
2. An image belongs to the uppermost folder below its split, however deep it lies.
3. ``image_scan`` says which files are images, and what is passed over.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from supernets.data.image_scan import (
    OTHER_PICTURES,
    Classes,
    Scan,
    printable,
    some,
    split_of,
    split_within,
)

logger = logging.getLogger(__name__)


@dataclass
class ImageTree:
    """The images of a folder by split and class; without a folder ``train`` all are in "train"."""

    data_dir: Path
    splits: dict[str, Classes]
    passed_over: Counter[str]  # the number of files by reason
    has_split_folders: bool = False
    tars: dict[str, Path] = field(default_factory=dict)  # splits that are tar files instead


def look_at(
    data_dir: Path, named: Mapping[str, str | None] | None = None, *, with_tars: bool = False
) -> ImageTree:
    """Lists the images of a folder.

    ``val`` is the val split beside a ``test`` with the classes of ``train``, and the test split
    otherwise, as in ImageNet's official layout, whose ``test`` has no labels.

    Args:
        data_dir: The folder.
        named: The names of folders that are to be "train", "val" and "test", or None where the
            usual names count. With a "val" or "test", the other is not looked for as val.
        with_tars: Take ``train.tar`` and so on for a folder of that name.

    Raises:
        ValueError: If it is missing or cannot be listed, or what is a split or a class is not
            certain, or the splits do not fit each other.
    """
    if not data_dir.is_dir():
        is_what = "is a file, not a folder" if data_dir.exists() else "does not exist"
        raise ValueError(f"Image folder {data_dir} {is_what}; pass --data-dir.")
    tree = Scan(data_dir, with_tars)
    roles = _named_roles(tree, named) if named and any(named.values()) else _roles(tree)
    if not roles:
        classes = {name: images for name, images in tree.tops.items() if images}
        _check_plain(data_dir, classes)
        result = ImageTree(data_dir, {"train": tree.without_repeats(classes)}, Counter())
    else:
        result = _by_split(tree, roles, bool(named and named.get("val")))
    _name_the_empty(tree, result, roles)
    result.passed_over = tree.count(kept=set(roles.values()) if roles else None)
    return result


def _roles(tree: Scan) -> dict[str, str]:
    """The folder or tar file of each split by its usual name; none if the folders are classes."""
    tops = {name: images for name, images in tree.tops.items() if images}
    splits = {name: split for name in (*tops, *tree.tars) if (split := split_of(name))}
    others = [name for name in tops if name not in splits]
    has_classes = [
        name
        for name in splits
        if name in tree.tars or any(image.count("/") > 1 for image in tops.get(name, ()))
    ]
    trains = [name for name in has_classes if splits[name] == "train"]
    if others and splits and not trains:
        shared = [n for n in splits if splits[n] == "train" or n.lower() in ("val", "test")]
        if shared:
            raise _shared_name(tree.data_dir, shared[0], others)
        for name in splits:
            logger.warning("%s is taken for a class: there is no train split beside it.", name)
        return {}
    if not splits:
        _check_spelling(tree.data_dir, tops)
    if others and trains and len(has_classes) == 1:
        inner = tree.within(trains[0])
        alike = [other for other in others if inner & tree.within(other)]
        if alike:
            raise _shared_name(tree.data_dir, trains[0], others, alike)
    roles: dict[str, str] = {}
    for name, split in splits.items():
        if split in roles:
            raise ValueError(
                f"{tree.data_dir} has two folders of the {split} split, {roles[split]} and {name}; "
                "remove or rename one of them."
            )
        roles[split] = name
    if roles and "train" not in roles:
        names = " and ".join(roles.values())
        raise ValueError(f"{tree.data_dir} has {names}, but no folder train; add it.")
    return roles


def _check_spelling(data_dir: Path, tops: Iterable[str]) -> None:
    """Refuses ``seg_train`` beside ``seg_test`` as classes: by their names they are splits."""
    splits = {name: split for name in tops if (split := split_within(name))}
    if "train" in splits.values() and len(set(splits.values())) > 1:
        raise ValueError(
            f"{data_dir} has the folders {some(sorted(splits))}, which look like splits under "
            "other names; call them train, val and test, or, if all are classes, move them into a "
            "folder train."
        )


def _shared_name(
    data_dir: Path, name: str, others: list[str], alike: Sequence[str] = ()
) -> ValueError:
    """The error for folders of which one has a split's name; ``alike`` have folders like its."""
    shown = printable(name)
    split = f"If {printable(alike[0])} is a split too, call it val or test. " if alike else ""
    return ValueError(
        f"{split}A class and a split share the name {shown!r}: move all class folders into a "
        f"folder train (train/{shown}, train/{printable(others[0])}) or, if it is a split, take "
        f"{some(others)} away from beside it and give it folders {shown}/<class>; they lie in "
        f"{data_dir}."
    )


def _named_roles(tree: Scan, named: Mapping[str, str | None]) -> dict[str, str]:
    """The folder or tar file of each split, those first that are named."""
    roles: dict[str, str] = {}
    for split, name in named.items():
        if name is None:
            continue
        tar = tree.data_dir / f"{name}.tar"
        if (tree.data_dir / name).is_dir():
            if name not in tree.tops:
                tree.add(name)
        elif tar.is_file():
            tree.tars[name] = tar
        else:
            raise ValueError(f"{tree.data_dir} has neither a folder {name} nor {name}.tar; add it.")
        roles[split] = name

    def find(*splits: str) -> str | None:
        free = [n for n in (*tree.tops, *tree.tars) if n in tree.tars or tree.tops[n]]
        free = [n for n in free if n not in roles.values()]
        return next((n for split in splits for n in free if split_of(n) == split), None)

    if "train" not in roles:
        train = find("train")
        if train is None:
            raise ValueError(f"{tree.data_dir} has no folder train; add it or name the split.")
        roles["train"] = train
    if "val" not in roles and "test" not in roles:
        for split in ("val", "test"):
            found = find(split)
            if found is not None:
                roles[split] = found
    elif "test" not in roles and (test := find("val", "test")) is not None:
        roles["test"] = test
    return roles


def _by_split(tree: Scan, roles: dict[str, str], is_val_named: bool) -> ImageTree:
    """The images of each split by class; turns a val without a test into the test split."""
    data_dir = tree.data_dir
    splits: dict[str, Classes] = {}
    tars = {split: tree.tars[name] for split, name in roles.items() if name in tree.tars}
    outsides: dict[str, int] = {}
    for split, name in roles.items():
        if split in tars:
            continue
        classes: Classes = {}
        outside = 0
        for image in tree.tops[name]:
            class_name, *inside = image[len(name) + 1 :].split("/")
            if inside:
                classes.setdefault(class_name, []).append(image)
            else:
                outside += 1
        splits[split] = tree.without_repeats(classes)
        if not classes and not _is_unlabelled(split, roles):
            raise ValueError(
                f"{data_dir / name} holds no class folders with images; "
                f"expected {data_dir / name / '<class>'}."
            )
        outsides[name] = outside
    known = set(splits.get("train", ()))
    test = splits.get("test")
    if test is not None and known and not known & set(test) and _is_unlabelled("test", roles):
        name = roles.pop("test")
        del splits["test"]
        logger.warning(
            "%s has none of the classes of %s and is passed over: no labels are known of it.",
            data_dir / name,
            roles["train"],
        )
    for name, outside in outsides.items():
        if outside and name in roles.values():
            tree.passed[name, "outside of class folders"] += outside
    if "test" not in roles and not is_val_named:
        if "val" in splits:
            splits["test"] = splits.pop("val")
        if "val" in tars:
            tars["test"] = tars.pop("val")
    for classes in splits.values():
        foreign = sorted(set(classes) - known) if known else []
        if foreign:
            raise ValueError(
                f"{data_dir / classes[foreign[0]][0]} has the class {printable(foreign[0])!r}, "
                f"which {data_dir / roles['train']} lacks; remove it or add train images."
            )
    return ImageTree(data_dir, splits, Counter(), has_split_folders=True, tars=tars)


def _is_unlabelled(split: str, roles: Mapping[str, str]) -> bool:
    """Whether a split may lack classes: a test split for whose place there is a val split."""
    return split == "test" and "val" in roles


def _check_plain(data_dir: Path, classes: Classes) -> None:
    if not classes:
        raise ValueError(
            f"{data_dir} holds no class folders with images; expected {data_dir / '<class>'}."
        )
    inner = {
        name: {image.split("/")[1] for image in images if image.count("/") > 1}
        for name, images in classes.items()
    }
    name = next(iter(classes))
    if all(len({split_of(folder) for folder in found} - {None}) > 1 for found in inner.values()):
        if len(classes) == 1:
            raise ValueError(
                f"{data_dir} holds a single folder, with the splits {some(sorted(inner[name]))}; "
                f"pass --data-dir {printable(str(data_dir / name))}."
            )
        raise ValueError(
            f"{data_dir / name} holds the splits {some(sorted(inner[name]))}; expected a folder "
            "of classes in each split, train/<class>, not splits in each class."
        )
    if len(classes) == 1 and len(inner[name]) > 1:
        raise ValueError(
            f"{data_dir} has the single class {printable(name)!r}, with the folders "
            f"{some(sorted(inner[name]))}; add another class, or pass --data-dir "
            f"{data_dir / name} if these are the classes."
        )


def _name_the_empty(tree: Scan, found: ImageTree, roles: Mapping[str, str]) -> None:
    """Warns of class folders without images, and of classes that a split lacks.

    Raises:
        ValueError: If a folder holds pictures of which Pillow decodes none.
    """
    train = found.splits.get("train", {})
    tops = [top for top, images in tree.tops.items() if not roles or (split_of(top) and not images)]
    in_splits = [f"{top}/{name}" for top in roles.values() for name in sorted(tree.within(top))]
    used = {i for classes in found.splits.values() for images in classes.values() for i in images}
    with_images = {"/".join(i.split("/")[: depth + 1]) for i in used for depth in range(3)}
    for folder in (*tops, *in_splits):
        if folder in with_images or any(folder.startswith(f"{tar}/") for tar in tree.tars):
            continue
        reasons = tree.reasons(folder)
        held = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common(3)) or "nothing"
        if reasons.keys() & OTHER_PICTURES:
            raise ValueError(
                f"{tree.data_dir / folder} holds no image that can be read ({held}); convert its "
                "files to JPEG or PNG, or remove it."
            )
        if len(train) == 1:
            raise ValueError(
                f"{tree.data_dir / folder} holds no image ({held}), and there is a single other "
                f"class, {printable(next(iter(train)))!r}; add images."
            )
        logger.warning("%s holds no image (%s).", printable(str(tree.data_dir / folder)), held)
    for split, classes in found.splits.items():
        missing = sorted(set(train) - set(classes))
        if missing:
            logger.warning("The %s split has no image of %s.", split, some(missing))
    if roles:
        used_tops = {role.split("/")[0] for role in roles.values()}
        strays = [top for top, images in tree.tops.items() if images and "/" not in top]
        strays = [top for top in strays if top not in used_tops and split_of(top) != "test"]
        if strays:
            logger.warning(
                "%s beside the folders of the splits is not used: its images are in no split.",
                some(strays),
            )
