#!/usr/bin/env bash
# timm 1.0.31 with webdataset 1.0.2: samples whose image is called .jpeg are skipped, all of them.
#
# Guess: create_dataset("wds/...") reads the images of a shard by any usual extension, as timm's folder reader does.
# Seen: jpg, png and webp are looked for and nothing else. A shard of .jpeg images announces its samples and yields none;
# each is a line in the log, and an evaluation ends after no image.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 webdataset==1.0.2 pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import io
import os
import tarfile

from PIL import Image
from timm.data import create_dataset

picture = io.BytesIO()
Image.new("RGB", (8, 8)).save(picture, "JPEG")
found = {}
for extension in ("jpg", "jpeg"):
    os.mkdir(extension)
    with tarfile.open(f"{extension}/val-0000.tar", "w") as shard:
        for name, data in ((f"0.{extension}", picture.getvalue()), ("0.cls", b"0")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            shard.addfile(entry, io.BytesIO(data))
    samples = create_dataset("wds/x", root=extension, split="val-{0000..0000}.tar|1", batch_size=1)
    found[extension] = (len(samples), len(list(samples)))
print("announced and read, by extension:", found)
assert found == {"jpg": (1, 1), "jpeg": (1, 0)}
PYTHON
