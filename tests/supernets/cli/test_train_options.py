"""Options of supernet-train that do not go together are refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from supernets.cli.train import build_parser, main, train_job
from supernets.networks import mobilenetv3
from supernets.networks.factory import create_supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.training.checkpoint import load_supernet, read_checkpoint
from supernets.training.job import TrainJob
from supernets.training.ofa_checkpoints import to_ofa_state_dict
from tests.commands import error_line_of, files_below

CELLS = "--channels 4 --cells-per-stage 1 --batch-size 600 --num-probes 0".split()
ELASTIC = (
    "--space mobilenetv3 --val-fraction 0.8 --batch-size 300 --num-probes 0 --width 0.1"
).split()
STRIDES = "--strides 2 2 2 1 1 1".split()  # for 8 pixels
NASNET = (
    "--space nasnet --channels 2 --layers 3 --val-fraction 0.8 --batch-size 300 --num-probes 0"
).split()
SHRINKING = (
    "--paths progressive --phase-epochs 1 0 0 0 0 0 --phase-warmup-epochs 0 0 0 0 0 0 "
    "--phase-lrs 0.1 0.1 0.1 0.1 0.1 0.1"
).split()


def train(output: Path, *flags: str) -> int:
    return main([*flags, "--output", str(output)])


def job_of(*flags: str) -> TrainJob:
    return train_job(build_parser().parse_args(flags), amp=False)


error_line = error_line_of("supernet-train")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--width 0.5",
            "--width is for --space mobilenetv3, proxylessnas or resnet50d, not nasbench201.",
        ),
        ("--resolutions 8", "--resolutions is for --space mobilenetv3, not nasbench201."),
        (
            "--strides 1 1 1 1 1 1",
            "--strides is for --space mobilenetv3, proxylessnas or resnet50d, not",
        ),
        ("--no-kernel-transform", "--kernel-transform is for --space mobilenetv3"),
        (
            "--from-ofa x.pth",
            "--from-ofa is for --space mobilenetv3 or resnet50d, not nasbench201.",
        ),
        (
            "--drop-path 0.1",
            "is for --space mobilenetv3, nasnet, darts, proxylessnas, vit or resnet50d, not",
        ),
        ("--aux-weight 0.4", "--aux-weight is for --space nasnet or darts, not nasbench201."),
        ("--layers 5", "--layers is for --space nasnet or darts, not nasbench201."),
        ("--stem cifar", "--stem is for --space nasnet or darts, not nasbench201."),
        ("--paths macs-bins", "--paths macs-bins and --macs-bins MIN MAX NUM go together"),
        ("--macs-bins 1 2 3", "--paths macs-bins and --macs-bins MIN MAX NUM go together"),
        ("--paths macs-bins --macs-bins 1 2 2.5", "is a number of bins, got 2.5."),
        ("--paths macs-bins --macs-bins 1 2 0", "bins of MACs must be at least 1, got 0."),
        ("--paths macs-bins --macs-bins 2 2 3", "larger, finite maximum, got 2 and 2."),
        ("--paths macs-bins --macs-bins 1 2 3", "No architecture of space 'nasbench201' has from"),
        ("--paths progressive", "--paths progressive is for --space mobilenetv3, not"),
        ("--paths sandwich", "Space 'nasbench201' has no smallest and largest architecture"),
        ("--phase-epochs 1 1 1 1 1 1", "--phase-epochs is for --paths progressive, not fair."),
        ("--phase-warmup-epochs 0", "--phase-warmup-epochs is for --paths progressive, not fair."),
        ("--phase-lrs 1", "--phase-lrs is for --paths progressive, not fair."),
        ("--kd-ratio 1", "--kd-ratio is for --paths progressive, which has a teacher."),
    ],
)
def test_options_for_something_else_are_refused(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *CELLS, *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--channels 4", "is for --space nasbench201, nasnet or darts, not mobilenetv3."),
        ("--aux-weight 1", "--aux-weight is for --space nasnet or darts, not mobilenetv3."),
        ("--cells-per-stage 1", "--cells-per-stage is for --space nasbench201, not mobilenetv3."),
        ("--bn-mode ref", "--bn-mode is for --space nasbench201, not mobilenetv3."),
        ("--kd-ratio 1", "--kd-ratio is for --paths progressive, which has a teacher."),
        ("--paths sandwich --num-paths 2", "num_paths must be at least 3, got 2."),
        ("--epochs 0", "it needs --from-ofa."),
    ],
)
def test_options_that_the_elastic_space_has_not_are_refused(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *ELASTIC, *STRIDES, *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--width 1", "--width is for --space mobilenetv3, proxylessnas or resnet50d, not nasnet."),
        ("--bn-mode ref", "--bn-mode is for --space nasbench201, not nasnet."),
        ("--channels 1", "channels must be at least 2, got 1."),
        ("--layers 2", "layers must be at least 3, got 2."),
        ("--stem imagenet", "smaller than the network's total stride of 32"),
        ("--aux-weight 0.4", "The auxiliary head needs images of at least 29 pixels"),
        ("--paths progressive", "--paths progressive is for --space mobilenetv3, not"),
        ("--paths sandwich", "Space 'nasnet' has no smallest and largest architecture"),
        ("--paths best-up", "Space 'nasnet' has no smallest and largest architecture"),
        ("--paths fair --num-paths 5", "so num_paths is 7, got 5"),
    ],
)
def test_options_that_cells_have_not_are_refused(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *NASNET, *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--epochs 3", "--epochs differs by phase with --paths progressive; use --phase-epochs."),
        ("--lr 0.1", "--lr differs by phase with --paths progressive; use --phase-lrs."),
        ("--warmup-epochs 0", "use --phase-warmup-epochs."),
        ("--min-lr 0", "--min-lr differs by phase with --paths progressive; leave it out."),
        ("--num-paths 2", "--num-paths differs by phase with --paths progressive; leave it out."),
        ("--from-ofa x.pth", "leave --from-ofa out, or choose other --paths"),
        ("--phase-epochs 1 2", "has 6 phases (full, kernel, depth-1, depth-2, expand-1, expand-2)"),
        ("--phase-epochs 1 2", "but epochs has 2 values: [1, 2]."),
        ("--phase-lrs 1 1 1 1 1 1 1", "but lrs has 7 values"),
        ("--phase-warmup-epochs 0", "but warmup_epochs has 1 values"),
        ("--phase-epochs 0 1 1 1 1 1", "at least 1 in the first phase and 0 in the others"),
        ("--phase-warmup-epochs 1 0 0 0 0 0", "Phase 'full': warmup_epochs must be from 0 to less"),
        ("--macs-bins 1 2 3", "--paths macs-bins and --macs-bins MIN MAX NUM go together"),
        ("--resume", "phase-1-full/last.pt."),
    ],
)
def test_progressive_shrinking_checks_its_options(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *ELASTIC, *STRIDES, *SHRINKING, *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one phase; never written to."""
    output = tmp_path_factory.mktemp("shrunk")
    assert train(output, *ELASTIC, *STRIDES, *SHRINKING) == 0
    return output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--phase-epochs 1 1 0 0 0 0",
            "phase_epochs was [1, 0, 0, 0, 0, 0] and is now [1, 1, 0, 0, 0, 0]",
        ),
        ("--phase-lrs 0.1 0.2 0.1 0.1 0.1 0.1", "and is now [0.1, 0.2, 0.1, 0.1, 0.1, 0.1]"),
        ("--kd-ratio 0.5", "kd_ratio was 1.0 and is now 0.5"),
        ("--width 0.2", "width was 0.1 and is now 0.2"),
        ("--ema-decay 0.9", "ema_decay was None and is now 0.9"),
        ("--no-kernel-transform", "kernel_transform was True and is now False"),
    ],
)
def test_resuming_a_shrinking_refuses_other_settings(
    flags: str, message: str, shrunk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of later phases too."""
    before = {path: (shrunk / path).read_bytes() for path in files_below(shrunk)}
    assert train(shrunk, *ELASTIC, *STRIDES, *SHRINKING, "--resume", *flags.split()) == 2
    error = error_line(capsys)
    assert message in error
    assert "resume with the settings it was started with" in error
    assert before == {path: (shrunk / path).read_bytes() for path in files_below(shrunk)}


def test_a_folder_with_a_training_is_refused(
    shrunk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(shrunk, *ELASTIC, *STRIDES, *SHRINKING) == 2
    assert "already holds a training" in error_line(capsys)
    assert train(shrunk, *ELASTIC, *STRIDES, "--paths", "uniform", "--epochs", "1") == 2
    assert "already holds a training" in error_line(capsys)
    (tmp_path / "last.pt").write_bytes((shrunk / "last.pt").read_bytes())  # of other paths
    assert train(tmp_path, *ELASTIC, *STRIDES, *SHRINKING) == 2
    assert "already holds a training" in error_line(capsys)
    assert [Path(path).name for path in files_below(tmp_path)] == ["last.pt"]


def test_a_missing_phase_is_named(
    shrunk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What later phases learned from must be there."""
    (tmp_path / "phase-2-kernel").mkdir()
    later = tmp_path / "phase-2-kernel" / "last.pt"
    later.write_bytes((shrunk / "last.pt").read_bytes())
    more = ["--phase-epochs", *"1 1 0 0 0 0".split(), "--resume"]
    assert train(tmp_path, *ELASTIC, *STRIDES, *SHRINKING, *more) == 2
    expected = tmp_path / "phase-1-full" / "last.pt"
    assert f"There is no checkpoint at {expected}." in error_line(capsys)


@pytest.mark.parametrize(
    ("space", "paths", "inactive_grads"),
    [
        ("nasbench201", "fair", "zero"),
        ("mobilenetv3", "sandwich", "zero"),
        ("nasnet", "uniform", "skip"),
        ("darts", "uniform", "skip"),
    ],
)
def test_every_space_has_paths_of_its_own(space: str, paths: str, inactive_grads: str) -> None:
    job = job_of("--space", space)
    assert (job.sampler, job.recipe.inactive_grads) == (paths, inactive_grads)
    assert TrainJob(space).sampler == paths and TrainJob(space).recipe == job.recipe
    for given in ("zero", "skip"):
        job = job_of("--space", space, "--inactive-grads", given)
        assert job.recipe.inactive_grads == given


@pytest.mark.parametrize(
    ("space", "flags", "side", "expected"),
    [
        ("nasnet", "", 32, {"channels": 16, "layers": 8, "stem": "cifar", "auxiliary": False}),
        ("darts", "--channels 4 --layers 3", 96, {"channels": 4, "layers": 3, "stem": "imagenet"}),
        ("nasnet", "--layers 3 --stem imagenet --aux-weight 0", 64, {"stem": "imagenet"}),
        ("darts", "--layers 4 --stem cifar --aux-weight 0.4", 96, {"layers": 4, "stem": "cifar"}),
    ],
)
def test_options_of_cells_are_those_of_the_supernet(
    space: str, flags: str, side: int, expected: dict[str, Any]
) -> None:
    job = job_of("--space", space, *flags.split())
    assert job.settings is not None
    settings: dict[str, Any] = {"num_classes": 10, "input_size": (3, side, side)}
    with torch.device("meta"):
        supernet = create_supernet(
            space, **settings, **job.settings.arguments, auxiliary=job.recipe.aux_weight > 0
        )
    assert expected.items() <= supernet.settings.items()
    assert supernet.space.name == space
    assert supernet.has_auxiliary_head == ("--aux-weight 0.4" in flags)
    assert job.recipe.aux_weight == (0.4 if supernet.has_auxiliary_head else 0)


def test_only_what_was_given_is_set() -> None:
    flags = "--space mobilenetv3 --width 0.5 --no-kernel-transform --resolutions 32 24".split()
    job = job_of(*flags, "--lr", "0.5", "--ema-decay", "0.9")
    given = {"width": 0.5, "kernel_transform": False, "resolutions": (32, 24)}
    assert job.settings is not None and job.settings.arguments == given
    assert job.data.image_size == 32
    config = job.recipe
    assert (config.lr, config.min_lr, config.epochs) == (0.5, 0.001, 100)
    assert (config.ema_decay, config.clip_value, config.amp) == (0.9, None, False)


def test_paths_are_trained_at_resolutions_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[tuple[int, int]] = []
    real = mobilenetv3.resize

    def resize(x: torch.Tensor, resolution: int | None) -> torch.Tensor:
        out = real(x, resolution)
        sides.append((x.shape[2], out.shape[2]))
        return out

    monkeypatch.setattr(mobilenetv3, "resize", resize)
    flags = [*ELASTIC, *STRIDES, "--resolutions", "12", "8", "--epochs", "1"]
    assert train(tmp_path, *flags) == 0
    assert (sides[0], sides[3]) == ((12, 12), (12, 8))  # the largest and the smallest path
    checkpoint = torch.load(tmp_path / "last.pt", weights_only=True)
    assert checkpoint["supernet_settings"]["resolutions"] == (8, 12)
    assert checkpoint["data"]["image_size"] == 12
    assert json.loads((tmp_path / "args.json").read_text())["args"]["image_size"] == 12


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A file as OFA released them, but of a tenth of the width and 10 classes; and its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        supernet = MobileNetV3Supernet(num_classes=10, width=0.1, input_size=(1, 32, 32))
    path = tmp_path_factory.mktemp("ofa") / "ofa.pth"
    torch.save({"state_dict": to_ofa_state_dict(supernet)}, path)
    return {"path": path, "weights": supernet.state_dict()}


def test_released_weights_are_stored_as_they_are(
    released: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*ELASTIC, "--resolutions", "32", "40", "--from-ofa", str(released["path"])]
    assert train(tmp_path, *flags, "--epochs", "0") == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["status"], block["epochs"], block["steps"]) == ("finished", 0, 0)
    supernet = load_supernet(tmp_path / "last.pt")
    assert supernet.settings["resolutions"] == (32, 40)
    assert supernet.input_size == (1, 40, 40)
    weights = supernet.state_dict()
    assert weights.keys() == released["weights"].keys()
    assert all(torch.equal(weights[name], t) for name, t in released["weights"].items())
    assert not (tmp_path / "summary.csv").exists()


