#!/usr/bin/env bash
# timm 1.0.31: classes of create_dataset("folder") are the innermost folders, hidden ones too.
#
# Guess: as in torchvision's ImageFolder, classes are the folders directly below the root, and what lies deeper belongs to
# them.
# Seen: cat/cam1, cat/cam2, dog/cam1, dog/cam2 are the two classes cam1 and cam2 of both animals. And the hidden
# .ipynb_checkpoints that Jupyter leaves in a class is class 0, so that every label differs from torchvision's by one.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
from pathlib import Path

import numpy as np
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder


def fill(folder):
    Path(folder).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(f"{folder}/0.png")


for folder in ("cameras/cat/cam1", "cameras/cat/cam2", "cameras/dog/cam1", "cameras/dog/cam2"):
    fill(folder)
for folder in ("jupyter/cat", "jupyter/dog", "jupyter/cat/.ipynb_checkpoints"):
    fill(folder)
found = {
    root: (create_dataset("folder", root=root).reader.class_to_idx, ImageFolder(root).class_to_idx)
    for root in ("cameras", "jupyter")
}
for root, (timm_classes, torchvision_classes) in found.items():
    print(f"{root}: timm {timm_classes}, torchvision {torchvision_classes}")
assert found["cameras"] == ({"cam1": 0, "cam2": 1}, {"cat": 0, "dog": 1})
assert found["jupyter"] == ({".ipynb_checkpoints": 0, "cat": 1, "dog": 2}, {"cat": 0, "dog": 1})
PYTHON
