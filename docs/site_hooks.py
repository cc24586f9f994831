"""What pages show that MkDocs does not find in docs/: linked files, and the help of commands.

Links to recipes, results and scripts are written relative to the page, so that they work where the
repository is browsed. In the site each leads to a copy of the file under ``files/``. In place of
``<!-- help: MODULE -->`` stands what the command whose parser the module builds prints for
``--help``.
"""

from __future__ import annotations

import importlib
import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\((\.\./[^)\s]+)\)")
_HELP = re.compile(r"<!-- help: (\S+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files of the repository that pages link to."""
    outside = {
        path
        for page in DOCS.rglob("*.md")
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if (path := _outside(page, target)) is not None
    }
    for path in sorted(outside):
        files.append(File.generated(config, _uri(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links at the copies, and puts in the help of commands."""
    source = DOCS / page.file.src_uri
    folder = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        path = _outside(source, match[1])
        return match[0] if path is None else f"]({posixpath.relpath(_uri(path), folder or '.')})"

    return _HELP.sub(lambda match: _help(match[1]), _LINK.sub(link, markdown))


def _outside(page: Path, target: str) -> Path | None:
    path = Path(os.path.normpath(page.parent / target))
    return path if not path.is_relative_to(DOCS) and path.is_file() else None


def _uri(path: Path) -> str:
    return f"files/{path.relative_to(ROOT).as_posix()}"


def _help(module: str) -> str:
    os.environ["COLUMNS"] = "100"
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    text = importlib.import_module(module).build_parser().format_help()
    return f"```text\n{text.strip()}\n```"
