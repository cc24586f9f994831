#!/usr/bin/env bash
# torch 2.14.1: FlopCounterMode counts the weight gradient of a depthwise convolution as that of a dense one.
#
# Guess: the backward pass of a convolution is twice its forward pass, whatever its groups.
# Seen: 2.0 times for a dense convolution of 64 channels, 65 times for a depthwise one: its input gradient once, its weight
# gradient 64 times. A training step of a network of depthwise convolutions, such as MobileNetV3, is counted as many times
# its cost, and one cell of a search space looks far dearer to train than another of the same MACs.
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
from torch.utils.flop_counter import FlopCounterMode

ratios = {}
for groups in (1, 8, 64):
    conv = nn.Conv2d(64, 64, 5, padding=2, groups=groups, bias=False)
    x = torch.randn(1, 64, 8, 8, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        y = conv(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    true = 2 * conv.weight.numel() * 64  # two operations a multiply-accumulate, 64 positions
    assert forward.get_total_flops() == true
    ratios[groups] = backward.get_total_flops() / true
print("operations of backward / forward, by groups:", ratios)
assert ratios == {1: 2.0, 8: 9.0, 64: 65.0}
PYTHON
