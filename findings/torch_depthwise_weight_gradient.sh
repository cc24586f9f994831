#!/usr/bin/env bash
# torch 2.14.1 (oneDNN 3.12.0), CPU: a depthwise convolution's weight gradient is 10 times slower with dilation, which adds no arithmetic.
#
# Guess: in channels_last a dilated 3x3 depthwise convolution costs in training what a plain one does, as its forward pass does, and
# one of 5x5 25/9 of that.
# Seen: on CPUs with AVX2 and with AVX-512 the forward pass is as guessed. The weight gradient takes about 10 times as long with
# dilation 2, and about 20 times as long with 5x5; the input gradient of the dilated one takes 5 to 7 times as long, though it is the
# forward pass of the flipped kernel, which takes no longer than it should. In NASNet and DARTS cells, made of such convolutions,
# this is half the time of a training step.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
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


def least(run):
    found = []
    for _ in range(12):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return min(found)


def seconds(kernel, dilation):
    """Forward pass, input gradient, weight gradient, and the input gradient as a forward pass."""
    padding = dilation * (kernel - 1) // 2
    x = torch.randn(32, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(16, 1, kernel, kernel)
    forward = lambda x, weight: F.conv2d(x, weight, None, 1, padding, dilation, 16)
    gradient = torch.randn_like(x)
    size = [1, 1], [padding, padding], [dilation, dilation], False, [0, 0], 16
    backward = lambda mask: torch.ops.aten.convolution_backward(gradient, x, weight, None, *size, mask)
    flipped = forward(gradient, weight.flip(2, 3))
    assert torch.allclose(flipped, backward([True, False, False])[0], atol=1e-4)
    return (
        least(lambda: forward(x, weight)),
        least(lambda: backward([True, False, False])),
        least(lambda: backward([False, True, False])),
        least(lambda: forward(gradient, weight.flip(2, 3))),
    )


plain = seconds(3, 1)
for name, kernel, dilation, expected in (("dilated 3x3", 3, 2, (1, 4, 5)), ("5x5", 5, 1, (1, 1, 8))):
    found = seconds(kernel, dilation)
    ratios = [found[i] / plain[i] for i in range(3)]
    flip = found[1] / found[3]
    print(f"{name} over plain 3x3: forward {ratios[0]:.1f}, input gradient {ratios[1]:.1f}, weight gradient "
          f"{ratios[2]:.1f}; input gradient over a forward pass of the flipped kernel {flip:.1f}")
    assert ratios[0] < 4, "the forward pass has changed"
    assert ratios[1] > expected[1] and ratios[2] > expected[2], "the gradients have become faster"
PYTHON
