"""Imports point down: the rooms of the tree are layers, and a room sees the lower ones alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("supernets", "estimators", "search")
#: The rooms, each a folder or a module of its own, from the lowest to the highest.
ROOMS = (
    "supernets.version",
    "supernets.runtime",
    "supernets.kernels",
    "supernets.spaces",
    "supernets.data",
    "supernets.networks",
    "supernets.cost",
    "supernets.training",
    "supernets.export",
    "supernets.testing",
    "supernets.cli",
    "estimators.base",
    "estimators.bootstrap",
    "estimators.rank_metrics",
    "estimators.trials",
    "estimators.scores",
    "estimators.benchmarks",
    "estimators.factory",
    "estimators.testing",
    "estimators.executors",
    "estimators.html",
    "estimators.ranking",
    "estimators.cli",
    "search.predictors",
    "search.algorithms",
    "search.runner",
    "search.testing",
    "search.differentiable",
    "search.staged",
    "search.report",
    "search.runs",
    "search.cli",
)
#: What sees nothing but spaces, trials and files, so that a search of a table takes milliseconds.
TORCH_FREE = (
    "supernets.runtime.atomic_write",
    "supernets.runtime.code_digest",
    "supernets.runtime.folder_lock",
    "supernets.runtime.digests",
    "supernets.runtime.text_files",
    "supernets.runtime.wording",
    "supernets.runtime.option_types",
    "supernets.runtime.options",
    "supernets.runtime.instances",
    "supernets.runtime.named_objects",
    "supernets.runtime.outputs",
    "supernets.runtime.own_code",
    "supernets.runtime.ranks",
    "supernets.runtime.run_kinds",
    "supernets.runtime.settings_difference",
    "supernets.kernels.choice",
    "estimators.trials.trial_rows",
    "estimators.trials.sqlite_errors",
    "estimators.trials.dataframe",
    "estimators.trials.store",
    "estimators.trials.store_file",
    "estimators.bootstrap",
    "estimators.rank_metrics",
    "estimators.scores.loss_curves",
    "estimators.scores.combined",
    "estimators.ranking.learning_curves",
    "estimators.scores.names",
    "estimators.scores.revisions",
    "estimators.scores.settings",
    "estimators.scores.registry",
    "estimators.scores.built_in",
    "estimators.executors.settings",
    "estimators.scores.windows",
    "estimators.trials.ties",
    "estimators.ranking.noise_ceiling",
    "estimators.trials.settings",
    "estimators.ranking.architectures",
    "estimators.ranking.macs_windows",
    "supernets.cost.analytic",
    "estimators.benchmarks.nasbench101",
    "search.algorithms.acquisition",
    "search.algorithms.base",
    "search.algorithms.definition",
    "search.algorithms.log_regret_gp",
    "search.algorithms.options",
    "search.algorithms.own_algorithm",
    "search.algorithms.problem",
    "search.algorithms.registry",
    "search.algorithms.pool_search",
    "search.algorithms.rows",
    "search.algorithms.random_search",
    "search.algorithms.weaknas",
    "search.report.test_results",
    "search.algorithms.population_search",
    "search.algorithms.local_search",
    "search.algorithms.tpe",
    "search.algorithms.structural_bo",
    "search.algorithms.neural_predictor",
    "search.algorithms.proxybo",
    "search.predictors.ensemble",
    "search.predictors.forest",
    "search.predictors.gaussian_process",
    "search.predictors.gp_posterior",
    "search.algorithms.evolution",
    "search.predictors.base",
    "search.predictors.definition",
    "search.predictors.own_predictor",
    "search.predictors.sklearn_models",
)
#: They import what they build once they are asked to.
REGISTRIES = ("search.predictors.registry", "estimators.scores.definition")
HEAVY = ("torch", "torchvision", "timm")
#: What takes a second or more to load, which a command does once it has something to compute.
SLOW = (*HEAVY, "sklearn", "scipy", "matplotlib")
#: The commands whose --help waits for none of it.
QUICK_TO_START = (
    "supernets.cli.train",
    "supernets.cli.export",
    "supernets.cli.retrain",
    "supernets.cli.latency",
    "estimators.cli.rank",
    "search.cli.search",
)


def room(module: str) -> str:
    """The room of a module; a package itself offers all its rooms, and stands in its highest."""
    if module in PACKAGES:
        return next(name for name in reversed(ROOMS) if name.startswith(f"{module}."))
    return next(name for name in ROOMS if f"{module}.".startswith(f"{name}."))


def layer(module: str) -> int:
    return ROOMS.index(room(module))


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


class WithoutFunctions(WithoutTyping):
    """Drops what is imported where it is used."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None


def loads(module: str) -> list[str]:
    """Dotted names of what importing ``module`` imports, packages before what is in them."""
    found: list[str] = []
    tree = WithoutFunctions().visit(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            found += [".".join(parts[: i + 1]) for i in range(len(parts))]
    return list(dict.fromkeys(found))


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def test_the_lists_name_what_exists_and_all_of_it() -> None:
    assert {*TORCH_FREE, *REGISTRIES, *ROOMS} <= MODULES.keys()
    assert all(room(module) in ROOMS for module in MODULES)


@pytest.mark.parametrize("module", sorted(m for m in MODULES if ".cli" not in room(m)))
def test_commands_are_imported_by_commands_alone(module: str) -> None:
    reached = {room(name) for name in own(imports(module))}
    assert not {name for name in reached if name.endswith(".cli")}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - REEXPORTS))
def test_imports_point_down(module: str) -> None:
    found = own(imports(module))
    upward = {name for name in found if layer(name) > layer(module)}
    assert not upward, f"{module} is in the room {room(module)!r}"


def test_packages_import_no_command_so_that_python_runs_one_without_a_warning() -> None:
    commands = {module for module in MODULES if "def main(" in MODULES[module].read_text()}
    assert {"supernets.cli.export", "search.cli.search"} <= commands
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


def test_names_that_timm_does_not_offer_are_imported_in_one_place() -> None:
    rooms = ("data", "layers", "models", "optim", "scheduler", "utils")
    public = {"timm", *(f"timm.{room}" for room in rooms)}
    users = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "timm":
                names = [alias.name for alias in node.names]
                if node.module not in public or any(name.startswith("_") for name in names):
                    users.add(module)
    assert users == {
        "supernets.runtime.private_names",
        "supernets.export.load_with_timm",
        "supernets.export.load_resnet50d_with_timm",
        "supernets.export.load_vit_with_timm",
    }


@pytest.mark.parametrize("module", QUICK_TO_START)
def test_commands_load_what_they_compute_with_once_they_compute(module: str) -> None:
    chains, new = {module: [module]}, [module]
    while new:
        module = new.pop()
        for name in loads(module):
            assert name not in SLOW, " -> ".join([*chains[module], name])
            if name in MODULES and name not in chains:
                chains[name] = [*chains[module], name]
                new.append(name)


@pytest.mark.parametrize("module", TORCH_FREE)
def test_torch_free_modules_import_each_other_and_spaces_only(module: str) -> None:
    found = imports(module)
    assert not {name for name in found if name.split(".")[0] in HEAVY}
    beyond = {
        name
        for name in own(found)
        if not name.startswith("supernets.spaces") and name not in (*TORCH_FREE, *REGISTRIES)
        if name not in REEXPORTS or imports(name)  # a room that offers nothing itself
    }
    assert not beyond
