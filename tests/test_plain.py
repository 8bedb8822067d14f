"""Names of users as one line of text, and as names of files."""

import unicodedata

import pytest

from structpred.errors import ConfigError
from structpred.plain import file_stems, plain, refuse_unseen


def test_what_cannot_be_seen_is_spelt_out_and_other_scripts_are_kept() -> None:
    assert plain("a\0b\x1b[31m\udcff\ufffe\u202e\x85") == r"a\x00b\x1b[31m\udcff\ufffe\u202e\x85"
    assert plain("one \r\n two\tthree") == "one two three"
    for text in ("日本 한국", "नमस्ते", "\u200dعربى\u200c", "τ = 0.1, “best” \\ \u00a0|", "👩‍👩‍👧"):
        assert plain(text) == text


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\tb", "\x1b[31m", "\udcff", 3, None])
def test_names_that_are_not_one_line_of_text_are_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="the name of an arm must be one line of text without control characters"):
        refuse_unseen(name, "the name of an arm")


def test_names_get_stems_that_no_file_system_takes_for_one() -> None:
    names = [
        "日本",
        "한국",
        "a-b",
        "A b",
        "A_B 2",
        "?",
        "!",
        "ß",
        "SS",
        "é",
        "e\u0301",
        "x" * 300,
        "x" * 301,
        "漢" * 99,
        "../up",
    ]
    stems = file_stems(names)
    assert list(stems) == names
    folded = {unicodedata.normalize("NFKD", stem).casefold() for stem in stems.values()}
    assert len(folded) == len(names)
    assert all(len(f"..best_{stem}.json.0123456789abcdef.unfinished".encode()) < 255 for stem in stems.values())
    assert not any("/" in stem or "." in stem for stem in stems.values())
