#!/usr/bin/env bash
# torch 2.14.1 with timm 1.0.31: FlopCounterMode counts fused attention on the meta device, and not at all on a CPU.
#
# Guess: the same network and the same shapes are the same number on every device.
# Seen: scaled_dot_product_attention is 0 on a CPU and 29,805,312 on the meta device (4 * heads * tokens^2 * width a head); with
# the MATH backend it is 29,805,312 on both. timm's deit_tiny is 1.07 GMACs on a CPU as it is built, and 1.25 with its
# attention unfused. Transformers counted on a laptop look 14 % cheaper beside convolutional networks than they are, and more
# the larger the image is. (An LSTM is 0 on a CPU as well.)
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import timm
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode


def attention_flops(device, backends):
    q = torch.randn(1, 3, 197, 64, device=device)
    with sdpa_kernel(backends), FlopCounterMode(display=False) as counter:
        scaled_dot_product_attention(q, q, q)
    return counter.get_total_flops()


def gmacs(model):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 224, 224))
    return round(counter.get_total_flops() / 2e9, 2)


every = [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
seen = {(d, n): attention_flops(d, b) for d in ("cpu", "meta") for n, b in (("any", every), ("math", SDPBackend.MATH))}
print(seen)
true = 4 * 3 * 197 * 197 * 64
assert seen == {("cpu", "any"): 0, ("meta", "any"): true, ("cpu", "math"): true, ("meta", "math"): true}

model = timm.create_model("deit_tiny_patch16_224").eval()
fused = gmacs(model)
for block in model.blocks:
    block.attn.fused_attn = False
print("deit_tiny GMACs, fused and unfused:", fused, gmacs(model))
assert (fused, gmacs(model)) == (1.07, 1.25)
lstm, sequence = torch.nn.LSTM(32, 64), torch.zeros(10, 2, 32)
with FlopCounterMode(display=False) as counter:
    lstm(sequence)
assert counter.get_total_flops() == 0
PYTHON
