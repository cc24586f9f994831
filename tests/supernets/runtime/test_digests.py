"""Stored settings beside those of now, by what is in their inputs."""

from __future__ import annotations

from supernets.runtime.digests import by_content, digest_of, without_labels

GIVEN = {"seed": 0, "estimator": {"table": "b.csv", "table_digest": "2", "column": "acc"}}


def test_the_same_content_under_another_name_is_the_same_input() -> None:
    stored = {"seed": 0, "estimator": {"table": "a.csv", "table_digest": "2", "column": "acc"}}
    assert by_content(stored, GIVEN) == (GIVEN, [])
    assert without_labels(stored) == without_labels(GIVEN)


def test_other_content_under_the_same_name_differs() -> None:
    stored = {"seed": 0, "estimator": {"table": "b.csv", "table_digest": "1", "column": "acc"}}
    found, unchecked = by_content(stored, GIVEN)
    assert (found, unchecked) == (stored, [])


def test_settings_of_before_get_the_digest_of_now_and_are_named() -> None:
    stored = {"seed": 0, "estimator": {"table": "b.csv", "column": "acc"}}
    assert by_content(stored, GIVEN) == (GIVEN, ["table"])
    other = {"seed": 0, "estimator": {"table": "a.csv", "column": "acc"}}
    assert by_content(other, GIVEN)[0] != GIVEN  # the name is all that can be compared


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1}) != digest_of({"a": 1})
