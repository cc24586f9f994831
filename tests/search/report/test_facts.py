"""Findings about searches in words, of runs made up for the purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from estimators.trials.store import Trial
from search.report.facts import ComparisonFacts
from search.report.groups import group_runs
from search.report.recorded_runs import RecordedRun
from supernets.spaces import SearchSpace

MakeRun = Callable[..., RecordedRun]
FindingsOf = Callable[[Sequence[RecordedRun]], list[str]]


def facts_of(runs: Sequence[RecordedRun]) -> ComparisonFacts:
    (comparison,) = group_runs(runs)
    return ComparisonFacts(comparison, {})


def test_the_headline_says_what_is_clear_and_what_cannot_be_known(
    make_run: MakeRun, findings_of: FindingsOf
) -> None:
    clear = [
        make_run([score], seed, algorithm=name)
        for name, scores in (("good", (9.0, 9.1)), ("bad", (1.0, 1.1)))
        for seed, score in enumerate(scores)
    ]
    sentences = findings_of(clear)
    assert sentences[1].startswith("After 1 query, good has the best score on average: 9.05 [")
    assert sentences[2].startswith("Against bad: +8.0") and sentences[2].endswith(", clear.")
    assert len(sentences) == 3

    alone = [make_run([9.0, 8.0], algorithm="a"), make_run([5.0, 12.0], algorithm="b")]
    assert findings_of(alone)[1:] == [
        "After 2 queries, b has the best score: 12.00, one seed.",
        "Noise is not known where there is one run, which is so for all comparisons here; runs of "
        "more seeds would tell algorithms apart.",
    ]
    some = findings_of([*clear, make_run([2.0], algorithm="once")])
    assert "which is so for some comparisons here" in some[-1]

    seeds = findings_of(clear[:2])
    assert seeds[1].startswith("After 1 query the best is 9.05") and len(seeds) == 2


def test_the_best_of_an_architecture_that_several_found(make_run: MakeRun) -> None:
    runs = [make_run([1.0, 5.0, 2.0], 0), make_run([3.0, 4.0, 2.5], 1)]
    found = facts_of(runs).best
    assert [(each.score, each.run.seed, each.query) for each in found] == [
        (5.0, 0, 2),
        (3.0, 1, 1),
        (2.5, 1, 3),
    ]


def test_equal_accuracies_are_listed_by_loss(make_run: MakeRun) -> None:
    run = make_run([1.0, 1.0, 1.0], estimator="val_acc")
    losses = (0.5, 0.3, 0.4)
    trials = [
        replace(trial, metrics={"val_loss": loss})
        for trial, loss in zip(run.trials, losses, strict=True)
    ]
    facts = facts_of([replace(run, trials=tuple(trials))])
    assert [found.query for found in facts.best] == [2, 3, 1]


def test_what_scores_mean(make_run: MakeRun, small_space: SearchSpace) -> None:
    (arch,) = list(small_space.enumerate())[:1]

    def meant(score: float, metrics: dict[str, float]) -> tuple[bool, str]:
        run = make_run([1.0, 2.0])
        trials = (Trial(0, arch, score, metrics, 0.0, None), Trial(1, arch, None, {}, 0.0, "no"))
        found = RecordedRun("a", small_space, run.header, trials, (range(2),))
        return facts_of([found]).score_meaning

    assert meant(93.5, {"loss": 0.3, "top1": 93.5}) == (False, "top1")
    assert meant(-4.0, {"last": 0.3, "sum": 4.0}) == (True, "sum")
    assert meant(-4.0, {"last": 0.3}) == (False, "tse")


def test_equal_scores_are_said_to_be_equal(make_run: MakeRun, findings_of: FindingsOf) -> None:
    assert findings_of([make_run([1.0, 1.0, None])])[1] == (
        "All 2 architectures score the same: which one comes first is arbitrary."
    )
    assert findings_of([make_run([2.0, 1.0, 2.0])])[1] == "2 architectures share that score."
    assert findings_of([make_run([None, 1.0])])[1].startswith("Only one architecture has a score")
    assert len(findings_of([make_run([2.0, 1.0])])) == 1


def test_algorithms_of_one_mean_share_the_first_place(
    make_run: MakeRun, findings_of: FindingsOf
) -> None:
    runs = [make_run([1.0, 2.0], algorithm="one"), make_run([0.5, 2.0], algorithm="two")]
    assert "After 2 queries, one and two have the best score: 2.000, one seed." in findings_of(runs)


def test_few_seeds_that_found_the_same_show_nothing_clear(
    make_run: MakeRun, findings_of: FindingsOf
) -> None:
    def sentence(num_seeds: int) -> str:
        runs = [
            make_run([0.1, best], seed, algorithm=name)
            for name, best in (("good", 2.0), ("bad", 1.0))
            for seed in range(num_seeds)
        ]
        return next(each for each in findings_of(runs) if each.startswith("Against"))

    assert sentence(2).endswith("too few to tell.")
    assert sentence(5).endswith("clear.")


def test_the_headline_repeats_what_the_search_said_of_its_result(
    make_run: MakeRun, findings_of: FindingsOf
) -> None:
    run = replace(make_run([2.0, 1.0]), verdict="DOUBTFUL: a < b.")
    assert findings_of([run])[1] == "What the search said of its result: DOUBTFUL: a < b."
