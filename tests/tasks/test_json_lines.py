import json
import re
from pathlib import Path

import pytest

from structpred.config import encode
from structpred.errors import DataError
from structpred.sequences import spelt
from structpred.tasks import JsonLines
from structpred.tasks.reading import digest_of
from tests.support.damage import outcomes

GOOD = """{"source": "ab", "target": "x y"}
{"target": ["z", "z z"], "source": "c", "id": 3}
{"source":"ab","target":"é"}
"""


def examples(path: Path, content: str, **fields: str) -> list[tuple[str, list[str], str]]:
    path.write_text(content, encoding="utf-8")
    found = JsonLines(train=str(path), **fields).examples(str(path))  # type: ignore[arg-type]  # keys are texts
    return [("".join(spelt(e.source)), [" ".join(each) for each in e.references], e.where) for e in found]


def test_objects_are_read_with_all_their_targets(tmp_path: Path) -> None:
    assert examples(tmp_path / "a.jsonl", GOOD) == [
        ("ab", ["x y", "é"], "a.jsonl line 1"),
        ("c", ["z", "z z"], "a.jsonl line 2"),
    ]
    turned = examples(tmp_path / "a.jsonl", '{"in": "a", "out": "b"}', source_key="out", target_key="in")
    assert turned == [("b", ["a"], "a.jsonl line 1")]


PHONES = '{"source": "hello", "target": ["HH", "AH", "L", "OW"]}'


def test_a_list_is_what_the_field_says(tmp_path: Path) -> None:
    (symbols,) = examples(tmp_path / "a.jsonl", PHONES, lists="symbols")
    assert symbols == ("hello", ["HH AH L OW"], "a.jsonl line 1")
    (references,) = examples(tmp_path / "a.jsonl", PHONES, lists="references")
    assert references == ("hello", ["HH", "AH", "L", "OW"], "a.jsonl line 1")
    nested = '{"source": "a", "target": [["HH", "AH"], ["HH"]]}'
    for fields in ({}, {"lists": "symbols"}, {"lists": "references"}):
        assert examples(tmp_path / "a.jsonl", nested, **fields) == [("a", ["HH AH", "HH"], "a.jsonl line 1")]


@pytest.mark.parametrize(("target", "side"), [('["a", "b"]', "spaces"), ('["ab", "c"]', "characters")])
def test_a_list_that_may_be_two_things_is_refused(tmp_path: Path, target: str, side: str) -> None:
    with pytest.raises(DataError) as error:
        examples(tmp_path / "a.jsonl", f'{{"source": "a", "target": {target}}}', target=side)
    assert str(error.value) == (
        "a.jsonl line 1: the target must be a text, or a list of which it is certain what it means, but "
        f"{target} may be 2 right outputs or one of 2 symbols; set JsonLines.lists to 'references' or 'symbols'"
    )


def test_older_runs_keep_their_identity() -> None:
    known = str(encode(JsonLines(train="a"), versions=True))
    assert "lists" not in known
    assert "metadata" not in known


KNOWN = """{"source": "ab", "target": "x", "id": 3, "weights": [1, 2.5], "note": "\\ud800"}
{"source": "c", "target": "y", "id": null, "weights": [], "note": ""}
{"source": "ab", "target": "z", "id": 3, "weights": [1, 2.5], "note": "\\ud800"}
"""


def test_named_keys_are_kept_as_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(KNOWN, encoding="utf-8")
    task = JsonLines(train=str(path), metadata=("id", "weights"))
    first, second = task.examples(str(path))
    assert (first.metadata, second.metadata) == ({"id": 3, "weights": [1, 2.5]}, {"id": None, "weights": []})
    assert len(first.references) == 2
    assert len({first, second}) == 2
    assert JsonLines(train=str(path)).examples(str(path))[0].metadata == {}


def test_metadata_are_part_of_the_digest_of_the_data(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text(KNOWN, encoding="utf-8")
    second.write_text(KNOWN.replace("2.5", "2.25"), encoding="utf-8")

    def digest(path: Path, *keys: str) -> str:
        return digest_of(JsonLines(train=str(path), metadata=keys).examples(str(path)))

    assert digest(first) == digest(second) != digest(first, "id")
    assert digest(first, "id", "note") == digest(second, "id", "note")
    assert digest(first, "weights") != digest(second, "weights")


def test_metadata_that_are_missing_or_at_odds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(KNOWN.replace('"id": null, ', ""), encoding="utf-8")
    task = JsonLines(train=str(path), metadata=("id",))
    with pytest.raises(DataError, match=r"^a\.jsonl line 2 must be a JSON object with the key 'id'"):
        task.examples(str(path))
    path.write_text(KNOWN.replace('"z", "id": 3', '"z", "id": 4'), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"^a\.jsonl line 3 has the source of a\.jsonl line 1, .* but other metadata; give"
    ):
        task.examples(str(path))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('["a b", "c"]', 'must be a list of symbols without spaces, for target=\'spaces\', but it is ["a b", "c"]'),
        ('["a", ""]', "must be a list of symbols without spaces, for target='spaces'"),
        ('["a", ["b"]]', "the target must be a text, but it is a list"),
        ('[["a"], "b"]', "the target must be a list of lists or hold none, but it mixes them"),
        ('["a\\u00a0b"]', "the target's symbols must be without white space and invisible characters"),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)):
        examples(tmp_path / "a.jsonl", f'{{"source": "a", "target": {line}}}', lists="symbols")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"source": "a"', "a.jsonl line 2 must be a JSON object, but it cannot be parsed (Expecting ',' delim"),
        ("", "a.jsonl line 2 must be a JSON object, but it cannot be parsed (Expecting value"),
        ("[" * 100_000, "a.jsonl line 2 must be a JSON object, but it cannot be parsed (RecursionError)"),
        ("9" * 5000, "a.jsonl line 2 must be a JSON object, but it cannot be parsed (ValueError)"),
        ('{"source": "a", "source": "c", "target": "b"}', "a.jsonl line 2: a JSON object must have each key once, but"),
        ("[1]", "a.jsonl line 2 must be a JSON object with the key 'source', but it is none"),
        ('{"source": "a"}', "a.jsonl line 2 must be a JSON object with the key 'target', but"),
        ('{"source": 1, "target": "a"}', "a.jsonl line 2: the source must be a text, but it is a number; write it"),
        ('{"source": "a", "target": null}', "a.jsonl line 2: the target must be a text, but it is null; write it"),
        ('{"source": "a", "target": []}', "a.jsonl line 2: the target must be a text, but it is a list; write it"),
        ('{"source": "a", "target": ["b", 1.5]}', "a.jsonl line 2: the target must be a text, but it is a number"),
        ('{"source": "a\\tb", "target": "b"}', "a.jsonl line 2: the source must be one line of text, but it ho"),
        ('{"source": "\\ud800", "target": "b"}', "it holds '\\ud800'; leave that out"),
        ('{"source": "a", "target": " "}', "a.jsonl line 2: the target must hold at least one symbol, but it is empty"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)):
        examples(tmp_path / "a.jsonl", f'{{"source": "b", "target": "b"}}\n{line}\n{{"source": "b", "target": "b"}}')


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.jsonl"
    task = JsonLines(train=str(path))
    for content, found in outcomes(path, GOOD.encode(), lambda: task.examples(str(path))):
        nodes = [json.loads(line) for line in content.decode("utf-8-sig").rstrip("\r\n").split("\n")]
        assert ["".join(spelt(example.source)) for example in found] == list(
            dict.fromkeys(node["source"] for node in nodes)
        )
