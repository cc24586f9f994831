"""Objects by name: built in, of installed distributions, or in a file of one's own.

Wherever a space, an estimator, an algorithm or the like is chosen by name, the name is one of

- a built-in name, such as ``nasbench201``;
- the name of an entry point of an installed distribution, of the group for such objects;
- ``package.module:Object``, imported from where Python looks and from the working folder;
- ``file.py:Object``, the path of a file.

Example:
    >>> find_object("collections:OrderedDict").__name__
    'OrderedDict'
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from supernets.runtime.code_digest import FILE_DIGEST, code_digest
from supernets.runtime.digests import file_digest
from supernets.runtime.option_types import name as read_name
from supernets.runtime.option_types import shown
from supernets.runtime.own_code import told_error
from supernets.runtime.wording import did_you_mean

Found = TypeVar("Found")

#: An object, or where it is: ``module:Object``.
Reference = Any
#: How an object of one's own is named, for messages and help.
HOW_TO_NAME = "package.module:Object or file.py:Object"
_FILE_MODULE = "paceline_file_"


class NamedObjects(Mapping[str, Found], Generic[Found]):
    """The objects of one kind that can be chosen by name; as a mapping, those that are built in.

    Args:
        what: What one of them is, in messages, for example ``"space"``.
        group: Group of the entry points by which installed distributions offer more.
        kind: Class that they are instances of, or subclasses of.
        built_in: References, ``"module:Object"``, by the names of those that are built in.

    Example:
        >>> types = NamedObjects("mapping", "paceline.mappings", dict, {"plain": "builtins:dict"})
        >>> types.find("plain"), types.find("collections:OrderedDict").__name__
        (<class 'dict'>, 'OrderedDict')
    """

    # one of them is itself alone, and can be the type of an option
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, what: str, group: str, kind: type, built_in: Mapping[str, str]) -> None:
        self.what, self.group, self.kind = what, group, kind
        self.built_in = dict(built_in)
        self._found: dict[str, Found] = {}
        self._digests: dict[str, str | None] = {}

    def __iter__(self) -> Iterator[str]:
        """Iterates over the built-in names."""
        return iter(self.built_in)

    def __getitem__(self, name: str) -> Found:
        """Returns a built-in object."""
        if name not in self.built_in:
            raise KeyError(name)
        return self.find(name)

    def __contains__(self, name: object) -> bool:
        """Returns whether a name is built in."""
        return name in self.built_in

    def __len__(self) -> int:
        """Returns how many are built in."""
        return len(self.built_in)

    def names(self) -> tuple[str, ...]:
        """Returns the built-in names, and those of installed distributions."""
        others = (point.name for point in entry_points(group=self.group))
        return tuple(dict.fromkeys((*self.built_in, *others)))

    def is_reference(self, name: object) -> bool:
        """Returns whether a name says where an object of one's own is."""
        return isinstance(name, str) and name not in self.built_in and ":" in name

    def is_own(self, name: object) -> bool:
        """Returns whether a name is that of an object which is not built in, wherever that is."""
        if not isinstance(name, str) or name in self.built_in:
            return False
        return self.is_reference(name) or self.is_known(name)

    def is_loaded(self, name: str) -> bool:
        """Returns whether an object was found by this name before, in this process."""
        return absolute(name) in self._found

    def is_known(self, name: str) -> bool:
        """Returns whether there is an object of this name; imports nothing of one's own."""
        return name in self._found or self._is_named(name)

    def find(self, name: str) -> Found:
        """Returns the object of a name, imported if it was not yet.

        Raises:
            ValueError: If the name is unknown, its module or file cannot be imported, or the object
                is something else.
        """
        if not isinstance(name, str):
            raise ValueError(f"Unknown {self.what} {shown(name)}; {self._choices()}.")
        name = absolute(name)
        if name not in self._found:
            found = find_object(self._reference(name))
            is_kind = isinstance(found, self.kind) or (
                isinstance(found, type) and issubclass(found, self.kind)
            )
            if not is_kind:
                raise ValueError(f"{name} is {_kind_of(found)}, and no {self.kind.__name__}.")
            self._check_own_name(name, found)
            self._found[name] = found
            if self.is_reference(name):
                self._digests[name] = _digest_of_code(name)
        return self._found[name]

    def own_name(self, name: str) -> str:
        """Returns what the object of a name is called, in records: a reference is none.

        Raises:
            ValueError: As ``find``, if it is a reference.
        """
        return (_name_of(self.find(name)) or name) if self.is_reference(name) else name

    def reference_of(self, name: str) -> str | None:
        """Returns where the object called ``name`` is, if it is neither built in nor installed.

        That is what a file has to say of it, so that it can be found again.
        """
        found = [key for key, each in self._found.items() if _name_of(each) == name]
        return next((key for key in found if ":" in key), None)

    def digest_of(self, name: str) -> str | None:
        """Returns SHA-256 of the code that defines an object of one's own, as it was imported.

        None for objects that no file of one's own defines.
        """
        reference = self.reference_of(name)
        return None if reference is None else self._digests.get(reference)

    def _check_own_name(self, name: str, found: object) -> None:
        """Makes sure that what an object of one's own calls itself is not taken."""
        own = _name_of(found)
        if own is None or own == name:
            return
        taken = self.reference_of(own)
        if name in self.names() or own in self.names():
            raise ValueError(
                f"The {self.what} of {name!r} calls itself {own!r}, which is another; rename it."
            )
        if taken is not None and self._found[taken] is not found:
            raise ValueError(f"{name} and {taken} are both called {own!r}; rename one of them.")

    def _reference(self, name: str) -> str:
        if name in self.built_in:
            return self.built_in[name]
        if ":" in name:
            return name
        own = self.reference_of(name)
        if own is not None:
            return own
        for point in entry_points(group=self.group, name=name):
            return point.value
        raise ValueError(f"Unknown {self.what} {name!r}; {self._choices(name)}.")

    def _choices(self, name: str = "", others: Iterable[str] = ()) -> str:
        names = (*self.names(), *others)
        meant = did_you_mean(name, names) if name else ""
        question = f" ({meant})" if meant else ""
        return f"choose from {', '.join(names)}{question}, or name your own as {HOW_TO_NAME}"

    def __call__(self, text: str, others: Iterable[str] = ()) -> str:
        """Reads a name on a command line; what it stands for is looked up once it is needed.

        Args:
            text: What a user wrote.
            others: Names that the option has beside, for the message.

        Raises:
            argparse.ArgumentTypeError: If it is an unknown name.
        """
        text = read_name(text)
        if ":" not in text and not self._is_named(text):
            choices = self._choices(text, others)
            raise argparse.ArgumentTypeError(f"Unknown {self.what} {text!r}; {choices}")
        return text

    def _is_named(self, name: str) -> bool:
        return name in self.names() or self.reference_of(name) is not None

    def check(self, name: str, value: object) -> None:
        """Makes sure that a setting is a name; what it stands for is looked up where it is used.

        Raises:
            ValueError: If it is no text, or an unknown name.
        """
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a name, got {shown(value)}.")
        if ":" not in value:
            self._reference(value)


