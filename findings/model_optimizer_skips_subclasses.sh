#!/usr/bin/env bash
# nvidia-modelopt 0.47.0: what mtn.convert finds to search in a network depends on whose BatchNorm it is written with.
#
# Guess: the widths of MobileNetV2's expansions are searched, whether the network is torchvision's or timm's.
# Seen: torchvision's has 20 widths to search, timm's of the same blocks has none, only the depths of its stages, and nothing
# is said of the layers that were passed over. timm's BatchNormAct2d is a subclass of nn.BatchNorm2d with a forward of its own,
# so its channels are fixed, and those of all convolutions beside it. A RegNet of the same layers is refused as a network with
# nothing to configure.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 nvidia-modelopt==0.47.0 numpy==2.4.6 requests==2.32.5
venv/bin/python - <<'PYTHON'
import modelopt.torch.nas as mtn
import timm
import torchvision
from modelopt.torch.nas.search_space import SearchSpace


def searched(network):
    found = [name for name, _ in SearchSpace(mtn.convert(network, "autonas")).named_hparams(configurable=True)]
    return sum(name.endswith(".out_channels") for name in found), sum(name.endswith(".depth") for name in found)


torchvisions, timms = torchvision.models.mobilenet_v2(), timm.create_model("mobilenetv2_100")
assert sum(p.numel() for p in torchvisions.parameters()) == sum(p.numel() for p in timms.parameters()) == 3_504_872
found = searched(torchvisions), searched(timms)
print("widths and depths to search in MobileNetV2: torchvision's", found[0], "timm's", found[1])
assert found == ((20, 0), (0, 5))
try:
    mtn.convert(timm.create_model("regnetx_002"), "autonas")
except Exception as error:
    print(f"regnetx_002: {type(error).__name__}: {error}")
    assert "does not contain any configurable hyperparameters" in str(error)
else:
    raise AssertionError("regnetx_002 is converted now")
PYTHON
