#!/usr/bin/env bash
# torch 2.14.1, CPU, g++ 12: compiled code stores a mask of bool one element at a time, and training through a ReLU becomes slower.
#
# Guess: `torch.compile` makes of a comparison a loop over vectors that is about as fast as eager mode's, as it does of a ReLU.
# Seen: the ReLU is; a comparison whose mask is stored takes over 10 times as long as in eager mode, on a CPU with AVX-512 and with
# its vectors at 256 bits. The loop converts every vector of the mask element by element (`VecMask::store` in ATen's vec_mask.h), and the
# loops of the conversion are compiled with -fno-tree-loop-vectorize. Compiled networks keep such masks for the gradients of ReLUs,
# and load them in the same way.
set -euo pipefail
export OMP_NUM_THREADS=1 TORCHINDUCTOR_COMPILE_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TORCHINDUCTOR_CACHE_DIR="$folder/cache"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import time

import torch

torch.set_num_threads(1)
x = torch.randn(2**20)


def least(run):
    run(x)
    found = []
    for _ in range(20):
        begin = time.process_time()
        run(x)
        found.append(time.process_time() - begin)
    return min(found)


def ratio(function):
    """Seconds compiled over seconds in eager mode."""
    return least(torch.compile(function)) / least(function)


of_relu, of_mask = ratio(torch.relu), ratio(lambda x: x <= 0)
print(f"compiled over eager: ReLU {of_relu:.1f}, mask {of_mask:.1f}")
assert of_relu < 4, "the ReLU has changed"
assert of_mask > 8, "masks have become faster"
PYTHON
