import json
import random
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from structpred import reading
from structpred.errors import ConfigError, DataError
from structpred.reading import read_lines
from structpred.sequences import spelt
from structpred.task import Example, Splits, Task
from structpred.tasks import Tsv
from structpred.tasks.published import NewLabelWarning
from structpred.tasks.reading import digest_of, in_hashed_order

# most files here are too small for dev and test to have no symbol of their own
pytestmark = pytest.mark.filterwarnings("ignore::structpred.tasks.published.NewLabelWarning")

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(content: str | bytes, name: str = "pairs.tsv") -> str:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return to_file


def pairs(first: int, last: int) -> str:
    return "".join(f"w{i}\tv {i}\n" for i in range(first, last))


def sources(examples: tuple[Example, ...]) -> list[str]:
    return ["".join(spelt(example.source)) for example in examples]


def load(train: str, **fields: Any) -> Splits:
    return Tsv(train=train, **fields).load()


def test_reads_three_files(write: Write) -> None:
    splits = load(write("ab\tx yy\n"), dev=write("c\tx\n", "dev.tsv"), test=write("d\tyy  yy \n", "test.tsv"))
    assert splits.train == (Example(("a", "b"), (("x", "yy"),), where="pairs.tsv line 1"),)
    assert splits.dev == (Example(("c",), (("x",),), where="dev.tsv line 1"),)
    assert splits.test[0].references == (("yy", "yy"),), "several spaces count as one"


def test_the_same_source_on_several_lines_has_several_references(write: Write) -> None:
    text = "a\tx\nb\tz\na\ty\na\tx\n"
    splits = load(write(text), dev=write("c\tx\n", "dev.tsv"), test=write("d\tx\n", "test.tsv"))
    assert [(e.source, e.references, e.where) for e in splits.train] == [
        (("a",), (("x",), ("y",)), "pairs.tsv line 1"),
        (("b",), (("z",),), "pairs.tsv line 2"),
    ]


@pytest.mark.parametrize("separation", ["characters", "spaces"])
def test_each_side_is_separated_as_asked(write: Write, separation: Any) -> None:
    text = "a b\u00a0c\tp q\nx\ty\nz\ty\n"  # U+00A0 may be part of a word that is read
    symbols = {"characters": ("a", " ", "b", "\u00a0", "c"), "spaces": ("a", "b\u00a0c")}[separation]
    task = Tsv(train=write(text), source=separation, target=separation)
    splits = task.load()
    assert symbols in {example.source for example in splits.train + splits.dev + splits.test}
    assert task.parse("a b\u00a0c") == symbols
    assert task.render(symbols) == "a b\u00a0c"


@pytest.mark.parametrize(
    "content",
    ["a\tx\nb\ty", "a\tx\nb\ty\n", "a\tx\nb\ty\n\n\n", "a\tx\r\nb\ty\r\n", "\ufeffa\tx\nb\ty\n"],
    ids=["no end of line", "plain", "empty lines at the end", "CRLF", "byte-order mark"],
)
def test_the_same_pairs_written_otherwise_are_the_same_data(write: Write, content: str) -> None:
    dev = write("c\tx\n", "dev.tsv")
    splits = load(write(content), dev=dev, test=dev)
    assert sources(splits.train) == ["a", "b"]
    assert splits.digest == load(write("a\tx\nb\ty\n"), dev=dev, test=dev).digest


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\ufeff"], ids=ascii)
def test_other_unicode_separators_end_no_line(write: Write, character: str) -> None:
    dev = write("c\tx\n", "dev.tsv")
    (example,) = load(write(f"a{character}b\tx{character}y\n"), dev=dev, test=dev, target="characters").train
    assert example.source == ("a", character, "b")
    assert example.references == (("x", character, "y"),)


@pytest.mark.parametrize("character", ["\u00a0", "\u2009", "\u200b", "\u2060", "\ufeff", "\x85", "\x1f"], ids=ascii)
def test_what_nobody_sees_in_a_target_symbol_is_refused(write: Write, character: str) -> None:
    path = write(f"a\tx\nb\ty x{character} y\n")
    with pytest.raises(DataError) as error:
        load(path)
    code = f"U+{ord(character):04X}"
    assert re.match(
        rf"pairs\.tsv line 2: the target's symbols must be without .* holds {re.escape(code)} \(.*\); remove that",
        str(error.value),
    )


