#!/usr/bin/env bash
# safetensors 0.8.0: save_file writes files that only their owner can read, whatever the umask says.
#
# Guess: 0644 under a umask of 022, as open() and torch.save give.
# Seen: 0600. A web server, another user of a shared disk or a container with another user cannot read the weights that
# were written for it.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import os
import stat

import numpy as np
from safetensors.numpy import save, save_file

os.umask(0o022)
save_file({"weight": np.ones(2, np.float32)}, "by_save_file.safetensors")
with open("by_open.safetensors", "wb") as file:
    file.write(save({"weight": np.ones(2, np.float32)}))
modes = {name: stat.S_IMODE(os.stat(f"by_{name}.safetensors").st_mode) for name in ("save_file", "open")}
print({name: oct(mode) for name, mode in modes.items()})
assert modes == {"save_file": 0o600, "open": 0o644}
PYTHON
