#!/usr/bin/env bash
# timm 1.0.31: create_scheduler_v2(sched="poly") hardly decays: the factor of step schedules is taken for the exponent.
#
# Guess: the exponent of PolyLRScheduler's own signature (0.5), or the usual 0.9 or 1, and an argument for it.
# Seen: decay_rate, whose default of 0.1 is the factor that "step" multiplies by, is the exponent. With all defaults, the rate of
# epoch 50 of 100 is 0.93 of the first, and the last epoch still has 0.63 of it, where "cosine" has 0.0002. There is no
# other argument for the exponent; decay_rate=1 gives the straight line.
set -euo pipefail
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from timm.scheduler import create_scheduler_v2


def rates(**settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, num_epochs = create_scheduler_v2(optimizer, num_epochs=100, **settings)
    found = []
    for epoch in range(num_epochs):
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step(epoch + 1)
    return round(found[50], 2), round(found[99], 2)


seen = {"poly": rates(sched="poly"), "poly, 1": rates(sched="poly", decay_rate=1.0), "cosine": rates(sched="cosine")}
print(seen)
assert seen == {"poly": (0.93, 0.63), "poly, 1": (0.5, 0.01), "cosine": (0.5, 0.0)}
PYTHON