def test_spaces_around_a_text_are_no_symbols(write: Write) -> None:
    dev = write("c\tx\n", "dev.tsv")
    plain = load(write("a b\tx y\n"), dev=dev, test=dev, target="characters")
    padded = load(write(" a b  \t  x y \n"), dev=dev, test=dev, target="characters")
    assert padded.digest == plain.digest
    assert Tsv(train="any").parse("  a b ") == ("a", " ", "b")


@pytest.mark.filterwarnings("error")
def test_symbols_that_only_dev_or_test_have_give_one_warning(write: Write) -> None:
    train, dev = write("a\tx\n"), write("b\tx y z\nc\ty\n", "dev.tsv")
    with pytest.warns(NewLabelWarning) as caught:
        load(train, dev=dev, test=write("d\tw\n", "test.tsv"))
    assert [str(each.message) for each in caught] == [
        "2 labels of dev and 1 of test are in no training output, so that no model can give them: 'y' (dev.tsv line "
        "1), 'z' (dev.tsv line 1), 'w' (test.tsv line 1); check how they are written, or move examples of them to the "
        "training data"
    ]
    load(train, dev=write("b\tx\n", "dev.tsv"), test=write("c\tx x\n", "test.tsv"))


LINE = "must be a source, a tab and a target, but it "
BAD = {
    "empty": (b"", "must hold at least one line, but it is empty"),
    "byte-order mark only": (b"\xef\xbb\xbf", "must hold at least one line, but it is empty"),
    "blank lines only": (b"\r\n\n", "must hold at least one line, but it is empty"),
    "one column": (b"a\tx\nab\n", f"pairs.tsv line 2 {LINE}has 1 column: 'ab'; separate two columns by one tab"),
    "three columns": (b"a\tx\ty\n", f"pairs.tsv line 1 {LINE}has 3 columns: 'a\\tx\\ty'; separate"),
    "long line": (b"a" * 99, f"{LINE}has 1 column: '{'a' * 57}'...; separate"),
    "blank line": (b"a\tx\n\nb\ty\n", f"pairs.tsv line 2 {LINE}is blank; remove the line"),
    "spaces for a tab": (b"a    x\n", "pairs.tsv line 1"),
    "empty source": (b"a\tx\n\ty\n", "pairs.tsv line 2: the source must hold at least one symbol, but it is empty"),
    "white source": (b" \tx\n", "pairs.tsv line 1: the source must hold at least one symbol"),
    "empty target": (b"a\tx\nb\t\r\n", "pairs.tsv line 2: the target must hold at least one symbol"),
    "long source": (b"a\tx\nabcd\tx\n", "pairs.tsv line 2: the source must have at most 3 symbols, but it has 4; sho"),
    "long target": (b"abc\tx x x xy\n", "pairs.tsv line 1: the target must have at most 3 symbols, but it has 4; sho"),
    "Latin-1": (b"a\tx\n\xe9\tx\n", "pairs.tsv line 2 must be UTF-8, but byte 1 of the line is 0xe9 (invalid cont"),
    "cut short": (b"a\tx\nb\tx\xc3", "pairs.tsv line 2 must be UTF-8, but byte 4 of the line is 0xc3 (unexpected end"),
    "UTF-16": ("a\tx\n".encode("utf-16"), "pairs.tsv line 1 must be UTF-8, but byte 1 of the line is 0xff"),
    "after a mark": (b"\xef\xbb\xbfa\xff", "pairs.tsv line 1 must be UTF-8, but byte 2 of the line is 0xff (invalid s"),
    "surrogate": (b"\xed\xa0\x80\tx", "pairs.tsv line 1 must be UTF-8, but byte 1 of the line is 0xed"),
    "NUL": (b"a\tx\nb\0\tx\n", "pairs.tsv line 2 must be plain text, but it holds a NUL character; save"),
    "carriage return": (
        b"a\tx\r\nb\tx\rc\ty\n",
        "pairs.tsv line 2 must be plain text, but it holds a carriage return t",
    ),
    "too few": (
        b"a\tx\nb\ty\na\tz\n",
        "must have more than 2 sources, so that dev or test can be held out, but it has 2",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BAD.values(), ids=BAD)
def test_bad_content_is_one_sentence_with_file_and_line(write: Write, content: bytes, expected: str) -> None:
    path = write(content)
    with pytest.raises(DataError) as error:
        load(path, longest=3 if expected.startswith("pairs.tsv line") and "at most 3" in expected else 400)
    assert expected in str(error.value)
    assert "pairs.tsv" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_wrong_file_is_named_among_three(write: Write) -> None:
    good, bad = write("a\tx\n"), write("b\n", "dev.tsv")
    with pytest.raises(DataError, match=r"^dev\.tsv line 1 "):
        load(good, dev=bad, test=good)


def test_paths_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "must be a text file that can be read, but"
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'none.tsv'} {expected} there is no such file; check")):
        read_lines(tmp_path / "none.tsv")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path} {expected} it is a folder; name a file in it")):
        read_lines(tmp_path)
    with pytest.raises(DataError, match=f"{expected} .*(null|NUL)"):
        read_lines("a\0b")
    with pytest.raises(DataError, match=f"{expected} .*name too long"):
        read_lines("a" * 5000)

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")  # not by chmod, which does not bind an administrator

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=f"{expected} permission is denied; change"):
        read_lines(tmp_path / "locked.tsv")


