#!/usr/bin/env bash
# openvino 2026.4.1, mnn 3.6.1, opencv-python-headless 5.0.0.93: the antialias of an ONNX Resize is ignored in silence.
#
# Guess: a runtime that does not know antialias=1 (opset 18, what PyTorch's exporter writes for
# F.interpolate(..., antialias=True)) refuses the model.
# Seen: all three load it and compute the plain bilinear resize; ONNX Runtime 1.32.0 alone does what the model says. A
# network that resizes its own images gives other logits there, without a word.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 mnn==3.6.1 opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import subprocess
import sys

import cv2
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper, save


def write(antialias):
    name = f"resize{antialias}"
    sizes = numpy_helper.from_array(np.array([1, 1, 4, 4], np.int64), "sizes")
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=antialias,
        coordinate_transformation_mode="half_pixel",
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 16, 16])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4])]
    graph = helper.make_graph([node], "resize", inputs, outputs, [sizes])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), f"{name}.onnx")
    return name


def by_onnxruntime(name):
    return onnxruntime.InferenceSession(f"{name}.onnx").run(None, {"x": x})[0]


def by_openvino(name):
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(f"{name}.onnx", "CPU", exact)(x)[0]


def by_opencv(name):
    network = cv2.dnn.readNetFromONNX(f"{name}.onnx")
    network.setInput(x)
    return network.forward()


def by_mnn(name):
    convert = "from MNN.tools import mnnconvert; mnnconvert.main()"
    command = ["-f", "ONNX", "--modelFile", f"{name}.onnx", "--MNNModel", f"{name}.mnn", "--bizCode", "x"]
    subprocess.run([sys.executable, "-c", convert, *command], check=True, capture_output=True)
    import MNN.expr as expr
    import MNN.nn as nn

    network = nn.load_module_from_file(f"{name}.mnn", ["x"], ["y"])
    found = network.forward([expr.const(x, list(x.shape), expr.NCHW)])[0]
    return np.array(expr.convert(found, expr.NCHW).read()).reshape(1, 1, 4, 4)


x = np.random.default_rng(0).standard_normal((1, 1, 16, 16)).astype(np.float32)
plain, smooth = by_onnxruntime(write(0)), by_onnxruntime(write(1))
print(f"ONNX Runtime: antialiased and plain differ by up to {np.abs(smooth - plain).max():.2f}")
assert np.abs(smooth - plain).max() > 0.3
for run in (by_openvino, by_opencv, by_mnn):
    found = run("resize1")
    wrong, same = np.abs(found - smooth).max(), np.abs(found - plain).max()
    print(f"{run.__name__}: off the antialiased by {wrong:.2f}, off the plain by {same:.0e}")
    assert wrong > 0.3 and same < 1e-5
PYTHON
