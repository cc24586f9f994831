#!/usr/bin/env bash
# timm 1.0.31: with filter_bias_and_bn=False weight decay is not on all parameters of a Vision Transformer.
#
# Guess: create_optimizer_v2(..., filter_bias_and_bn=False) puts every parameter into one group with the weight decay, as its
# documentation says: groups are made "if weight_decay > 0 and filter_bias_and_bn is True", otherwise "all parameters will be in
# a single group". A ResNet's are.
# Seen: what the model's no_weight_decay() names, cls_token and pos_embed here, is in a group of its own without weight decay
# whatever that argument is. Given the list of the same parameters instead of the model, all of them decay.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import timm
from timm.optim import create_optimizer_v2


def groups(name, as_list=False):
    """Weight decay of each group, how many parameters are in it, and the names of the first two."""
    model = timm.create_model(name, num_classes=3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained = list(model.parameters()) if as_list else model
    optimizer = create_optimizer_v2(trained, opt="sgd", lr=0.1, weight_decay=0.05, filter_bias_and_bn=False)
    return [
        (group["weight_decay"], len(group["params"]), [names[id(parameter)] for parameter in group["params"][:2]])
        for group in optimizer.param_groups
    ]


resnet, transformer = groups("resnet18"), groups("vit_tiny_patch16_224")
listed = groups("vit_tiny_patch16_224", as_list=True)
print(resnet, transformer, listed, sep="\n")
assert [group[:2] for group in resnet] == [(0.05, 62)]
assert [group[:2] for group in transformer] == [(0.0, 2), (0.05, 150)]
assert transformer[0][2] == ["cls_token", "pos_embed"]
assert [group[:2] for group in listed] == [(0.05, 152)]
PYTHON