def test_a_huge_file_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", 1000)
    assert len(read_lines(write("a" * 999 + "\n"))) == 1
    with pytest.raises(DataError, match="must have at most 1,000 bytes, but it is larger; take a part of it"):
        read_lines(write("a" * 1000 + "\n"))


def test_read_lines_gives_text_and_place(write: Write) -> None:
    assert read_lines(write("\ufeffab\tc \r\n\r\nd\n\n", "new.txt")) == [
        ("ab\tc ", "new.txt line 1"),
        ("", "new.txt line 2"),
        ("d", "new.txt line 3"),
    ]


def test_a_tenth_of_the_sources_is_held_out(write: Write) -> None:
    splits = load(write(pairs(0, 57) + pairs(0, 20)))
    parts = [set(sources(split)) for split in (splits.train, splits.dev, splits.test)]
    assert [len(part) for part in parts] == [47, 5, 5]
    assert set.union(*parts) == {f"w{i}" for i in range(57)}
    order = sorted((f"w{i}" for i in range(57)), key=lambda word: sha256(word.encode()).hexdigest())
    assert sources(splits.test) == order[:5]
    assert sources(splits.dev) == order[5:10]


def test_held_out_sources_do_not_depend_on_the_order_of_lines(write: Write) -> None:
    lines = pairs(0, 40).splitlines(keepends=True)
    one, other = load(write("".join(lines))), load(write("".join(lines[::-1])))
    assert (one.dev, one.test) != (other.dev, other.test), "their lines differ"
    assert [sources(one.dev), sources(one.test)] == [sources(other.dev), sources(other.test)]


@pytest.mark.parametrize("missing", ["dev", "test"])
def test_one_missing_split_is_held_out_alone(write: Write, missing: str) -> None:
    given = {"dev": "test", "test": "dev"}[missing]
    splits = load(write(pairs(0, 30)), **{given: write(pairs(30, 34), "given.tsv")})
    assert sources(getattr(splits, given)) == ["w30", "w31", "w32", "w33"]
    assert len(getattr(splits, missing)) == 3
    assert len(splits.train) == 27
    assert not set(sources(splits.train)) & set(sources(getattr(splits, missing)))


def test_three_sources_are_enough(write: Write) -> None:
    splits = load(write(pairs(0, 3)))
    assert [len(split) for split in (splits.train, splits.dev, splits.test)] == [1, 1, 1]


