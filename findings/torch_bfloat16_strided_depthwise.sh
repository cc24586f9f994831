#!/usr/bin/env bash
# torch 2.14.1 (oneDNN 3.12.0), CPU with AVX512-BF16: the input gradient of a strided depthwise convolution is 20 times slower in bfloat16.
#
# Guess: in channels_last a depthwise convolution of stride 2 takes in bfloat16, in each of its three passes, at most what it takes in
# float32, as dense convolutions do, which take half.
# Seen: the forward pass is as guessed, and so is the input gradient of stride 1. That of stride 2 takes 20 to 100 times what it takes in
# float32, more than all else of the convolution; the weight gradient of 3x3 is as fast, that of 5x5 takes 3 times as long as in
# float32. Casting gradient and weight to float32 for this one pass, and its result back, takes a twentieth. The downsampling
# blocks of mobile networks are made of such convolutions, and trainings with autocast on a CPU run them in bfloat16.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
if ! grep -q -m1 avx512_bf16 /proc/cpuinfo; then
  echo "This needs a CPU with AVX512-BF16." >&2
  exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
FLOAT, HALF = torch.float32, torch.bfloat16


def least(run):
    found = []
    for _ in range(8):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return min(found) * 1000


def gradients(x, weight, gradient, stride, mask):
    padding = weight.shape[2] // 2
    how = [stride, stride], [padding, padding], [1, 1], False, [0, 0], x.shape[1], mask
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *how)


def milliseconds(kernel, stride):
    """Forward pass, input gradient, weight gradient in both types; the input gradient by way of float32."""
    x = torch.randn(32, 64, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 1, kernel, kernel)
    gradient = torch.randn_like(F.conv2d(x, weight, None, stride, kernel // 2, 1, 64))
    found = {}
    for dtype in (FLOAT, HALF):
        x, weight, gradient = (each.to(dtype) for each in (x, weight, gradient))
        found[dtype] = (
            least(lambda: F.conv2d(x, weight, None, stride, kernel // 2, 1, 64)),
            least(lambda: gradients(x, weight, gradient, stride, [True, False, False])),
            least(lambda: gradients(x, weight, gradient, stride, [False, True, False])),
        )
    way = lambda: gradients(x.float(), weight.float(), gradient.float(), stride, [True, False, False])[0].to(HALF)
    own = gradients(x, weight, gradient, stride, [True, False, False])[0]
    assert torch.allclose(own.float(), way().float(), atol=0.05, rtol=0.02)
    return found, least(way)


for kernel, stride in ((3, 1), (3, 2), (5, 2)):
    found, way = milliseconds(kernel, stride)
    shown = {str(dtype)[6:]: " ".join(f"{each:.2f}" for each in times) for dtype, times in found.items()}
    print(f"{kernel}x{kernel}, stride {stride}: forward, input gradient, weight gradient in ms {shown}; "
          f"input gradient by way of float32 {way:.2f}")
    slower = found[HALF][1] / found[FLOAT][1]
    if stride == 1:
        assert slower < 2, "the input gradient of stride 1 has become slower"
    else:
        assert found[HALF][0] < 2 * found[FLOAT][0], "the forward pass has changed"
        assert slower > 8 and found[HALF][1] > 4 * way, "the input gradient has become faster"
PYTHON
