"""What code of one's own is, by content: a file, and those of its neighbours that it uses."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from supernets.runtime.digests import digest_of, file_digest
from supernets.runtime.own_code import is_own_file

#: Attribute of the module of a file: SHA-256 of the file as it was run.
FILE_DIGEST = "__paceline_digest__"


def code_digest(module: ModuleType) -> str | None:
    """Computes SHA-256 over the file of a module, and over the files of its folder that it uses.

    These are modules below the folder of the file that it, or another of them, has a name of. What
    is imported within a function is not among them.

    Args:
        module: The module, just imported.

    Returns:
        The digest, or None of a module without a file.
    """
    own = _file_of(module)
    if own is None:
        return None
    digests = {"": _digest_of(module, own)}
    waiting = [module]
    while waiting:
        for other in _used_by(waiting.pop()):
            file = _file_of(other)
            if file is None or file == own or not file.is_relative_to(own.parent):
                continue
            name = str(file.relative_to(own.parent))
            if name not in digests and is_own_file(file):
                digests[name] = _digest_of(other, file)
                waiting.append(other)
    return digest_of(digests)


def _used_by(module: ModuleType) -> list[ModuleType]:
    """The modules that a module has names of, or of whose objects."""
    names = [
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        for value in list(vars(module).values())
    ]
    found = [sys.modules.get(name) for name in dict.fromkeys(names) if isinstance(name, str)]
    return [each for each in found if each is not None]


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and Path(file).is_file() else None


def _digest_of(module: ModuleType, file: Path) -> str:
    return vars(module).get(FILE_DIGEST) or file_digest(file)
