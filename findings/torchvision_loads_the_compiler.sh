#!/usr/bin/env bash
# torchvision 0.29.1: importing any part of it loads torch._dynamo and sympy, though it means not to, and nearly doubles the start.
#
# Guess: torchvision.transforms brings Pillow and little else; the compiler is loaded by torch.compile, as torch itself has it since 2.0.
# Seen: the package imports torchvision.ops, and ops/roi_align.py has a top-level "from torch._dynamo.utils import
# is_compile_supported", below which a wrapper says that it avoids importing dynamo eagerly. So 1,000 more modules are loaded, sympy
# among them, and the import costs about as much CPU time again as torch. Whatever imports torchvision at its top pays it with
# --help: timm.layers does, by torchvision.models.feature_extraction.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
for module in torchvision.transforms timm.layers; do
    venv/bin/python - "$module" <<'PYTHON'
import importlib
import sys
import time

begin = time.process_time()
import torch

of_torch, loaded = time.process_time() - begin, len(sys.modules)
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
importlib.import_module(sys.argv[1])
seconds = time.process_time() - begin - of_torch
print(f"{sys.argv[1]}: {len(sys.modules) - loaded} more modules, {seconds / of_torch:.1f} times the CPU seconds of torch")
assert "torch._dynamo.convert_frame" in sys.modules and "sympy" in sys.modules
assert len(sys.modules) - loaded > 900
PYTHON
done
