"""Both languages are complete, and write numbers as their readers do."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from frontend.words import LANGUAGES, Words, spoken, vocabulary

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_say_the_same_things() -> None:
    one, other = (vocabulary(language) for language in LANGUAGES)
    assert one.keys() == other.keys()
    assert {k: _places(v) for k, v in one.items()} == {k: _places(v) for k, v in other.items()}
    assert all(text.strip() for text in (*one.values(), *other.values()))


def test_the_language_of_a_locale() -> None:
    assert [spoken(each) for each in ("en-US", "id", "ID_id", "nl-NL", "", None)] == ["en", "id", "id", "nl", "", ""]


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    code = "\n".join(path.read_text() for path in FRONTEND.rglob("*.py"))
    named = set(re.findall(r"\"([a-z]+\.[a-z_]+(?:\.[a-z_]+)?)\"", code.replace("'", '"')))
    stems = tuple(re.findall(r"f[\"']([a-z._]+\.)\{", code))
    keys = set(vocabulary("id"))
    # A text for one is chosen by its count.
    assert {k for k in keys if k.removesuffix("_one") not in named and not k.startswith(stems)} == set()
    called = set(re.findall(r"words\(\s*\"([a-z_.]+)\"", code))
    assert called - keys == set()


@pytest.mark.parametrize(
    ("value", "indonesian", "english"),
    [
        (9.2, "9,2", "9.2"),
        (13.718, "13,72", "13.72"),
        (1234567.5, "1.234.567,5", "1,234,567.5"),
        (-3.4, "−3,4", "−3.4"),
        (-0.0004, "0,0", "0.0"),
    ],
)
def test_numbers_follow_the_language(value: float, indonesian: str, english: str) -> None:
    assert Words("id").number(value) == indonesian
    assert Words("en").number(value) == english


def test_one_of_a_kind_is_told_as_one() -> None:
    assert [Words("en").counted("batch.rows", count) for count in (1, 2, 1000)] == ["1 row", "2 rows", "1,000 rows"]
    assert Words("id").counted("batch.rows", 1) == "1 baris"


def test_an_unpublished_figure_is_a_dash_and_never_a_zero() -> None:
    assert Words("id").number(None) == "–"


def test_a_typed_number_may_have_a_comma_or_a_point() -> None:
    for words in map(Words, LANGUAGES):
        assert words.parse(" 9,25 ") == words.parse("9.25") == 9.25
        assert words.parse("") is None


@pytest.mark.parametrize("text", ["abc", "9,2,1", "nan", "inf", "1e999", "٣٫٥x"])
def test_what_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Words("id").parse(text)


def test_dates_follow_the_language() -> None:
    assert Words("id").date("2026-08-17T06:12:44Z") == "17 Agustus 2026"
    assert Words("en").date("2026-08-17T06:12:44+00:00") == "17 August 2026"
    assert Words("en").date("") == ""
