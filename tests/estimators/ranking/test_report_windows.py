"""What page, CSV file and terminal say of windows of MACs, and nothing without any."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estimators.ranking.report
from estimators.html.page import environment_of
from estimators.ranking.macs_windows import MacsWindow
from estimators.ranking.report import findings_facts, summary, write_csv, write_report
from tests.estimators.ranking.made_up import make_result
from tests.estimators.ranking.window_example import MACS, NAMES, SWAPPED, TRUTH, compared
from tests.pages import Page, check_alone


def with_windows(scores: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """A ranking of the architectures of the example, by one supernet."""
    result = make_result(num_archs=14, num_supernets=1, is_full=False)
    for i, arch in enumerate(result["archs"]):
        arch |= {"architecture": NAMES[i], "truth": float(TRUTH[i]), "macs": int(MACS[i])}
    return {**result, "macs_windows": compared(scores, **others)}


def findings(result: dict[str, Any]) -> list[str]:
    """The items of the findings that are about windows."""
    environment = environment_of(Path(estimators.ranking.report.__file__).parent)
    text = environment.get_template("findings.html.j2").render(findings_facts(result))
    items = re.findall("<li>(.*?)</li>", text, re.DOTALL)
    plain = [" ".join(unescape(re.sub("<[^>]*>", "", item)).split()) for item in items]
    return [item for item in plain if "ithin" in item and "MACs" in item]


def page_of(result: dict[str, Any], folder: Path) -> Page:
    write_report(result, folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    check_alone(text, page)
    assert "nan" not in text.replace("nance", "")
    return page


def interval(found: dict[str, float], digits: int) -> str:
    ends = (f"{found[end]:.{digits}f}".replace("-", "−") for end in ("low", "high"))
    return f"[{', '.join(ends)}]"


def test_a_table_of_a_window_has_all_that_was_found(tmp_path: Path) -> None:
    result = with_windows()
    page = page_of(result, tmp_path)
    rows = page.tables["Within 100 MACs ± 5 %"]
    assert rows[0][:3] == ["Score", "Spearman", "minus that of MACs"]
    cells = [[" ".join(cell.split()) for cell in row] for row in rows[1:]]
    assert [row[0] for row in cells] == [
        "1 swapped",
        "2 macsbaseline3 tie for the first place",
        "random pickbaseline",
    ]
    swapped, macs = result["macs_windows"]["windows"][0]["estimators"]
    found = swapped["metrics"]
    assert cells[0][1] == f"▲ +0.958{interval(found['spearman'], 3)}"
    assert cells[0][2] == f"≈ +1.152{interval(swapped['minus_macs']['spearman'], 3)}"
    assert cells[0][3] == f"▲ +0.818{interval(found['kendall_tau_b'], 3)}"
    worth = f"11.00{interval(found['first_truth'], 2)}"
    assert cells[0][5] == worth
    assert "+3.00[" in cells[0][6] and "+4.50[" in cells[0][7]
    assert cells[0][8].startswith("1.00")
    assert cells[1][1].startswith("≈ −0.194") and (cells[1][2], cells[1][4]) == ("", "")
    assert cells[1][8].startswith("4.00")
    assert cells[2][1] == "0" and cells[2][8].startswith("5.50")
    texts = " ".join(" ".join(page.texts).split())
    assert "In no window, and not used here: 2 architectures of 14" in texts
    assert "arch 12 : 10 MACs" in texts and "arch 13 : 1,000 MACs" in texts
    assert {"windows", "terms"} <= set(page.values("id")) and "Window of MACs" in texts


def test_the_findings_say_what_to_expect_of_a_choice() -> None:
    (found,) = findings(with_windows())
    first = with_windows()["macs_windows"]["windows"][0]["estimators"][0]
    assert found == (
        "Within 100 MACs ± 5 %, of 12 architectures, swapped ranks best: Spearman 0.958 "
        f"{interval(first['metrics']['spearman'], 3)}, against MACs +1.152 "
        f"{interval(first['minus_macs']['spearman'], 3)}, within noise. What swapped puts "
        "first lies 1.00 points below the best of them, what has the most MACs 4.00, and a random "
        "pick 5.50 on average."
    )


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        # -27 of 135 and 143, as the MACs have, but the other way round
        ({"macs": [MACS]}, "MACs rank with a Spearman of −0.194 .*; no other score was asked for"),
        ({"same": [np.ones(14)]}, "no score ranks clearly better than chance: the highest .* same"),
        ({"worse": [-SWAPPED]}, "no score ranks better than MACs, whose .* the next is worse with"),
    ],
)
def test_the_findings_admit_that_nothing_ranks(scores: dict[str, Any], message: str) -> None:
    (found,) = findings(with_windows(scores))
    assert re.search(message, found)


def test_windows_of_equal_macs_and_equal_truths_are_told() -> None:
    (found,) = findings(with_windows(macs=np.array([100.0] * 12 + [10, 1000])))
    assert "of 12 architectures, all with the same MACs, swapped ranks best" in found
    assert "against MACs" not in found and "the most MACs" not in found
    (same,) = findings(with_windows(truth=np.array([5.0] * 12 + [-100, 100])))
    assert same.endswith("all 12 architectures are worth the same.")


def test_a_ranking_all_within_windows_says_so() -> None:
    last = findings(with_windows(windows=[MacsWindow(510, 0.99)]))[-1]
    assert last.startswith("All architectures lie within these windows")


def test_what_was_lost_is_told_everywhere(tmp_path: Path) -> None:
    result = with_windows(windows=[MacsWindow(100.0, 0.03)])
    assert findings(result) == [
        "Within 100 MACs ± 3 %, nothing can be said. Only 6 were measured and have a truth; 10 are "
        "needed."
    ]
    page = page_of(result, tmp_path)
    assert "Within 100 MACs ± 3 %" not in page.tables
    (told,) = summary(result)["macs_windows"]
    assert told["problem"].startswith("Only 6") and summary(result)["in_no_window"] == 8


def test_the_terminal_has_a_few_numbers_of_each_window() -> None:
    result = with_windows()
    told = summary(result)
    json.dumps(told, allow_nan=False)
    first = result["macs_windows"]["windows"][0]["estimators"][0]
    (window,) = told["macs_windows"]
    assert (window["macs"], window["num_archs"], told["in_no_window"]) == (100, 12, 2)
    spearman, lead = first["metrics"]["spearman"], first["minus_macs"]["spearman"]
    ends = ("low", "high")
    assert window["scores"]["swapped"] == {
        "spearman": {"mean": 0.958, **{end: round(spearman[end], 3) for end in ends}},
        "minus_macs": {"value": 1.152, **{end: round(lead[end], 3) for end in ends}},
        "regret": 1,
    }
    assert set(window["scores"]["macs"]) == {"spearman", "regret"}
    assert window["random_pick"] == {"regret": 5.5}


def rows_of(result: dict[str, Any], folder: Path) -> Sequence[dict[str, str]]:
    write_csv(result, folder / "ranking.csv")
    with open(folder / "ranking.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_file_has_rows_of_windows(tmp_path: Path) -> None:
    rows = rows_of(with_windows(), tmp_path)
    within = [row for row in rows if row["macs_window"]]
    assert [row["estimator"] for row in within] == ["swapped", "macs", "random pick"]
    assert {row["macs_window"] for row in within} == {"100.0"}
    assert {row["num_archs"] for row in within} == {"12"}
    assert [float(row["regret"]) for row in within] == [1, 4, 5.5]
    assert float(within[0]["spearman_minus_macs"]) == pytest.approx(1.152368, abs=1e-6)
    assert within[0]["top_k_regret"] == "" and rows[0]["regret"] == ""
    assert list(rows[0])[:3] == ["macs_window", "num_archs", "estimator"]


def test_of_several_supernets_their_spread_is_shown(tmp_path: Path) -> None:
    result = with_windows({"score": [SWAPPED, np.ones(14)]})
    rows = page_of(result, tmp_path).tables["Within 100 MACs ± 5 %"]
    (row,) = (row for row in rows if "score" in row[0])
    found = result["macs_windows"]["windows"][0]["estimators"][0]["metrics"]
    assert "1, 12 tie for the first place" in row[0]
    assert row[1].endswith(f"± {found['spearman']['sd']:.3f}")
    assert row[8].startswith("3.25") and row[8].endswith(f"± {np.std([1, 5.5], ddof=1):.2f}")
    (own,) = (row for row in rows if "macs" in row[0])
    assert "3 tie for the first place" in own[0] and "3, 3" not in own[0]


def test_without_windows_nothing_is_said_of_them(tmp_path: Path) -> None:
    result = make_result(num_archs=14, num_supernets=1, is_full=False)
    page = page_of(result, tmp_path)
    assert "windows" not in page.values("id") and "Window of MACs" not in page.texts
    assert not {"macs_windows", "in_no_window"} & set(summary(result))
    columns = list(rows_of(result, tmp_path)[0])
    assert columns[0] == "estimator" and not {"macs_window", "regret"} & set(columns)
