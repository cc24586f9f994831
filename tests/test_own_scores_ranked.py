"""Scores in a file of one's own are ranked beside built-in ones, by command and in Python."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import search.cli.search
import supernets.cli.train
from estimators import (
    ComparisonSettings,
    ExtraSteps,
    MultiScoreEstimator,
    MultiScoreSettings,
    OfLosses,
    RankedSupernet,
    Ranking,
    TSESettings,
    create_estimator,
    rank_scores,
)
from estimators.cli.rank import build_parser, main
from estimators.ranking.supernets import open_measurements
from estimators.scores.combined_estimator import Reference
from estimators.scores.names import Score
from estimators.scores.own_scores import own_scores
from estimators.scores.settings import CombinedSettings
from estimators.trials.store import read_header
from supernets import CostModel, create_loaders, create_space, create_supernet
from supernets.kernels.library import identity, load
from supernets.runtime.outputs import Outputs
from supernets.runtime.own_code import OwnCodeError
from supernets.spaces import Architecture
from tests.own_files import forget

#: As recorded of scores of extra steps: which kernels this machine has, if any.
KERNELS = {} if load() is not None else {"kernels": identity()}
CODE = '''
from dataclasses import dataclass

from estimators import (
    Estimate, EstimateError, EstimatorDefinition, EstimatorSettings, ExtraSteps,
    ExtraStepsSettings, OfLosses,
)
from supernets import CostModel, option


@dataclass(frozen=True)
class FewerSettings(EstimatorSettings):
    at_least: int = option(0, "MACs below which there is no score")


class Fewer:
    """Minus the MACs, which its metrics have in their natural sign."""

    def __init__(self, settings, inputs):
        self.name, self.costs = inputs.name, CostModel(inputs.supernet)
        self.at_least = settings.at_least

    def estimate(self, arch):
        macs = self.costs.measure(arch).macs
        if macs < self.at_least:
            raise EstimateError("Too few MACs.")
        ragged = {"x": range(macs % 3)}
        return Estimate(score=-macs, metrics={self.name: macs}, seconds=0.0, curves=ragged)


class Steps:
    """Minus the sum of the losses of the extra steps, as tse."""

    name = "steps"

    def __init__(self, settings, inputs):
        self.supernet, self.train = inputs.supernet, inputs.minibatches(settings).train
        self.steps = ExtraSteps(self.train, num_batches=settings.num_batches, lr=settings.lr)

    def estimate(self, arch):
        losses = self.steps.run(self.supernet.extract(arch))
        return Estimate(score=-losses.astype(float).sum(), metrics={}, seconds=0.0)


class Broken(Fewer):
    def estimate(self, arch):
        raise KeyError("no such\\nlayer")


def nothing(settings, inputs):
    return inputs.no_such_input


def number(settings, inputs):
    found = Fewer(FewerSettings(), inputs)
    found.estimate = str
    return found


@dataclass(frozen=True)
class OtherSettings(EstimatorSettings):
    at_least: float = option(0.5, "something else")


@dataclass(frozen=True)
class TakenSettings(EstimatorSettings):
    table: str = option("x", "a flag of the truth")


def last(losses, settings):
    return -losses[-settings.count :].sum()


@dataclass(frozen=True)
class LastSettings(ExtraStepsSettings):
    count: int = option(2, "losses that are summed")


def too_deep(losses, settings):
    return losses[7]


LAST = EstimatorDefinition("last", OfLosses(last), LastSettings)
FIRST = EstimatorDefinition("first", OfLosses(last), ExtraStepsSettings)
LONELY = EstimatorDefinition("lonely", OfLosses(last), FewerSettings)
DEEP = EstimatorDefinition("deep", OfLosses(too_deep), ExtraStepsSettings)
@dataclass(frozen=True)
class SpaceSettings(EstimatorSettings):
    needs = ("space",)


class Choices:
    name = "choices"

    def __init__(self, settings, inputs):
        self.space = inputs.space

    def estimate(self, arch):
        return Estimate(score=sum(arch.choices), metrics={}, seconds=0.0)


CHOICES = EstimatorDefinition("choices", Choices, SpaceSettings)
ANEW = EstimatorDefinition("anew", Fewer, FewerSettings, trains_anew=True)
FEWER = EstimatorDefinition("fewer", Fewer, FewerSettings)
STEPS = EstimatorDefinition("steps", Steps, ExtraStepsSettings)
BROKEN = EstimatorDefinition("broken", Broken, FewerSettings)
NOTHING = EstimatorDefinition("nothing", nothing)
NUMBER = EstimatorDefinition("number", number)
MACS = EstimatorDefinition("macs", Fewer, FewerSettings)
VAL = EstimatorDefinition("val_top1", Fewer, FewerSettings)
BENCHMARK = EstimatorDefinition("benchmark_macs", Fewer, FewerSettings)
PART = EstimatorDefinition("fewer.fewer", Fewer, FewerSettings)
OTHER = EstimatorDefinition("other", Fewer, OtherSettings)
TAKEN = EstimatorDefinition("taken", Fewer, TakenSettings)
'''
TSE = MultiScoreSettings(batch_size=50, num_batches=2)
COMBINES = ComparisonSettings(top_k=3, num_bootstrap=20)
#: So many known truths leave too few to judge a combined score on, which takes seconds.
COMPARISON = replace(COMBINES, num_known=20)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "theirs.py"
    path.write_text(CODE)
    return path


@pytest.fixture(scope="module")
def subject() -> RankedSupernet:
    supernet = create_supernet(
        "nasbench201", num_classes=10, input_size=(1, 8, 8), channels=2, cells_per_stage=1
    )
    return RankedSupernet(supernet, create_loaders("digits", batch_size=50, seed=0))


@pytest.fixture(scope="module")
def archs(subject: RankedSupernet) -> list[Architecture]:
    """Of distinct MACs, the fewest first."""
    rng, space, costs = (
        np.random.default_rng(0),
        subject.supernet.space,
        CostModel(subject.supernet),
    )
    drawn = {costs.measure(arch).macs: arch for arch in (space.sample(rng) for _ in range(200))}
    return [drawn[macs] for macs in sorted(drawn)[:21]]


@pytest.fixture(autouse=True)
def in_the_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(file.parent)
    forget()
    yield
    forget()


@pytest.fixture
def rank(
    subject: RankedSupernet, archs: list[Architecture], tmp_path: Path
) -> Callable[..., Ranking]:
    """Ranks against the truth that more MACs are better."""
    truth = {arch: float(i) for i, arch in enumerate(archs)}

    def run(*scores: str, output: str = "run", **others: Any) -> Ranking:
        given: dict[str, Any] = {"settings": TSE, "comparison": COMPARISON, **others}
        return rank_scores([subject], archs, truth, scores, output=tmp_path / output, **given)

    return run


def test_own_scores_are_ranked_beside_built_in_ones_and_share_their_minibatches(
    rank: Callable[..., Ranking], tmp_path: Path
) -> None:
    names = ("theirs.py:FEWER", "macs", "tse", "theirs.py:STEPS")
    ranking = rank(*names, comparison=COMBINES)
    assert set(ranking.spearman) == {"fewer", "macs", "tse", "steps"}
    assert ranking.spearman["macs"] == pytest.approx(1)
    assert ranking.spearman["fewer"] == pytest.approx(-1)  # higher is better
    for arch in ranking.result["archs"]:
        assert arch["scores"]["fewer"] == [-arch["macs"]]
        assert arch["scores"]["steps"] == pytest.approx(arch["scores"]["tse"])
    by_name = {each["name"]: each for each in ranking.result["estimators"]}
    assert by_name["steps"]["seconds"] > 0 and by_name["macs"]["seconds"] == 0
    assert ranking.result["own_scores"] == {
        "fewer": {"source": "theirs.py:FEWER", "inherits": True},
        "steps": {"source": "theirs.py:STEPS", "inherits": True},
    }
    assert ranking.result["settings"]["own_scores"] == {
        "fewer": {"at_least": 0},
        "steps": {"batch_size": 50, "num_batches": 2, "lr": 0.001, **KERNELS},
    }
    assert {"fewer", "steps"} <= {part["name"] for part in ranking.result["combined"]["parts"]}
    run = tmp_path / "run"
    page, table = (run / "report.html").read_text(), (run / "ranking.csv").read_text()
    assert "not part of paceline: <code>theirs.py:STEPS</code>" in page and "fewer," in table
    (store,) = run.glob("measurements-*.db")
    assert read_header(store)["estimators"] == ["fewer", "macs", "steps", "tse"]
    with closing(sqlite3.connect(store)) as connection:
        metrics = json.loads(connection.execute("SELECT metrics FROM trials").fetchone()[0])
    assert metrics["fewer.fewer"] == -metrics["fewer"] == metrics["macs"]


def test_the_definition_says_whether_inherited_weights_matter(
    rank: Callable[..., Ranking], tmp_path: Path
) -> None:
    ranking = rank("macs", "theirs.py:ANEW", "theirs.py:CHOICES")
    assert not any(each["inherits"] for each in ranking.result["own_scores"].values())
    page = tmp_path / "run" / "report.html"
    assert "another training of it may rank otherwise" not in page.read_text()
    rank("macs", "theirs.py:FEWER", output="inherits")
    page = tmp_path / "inherits" / "report.html"
    assert "another training of it may rank otherwise" in page.read_text()


def test_scores_of_losses_share_one_training(
    rank: Callable[..., Ranking], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, trained = ExtraSteps.run, list[Any]()

    def run(self: ExtraSteps, subnet: Any, **given: Any) -> Any:
        trained.append(subnet)
        return real(self, subnet, **given)

    monkeypatch.setattr(ExtraSteps, "run", run)
    ranking = rank("tse", "theirs.py:LAST", "tlmini")
    assert len(trained) == 21
    for arch in ranking.result["archs"]:
        assert arch["scores"]["last"] == pytest.approx(arch["scores"]["tse"])  # of both steps
    by_name = {each["name"]: each for each in ranking.result["estimators"]}
    assert by_name["last"]["seconds"] >= by_name["tse"]["seconds"] > 0
    alone = rank("macs", "theirs.py:LAST", output="alone")
    assert len(trained) == 2 * 21
    scores = [
        [arch["scores"]["last"] for arch in found.result["archs"]] for found in (ranking, alone)
    ]
    assert scores[0] == scores[1]
    kind: Any = type(own_scores(["theirs.py:LAST"])[0].settings)
    longer = {"theirs.py:LAST": kind(batch_size=50, num_batches=3, count=3)}
    other = rank("tse", "theirs.py:LAST", output="longer", own_settings=longer)
    assert len(trained) == 4 * 21  # steps of its own
    for arch in other.result["archs"]:
        assert arch["scores"]["last"][0] < arch["scores"]["tse"][0]


def test_a_score_of_losses_is_searched_by_as_it_is_ranked(
    subject: RankedSupernet, archs: list[Architecture]
) -> None:
    kind: Any = type(own_scores(["theirs.py:LAST"])[0].settings)
    settings = kind(batch_size=50, num_batches=2)
    given: dict[str, Any] = {"supernet": subject.supernet, "data": subject.loaders}
    own = create_estimator("theirs.py:LAST", settings, **given).estimate(archs[0])
    tse = create_estimator("tse", TSESettings(batch_size=50, num_batches=2), **given)
    expected = tse.estimate(archs[0])
    assert own.score == pytest.approx(expected.score) and own.curves == expected.curves
    with pytest.raises(ValueError, match="'lonely' is of losses, so its settings must be a subcl"):
        create_estimator("theirs.py:LONELY", **given)
    with pytest.raises(ValueError, match="function must be one of losses and settings, got 5"):
        OfLosses(5)  # type: ignore[arg-type]


def test_minibatches_are_drawn_once(subject: RankedSupernet, archs: Any, tmp_path: Path) -> None:
    own = own_scores(["theirs.py:STEPS"], settings=MultiScoreSettings(batch_size=50, num_batches=3))
    scores, cpu = [Score("tse"), Score("steps", is_own=True)], torch.device("cpu")
    with Outputs() as outputs:
        found = open_measurements(subject, archs, scores, own, TSE, tmp_path, outputs, cpu, False)
        found.store.close()
    (steps,), training = found.multi_score.own, found.multi_score.training
    assert training is not None and len(steps.train) == 3  # type: ignore[attr-defined]
    for ours, theirs in zip(training.batches, steps.train, strict=False):  # type: ignore[attr-defined]
        assert torch.equal(ours[0], theirs[0])  # unpacked anew every time, from the same pixels
        assert ours[1].data_ptr() == theirs[1].data_ptr()


def test_what_was_measured_is_kept_and_settings_are_told_apart(
    rank: Callable[..., Ranking], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rank("theirs.py:FEWER", "macs")
    forget()
    monkeypatch.setattr(MultiScoreEstimator, "measure", lambda *_: pytest.fail("measured again"))
    again = rank("theirs.py:FEWER", "macs")
    assert again.result["archs"] == first.result["archs"]
    settings = type(own_scores(["theirs.py:FEWER"])[0].settings)(at_least=7)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="settings.own_scores.fewer.at_least was 0"):
        rank("theirs.py:FEWER", "macs", own_settings={"theirs.py:FEWER": settings})
    with pytest.raises(ValueError, match="own_settings has settings of 'x', which is no score"):
        rank("macs", own_settings={"x": settings})
    with pytest.raises(ValueError, match="own_settings of theirs.py:STEPS must be an ExtraSt"):
        rank("theirs.py:STEPS", own_settings={"theirs.py:STEPS": settings})


def test_an_architecture_without_a_score_is_last_and_the_report_says_why(
    rank: Callable[..., Ranking], archs: list[Architecture], subject: RankedSupernet, tmp_path: Path
) -> None:
    costs = CostModel(subject.supernet)
    settings = type(own_scores(["theirs.py:FEWER"])[0].settings)(
        at_least=costs.measure(archs[2]).macs  # type: ignore[call-arg]
    )
    ranking = rank("macs", "theirs.py:FEWER", own_settings={"theirs.py:FEWER": settings})
    lost = [subject.supernet.space.format(arch) for arch in archs[:2]]
    by_name = {each["name"]: each for each in ranking.result["estimators"]}
    assert by_name["fewer"]["diverged"] == lost and by_name["macs"]["diverged"] == []
    assert ranking.result["problems"] == dict.fromkeys(lost, "fewer: Too few MACs.")
    assert ranking.result["not_measured"] == {} and ranking.spearman["macs"] == pytest.approx(1)
    assert "fewer: Too few MACs." in (tmp_path / "run" / "report.html").read_text()


def test_a_score_that_no_architecture_has_is_last_and_does_not_end_the_ranking(
    rank: Callable[..., Ranking],
) -> None:
    kind: Any = type(own_scores(["theirs.py:FEWER"])[0].settings)
    given = {"theirs.py:FEWER": kind(at_least=10**9)}
    ranking = rank("theirs.py:FEWER", "macs", "params", own_settings=given)
    assert list(ranking.spearman)[-1] == "fewer" and len(ranking.result["problems"]) == 21
    assert ranking.result["not_measured"] == {} and ranking.spearman["fewer"] == 0
    alone = rank("theirs.py:FEWER", output="alone")
    assert alone.spearman == {"fewer": pytest.approx(-1)}


def test_a_reference_whose_code_has_other_settings_is_refused(
    rank: Callable[..., Ranking], subject: RankedSupernet, tmp_path: Path
) -> None:
    rank("macs", "theirs.py:FEWER")
    path = tmp_path / "run" / "reference.json"
    content = json.loads(path.read_text())
    data: dict[str, Any] = {"supernet": subject.supernet, "data": subject.loaders}
    settings = CombinedSettings(batch_size=50, reference=path, trust_code=True)
    assert create_estimator("combined", settings, **data).name == "combined"
    for own, message in (
        (
            {"fewer": {"reference": None, "settings": {"at_most": 1}}},
            "'fewer' are others now: .*at_m",
        ),
        ({"fewer": {"reference": 5, "settings": {}}}, "reference"),
        ({"other": {"reference": None, "settings": {}}}, "own_scores|Unknown score 'fewer'"),
        ([], "own_scores"),
    ):
        path.write_text(json.dumps({**content, "own_scores": own}))
        with pytest.raises(ValueError, match=f"reference.json.*({message})"):
            create_estimator("combined", settings, **data)
    gone = {"fewer": {"reference": str(tmp_path / "gone.py:FEWER"), "settings": {}}}
    path.write_text(json.dumps({**content, "own_scores": gone}))
    forget()
    with pytest.raises(ValueError, match="There is no file .*gone.py"):
        create_estimator("combined", settings, **data)


def test_an_installed_one_is_named_by_its_entry_point(
    rank: Callable[..., Ranking], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("fewer", "theirs:FEWER", "paceline.estimators")
    monkeypatch.setattr(
        "supernets.runtime.named_objects.entry_points",
        lambda **params: [point] if point.matches(**params) else [],
    )
    ranking = rank("macs", "fewer")
    assert ranking.spearman["fewer"] == pytest.approx(-1)
    assert ranking.reference.own["fewer"]["reference"] is None
    with pytest.raises(ValueError, match="Unknown score 'fewr'; did you mean fewer"):
        rank("fewr")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flops"], "Unknown score 'flops'; choose from tse, .*, or name your own as"),
        (["synflw"], "Unknown score 'synflw'; did you mean synflow"),
        (["combined"], "'combined' is no score that can be compared; choose from tse"),
        (["nowhere.py:X"], "There is no file"),
        (["theirs.py:FEWR"], "theirs.py has no FEWR; did you mean FEWER"),
        (["theirs.py:Fewer"], "is the class Fewer, and no EstimatorDefinition"),
        (["theirs.py:MACS"], "calls itself 'macs', which is another; rename it"),
        (["theirs.py:VAL"], "calls itself 'val_top1', a name that a comparison of scores has for"),
        (["theirs.py:BENCHMARK"], "calls itself 'benchmark_macs', a name that a comparison"),
        (["theirs.py:FEWER", "theirs.py:PART"], "calls itself 'fewer.fewer', a name that"),
        (
            ["theirs.py:NOTHING"],
            "'nothing' could not be built: AttributeError: .*no_such_input",
        ),
    ],
)
def test_unknown_names_and_collisions_are_refused_before_any_work(
    rank: Callable[..., Ranking], tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rank("tse", *names)
    assert not (tmp_path / "run").exists()


def test_what_fails_is_one_line_with_its_architecture(
    rank: Callable[..., Ranking], tmp_path: Path
) -> None:
    with pytest.raises(OwnCodeError) as failure:
        rank("macs", "theirs.py:BROKEN")
    assert str(failure.value).startswith("Estimator 'broken' failed on |")
    assert "KeyError: 'no such" in str(failure.value)
    assert "\n" not in str(failure.value)
    with pytest.raises(OwnCodeError, match="'deep' failed on .*: IndexError: index 7"):
        rank("tse", "theirs.py:DEEP", output="deep")
    with pytest.raises(OwnCodeError, match="must return an Estimate from estimate.arch., got"):
        rank("macs", "theirs.py:NUMBER", output="number")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet")
    flags = "--space nasbench201 --channels 2 --cells-per-stage 1 --dataset digits --epochs 1"
    flags += f" --batch-size 400 --num-probes 0 --device cpu --output {folder}"
    assert supernets.cli.train.main(flags.split()) == 0
    return folder / "last.pt"


@pytest.fixture
def run(checkpoint: Path, archs: list[Architecture], tmp_path: Path) -> Callable[..., int]:
    """The command, with a table as truth that grows with MACs."""
    space, table = create_space("nasbench201"), tmp_path / "table.csv"
    rows = [f"{space.format(arch)},{i}" for i, arch in enumerate(archs)]
    table.write_text("\n".join(["arch_str,value", *rows]) + "\n")
    flags = f"--supernet {checkpoint} --table {table} --table-column value --num-archs 20 --top-k 3"
    flags += " --num-bootstrap 20 --device cpu --no-amp"

    def run(output: str, scores: str) -> int:
        return main(f"{flags} {scores} --output {tmp_path / output}".split())

    return run


SCORES = "--estimators macs theirs.py:FEWER tse theirs.py:STEPS --at-least 5 --tse-batches 2"


@pytest.mark.slow
def test_the_command_ranks_them_with_their_flags_and_goes_on(
    run: Callable[..., int],
    checkpoint: Path,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("whole", f"{SCORES} --tse-batch-size 300") == 0
    whole = json.loads((tmp_path / "whole" / "ranking.json").read_text())
    assert whole["settings"]["own_scores"]["fewer"] == {"at_least": 5}
    for arch in whole["archs"]:
        assert arch["scores"]["steps"] == pytest.approx(arch["scores"]["tse"])
    real, measured = MultiScoreEstimator.measure, list[Any]()

    def measure(self: MultiScoreEstimator, arch: Any) -> Any:
        if len(measured) == 5:
            raise KeyboardInterrupt
        measured.append(arch)
        return real(self, arch)

    with monkeypatch.context() as patch:
        patch.setattr(MultiScoreEstimator, "measure", measure)
        assert run("parts", f"{SCORES} --tse-batch-size 300") == 130
    forget()
    config = tmp_path / "rank.yaml"
    config.write_text("estimators: [macs, theirs.py:FEWER, tse, theirs.py:STEPS]\nat-least: 5\n")
    assert run("parts", f"--config {config} --tse-batches 2 --tse-batch-size 300") == 0
    parts = json.loads((tmp_path / "parts" / "ranking.json").read_text())
    assert parts["archs"] == whole["archs"]
    forget()
    capsys.readouterr()
    # the combined score of the ranking measures them again, where the code is trusted
    reference = tmp_path / "whole" / "reference.json"
    assert Reference.read(reference).own["fewer"] == {
        "reference": f"{file}:FEWER",
        "settings": {"at_least": 5},
    }
    flags = f"--supernet {checkpoint} --estimator combined --reference {reference} --device cpu"
    flags += " --algorithm random --num-trials 3 --tse-batch-size 300 --no-amp"
    search_by = search.cli.search.main
    assert search_by(f"{flags} --output {tmp_path / 'found'}".split()) == 2
    assert "imports and runs" in (said := capsys.readouterr().err) and "--trust-code" in said
    assert search_by(f"{flags} --trust-code --output {tmp_path / 'found'}".split()) == 0
    described = read_header(tmp_path / "found" / "trials.db")["estimator"]
    assert described["scores"] == ["macs", "fewer", "tse", "steps"]
    assert described["own_scores"]["fewer"] == {"at_least": 5}


def test_only_own_scores_have_data_of_the_size_they_ask_for(
    run: Callable[..., int], tmp_path: Path
) -> None:
    scores = "--estimators macs theirs.py:STEPS --tse-batches 1 --tse-batch-size 200"
    assert run("run", scores) == 0
    settings = json.loads((tmp_path / "run" / "ranking.json").read_text())["settings"]
    assert settings["tse_batch_size"] == settings["own_scores"]["steps"]["batch_size"] == 200


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("flops", "argument --estimators: Unknown score 'flops'; choose from tse, tse_e"),
        ("table", "argument --estimators: 'table' is no score that can be compared; choose from"),
        ("macs --at-least 5", "unknown option --at-least"),
        ("theirs.py:FEWER --tse-batches 5", "--tse-batches is for --estimators tse, tse_e"),
        ("theirs.py:FEWER --at-least x", "--at-least must be a whole number, got 'x'"),
        ("theirs.py:NOWHERE", "argument --estimators: "),
        (
            "theirs.py:FEWER theirs.py:OTHER",
            "theirs.py:FEWER and theirs.py:OTHER both have the option --at-least; give one of",
        ),
        ("theirs.py:TAKEN", "theirs.py:TAKEN has the option --table, which the command has"),
        ("macs theirs.py:VAL", "calls itself 'val_top1', a name that a comparison of scores has"),
        ("macs theirs.py:MACS", "calls itself 'macs', which is another; rename it"),
        ("macs theirs.py:NOTHING", "could not be built: AttributeError: "),
        ("macs theirs.py:BROKEN", "Estimator 'broken' failed on |"),
    ],
)
def test_mistakes_are_one_line(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], scores: str, message: str
) -> None:
    try:
        assert run("run", f"--estimators {scores}") == 2
    except SystemExit as error:
        assert error.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("supernet-rank: error: ") and message in line


def test_the_help_says_how_to_name_them_and_has_their_flags() -> None:
    assert "your own as package.module:Object" in " ".join(build_parser().format_help().split())
    own = build_parser(["theirs.py:FEWER"]).format_help()
    assert "--at-least" in own and "--at-least" not in build_parser().format_help()


@pytest.mark.slow
def test_workers_measure_them_as_one_process_does(run: Callable[..., int], tmp_path: Path) -> None:
    scores = f"{SCORES} --tse-batch-size 300 --threads 1"
    assert run("here", scores) == 0 and run("there", f"{scores} --workers 2") == 0
    here, there = (
        json.loads((tmp_path / name / "ranking.json").read_text()) for name in ("here", "there")
    )
    assert here["archs"] == there["archs"]
