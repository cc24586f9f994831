#!/usr/bin/env bash
# torch 2.14.1: ONNX files of torch.onnx.export name files of the machine they were exported on, quiet or not.
#
# Guess: an ONNX file holds the graph and its weights; verbose=False leaves out what is for debugging.
# Seen: every node holds the stack trace it was traced from, with absolute paths of the installation and of the user's
# own modules (metadata_props, pkg.torch.onnx.stack_trace), also with verbose=False and optimize=True.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
mkdir home_of_the_user
cat > home_of_the_user/secret_project.py <<'PYTHON'
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x)
PYTHON
venv/bin/python - <<'PYTHON'
import os
import sys

import onnx
import torch

sys.path.insert(0, os.path.abspath("home_of_the_user"))
from secret_project import Network

network = Network().eval()
torch.onnx.export(
    network, (torch.zeros(2, 1, 8, 8),), "network.onnx", dynamo=True, external_data=False, verbose=False, optimize=True
)
traces = {
    node.op_type: each.value
    for node in onnx.load("network.onnx").graph.node
    for each in node.metadata_props
    if each.key.endswith("stack_trace")
}
print(traces)
path = os.path.abspath("home_of_the_user/secret_project.py")
assert any(path in trace for trace in traces.values()) and path.encode() in open("network.onnx", "rb").read()
PYTHON
