"""YAML files of options say what flags say."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernets.cli.config_file import read_boolean, read_config


def read(folder: Path, text: str) -> dict[str, str | list[str] | None]:
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    return read_config(folder / "c.yaml")


def test_values_are_the_text_that_stands_there(tmp_path: Path) -> None:
    text = "seed: 010\nname: no\nwhen: 2024-01-01\nat: 1:30\nlr: 1_0.50\nhex: 0x10\nnan: .nan\n"
    assert read(tmp_path, text) == {
        "seed": "010",
        "name": "no",
        "when": "2024-01-01",
        "at": "1:30",
        "lr": "1_0.50",
        "hex": "0x10",
        "nan": ".nan",
    }


def test_lists_quotes_nulls_anchors_and_merges_are_yamls(tmp_path: Path) -> None:
    text = "a: [1, 'x y']\nb: ~\nc: null\nd: '~'\ne: ~/x\nf: &f 7\ng: *f\n<<: {h: 1}\n"
    assert read(tmp_path, text) == {
        "a": ["1", "x y"],
        "b": None,
        "c": None,
        "d": "~",
        "e": "~/x",
        "f": "7",
        "g": "7",
        "h": "1",
    }


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffseed: 1\n") == {"seed": "1"}


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "num-val: 1\nlr: 1\nnum_val: 1\n"])
def test_an_option_that_is_there_twice_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is there twice"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    ["- 1", "- a: 1", "x", "a: {b: 1}", "a: [[1]]", "a: [null]", "a: &a [*a]", "? [a]\n: 1",
     "a: " + "[" * 9999, "a: \0", "a: !!int x", "a: !!python/name:os.system"],
)  # fmt: skip
def test_anything_else_is_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"c\.yaml") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("name: ä".encode("latin-1"))
    with pytest.raises(ValueError, match="cannot read"):
        read_config(tmp_path / "c.yaml")


def test_switches_are_told_in_yamls_words() -> None:
    assert [read_boolean(text) for text in ("true", "No", "ON", "1")] == [True, False, True, None]
