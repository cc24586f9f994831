"""The commands of README and docs parse with the real parsers, and its first job is the demo."""

from __future__ import annotations

import ast
import builtins
import gzip
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estimators.cli.rank
import search.cli.options
import supernets.cli.export
import supernets.cli.latency
import supernets.cli.retrain
import supernets.cli.train
from search import TrialStore
from supernets import create_space

ROOT = Path(__file__).parents[1]
TEXTS = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
)
PARSERS = {
    "train_supernet.py": supernets.cli.train.build_parser,
    "search.py": search.cli.options.build_parser,
    "supernet-export": supernets.cli.export.build_parser,
    "supernet-rank": estimators.cli.rank.build_parser,
    "supernet-latency": supernets.cli.latency.build_parser,
    "supernet-retrain": supernets.cli.retrain.build_parser,
}


def commands() -> list[list[str]]:
    """All lines of the bash blocks of README and docs, continued lines joined."""
    text = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def program_and_arguments(command: list[str]) -> tuple[str, list[str]] | None:
    for i, word in enumerate(command):
        if word in PARSERS:
            return word, command[i + 1 :]
    return None


OURS = [found for command in commands() if (found := program_and_arguments(command))]


def test_readme_is_one_page() -> None:
    assert len(TEXTS[0].read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_and_docs_show_every_program() -> None:
    assert {program for program, _ in OURS} == set(PARSERS)


@pytest.mark.parametrize(
    ("program", "arguments"), OURS, ids=[f"{p}-{i}" for i, (p, _) in enumerate(OURS)]
)
def test_command_parses_and_its_config_exists(program: str, arguments: list[str]) -> None:
    args = PARSERS[program]().parse_args(arguments)
    if args.config is not None:
        assert (ROOT / args.config).is_file()


def python_blocks() -> list[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.split("\n")[0])
def test_python_blocks_define_all_names_they_use(block: str) -> None:
    known = set(vars(builtins))
    for statement in ast.parse(block).body:
        nodes = list(ast.walk(statement))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        known |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
        known |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
        known |= {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        used = {name.id for name in names if isinstance(name.ctx, ast.Load)}
        assert used <= known, f"{used - known} in {ast.unparse(statement)!r}"


def test_python_block_on_searches_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (block for block in python_blocks() if "run_search(" in block)
    space = create_space("nasbench201")
    choices = space.sample_choices(400, np.random.default_rng(0))
    values = choices.sum(axis=1) / 10
    rows = [
        f"{space.format(a)},{v}" for a, v in zip(space.architectures(choices), values, strict=True)
    ]
    with gzip.open(tmp_path / "nasbench201.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["arch_str,cifar10_test_acc_200ep", *dict.fromkeys(rows)]))
    monkeypatch.chdir(tmp_path)
    short = block.replace('"weaknas", space, seed=0, predictor="mlp"', '"random", space, seed=0')
    found: dict[str, Any] = {}
    exec(short.replace("num_trials=200", "num_trials=20"), found)
    assert found["CostModel"](found["net"]).measure(found["arch"]).macs == 78_561_930
    assert found["logits"].shape == (8, 10)
    assert len(TrialStore.open("trials.db", {"table": "cifar10"}, space).trials) == 20


def test_no_text_puts_an_exported_folder_on_the_module_path() -> None:
    assert not [block for block in python_blocks() if "sys.path" in block]


def test_make_demo_runs_the_first_two_commands() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for program, arguments in OURS[:2]:
        assert program in makefile
        assert arguments[arguments.index("--config") + 1] in makefile


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target.split("#")[0]).exists(), target
