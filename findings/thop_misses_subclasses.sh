#!/usr/bin/env bash
# thop 0.1.1.post2209072238: parameters and MACs of layers that are subclasses of torch's own are left out in silence.
#
# Guess: the most used counter of the NAS literature counts a network of timm as its layers have it, 5.48 M parameters.
# Seen: 4.18 M of mobilenetv3_large_100. The classifier is timm's own subclass of nn.Linear and counts as nothing, and so
# do the BatchNorms; thop looks up the exact class and says nothing of what it does not find.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 thop==0.1.1.post2209072238 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import timm
import torch
from thop import profile
from torch import nn

network = timm.create_model("mobilenetv3_large_100").eval()
macs, params = profile(network, (torch.randn(1, 3, 224, 224),), verbose=False)
true = sum(parameter.numel() for parameter in network.parameters())
print(f"{type(network.classifier)}; thop {params:,.0f} parameters, {macs:,.0f} MACs; there are {true:,} parameters")
assert isinstance(network.classifier, nn.Linear) and type(network.classifier) is not nn.Linear
assert true == 5_483_032 and params == 4_177_632 and true - params > network.classifier.weight.numel()
PYTHON