class NameBeside:
    """Reads a name of objects, or one of a few names beside; the kind of an option.

    Args:
        objects: The objects.
        others: The names beside, which stand for something else.

    Example:
        >>> paths = NamedObjects("paths", "paceline.paths", dict, {"plain": "builtins:dict"})
        >>> NameBeside(paths, ["progressive"])("progressive")
        'progressive'
    """

    def __init__(self, objects: NamedObjects[Any], others: Iterable[str]) -> None:
        self.objects, self.others = objects, tuple(others)

    def __call__(self, text: str) -> str:
        """Reads a name on a command line.

        Raises:
            argparse.ArgumentTypeError: If it is unknown.
        """
        return text if text in self.others else self.objects(text, self.others)

    def check(self, name: str, value: object) -> None:
        """Makes sure that a setting is such a name.

        Raises:
            ValueError: If it is not.
        """
        if value not in self.others:
            self.objects.check(name, value)


def find_object(reference: str) -> Any:
    """Imports the object that ``package.module:Object`` or ``file.py:Object`` names.

    Modules are looked for where Python looks, and in the working folder. A file is run once in a
    process, under a module name that follows from its path.

    Raises:
        ValueError: If there is no such module, file or object, or the import fails; says which.
    """
    where, _, name = absolute(reference).rpartition(":")
    if not where or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{reference!r} names no object; write {HOW_TO_NAME}.")
    found: Any = load_file(Path(where)) if where.endswith(".py") else _import(where)
    module = found
    for part in name.split("."):
        if not hasattr(found, part):
            offered = [each for each in vars(module) if not each.startswith("_")]
            meant = did_you_mean(part, offered)
            raise ValueError(f"{where} has no {name}{f'; {meant}' if meant else '.'}")
        found = getattr(found, part)
    return found


