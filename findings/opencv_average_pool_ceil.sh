#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: average pools of ONNX with ceil_mode divide by cells outside of the image.
#
# Guess: cv2.dnn computes AveragePool(2x2, stride 2, ceil_mode=1, no padding), which is what PyTorch's exporter writes
# for F.avg_pool2d(x, 2, 2, ceil_mode=True), as ONNX Runtime does: the last window of an odd map holds two cells or one,
# and is divided by two or one.
# Seen: it is divided by four where count_include_pad is 1 (PyTorch's default), so that the last row and column come out as
# a half and the corner as a quarter. With count_include_pad=0, the same function where nothing is padded, it is right.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, save

x = np.ones((1, 1, 5, 5), np.float32)
for include in (1, 0):
    pool = helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=include
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 5, 5])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 3, 3])]
    graph = helper.make_graph([pool], "pool", inputs, outputs)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), "pool.onnx")
    reference = onnxruntime.InferenceSession("pool.onnx").run(None, {"x": x})[0]
    network = cv2.dnn.readNetFromONNX("pool.onnx")
    network.setInput(x)
    found = network.forward()
    print(f"count_include_pad={include}: ONNX Runtime\n{reference[0, 0]}\nOpenCV\n{found[0, 0]}")
    assert (reference == 1).all()
    if include:
        assert np.allclose(found[0, 0], [[1, 1, 0.5], [1, 1, 0.5], [0.5, 0.5, 0.25]])
    else:
        assert np.allclose(found, reference)
PYTHON
