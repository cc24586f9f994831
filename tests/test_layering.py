"""Imports point down: spaces < parts of supernets < jobs on supernets < estimators < search."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("supernets", "estimators", "search")
#: Modules that do something with a supernet; whatever is not named here is a part of one.
JOBS = (
    "supernets.path_sampling",
    "supernets.train_step",
    "supernets.training",
    "supernets.channel_sorting",
    "supernets.progressive_shrinking",
    "supernets.ofa_checkpoints",
    "supernets.train_options",
    "supernets.checkpoint",
    "supernets.subnet_export",
    "supernets.export",
    "supernets.latency_cli",
    "supernets.standard_training",
    "supernets.training_command",
    "supernets.retrain_options",
    "supernets.retrain_source",
    "supernets.retrain",
    "supernets.command_line",
    "supernets.cli",
)
#: What sees nothing but spaces, trials and files, so that a search of a table takes milliseconds.
TORCH_FREE = (
    "supernets.atomic",
    "supernets.folder_lock",
    "supernets.digests",
    "supernets.text_files",
    "supernets.wording",
    "supernets.option_types",
    "estimators.trial_rows",
    "estimators.sqlite_errors",
    "estimators.trials",
    "estimators.ranking",
    "estimators.curve_scores",
    "estimators.combined",
    "estimators.learning_curves",
    "estimators.scores",
    "estimators.revisions",
    "estimators.windows",
    "estimators.ties",
    "estimators.noise_ceiling",
    "estimators.settings",
    "estimators.chosen_archs",
    "estimators.nasbench101",
    "search.acquisition",
    "search.base",
    "search.pools",
    "search.rows",
    "search.random_search",
    "search.weaknas",
    "search.held_out_results",
    "search.proposals",
    "search.local_search",
    "search.tpe",
    "search.structural_bo",
    "search.neural_predictor",
    "search.proxybo",
    "search.predictors.ensemble",
    "search.predictors.forest",
    "search.predictors.gaussian_process",
    "search.evolution",
    "search.predictors.base",
    "search.predictors.sklearn_models",
)
LAYERS = ("spaces", "parts of supernets", "jobs on supernets", "estimators", "search")
HEAVY = ("torch", "torchvision", "timm")


def layer(module: str) -> int:
    package = module.split(".")[0]
    if package == "supernets":
        # the package itself offers the jobs as well, so importing from it is importing them
        is_job = module in JOBS or module == "supernets"
        return 0 if module.startswith("supernets.spaces") else 2 if is_job else 1
    return 3 if package == "estimators" else 4


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
}
# A package's __init__.py offers what the package holds, whichever layer it is in.
REEXPORTS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


class WithoutTyping(ast.NodeTransformer):
    """Drops what only type checkers see."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def imports(module: str, *, when_run: bool = False) -> set[str]:
    """Dotted names of everything ``module`` imports, wherever in the file."""
    found = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(WithoutTyping().visit(tree) if when_run else tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: a relative import"
            assert node.module is not None
            found.add(node.module)
            # `from package import module` names a module too
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
    return found


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def test_the_lists_name_existing_modules() -> None:
    assert set(JOBS) | set(TORCH_FREE) <= MODULES.keys()


@pytest.mark.parametrize("module", sorted(MODULES.keys() - REEXPORTS))
def test_imports_point_down(module: str) -> None:
    found = own(imports(module))
    upward = {name for name in found if layer(name) > layer(module)}
    assert not upward, f"{module} is in layer {LAYERS[layer(module)]!r}"


def test_packages_import_no_command_so_that_python_runs_one_without_a_warning() -> None:
    commands = {module for module in MODULES if "def main(" in MODULES[module].read_text()}
    assert {"supernets.export", "search.cli"} <= commands
    for package in PACKAGES:
        reached, new = set[str](), {package}
        while new:
            reached |= new
            new = {name for module in new for name in own(imports(module))} - reached
        assert not commands & reached, package


@pytest.mark.parametrize("module", sorted(REEXPORTS))
def test_packages_reexport_their_own_modules_only(module: str) -> None:
    allowed = module.split(".")[0]
    foreign = {name for name in own(imports(module)) if layer(name) > layer(module)}
    assert {name for name in foreign if name.split(".")[0] != allowed} == set()


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("supernets.spaces")))
def test_spaces_need_numpy_and_the_standard_library_only(module: str) -> None:
    found = imports(module, when_run=True)
    roots = {name.split(".")[0] for name in found - own(found)}
    assert roots <= sys.stdlib_module_names | {"numpy"}


@pytest.mark.parametrize("module", TORCH_FREE)
def test_torch_free_modules_import_each_other_and_spaces_only(module: str) -> None:
    found = imports(module)
    assert not {name for name in found if name.split(".")[0] in HEAVY}
    beyond = {
        name
        for name in own(found)
        if not name.startswith("supernets.spaces") and name not in TORCH_FREE
    }
    assert not beyond
