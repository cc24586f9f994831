"""The page about searches, of runs made up for the purpose."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student_t

from search.report.page import write_search_report
from search.report.recorded_runs import RecordedRun
from supernets.spaces.factory import create_space
from tests.pages import Page, check_alone

MakeRun = Callable[..., RecordedRun]
FindingsOf = Callable[[Sequence[RecordedRun]], list[str]]


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[..., tuple[str, Page]]:
    """Writes a page and reads it."""

    def page_of(*runs: RecordedRun) -> tuple[str, Page]:
        write_search_report(runs, tmp_path / "report.html")
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        text = " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())
        return text, Page(text)

    return page_of


def study(make_run: MakeRun) -> list[RecordedRun]:
    """Two algorithms of three seeds, whose best scores are 3, 4, 5 and 1, 2, 3.5."""
    return [
        make_run([0.0, best, 1.0 - seed, None], seed, algorithm=name, archs=[9 * seed, 1, 7, 3])
        for name, bests in (("weaknas", (3.0, 4.0, 5.0)), ("evolution", (1.0, 2.0, 3.5)))
        for seed, best in enumerate(bests)
    ]


def rich(make_run: MakeRun, make_linear_predictor: Any, name: str, seed: int = 0) -> RecordedRun:
    """A run of 32 trials in a space of cells, with a predictor and seconds."""
    space = create_space(name)
    rng = np.random.default_rng(seed)
    return make_run(
        [*rng.normal(size=31).tolist(), None],
        seed,
        space=space,
        archs=rng.permutation(50)[:32],
        seconds=2.0,
        make_predictor=lambda s: make_linear_predictor(space, s),
    )


@pytest.mark.slow
def test_a_page_stands_alone(
    make_run: MakeRun, make_linear_predictor: Any, page_of: Callable[..., tuple[str, Page]]
) -> None:
    runs = [rich(make_run, make_linear_predictor, "nasbench201", seed) for seed in range(2)]
    runs += [
        rich(make_run, make_linear_predictor, "nasnet"),
        make_run([1.0, 2.0], estimator="val_acc"),
    ]
    text, page = page_of(*runs)
    check_alone(text, page)
    assert "<script" not in text
    assert "NaN" not in text and "nan" not in text.replace("loss is nan", "")


def test_a_page_shows_what_there_is_and_nothing_else(
    make_run: MakeRun, make_linear_predictor: Any, page_of: Callable[..., tuple[str, Page]]
) -> None:
    _, page = page_of(rich(make_run, make_linear_predictor, "nasbench201"))
    sections = ["found", "progress", "predictor", "front", "map", "failed", "measured", "terms"]
    assert [value for value in page.values("id") if value in sections] == sections
    labels = page.values("aria-label")
    assert "Best score so far against seconds of random" in labels
    assert "Kendall τ of predictions by round of random" in labels
    assert sum(label.startswith("Cells of |") for label in labels) == 3

    text, page = page_of(make_run([1.0, 2.0], has_costs=False))
    shown = [value for value in page.values("id") if value in sections]
    assert shown == ["found", "progress", "front", "measured", "terms"]
    labels = page.values("aria-label")
    assert not [label for label in labels if "seconds" in label or label.startswith("Cells")]
    assert "MACs are not known here" in text and "next to no time" in text
    assert [row[-1] for row in page.tables["Best architectures"]] == ["Query", "2", "1"]


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(
    make_run: MakeRun, make_linear_predictor: Any, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        runs = [rich(make_run, make_linear_predictor, "nasbench201", seed) for seed in range(2)]
        write_search_report(runs, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_texts_from_outside_are_escaped(
    make_run: MakeRun, page_of: Callable[..., tuple[str, Page]]
) -> None:
    evil = '"><script>alert(1)</script>$&'
    run = make_run([1.0, None, 3.0], algorithm=evil, error=evil, estimator=evil, seconds=1.0)
    other = make_run([1.0, None, 3.0], estimator="tse", command=evil, versions={evil: evil})
    text, page = page_of(run, other)
    assert "<script" not in text
    assert evil in page.texts
    assert f"Best score so far against queries of {evil}" in page.values("aria-label")


def test_a_single_trial(
    make_run: MakeRun, findings_of: FindingsOf, page_of: Callable[..., tuple[str, Page]]
) -> None:
    _, page = page_of(make_run([-2.5]))
    assert page.tables["Best architectures"] == [
        ["", "Score", "Architecture", "odd", "Params", "MACs", "Query"],
        ["1", "−2.500", "0-0-0-0", "–", "1,000", "1.00 M", "1"],
    ]
    assert page.tables["Runs"][1] == ["random", "random-0", "0", "1", "0", "−2.500", "1", "< 1 ms"]
    assert findings_of([make_run([-2.5])]) == [
        "The best scores −2.500 (minus tse): 0-0-0-0. Found by random, seed 0, after 1 of 1 "
        "query; 1,000 parameters, 1.00 M MACs.",
        "Only one architecture has a score, so that nothing was chosen.",
    ]


def test_the_numbers_of_a_study(
    make_run: MakeRun, findings_of: FindingsOf, page_of: Callable[..., tuple[str, Page]]
) -> None:
    runs = study(make_run)
    _, page = page_of(*runs)
    # means 4 and 13/6; standard errors 1/sqrt(3) and sqrt(1.58333/3)
    errors = [(1 / 3) ** 0.5, (19 / 12 / 3) ** 0.5]
    reach = [student_t.ppf(0.975, 2) * error for error in errors]
    total = errors[0] ** 2 + errors[1] ** 2
    freedom = total**2 / (errors[0] ** 4 / 2 + errors[1] ** 4 / 2)
    apart, beyond = 4 - 13 / 6, student_t.ppf(0.975, freedom) * total**0.5

    def minus(text: str) -> str:
        return text.replace("-", "−")

    first = f"4.00 [{4 - reach[0]:.2f}, {4 + reach[0]:.2f}]"
    second = minus(f"2.17 [{13 / 6 - reach[1]:.2f}, {13 / 6 + reach[1]:.2f}]")
    against = minus(f"+{apart:.2f} [{apart - beyond:.2f}, {apart + beyond:.2f}]")
    assert page.tables["Algorithms"] == [
        ["Algorithm", "Seeds", "Best after 4 queries", "Queries to its best", "weaknas minus it"],
        ["1 weaknas", "3", first, "2.0", ""],
        ["2 evolution", "3", second, "2.0", f"≈ {against}"],
    ]
    assert page.tables["Best architectures"][1][1:3] == ["5.00", "0-0-0-1"]
    found_by = [row[6:] for row in page.tables["Best architectures"][:2]]
    assert found_by == [
        ["Found by", "Found in", "Query"],
        ["weaknas, seed 2", "6 of 6 runs", "2"],
    ]
    assert [row[4] for row in page.tables["Runs"]] == ["Failed", *"111111"]
    assert findings_of(runs)[1:] == [
        f"After 4 queries, weaknas has the best score on average: {first}, mean of 3 seeds.",
        f"Against evolution: {against}, within noise.",
        "So nothing here shows that one algorithm is better than another: what differs is within "
        "the noise of seeds.",
        "6 of 24 trials failed.",
    ]


def test_groups_are_compared_after_the_queries_all_have(
    make_run: MakeRun, findings_of: FindingsOf, page_of: Callable[..., tuple[str, Page]]
) -> None:
    runs = [
        make_run([1.0, 2.0, 9.0], algorithm="long"),
        make_run([1.0, 3.0], algorithm="short"),
    ]
    assert findings_of(runs)[0].startswith("The best scores 9.00 ")
    assert findings_of(runs)[1] == "After 2 queries, short has the best score: 3.00, one seed."
    shortest = "After 2 queries, as the shortest run has no more."
    assert shortest in page_of(*runs)[0]
    as_long = make_run([1.0, 3.0, 3.0], algorithm="short")
    assert "as the shortest run" not in page_of(runs[0], as_long)[0]


def test_seeds_that_found_the_same_have_no_interval(
    make_run: MakeRun, findings_of: FindingsOf, page_of: Callable[..., tuple[str, Page]]
) -> None:
    same = [make_run([0.1, 0.7], seed, algorithm="same") for seed in range(3)]
    others = [make_run([0.1, 0.2 + seed / 100], seed, algorithm="other") for seed in range(3)]
    _, page = page_of(*same, *others)
    assert page.tables["Algorithms"][1][2] == "0.700 in all 3 seeds"
    assert findings_of([*same, *others])[1] == (
        "After 2 queries, same has the best score on average: 0.700 in all 3 seeds."
    )
    assert findings_of(same)[1] == "After 2 queries the best is 0.700 in all 3 seeds."


def test_failures_are_listed_by_their_error(
    make_run: MakeRun, page_of: Callable[..., tuple[str, Page]]
) -> None:
    text, _ = page_of(make_run([1.0, None, None, 2.0]), make_run([1.0, None], 1, error="cuda"))
    section = text[text.index('<section id="failed">') : text.index('<section id="measured">')]
    assert " ".join("".join(Page(section).texts).split()) == (
        "Failed trials loss is nan: 2 trials random, seed 0, query 2: 0-0-0-1 random, seed 0, "
        "query 3: 0-0-0-2 cuda: 1 trial random, seed 1, query 2: 0-0-0-1"
    )


def test_of_many_failures_the_first_are_listed(
    make_run: MakeRun, page_of: Callable[..., tuple[str, Page]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.report.page.MAX_FAILED", 2)
    monkeypatch.setattr("search.report.page.MAX_ERRORS", 1)
    runs = make_run([1.0, None, None, None]), make_run([1.0, None], 1, error="cuda")
    text, _ = page_of(*runs)
    section = text[text.index('<section id="failed">') : text.index('<section id="measured">')]
    assert " ".join("".join(Page(section).texts).split()) == (
        "Failed trials loss is nan: 3 trials random, seed 0, query 2: 0-0-0-1 random, seed 0, "
        "query 3: 0-0-0-2 and 1 more And 1 trial with other errors."
    )


def test_a_long_curve_is_thinned_and_says_so(
    make_run: MakeRun, page_of: Callable[..., tuple[str, Page]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run([float(i) for i in range(9)])
    assert "queries are drawn" not in page_of(run)[0]
    for module in ("statistics", "figures", "page"):
        monkeypatch.setattr(f"search.report.{module}.MAX_QUERIES", 4)
    assert "Of so many queries 4 are drawn, evenly spread." in page_of(run)[0]


def test_the_front_is_listed_by_macs(
    make_run: MakeRun, page_of: Callable[..., tuple[str, Page]]
) -> None:
    _, page = page_of(make_run([1.0, 0.5, 3.0, 2.0, 4.0]))
    columns = [(row[1], row[5]) for row in page.tables["Pareto front"]]
    assert columns == [
        ("Score", "MACs"),
        ("1.00", "1.00 M"),
        ("3.00", "3.00 M"),
        ("4.00", "5.00 M"),
    ]


def test_how_it_was_measured(make_run: MakeRun, page_of: Callable[..., tuple[str, Page]]) -> None:
    runs = [make_run([1.0], 3), make_run([1.0], 1, versions={"torch": "2.7.0"})]
    text, page = page_of(*runs)
    settings = dict(row for row in page.tables["Settings"])
    assert settings["runs"] == "random-1, random-3"
    assert settings["seeds"] == "1, 3"
    assert settings["algorithm.batch_size"] == "4"
    assert "supernet" not in settings  # there was none
    assert settings["torch"] == "2.7.0, 2.6.0"
    assert "<pre>supernet-search --seed 1</pre>" in text and "the others differ in it" in text


@pytest.mark.slow
def test_the_predictors_judgement_is_in_the_headline(
    make_run: MakeRun, make_linear_predictor: Any, page_of: Callable[..., tuple[str, Page]]
) -> None:
    """A linear landscape, of which the first 40 tell a linear predictor everything."""
    space = make_run([1.0]).space
    order = np.random.default_rng(0).permutation(81)
    archs = list(space.enumerate())
    run = make_run(
        [float(np.dot(archs[i].choices, (1, 3, 9, 27))) for i in order],
        archs=order,
        rounds=(range(40), range(40, 60), range(60, 81)),
        make_predictor=lambda seed: make_linear_predictor(space, seed),
    )
    text, _ = page_of(run)
    assert (
        "The predictor orders the trials of a next round with a Kendall τ of 1.00 on average "
        "(0 is chance), and of 1.00 in the last one."
    ) in text
    assert "after 40 trials" in text and "after 60 trials" in text
    legends = re.findall(r"●</span> (\d+–\d+)</span>", text)
    assert legends == ["1–40", "41–60", "61–81"]


def test_one_round_is_no_average(
    make_run: MakeRun, make_linear_predictor: Any, page_of: Callable[..., tuple[str, Page]]
) -> None:
    space = make_run([1.0]).space
    run = make_run(
        [float(i) for i in range(8)],
        make_predictor=lambda seed: make_linear_predictor(space, seed),
    )
    assert "the trials of the only round that can be judged with a Kendall τ of " in page_of(run)[0]


def test_an_algorithm_has_one_colour_in_all_plots(
    make_run: MakeRun, make_linear_predictor: Any, page_of: Callable[..., tuple[str, Page]]
) -> None:
    space = make_run([1.0]).space
    scores = [float(i) for i in range(12)]
    runs = [
        make_run(scores, algorithm="random"),
        make_run(
            scores, algorithm="guided", make_predictor=lambda s: make_linear_predictor(space, s)
        ),
    ]
    text, _ = page_of(*runs)
    keys = re.findall(r"--series-(\d)\)\">(.)</span> <code>(\w+)</code>", text)
    assert set(keys) == {("0", "●", "random"), ("1", "■", "guided")}
    plot = text[text.index('aria-label="Kendall τ') : text.index('aria-label="Measured against')]
    assert "var(--series-1)" in plot and "var(--series-0)" not in plot


def test_several_comparisons_have_one_link_and_one_finding_each(
    make_run: MakeRun, page_of: Callable[..., tuple[str, Page]]
) -> None:
    runs = [make_run([1.0, None]), make_run([2.0, None], estimator="val_acc")]
    text, _ = page_of(*runs)
    links = re.findall(r'<a href="#([\w-]+)">(.*?)</a>', text)
    assert links == [
        ("found-0", "<code>digits4x3, tse</code>"),
        ("found-1", "<code>digits4x3, val_acc</code>"),
        ("terms", "Terms"),
    ]
    first, finding = re.findall("<li>(<code>digits.*?)</li>", text)
    assert first.startswith("<code>digits4x3, tse</code>: <strong>The best scores 1.")
    assert finding.startswith("<code>digits4x3, val_acc</code>: <strong>The best scores 2.")
    assert finding.strip().endswith("1 of 2 trials failed.")


def test_no_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        write_search_report([], tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("runs", "path", "message"),
    [
        (["nope"], "report.html", "runs must be a list of RecordedRun objects, got 'nope' in it"),
        ("nope", "report.html", "runs must be a list of RecordedRun objects, got 'nope'; read_run"),
        ([], 5, "path must be a path or text, got 5"),
    ],
)
def test_what_is_no_run_is_refused(runs: Any, path: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_search_report(runs, path)
