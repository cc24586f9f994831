#!/usr/bin/env bash
# torch 2.14.1: torch.save to a file that cannot grow ends in a RuntimeError about positions, not in the OSError of the disk.
#
# Guess: a checkpoint that does not fit raises OSError with its errno and file name, as open(...).write does.
# Seen: RuntimeError with "unexpected pos", without errno or name, by path and by an open file, so that "except OSError"
# misses a full disk. The limit of a process on the size of its files stands for the disk here.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import resource

import torch

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
weights = {"a": torch.zeros(100_000), "b": torch.zeros(100_000)}


def by_path():
    torch.save(weights, "weights.pt")


def by_file():
    with open("file.pt", "wb") as file:
        torch.save(weights, file)


def by_write():
    with open("bytes", "wb") as file:
        file.write(bytes(400_000))


found = {}
for write in (by_path, by_file, by_write):
    try:
        write()
    except (OSError, RuntimeError) as error:
        found[write.__name__] = (type(error).__name__, str(error).splitlines()[0])
        print(write.__name__, *found[write.__name__])
assert found["by_write"][0] == "OSError" and "too large" in found["by_write"][1]
for name in ("by_path", "by_file"):
    assert found[name][0] == "RuntimeError" and "unexpected pos" in found[name][1]
PYTHON
