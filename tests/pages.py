"""Pages of reports as tests read them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "wbr", "br", "link", "img", "input"}


class Page(HTMLParser):
    """Checks that every tag is closed, and keeps attributes, texts, rows, and tables by label."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "div" and dict(attrs).get("class") == "scroll":
            self._table = self.tables.setdefault(str(dict(attrs)["aria-label"]), [])
        if tag == "tr":
            self.rows.append([])
            self._table.append(self.rows[-1])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def values(self, key: str) -> list[str]:
        """The values of an attribute in the order of the page."""
        return [value for _, name, value in self.attributes if name == key]


def check_alone(text: str, page: Page) -> None:
    """Checks that a page refers to nothing but itself, and can be read on a narrow screen."""
    assert not page.values("src")
    assert all(value.startswith("#") for value in page.values("href"))
    assert "http" not in text and "@import" not in text
    assert "url(" not in text.replace("url(#", "")
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    references = {value[1:] for value in page.values("href")}
    assert references | set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert "<table" not in re.sub(r'<div class="scroll"[^>]*>\s*<table', "", text)
    plots = re.findall(r"<svg [^>]*>", text)
    assert plots and all("viewBox" in plot and " width" not in plot for plot in plots)
