"""Train, search, export, reload: the whole way on the built-in digits, in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import search.cli.search
import supernets.cli.export
import supernets.cli.train
from supernets import load_subnet, load_supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.training.checkpoint import read_checkpoint, reopen_data
from tests.commands import TORCH_EXPORT

pytestmark = TORCH_EXPORT


@pytest.mark.slow
def test_train_search_export_reload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, found, subnet = tmp_path / "run", tmp_path / "found", tmp_path / "subnet"
    flags = "--channels 4 --cells-per-stage 1 --epochs 2 --batch-size 400 --num-probes 1".split()
    assert supernets.cli.train.main([*flags, "--output", str(run)]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert (trained["status"], trained["steps"]) == ("finished", 6)

    flags = "--algorithm weaknas --estimator tse --tse-batches 3 --num-trials 6 --num-initial 3"
    search_flags = [*flags.split(), "--batch-size", "3", "--supernet", trained["checkpoint"]]
    assert (
        search.cli.search.main([*search_flags, "--output", str(found), "--export", str(subnet)])
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert (result["trials"], result["failed"]) == (6, 0)
    best = result["best"][0]

    supernet = load_supernet(run / "last.pt")
    arch = supernet.space.parse(best["architecture"])
    expected = supernet.to_standalone(supernet.extract(arch))
    # The search reopens the data with its own minibatches, of 64.
    loaders = reopen_data(
        read_checkpoint(run / "last.pt"),
        run / "last.pt",
        batch_size=64,
        device=torch.device("cpu"),
    )
    recalibrate_bn(expected, loaders.train_eval, len(loaders.train_eval))
    x, y = next(iter(loaders.test))
    reloaded = load_subnet(subnet)
    program = torch.export.load(subnet / "subnet.pt2").module()
    with torch.inference_mode():
        logits = expected(x)
        assert torch.allclose(reloaded(x), logits, atol=1e-5)
        assert torch.allclose(program(x), logits, atol=1e-5)
        top1 = 100 * (reloaded(x).argmax(dim=1) == y).float().mean().item()
    assert result["export"]["metrics"]["test_top1"] == pytest.approx(top1)

    again = tmp_path / "again"
    flags = ["--supernet", trained["checkpoint"], "--arch", str(found / "best.json")]
    assert supernets.cli.export.main([*flags, "--output", str(again)]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["architecture"] == best["architecture"]
    parameters = dict(reloaded.named_parameters())
    for name, parameter in load_subnet(again).named_parameters():
        assert torch.equal(parameter, parameters[name]), name
