"""The page and the CSV file of a ranking, from rankings made up for the purpose."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import estimators.ranking.report
from estimators.html.page import Difference, duration, environment_of, fixed
from estimators.ranking.report import findings_facts, summary, write_csv, write_report
from estimators.ranking.report_facts import METRICS, RankingFacts, difference
from estimators.ranking.report_plots import plot_scatter
from estimators.scores.names import BENCHMARK_SCORES
from estimators.scores.names import SCORES as ALL_SCORES
from tests.estimators.ranking.made_up import GENOTYPE, make_result
from tests.pages import Page, check_alone


def let_diverge(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Nothing is known of an estimator any more."""
    (estimator,) = (e for e in result["estimators"] if e["name"] == name)
    estimator["diverged"] = [arch["architecture"] for arch in result["archs"]]
    for metric in estimator["metrics"].values():
        metric |= {"mean": None, "low": None, "high": None, "sd": None}
        metric["per_supernet"] = [
            {"value": None, "low": None, "high": None} for _ in metric["per_supernet"]
        ]
    for arch in result["archs"]:
        arch["scores"][name] = [None] * len(result["supernets"])
    result["differences"] = [d for d in result["differences"] if name not in (d["a"], d["b"])]
    result["estimators"].sort(key=lambda e: e["metrics"]["spearman"]["mean"] is None)
    return result


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[[dict[str, Any]], tuple[str, Page]]:
    """Writes a page and reads it."""

    def page_of(result: dict[str, Any]) -> tuple[str, Page]:
        write_report(result, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        return text, Page(text)

    return page_of


CASES = {
    "full": make_result(),
    "least": make_result(num_archs=8, num_supernets=1, notation=GENOTYPE, is_full=False),
    "one diverged": let_diverge(make_result(), "val_acc"),
    "the curve score diverged": let_diverge(make_result(), "tse"),
    "all diverged": let_diverge(
        let_diverge(make_result(["tse", "val_acc"], is_full=False), "tse"), "val_acc"
    ),
}


@pytest.mark.parametrize("result", CASES.values(), ids=CASES.keys())
def test_a_page_stands_alone(
    result: dict[str, Any], page_of: Callable[[dict[str, Any]], tuple[str, Page]]
) -> None:
    text, page = page_of(result)
    check_alone(text, page)
    assert "NaN" not in text and "nan" not in text.replace("nance", "")
    assert all(estimator["name"] in page.texts for estimator in result["estimators"])
    assert {attribute for attribute in page.attributes if attribute[1] == "role"} >= {
        ("svg", "role", "img")
    }


def test_a_page_shows_what_there_is_and_nothing_else(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    _, full = page_of(CASES["full"])
    assert {"combined", "early"} <= set(full.values("id"))
    labels = full.values("aria-label")
    assert "Spearman against B of tse" in labels
    assert len([label for label in labels if label.startswith("Truth against place")]) == 3

    _, least = page_of(CASES["least"])
    assert not {"combined", "early"} & set(least.values("id"))
    assert not [label for label in least.values("aria-label") if "against B" in str(label)]


@pytest.mark.slow
def test_the_same_ranking_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(make_result(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_texts_from_outside_are_escaped(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    evil = '"><script>alert(1)</script>$&'
    result = make_result([evil, "macs"], num_archs=8, notation=evil + "{}")
    result["estimators"][0]["diverged"] = [evil]
    result["curves"] = {evil: result["curves"]["tse"]}
    result["early"]["spearman"] = {evil: [0.1, 0.2, 0.3]}
    result["combined"]["features"] = [evil]
    result["combined"]["parts"][0]["name"] = evil
    for supernet in result["supernets"]:
        supernet |= {"name": evil, "path": evil, "digest": evil}
    result["truth"] |= {"source": evil, "unit": evil}
    result |= {"space": evil, "command": evil, "date": evil, "settings": {evil: {evil: evil}}}

    text, page = page_of(result)
    assert text.count("<script>") == 1  # the page's own
    assert evil in page.texts
    labels = [str(label) for label in page.values("aria-label")]
    assert f"Spearman against B of {evil}" in labels


def test_long_architectures_are_folded_on_the_page(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    result = make_result(notation=GENOTYPE)
    text, _ = page_of(result)
    # folded, with the full text inside
    folded = re.findall(r"<details><summary><code>(.*?)</code></summary><code>(.*?)</code>", text)
    assert len(folded) == 20  # the ten best by truth and by score
    for short, full in folded:
        assert len(unescape(short)) < 100 < len(unescape(full))
    best = max(result["archs"], key=lambda arch: arch["truth"])
    assert unescape(folded[0][1]) == best["architecture"]


def test_a_panel_has_the_best_on_top_and_to_the_right() -> None:
    truth = np.array([60.0, 70, 81, 82, 83, 84, 85, 86, 87])
    places = np.array([7, 6, 9, 5, 4, 2, 3, 8, 1])
    scores = np.where(places > 7, np.nan, -places)
    svg = plot_scatter("tse", truth, scores, truth > 85, 80.0, "p")
    groups = [group.findall("use") for group in ElementTree.fromstring(svg).iter("g")]
    plain, low, crosses = (
        np.array([[float(use.get(axis, "")) for axis in ("x", "y")] for use in group])
        for group in groups
        if len(group) > 1
    )  # the one top that did not diverge stands alone, as ticks do
    assert [len(plain), len(low), len(crosses)] == [4, 2, 2]
    assert (np.diff(plain[:, 0]) > 0).all()  # truths 82 to 85
    assert np.argsort(plain[:, 1]).tolist() == [2, 3, 1, 0]  # SVG counts from the top
    assert low[0, 0] == low[1, 0] < plain[0, 0]
    assert crosses[0, 1] == crosses[1, 1] > low[:, 1].max()


def set_difference(result: dict[str, Any], value: float, low: float, high: float) -> None:
    (pair,) = (d for d in result["differences"] if (d["a"], d["b"]) == ("tse", "val_acc"))
    pair |= {"value": value, "low": low, "high": high}


def plain(result: dict[str, Any]) -> list[str]:
    """The findings, an item each."""
    environment = environment_of(Path(estimators.ranking.report.__file__).parent)
    text = environment.get_template("findings.html.j2").render(findings_facts(result))
    items = re.findall("<li>(.*?)</li>", text, re.DOTALL)
    return [" ".join(unescape(re.sub("<[^>]*>", "", item)).split()) for item in items]


def clear_winner(result: dict[str, Any]) -> str | None:
    return RankingFacts(result).winner


SUPERNETS = (
    "The supernets' own accuracies (chance: 10 %): on 5,120 validation images these 40 subnets "
    "have 41.50 and 41.50 % in the mean with the weights they inherit, and 60.25 and 60.25 % at "
    "best; probes had 55.00 and 55.00 % after the last epoch of their training."
)
TRUTH = (
    "The truth: table a.csv, of 10,000 test images. By the error of the finite test set even a "
    "perfect score would reach a Spearman of only about 0.97; what training again with other seeds "
    "would change comes on top."
)


def test_the_headline_of_a_clear_ranking() -> None:
    result = make_result()
    assert clear_winner(result) == "tse"
    assert plain(result) == [
        "tse (B = 100) ranks these 40 architectures best: Spearman 0.900 [0.850, 0.950], mean of "
        "2 supernets (± 0.010), at 3.2 s each.",
        "Against the next, val_acc: +0.100 [0.060, 0.140], clear.",
        "Against macs, which costs nothing: +0.200 [0.160, 0.240], clear.",
        "All others are clearly worse.",
        "All scores combined, fitted to 8 known truths, rank the other 32 with a Spearman of "
        "0.930, against tse alone +0.030 [0.010, 0.050], between which 95 % of 20 random splits "
        "lie: better.",
        "Of the 10 that tse ranks best, 6 are among the true 10 best on average, where chance "
        "finds 2.5, and the best of them lies 0.25 points below the best of all.",
        "B = 37 would have been enough: the order by tse then correlates 0.98 or better with that "
        "of the largest, B = 100 (of each supernet: 35, 37). Whether more than 100 rank better "
        "this cannot tell.",
        "Racing by tse for the 10 best would have saved 43 % of the training steps and found the "
        "same 10.",
        SUPERNETS,
        TRUTH,
    ]


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.03), (0.0, 0.02)])
def test_the_headline_admits_noise(low: float, high: float) -> None:
    result = make_result()
    set_difference(result, 0.01, low, high)
    assert clear_winner(result) is None
    sentences = plain(result)
    assert sentences[0] == (
        "No score is clearly best: tse (B = 100) has the highest Spearman, 0.900 [0.850, 0.950], "
        "mean of 2 supernets (± 0.010), at 3.2 s each. Its lead over the next, val_acc, is "
        f"{Difference(0.01, low, high)}, within noise."
    )
    assert sentences[1] == "Against macs, which costs nothing: +0.200 [0.160, 0.240], clear."
    assert sentences[2] == (
        "Not clearly worse: val_acc. Of all these the cheapest is val_acc: Spearman 0.800 at 2.5 s."
    )


def test_a_lead_that_what_is_free_has_not_lost_to_is_no_win() -> None:
    result = make_result(("tse", "val_acc", "macs", "params"))
    for pair in result["differences"]:
        if (pair["a"], pair["b"]) == ("tse", "params"):
            pair |= {"value": 0.3, "low": -0.01, "high": 0.6}
    assert clear_winner(result) is None
    sentences = plain(result)
    assert sentences[0].startswith("No score is clearly best: tse (B = 100) has the highest")
    assert sentences[0].endswith("over the next, val_acc, is +0.100 [0.060, 0.140], clear.")
    assert sentences[2] == (
        "Not clearly better than params, which costs nothing: +0.300 [−0.010, 0.600], within noise."
    )


@pytest.mark.parametrize("num_archs", [3, 9])
def test_a_handful_of_architectures_crowns_nothing(num_archs: int) -> None:
    result = make_result(num_archs=num_archs)
    assert clear_winner(result) is None
    sentences = plain(result)
    assert sentences[0] == (
        f"{num_archs} architectures are too few to tell scores apart: the highest Spearman, 0.900, "
        "is that of tse."
    )
    assert sentences[1].startswith("The supernets' own accuracies")
    assert sentences[2].startswith("The truth: ")
    assert ", as far as so few architectures can tell;" in sentences[2]
    assert "clear" not in " ".join(sentences[:3])
    assert summary(result)["suggested_num_steps"] is None


def test_the_table_of_a_handful_of_architectures_has_no_verdicts(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    text, _ = page_of(make_result(num_archs=9, is_full=False))
    section = text[text.index('<section id="differences">') : text.index('<section id="top">')]
    assert "? as there are too few architectures to tell" in section
    assert "▲" not in section and "▼" not in section


def test_scores_of_one_order_share_the_first_place() -> None:
    for num_archs, expected in (
        (
            40,
            "No score is clearly best: macs and params share the highest Spearman, 0.900 [0.850, "
            "0.950].",
        ),
        (
            5,
            "5 architectures are too few to tell scores apart: the highest Spearman, 0.900, is "
            "that of macs and params.",
        ),
    ):
        result = make_result(("macs", "params", "tse"), num_archs=num_archs, num_supernets=1)
        first, second = (each["metrics"]["spearman"] for each in result["estimators"][:2])
        second |= {"mean": first["mean"]}
        for pair in result["differences"]:
            if (pair["a"], pair["b"]) == ("macs", "params"):
                pair |= {"value": 0.0, "low": 0.0, "high": 0.0}
        assert plain(result)[0].replace(", at < 1 ms each", "") == expected


def test_nothing_is_said_of_scores_where_all_truths_are_equal() -> None:
    result = make_result(num_supernets=1)
    result["truth"]["sd"] = 0.0
    result["noise_ceiling"]["spearman"] = 0.0
    sentences = plain(result)
    assert sentences[0].startswith("All these architectures are worth the same:")
    assert sentences[2].endswith("By the error of the finite test set its order is that of chance.")
    assert len(sentences) == 3


def test_a_ceiling_of_1_is_no_limit() -> None:
    result = make_result()
    result["noise_ceiling"]["spearman"] = 0.997
    assert "a perfect score would reach a Spearman of about 1.00" in plain(result)[-1]
    assert "only" not in plain(result)[-1]


def test_a_top_of_one_is_singular(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    result = make_result(num_supernets=1)
    result["top_k"] = result["race"]["k"] = 1
    result["estimators"][0]["metrics"]["top_k_regret"]["mean"] = 0.0
    sentences = plain(result)
    assert "The one that tse ranks best is the best of all." in sentences
    assert any("Racing by tse for the best would have saved" in each for each in sentences)
    text, _ = page_of(result)
    assert "1 best" not in text
    result = make_result(num_supernets=1)
    result["top_k"] = 4
    result["estimators"][0]["metrics"]["precision_at_k"]["mean"] = 0.25
    result["estimators"][0]["metrics"]["top_k_regret"]["mean"] = 0.0
    assert (
        "Of the 4 that tse ranks best, 1 is among the true 4 best, where chance finds 0.4, and the "
        "best of all is among them." in plain(result)
    )


def test_epochs_and_architectures_are_counted_in_words(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    result = make_result(num_supernets=1)
    result["supernets"][0]["epochs"] = 1.0
    result["archs"][0]["truth"] = 1.0
    text, _ = page_of(result)
    assert ", 1 epoch," in text and "1 epochs" not in text
    assert "The triangle is the 1 architecture worth less" in " ".join(text.split())


def test_a_combined_score_that_is_the_same_is_no_better_and_no_worse() -> None:
    result = make_result()
    result["combined"]["parts"][0] |= {"difference": 0.0, "low": 0.0, "high": 0.0}
    (sentence,) = [each for each in plain(result) if each.startswith("All scores combined")]
    assert sentence.endswith("lie: no better and no worse.")


def test_the_supernet_at_chance_is_named() -> None:
    result = make_result()
    result["supernets"][1]["is_above_chance"] = False
    (sentence,) = [each for each in plain(result) if each.startswith("The supernets' own")]
    assert "That of fair-1 is no better than chance" in sentence


def test_what_looks_at_no_inherited_weights_has_no_need_of_another_supernet() -> None:
    caveat = "There is one supernet; another training of it may rank otherwise."
    assert caveat in plain(make_result(("tse", "macs"), num_supernets=1, is_full=False))
    assert caveat not in plain(make_result(("macs", "snip"), num_supernets=1, is_full=False))


def test_a_score_at_chance_is_said_to_be_at_chance() -> None:
    result = make_result()
    for estimator in result["estimators"]:
        estimator["metrics"]["spearman"] |= {"low": -0.2}
    assert clear_winner(result) is None
    sentences = plain(result)
    assert sentences == [
        "No score here ranks these 40 architectures clearly better than chance: the highest "
        "Spearman is that of tse (B = 100), 0.900 [−0.200, 0.950], mean of 2 supernets (± 0.010).",
        SUPERNETS,
        TRUTH,
    ]
    alone = make_result(["tse"], num_supernets=1, is_full=False)
    assert plain(alone)[0] == (
        "tse (B = 100) ranks these 40 architectures with a Spearman of 0.900 [0.850, 0.950], at "
        "3.2 s each."
    )
    alone["estimators"][0]["metrics"]["spearman"] |= {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert plain(alone)[0].startswith("tse (B = 100) ranks these 40 architectures not clearly")


def test_no_budget_is_enough_that_is_the_largest_or_whose_score_is_at_chance() -> None:
    result = make_result()
    result["suggested_num_steps"] |= {"num_steps": 10, "per_supernet": [10, 9], "largest": 10}
    (sentence,) = [each for each in plain(result) if "B = 10" in each and "order" in each]
    assert sentence == (
        "The order by tse goes on changing up to the largest B = 10: one step before, it "
        "correlates less than 0.98 with the last. More steps may rank otherwise."
    )
    assert summary(result)["suggested_num_steps"] is None
    result["suggested_num_steps"] |= {"num_steps": 8, "per_supernet": [8, 7]}
    assert (
        "The order by tse settles late: it correlates 0.98 or better with that of the largest, "
        "B = 10, only from B = 8 on (of each supernet: 8, 7). More steps may rank otherwise."
        in plain(result)
    )
    for largest in (1, 2, 9):
        result["suggested_num_steps"] |= {"num_steps": 1, "per_supernet": [1, 1]}
        result["suggested_num_steps"]["largest"] = largest
        assert (
            f"Whether more steps than B = {largest} would rank otherwise cannot be told of so few."
            in plain(result)
        )
        assert summary(result)["suggested_num_steps"] is None
    result = make_result(("macs", "tse", "val_acc"))
    assert any("would have been enough" in each for each in plain(result))
    result["estimators"][1]["metrics"]["spearman"]["low"] = -0.1
    assert not any("enough" in each or "goes on changing" in each for each in plain(result))
    result = make_result(("tse_e", "macs"))  # nothing is known of the order by tse
    assert not any("enough" in each for each in plain(result))


def test_the_page_states_accuracy_of_the_supernets_and_chance() -> None:
    result = make_result(num_supernets=1)
    assert (
        "The supernet's own accuracy (chance: 10 %): on 5,120 validation images these 40 subnets "
        "have 41.50 % in the mean with the weights they inherit, and 60.25 % at best; probes had "
        "55.00 % after the last epoch of its training." in plain(result)
    )
    result["supernets"][0] |= {"is_above_chance": False, "val_top1": 10.2, "probe_val_top1": None}
    (sentence,) = [each for each in plain(result) if each.startswith("The supernet's own")]
    assert "10.20 % in the mean" in sentence and "probes" not in sentence
    assert sentence.endswith(
        "That is no better than chance: what inherited weights say of subnets cannot be trusted "
        "here."
    )
    result["supernets"][0]["val_top1"] = None
    (sentence,) = [each for each in plain(result) if each.startswith("The supernet's own")]
    assert sentence.endswith("was not measured; add the score val_acc (chance: 10 %).")


def test_the_page_states_how_well_the_truth_can_be_ranked_at_all() -> None:
    result = make_result()
    result["noise_ceiling"] |= {"spearman": 0.94, "by_seeds": 0.96, "num_seeds": 3}
    assert plain(result)[-1] == (
        "The truth: table a.csv, of 10,000 test images. By the errors of the finite test set and "
        "of the 3 seeds even a perfect score would reach a Spearman of only about 0.94, which the "
        "interval of the best score here reaches."
    )
    result["noise_ceiling"] = result["truth"]["test_images"] = None
    assert "so not how well it can be ranked at all (--truth-test-size" in plain(result)[-1]


@pytest.mark.parametrize(
    ("epochs", "first", "effective", "expected", "is_marked"),
    [
        ([1], None, 1, "They have one epoch, so that nothing is early here.", False),
        ([1, 2, 3], None, 2, "within the 3 epochs: none is yet known to overfit.", False),
        ([1, 2, 3], 3, 2, "After epoch 3 a training loss is below 0.1 nats; past epoch 2,", True),
        ([1], 1, 1, "They have one epoch", False),
    ],
)
def test_nothing_is_said_to_overfit_that_does_not(
    epochs: list[int],
    first: int | None,
    effective: int,
    expected: str,
    is_marked: bool,
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    result = make_result()
    result["early"] = {
        "epochs": epochs,
        "spearman": {"TSE": [0.5] * len(epochs)},
        "effective_budget": effective,
        "first_overfit": first,
    }
    text, _ = page_of(result)
    section = text[text.index('<section id="early">') : text.index('<section id="diverged">')]
    assert expected in " ".join(section.split())
    assert ("T = " in section or "dotted" in section) == is_marked


def test_the_headline_says_when_a_baseline_is_best() -> None:
    sentences = plain(make_result(("macs", "params", "val_acc", "tse")))
    assert "no score that looks at data or weights ranks better" in sentences[0]
    assert sentences[1].startswith("Against the next, params: +0.100")
    assert sentences[2].startswith("Against val_acc: +0.200")
    sentences = plain(make_result(("macs", "tse", "snip")))
    assert sentences[1].startswith("Against the next, tse:")
    sentences = plain(make_result(("macs", "params", "tse")))
    assert sentences[2].startswith("Against the best that is no baseline, tse:")


def test_the_headline_names_who_finds_a_better_top() -> None:
    result = make_result()
    result["estimators"][1]["metrics"]["top_k_mean"] |= {"mean": 93.5, "low": 93.2, "high": 93.8}
    expected = (
        "But the best top 10 is that of val_acc, worth 93.50 % [93.20, 93.80] on average against "
        "93.00 % [92.70, 93.30]"
    )
    sentence = "The top 10 of tse is not the best by its"
    assert any(each.startswith(sentence) for each in plain(result))
    pair = {"a": "tse", "b": "val_acc", "metric": "top_k_mean", "share_above": 0.1}
    result["differences"].append({**pair, "value": -0.5, "low": -0.9, "high": -0.1})
    assert f"{expected}: +0.500 [0.100, 0.900], clear." in plain(result)


def test_the_headline_of_little_data() -> None:
    sentences = plain(make_result(num_archs=12, num_supernets=1, is_full=False))
    assert sentences[-3:] == [
        "12 architectures are few: what is within noise here may be clear of more.",
        "The top 10 are most of them, so they say little.",
        "There is one supernet; another training of it may rank otherwise.",
    ]
    assert "supernets" not in sentences[0]


def test_the_headline_passes_over_what_diverged() -> None:
    sentences = plain(CASES["the curve score diverged"])
    assert sentences[0].startswith("val_acc ranks these 40")
    assert "tse" not in " ".join(sentences)
    assert clear_winner(CASES["all diverged"]) is None
    assert plain(CASES["all diverged"]) == ["No estimator could rank these architectures."]


def test_what_diverged_everywhere_has_no_spearman_in_the_summary() -> None:
    found = summary(CASES["one diverged"])["spearman"]
    assert found["val_acc"] == {"mean": None, "low": None, "high": None}
    assert found["tse"] == {"mean": 0.9, "low": 0.85, "high": 0.95}


def test_differences_have_a_sign() -> None:
    result = make_result()
    forward, backward = difference(result, "tse", "macs"), difference(result, "macs", "tse")
    assert forward is not None and backward is not None
    assert (forward.value, forward.low, forward.high) == pytest.approx((0.2, 0.16, 0.24))
    assert (backward.value, backward.low, backward.high) == pytest.approx((-0.2, -0.24, -0.16))
    assert (forward.verdict, backward.verdict) == ("clear", "clearly worse")
    assert str(backward) == "−0.200 [−0.240, −0.160]"
    assert difference(result, "tse", "tse") is None


def test_the_table_of_differences(page_of: Callable[[dict[str, Any]], tuple[str, Page]]) -> None:
    result = make_result()
    set_difference(result, 0.01, -0.02, 0.04)
    _, page = page_of(result)
    start = page.rows.index(["Score", "minus tse", "minus val_acc", "minus macs"])
    assert page.rows[start + 1 : start + 4] == [
        ["tse", "–", "≈ +0.010 [−0.020, 0.040]", "▲ +0.200 [0.160, 0.240]"],
        ["val_acc", "≈ −0.010 [−0.040, 0.020]", "–", "▲ +0.100 [0.060, 0.140]"],
        ["macs", "▼ −0.200 [−0.240, −0.160]", "▼ −0.100 [−0.140, −0.060]", "–"],
    ]


def test_the_tables_of_the_top(page_of: Callable[[dict[str, Any]], tuple[str, Page]]) -> None:
    result = make_result(("tse", "macs"), num_archs=4)
    result["top_k"] = 2
    truths, tse, macs = (90, 93, 92, 91), (5, 7, None, 6), (4, 1, 3, 2)
    for arch, truth, first, second in zip(result["archs"], truths, tse, macs, strict=True):
        arch |= {"truth": truth, "scores": {"tse": [first, first], "macs": [second, second + 0.5]}}
    result["archs"][0]["scores"]["macs"][1] = 0  # from place 1 to 4
    _, page = page_of(result)
    start = page.rows.index(["", "Architecture", "Truth", "Params", "MACs", "tse", "macs"])
    costs = [["73,307", "7.78 M"], ["73,308", "7.78 M"], ["73,309", "7.78 M"]]
    assert page.rows[start + 1 : start + 3] == [
        ["1", "|op~1|", "93.00 %", *costs[0], "1", "3.5"],
        ["2", "|op~2|", "92.00 %", *costs[1], "diverged", "1.5"],
    ]
    start += 3
    assert page.rows[start][-2:] == ["True place", "Score"]
    assert page.rows[start + 1 : start + 3] == [
        ["1", "|op~1|", "93.00 %", *costs[0], "1", "7"],
        ["2", "|op~3|", "91.00 %", *costs[2], "3", "6"],
    ]


def test_diverged_architectures_are_named_once_for_the_scores_that_share_them(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    result = make_result(("tse", "tse_e", "macs"))
    for estimator in result["estimators"][:2]:
        estimator["diverged"] = ["|op~3|"]
    text, _ = page_of(result)
    section = text[text.index('<section id="diverged">') : text.index('<section id="measured">')]
    assert Page(section).texts.count("|op~3|") == 0  # may break after its parts
    assert "".join(Page(section).texts).split() == "Diverged tse, tse_e: 1 of 40 |op~3|".split()


def test_every_score_is_explained(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    names = [*ALL_SCORES, *BENCHMARK_SCORES]
    text, _ = page_of(make_result(names))
    assert re.findall("<dt><code>(.*?)</code></dt><dd>.", text) == names


def test_more_curves_than_colours_are_told_apart_by_their_lines(
    page_of: Callable[[dict[str, Any]], tuple[str, Page]],
) -> None:
    result = make_result()
    result["curves"] = {f"curve-{i}": result["curves"]["tse"] for i in range(7)}
    text, _ = page_of(result)
    signs = re.findall(r'var\(--series-0\)">(.*?)</span> <code>(.*?)</code>', text)
    assert signs == [("●", "curve-0"), ("●╌", "curve-6"), ("●", "TSE")]
    styles = [style for style in re.findall(r'style="([^"]*)"', text) if "dasharray" in style]
    assert [style for style in styles if "var(--series-0)" in style]


def test_a_difference_of_other_digits() -> None:
    assert str(Difference(-0.1234, -1, 0.5, digits=1)) == "−0.1 [−1.0, 0.5]"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-0.0001, "0.000"), (-0.25, "−0.250"), (1.0, "1.000")]
)
def test_numbers(value: float | None, text: str) -> None:
    assert fixed(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (2.4e13, 0, "2.4e+13"),
        (-1234.5e9, 0, "−1.234e+12"),
        (2.4e-8, 8, "2.4e−08"),
        (0.0, 8, "0.00000000"),
        (999_999_999.0, 0, "999999999"),
        (2.4e-8, 3, "0.000"),
    ],
)
def test_numbers_of_too_many_digits(value: float, digits: int, text: str) -> None:
    assert fixed(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "< 1 ms"),
        (0.012, "12 ms"),
        (0.41, "0.41 s"),
        (3.24, "3.2 s"),
        (123.4, "123 s"),
        (600, "10 min"),
        (35_999, "600 min"),
        (36_000, "10 h"),
        (5e6, "1,389 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_csv_file_has_a_row_for_the_mean_and_each_supernet(tmp_path: Path) -> None:
    result = make_result()
    result["archs"][5]["scores"]["tse"][1] = None
    result["estimators"][0]["diverged"] = ["|op~5|"]
    write_csv(result, tmp_path / "ranking.csv")
    with open(tmp_path / "ranking.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [f"{row['estimator']} {row['supernet']}" for row in rows]
    assert found[:4] == ["tse mean", "tse fair-0", "tse fair-1", "val_acc mean"]
    assert found[-1] == "macs fair-1" and len(found) == 9
    mean, first, second = rows[:3]
    for metric in METRICS:
        found = result["estimators"][0]["metrics"][metric]
        for end in ("low", "high", "sd"):
            assert float(mean[f"{metric}_{end}"]) == found[end]
        assert float(mean[metric]) == found["mean"]
        assert float(second[metric]) == found["per_supernet"][1]["value"]
        assert float(second[f"{metric}_high"]) == found["per_supernet"][1]["high"]
        assert second[f"{metric}_sd"] == ""
    assert (mean["seconds"], first["seconds"]) == ("3.2", "")
    assert [row["num_diverged"] for row in rows[:3]] == ["1", "0", "1"]
    assert [row["num_steps"] for row in rows[::3]] == ["100", "", ""]


def test_the_csv_file_leaves_empty_what_is_not_known(tmp_path: Path) -> None:
    write_csv(CASES["one diverged"], tmp_path / "ranking.csv")
    with open(tmp_path / "ranking.csv", encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-3]
    assert (last["estimator"], last["spearman"], last["num_diverged"]) == ("val_acc", "", "40")