def test_shared_sources_are_counted_in_one_warning(write: Write) -> None:
    dev, test = write(pairs(7, 12), "dev.tsv"), write(pairs(8, 10), "test.tsv")
    train = write(pairs(0, 9) + "x\tv 9\ny\tv 10\nz\tv 11\n")
    with pytest.warns(
        UserWarning, match="^2 of 5 dev sources and 1 of 2 test sources are also in the training"
    ) as seen:
        splits = load(train, dev=dev, test=test)
    assert len(seen) == 1
    assert [len(split) for split in (splits.train, splits.dev, splits.test)] == [12, 5, 2]


def test_variables_in_a_path_are_expanded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(write(pairs(0, 9)))
    monkeypatch.setenv("SOME_DATA", str(path.parent))
    task = Tsv(train="$SOME_DATA/pairs.tsv")
    assert len(task.load().train) == 7
    assert str(path.parent) not in task.to_json()


def test_the_digest_is_of_what_is_read_and_nothing_else(write: Write) -> None:
    text = pairs(0, 20)
    digests = [
        load(write(text)).digest,
        load(write(text.replace("v 3\n", "v 33\n"))).digest,
        load(write(text), source="spaces").digest,
        load(write(text + "w3\tx\n")).digest,
    ]
    assert len(set(digests)) == 4
    assert load(write(text, "elsewhere.tsv")).digest == digests[0]
    example, other = Example(("a",), (("b",),), "here"), Example(("c",), (("d",),), "there")
    assert digest_of([example, other], []) != digest_of([example], [other])
    assert digest_of([Example(("a", "b"), (), "")]) != digest_of([Example(("ab",), (), "")])


def test_hashed_order_is_that_of_the_text() -> None:
    order = in_hashed_order([("b",), ("d",), ("c",), ("a", "b"), ("ab",)])
    assert [source for source in order if len(source[0]) == 1 == len(source)] == [("d",), ("c",), ("b",)]
    assert order.index(("a", "b")) + 1 == order.index(("ab",)), "equal texts: symbols decide"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "it is empty"), ("a\tx", "'a\\tx' holds a tab; leave out the target"), ("abcde", "at most 4 symbols")],
)
def test_parse_refuses(text: str, expected: str) -> None:
    with pytest.raises(DataError, match=r"^the input must ") as error:
        Tsv(train="any", longest=4).parse(text)
    assert expected in str(error.value)


def test_json_round_trip_touches_no_file() -> None:
    task = Tsv(train=Path("no") / "where.tsv", target="characters")  # type: ignore[arg-type]  # a path is welcome
    assert json.loads(task.to_json())["train"] == str(Path("no", "where.tsv"))
    assert Task.from_json(task.to_json()) == task
    with pytest.raises(
        ConfigError, match=r"^Tsv\.source must be one of 'characters', 'spaces', but got 'character'; did"
    ):
        Tsv(train="any", source="character")  # type: ignore[arg-type]  # the mistake under test


def mutated(content: bytes, generator: random.Random) -> bytes:
    pieces = [
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b" ",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"",
        b"a",
    ]
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(content) + 1)
        content = content[:at] + generator.choice(pieces) + content[at + generator.choice([0, 0, 1, 2, 9]) :]
    return content


def expected_pairs(content: bytes) -> dict[str, list[tuple[str, ...]]]:
    """A second, slower reading of what a valid file says."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in re.split(r"\r?\n", content.decode("utf-8-sig").rstrip("\r\n")):
        source, target = (text.strip(" ") for text in line.split("\t"))
        reference = tuple(re.findall("[^ ]+", target))
        if reference not in found.setdefault(source, []):
            found[source].append(reference)
    return found


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(write: Write) -> None:
    generator = random.Random(7)
    good = "ab\tä b\nà\tx y\nab\tz\nd f\ty\r\n".encode()
    other = write("dev\td e v\n", "dev.tsv")
    refusals = []
    for _ in range(2000):
        content = mutated(good, generator)
        path = write(content, "fuzz.tsv")
        try:
            splits = load(path, dev=other, test=other)
        except DataError as error:
            refusals.append(str(error))
            continue
        read = {"".join(spelt(example.source)): list(example.references) for example in splits.train}
        assert read == expected_pairs(content), content
    assert [each for each in refusals if not re.match(r"fuzz\.tsv line \d+\b", each)] == []
    assert 200 < len(refusals) < 1800, "both outcomes are tried"