def object_of(reference: object) -> Any:
    """Returns an object, or what a text refers to, as ``find_object`` does.

    Raises:
        ValueError: As ``find_object``.
    """
    return find_object(reference) if isinstance(reference, str) else reference


@contextmanager
def defining(definition: object, name: object) -> Iterator[None]:
    """Says of what definition a value is refused, as a file may have several.

    Args:
        definition: The definition, whose values are checked in the block.
        name: Its name.

    Raises:
        ValueError: If a value is refused.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{type(definition).__name__} {shown(name)}: {error}") from error


def check_builder(build: object) -> None:
    """Makes sure that the ``build`` of a definition builds something, or says where that is.

    Raises:
        ValueError: If it does not.
    """
    if not isinstance(build, str) and not callable(build):
        raise ValueError(f"build must be a class, a function or module:Object, got {build!r}.")


def file_of(reference: str) -> Path | None:
    """Returns the file of ``file.py:Object``; None for a reference to a module."""
    where = reference.rpartition(":")[0]
    return Path(where) if where.endswith(".py") else None


def absolute(reference: str) -> str:
    """Returns a reference to a file with its whole path, so that one file has one name."""
    where, colon, name = reference.rpartition(":")
    return f"{Path(where).absolute()}:{name}" if colon and where.endswith(".py") else reference


def loaded_files() -> tuple[Path, ...]:
    """Returns the files of one's own that this process has loaded, for processes it starts."""
    modules = [module for name, module in sys.modules.items() if name.startswith(_FILE_MODULE)]
    return tuple(Path(str(module.__file__)) for module in modules)


def load_file(path: Path) -> ModuleType:
    """Runs a file once in this process, and returns it as a module.

    Args:
        path: Its path, absolute.

    Raises:
        ValueError: If there is no such file, or it fails.
    """
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    module_name = f"{_FILE_MODULE}{digest}_{path.stem}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not path.is_file():
        raise ValueError(f"There is no file {path}; write {HOW_TO_NAME}.")
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs, as dataclasses look their module up
    vars(module)[FILE_DIGEST] = file_digest(
        path
    )  # of what runs, whatever becomes of the file later
    try:
        # its neighbours can be imported from it, as when Python runs it
        with _importing(str(path)), _also_from(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _digest_of_code(reference: str) -> str | None:
    """The ``code_digest`` of what a reference of one's own is to; None where there is no file."""
    where = reference.rpartition(":")[0]
    module = load_file(Path(where)) if where.endswith(".py") else sys.modules.get(where)
    return None if module is None else code_digest(module)


def _import(name: str) -> ModuleType:
    with _importing(name), _also_from(Path.cwd()):
        return importlib.import_module(name)


@contextmanager
def _also_from(folder: Path) -> Iterator[None]:
    """Lets modules of a folder be imported, after those of all other places."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    yield


@contextmanager
def _importing(what: str) -> Iterator[None]:
    """Says in a line what could not be imported, and why."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} cannot be imported: {told_error(error)}.") from error


def _name_of(found: object) -> str | None:
    name = getattr(found, "name", None)
    return name if isinstance(name, str) else None


def _kind_of(found: object) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    return _article(type(found).__name__)


def _article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
