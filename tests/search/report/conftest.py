"""What reports of searches say, without their pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path

import pytest

import search.report.page
from estimators.html.page import environment_of
from search.report.facts import ComparisonFacts
from search.report.groups import group_runs
from search.report.recorded_runs import RecordedRun


@pytest.fixture
def findings_of() -> Callable[[Sequence[RecordedRun]], list[str]]:
    """The findings about runs that can be compared, one by one."""
    folder = Path(search.report.page.__file__).parent
    template = environment_of(folder).get_template("findings.html.j2")

    def findings_of(runs: Sequence[RecordedRun]) -> list[str]:
        (comparison,) = group_runs(runs)
        text = template.module.findings(ComparisonFacts(comparison, {}), "|")  # type: ignore[attr-defined]
        sentences = unescape(re.sub("<[^>]*>", "", text)).split("|")
        return [" ".join(sentence.split()) for sentence in sentences]

    return findings_of
