"""The recipes for clusters: they parse, name what exists, and those for SLURM run here."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

import search.cli.options
import supernets.cli.train
from search.cli.options import check_args
from search.runs.job import SearchJob
from supernets.cli.command_line import parse_args
from supernets.cli.option_flags import from_args

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "recipes" / "clusters"
TINY = "--channels 4 --cells-per-stage 1 --num-probes 0 --paths uniform --batch-size 400"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTERS / name).read_text()))


def example(name: str) -> list[str]:
    """The arguments after the script, in the example at its top."""
    text = re.sub(r"\\\n#", " ", (CLUSTERS / name).read_text())
    (line,) = re.findall(rf"^#.*sbatch .*{name} (.*)$", text, flags=re.MULTILINE)
    return shlex.split(line)


def check_training(arguments: list[str]) -> None:
    args = parse_args(supernets.cli.train.build_parser(), arguments)
    supernets.cli.train.train_job(args, amp=False)
    assert args.auto_resume and args.output is not None


def check_search(arguments: list[str]) -> None:
    args = parse_args(search.cli.options.build_parser(), arguments)
    check_args(args, from_args(SearchJob, args))
    assert args.ray is not None


def test_every_recipe_is_tested() -> None:
    assert {path.name for path in CLUSTERS.iterdir()} == {
        "slurm_train.sh",
        "slurm_search.sh",
        "kubernetes_train.yaml",
        "kubernetes_search.yaml",
    }


def test_the_examples_for_slurm_are_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check_training([*example("slurm_train.sh"), "--auto-resume"])
    check_search([*example("slurm_search.sh"), "--ray", "host:6379"])


def test_training_on_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    service, job = documents("kubernetes_train.yaml")
    name, spec = job["metadata"]["name"], job["spec"]
    assert service["metadata"]["name"] == spec["template"]["spec"]["subdomain"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert spec["completions"] == spec["parallelism"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    command = container["command"]
    split = command.index("train_supernet.py")
    torchrun = dict(flag.removeprefix("--").split("=") for flag in command[1:split])
    assert int(torchrun["nnodes"]) == spec["completions"]
    assert int(torchrun["nproc-per-node"]) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert torchrun["rdzv-endpoint"].startswith(f"{name}-0.{pod['subdomain']}:")
    assert int(torchrun["max-restarts"]) > 0
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in container["env"]
    check_training(command[split + 1 :])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_a_search_on_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (job,) = documents("kubernetes_search.yaml")
    python, script, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, script) == ("python", "/paceline/search.py")
    check_search(arguments)
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which srun runs its command here, and scontrol notes what is asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    srun = '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n'
    scontrol = (
        '#!/bin/bash\nif [ "$1" = show ]; then echo 127.0.0.1; '
        f'else echo "$@" >> {tmp_path / "asked"}; fi\n'
    )
    for name, text in (("srun", srun), ("scontrol", scontrol)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    yield os.environ | {
        "PATH": os.pathsep.join(
            [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "nodes",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_GPUS_ON_NODE": "1",
        "MAX_RESTARTS": "0",
        "RAY_PORT": str(port),
        "RDZV_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def run(script: str, arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Runs a script to its end; whatever it has started ends with it, as SLURM would have it."""
    command = ["bash", str(CLUSTERS / script), *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        status = process.wait(timeout=300)
    finally:
        with suppress(ProcessLookupError):  # nothing was left
            os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None and process.stderr is not None
    with process:
        return status, process.stdout.read(), process.stderr.read()


@pytest.mark.slow
def test_the_training_script_trains_and_asks_for_another_turn(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    arguments = [*TINY.split(), "--epochs", "1", "--output", str(tmp_path / "run")]
    status, out, err = run("slurm_train.sh", arguments, slurm)
    assert status == 0, err
    assert json.loads(out)["status"] == "finished"
    assert not (tmp_path / "asked").exists()
    status, out, err = run("slurm_train.sh", [*arguments, "--lr", "-1"], slurm)
    assert status != 0 and "lr must be positive" in err
    assert (tmp_path / "asked").read_text() == "requeue 17\n"


@pytest.mark.slow
def test_the_search_script_starts_a_cluster_and_searches(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    output = tmp_path / "run"
    trained = [*TINY.split(), "--epochs", "1", "--output", str(tmp_path / "supernet")]
    assert supernets.cli.train.main(trained) == 0
    flags = "--algorithm random --num-trials 3 --tse-batches 2 --threads 1 --supernet"
    arguments = [*flags.split(), str(tmp_path / "supernet" / "last.pt"), "--output", str(output)]
    status, out, err = run("slurm_search.sh", arguments, slurm)
    assert status == 0, err
    result = json.loads(out[out.index("{") :])
    assert result["status"] == "finished" and result["lost_workers"] == 0
    assert not (tmp_path / "asked").exists()
