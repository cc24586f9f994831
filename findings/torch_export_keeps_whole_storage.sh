#!/usr/bin/env bash
# torch 2.14.1: a program saved by torch.export.save holds its example inputs, and of a slice the whole tensor behind it.
#
# Guess: the file of a program traced with two rows holds the weights, and at most those two rows.
# Seen: it holds all 1,000 rows of the tensor that the two were sliced from, as sample_inputs/model.pt, 64,000 bytes more
# than the two rows need; whoever gets the file reads them by torch.export.load(...).example_inputs. A model exported
# with a slice of a data set gives that data set away. Copies (.clone()) and synthetic inputs do not.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from torch import nn

data = torch.arange(16000.0).reshape(1000, 16)
dimension = ({0: torch.export.Dim("n")},)
for name, example in (("slice", data[:2]), ("clone", data[:2].clone())):
    torch.export.save(torch.export.export(nn.Linear(16, 2).eval(), (example,), dynamic_shapes=dimension), f"{name}.pt2")
    kept = torch.export.load(f"{name}.pt2").example_inputs[0][0]
    rows = kept.untyped_storage().nbytes() // (16 * 4)
    print(f"{name}: example input of shape {tuple(kept.shape)}, rows that can be read from the file: {rows}")
    if name == "slice":
        everything = torch.empty(0).set_(kept.untyped_storage(), 0, (rows, 16))
        assert rows == 1000 and torch.equal(everything, data)
    else:
        assert rows == 2
PYTHON