@pytest.mark.parametrize(("chosen", "field"), [("raw", "model"), (None, "ema")])
def test_which_released_weights_were_taken_stands_in_the_checkpoint(
    chosen: str | None, field: str, released: dict[str, Any], tmp_path: Path
) -> None:
    weights = torch.load(released["path"], weights_only=True)["state_dict"]
    path = tmp_path / "both.pth"
    other = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    torch.save({"model": other, "ema": other, field: weights}, path)
    flags = [*ELASTIC, "--resolutions", "32", "40", "--from-ofa", str(path), "--epochs", "0"]
    flags += [] if chosen is None else ["--ofa-weights", chosen]
    assert train(tmp_path / "run", *flags) == 0
    stored = read_checkpoint(tmp_path / "run" / "last.pt")
    is_averaged = field == "ema"
    assert stored["released"] == {"file": "both.pth", "field": field, "is_averaged": is_averaged}
    own = stored["state_dict"]
    assert all(torch.equal(own[name], t) for name, t in released["weights"].items())


def test_released_weights_can_be_trained_further(
    released: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from supernets.training import supernet as training

    starts: list[torch.Tensor] = []
    real = training.train_step

    def step(supernet: MobileNetV3Supernet, *args: Any, **settings: Any) -> torch.Tensor:
        starts.append(supernet.conv_head.weight.detach().clone())
        return real(supernet, *args, **settings)

    monkeypatch.setattr(training, "train_step", step)
    flags = [*ELASTIC, "--image-size", "32", "--paths", "uniform", "--epochs", "1"]
    assert train(tmp_path, *flags, "--from-ofa", str(released["path"])) == 0
    assert torch.equal(starts[0], released["weights"]["conv_head.weight"])
    trained = load_supernet(tmp_path / "last.pt").state_dict()["conv_head.weight"]
    assert not torch.equal(trained, starts[0])
