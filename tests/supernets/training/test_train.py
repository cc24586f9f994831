"""The training of a supernet as a Python call: what the command does, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search import GradientJob, search_by_gradients
from supernets import NASBench201Settings, NASNetSettings, PathOptions, TrainConfig, TrainJob, train
from supernets.cli.train import main
from supernets.export.retrain import retrain
from supernets.export.retrain_job import RetrainJob
from supernets.export.retrain_source import RetrainSource
from supernets.export.subnet import export_checkpoint
from supernets.training.job import ReleasedWeights

FLAGS = "--channels 2 --cells-per-stage 1 --batch-size 400 --epochs 2 --num-probes 0 --no-amp"
ARCH = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
JOB = TrainJob(
    settings=NASBench201Settings(channels=2, cells_per_stage=1),
    batch_size=400,
    config=TrainConfig(epochs=2, num_probes=0),
)


@pytest.mark.slow
def test_a_call_does_what_the_command_does(tmp_path: Path) -> None:
    assert main([*FLAGS.split(), "--output", str(tmp_path / "command")]) == 0
    result = train(JOB, tmp_path / "call", device="cpu")
    assert (result.is_finished, result.epochs, result.steps) == (True, 2, 6)
    assert result.checkpoint == tmp_path / "call" / "last.pt"
    by_call, by_command = (
        torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("call", "command")
    )
    for name in ("paths", "train_config", "data", "supernet_settings", "world_size"):
        assert by_call[name] == by_command[name]
    for name, tensor in by_command["state_dict"].items():
        assert torch.equal(by_call["state_dict"][name], tensor), name
    files = {path.name for path in (tmp_path / "command").iterdir()}
    assert {path.name for path in (tmp_path / "call").iterdir()} == files
    asked = json.loads((tmp_path / "call" / "args.json").read_text())["args"]
    assert asked["settings"]["class"] == "NASBench201Settings"
    assert (asked["batch_size"], asked["output"]) == (400, str(tmp_path / "call"))
    assert asked["config"]["epochs"] == 2
    machine = {name: asked[name] for name in ("num_workers", "checkpoint_minutes", "resume")}
    assert machine == {"num_workers": 2, "checkpoint_minutes": 10.0, "resume": False}


def test_a_run_is_continued_on_request_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no checkpoint at"):
        train(JOB, tmp_path / "run", device="cpu", resume=True)
    assert not (tmp_path / "run").exists()
    assert train(JOB, tmp_path / "run", device="cpu", resume=None).steps == 6
    assert train(JOB, tmp_path / "run", device="cpu", resume=None).steps == 6
    with pytest.raises(ValueError, match="already holds a training"):
        train(JOB, tmp_path / "run", device="cpu")
    other = replace(JOB, config=replace(JOB.config, lr=0.1))
    with pytest.raises(ValueError, match="other settings: lr was 0.025 and is now 0.1; resume"):
        train(other, tmp_path / "run", device="cpu", resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": "x"}, "Unknown space 'x'; choose from nasbench201, "),
        ({"settings": NASNetSettings()}, "must be NASBench201Settings, got NASNetSettings"),
        ({"config": TrainConfig(drop_path=0.1)}, "vit or resnet50d, not nasbench201"),
        ({"config": TrainConfig(epochs=0)}, "it needs --from-ofa"),
        ({"paths": PathOptions("progressive")}, "progressive is for --space mobilenetv3"),
        (
            {"released": ReleasedWeights(Path("x"))},
            "--from-ofa is for --space mobilenetv3 or resnet50d, not",
        ),
    ],
)
def test_what_does_not_go_together_is_no_job(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainJob(**settings)


#: Arguments beside the job that every call of a training refuses.
WRONG_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"output": 5}, "output must be a path or text, got 5"),
    ({"output": None}, "output must be a path or text, got None"),
    ({"device": "tpu"}, "Unknown device 'tpu'; this machine has cpu"),
    ({"device": 5}, "device must be text or a device, got 5"),
    ({"num_workers": "a"}, "num_workers must be a whole number, got 'a'"),
    ({"checkpoint_minutes": "a"}, "checkpoint_minutes must be a number, got 'a'"),
    ({"checkpoint_minutes": -1}, "checkpoint_minutes must be positive, got -1"),
]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"finetune": "no"}, "finetune must be True or False, got 'no'"),
        ({"batch_size": "a"}, "batch_size must be a whole number, got 'a'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"split_seed": "x"}, "split_seed must be a whole number, got 'x'"),
        ({"relation": "x"}, "relation must be same, resplit or other, got 'x'"),
        ({"sizes": {"channels": 0}}, "channels must be at least 1, got 0"),
        ({"formats": ("nope",)}, "Unknown format 'nope'; choose from pt2, onnx, timm"),
        ({"formats": ("timm",)}, "timm has no networks of space 'nasbench201'"),
        ({"formats": "pt2"}, "formats must be a list of texts, got 'pt2'"),
        ({"formats": 5}, "formats must be a list of texts, got 5"),
    ],
)
def test_values_of_a_retraining_are_checked_when_it_is_made(
    fields: dict[str, Any], message: str
) -> None:
    source = RetrainSource.of_architecture(ARCH, "nasbench201")
    with pytest.raises(ValueError, match=message):
        RetrainJob(source, **fields)


@pytest.mark.parametrize("call", [train, retrain, search_by_gradients])
@pytest.mark.parametrize(("given", "message"), WRONG_ARGUMENTS)
def test_arguments_of_a_call_are_checked_before_anything_is_written(
    call: Any, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = RetrainSource.of_architecture(ARCH, "nasbench201")
    jobs = {
        train: JOB,
        retrain: RetrainJob(source),
        search_by_gradients: GradientJob(),
    }
    with pytest.raises(ValueError, match=message):
        call(**{"job": jobs[call], "output": tmp_path / "run", "device": "cpu", **given})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("call", [train, retrain])
def test_resume_is_a_switch_and_a_job_is_a_job(call: Any, tmp_path: Path) -> None:
    job = JOB if call is train else RetrainJob(RetrainSource.of_architecture(ARCH, "nasbench201"))
    with pytest.raises(ValueError, match="resume must be True, False or None, got 'no'"):
        call(job, tmp_path, resume="no")
    with pytest.raises(ValueError, match=r"job must be a (Train|Retrain)Job, got 'nasbench201'"):
        call("nasbench201", tmp_path)
    with pytest.raises(ValueError, match="options must be an ExportOptions, got 5"):
        export_checkpoint(5)  # type: ignore[arg-type]


def test_fields_of_a_job_of_another_kind_are_refused() -> None:
    wrong: dict[str, Any] = {"epochs": 1}
    with pytest.raises(ValueError, match="config must be a TrainConfig, got {'epochs': 1}; Train"):
        TrainJob(config=wrong)  # type: ignore[arg-type]
    source = RetrainSource.of_architecture(ARCH, "nasbench201")
    with pytest.raises(ValueError, match="config must be a RetrainConfig, got a TrainConfig"):
        RetrainJob(source, config=TrainConfig())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="source must be a RetrainSource, got 'x'; Retrain"):
        RetrainJob("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no/such"):
        RetrainSource.of_subnet("no/such")
