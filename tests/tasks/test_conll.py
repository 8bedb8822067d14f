"""Files of columns: read, written back, damaged; and the shared task of CoNLL-2000 where it is at hand."""

import gzip
import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from structpred.config import encode
from structpred.errors import DataError
from structpred.sequences import spelt
from structpred.tasks import Conll, Conll2000
from structpred.tasks.published import NewLabelWarning, SharedInputWarning
from structpred.tasks.schemes import Scheme
from structpred.tasks.tagged import CommentWarning
from structpred.vocabulary import Symbols

# these data are for some uses only, of which tests are none that is ruled out
# here one file is often all splits, and then every sentence is on several sides
pytestmark = [
    pytest.mark.filterwarnings("ignore::structpred.downloads.RestrictedDataWarning"),
    pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning"),
]

PLAIN = b"The DT B-NP\ncat NN I-NP\nsat VB O\n\nIt PRP B-NP\n"
WORDS = [("The", "cat", "sat"), ("It",)]
TAGS: list[Symbols] = [("B-NP", "I-NP", "O"), ("B-NP",)]


def task_for(path: Path, content: bytes, **fields: object) -> Conll:
    path.write_bytes(content)
    return Conll(train=str(path), dev=str(path), test=str(path), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.removesuffix(b"\n"),
        PLAIN + b"\n\n\n",
        b"\n\n" + PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b" ", b"\t"),
        PLAIN.replace(b" ", b"   "),
        PLAIN.replace(b" DT", b"   DT").replace(b"O\n", b"O  \n").replace(b"sat", b"  sat"),
        PLAIN.replace(b"\n\n", b"\n \t\n\n"),
        b"-DOCSTART- -X- O\n\n" + PLAIN + b"-DOCSTART-\n",
        PLAIN.replace(b"\n\n", b"\n-DOCSTART- -X- O\n"),
        b"# sent_id = 1\n#\n" + PLAIN.replace(b"\n\n", b"\n\n# text: It said\n"),
    ],
    ids=[
        "plain", "no newline at the end", "blank lines at the end", "blank lines at the start", "CRLF",
        "byte-order mark", "tabs", "several spaces", "aligned and trailing spaces", "lines of spaces", "documents",
        "a document ends a sentence", "comments",
    ],
)  # fmt: skip
def test_files_are_read_and_go_out_as_they_came_in(tmp_path: Path, content: bytes) -> None:
    task = task_for(tmp_path / "a.txt", content)
    examples = task.examples(task.train)
    assert [example.source for example in examples] == WORDS
    assert [example.references for example in examples] == [(tags,) for tags in TAGS]
    assert task.written(task.train, TAGS) == content


@pytest.mark.parametrize("content", [PLAIN.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + PLAIN], ids=["CRLF", "mark"])
def test_only_the_tags_that_differ_are_written(tmp_path: Path, content: bytes) -> None:
    task = task_for(tmp_path / "a.txt", content)
    assert task.written(task.train, [("O", "B-VP", "O"), ("B-NP",)]) == content.replace(b"DT B-NP", b"DT O").replace(
        b"NN I-NP", b"NN B-VP"
    )


def test_a_column_before_the_last_can_be_the_label(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt", b"1\tB-X\tthe  cat\t_\n2\tO\tsat\t\n", word=2, label=1)
    (example,) = task.examples(task.train)
    assert example.source == ("the  cat", "sat")
    assert example.references == (("B-X", "O"),)
    assert task.written(task.train, [("O", "B-Y")]) == b"1\tO\tthe  cat\t_\n2\tB-Y\tsat\t\n"


@pytest.mark.parametrize(
    ("scheme", "content"),
    [("iob1", b"a I-X\nb I-X\nc B-X\nd O\ne B-Y\n"), ("iobes", b"a B-X\nb E-X\nc S-X\nd O\ne S-Y\n")],
)
def test_other_schemes_become_iob2_and_are_written_in_their_own(tmp_path: Path, scheme: Scheme, content: bytes) -> None:
    task = task_for(tmp_path / "a.txt", content, scheme=scheme)
    (example,) = task.examples(task.train)
    (tags,) = example.references
    assert tags == ("B-X", "I-X", "B-X", "O", "B-Y")
    assert task.written(task.train, [tags]) == content, "the B of e, which IOB1 does not need, stays"
    changed = task.written(task.train, [("B-X", "I-X", "I-X", "O", "B-Y")])
    expected = b"a I-X\nb I-X\nc I-X\nd O\ne I-Y\n" if scheme == "iob1" else b"a B-X\nb I-X\nc E-X\nd O\ne S-Y\n"
    assert changed == expected


def test_a_number_sign_can_be_a_word(tmp_path: Path) -> None:
    content = b"# # B-NP\n5 CD I-NP\n\nof IN O\n# # B-NP\n"
    strict = task_for(tmp_path / "a.txt", content, comments=False)
    assert [example.source for example in strict.examples(strict.train)] == [("#", "5"), ("of", "#")]
    lax = replace(strict, comments=True)
    with pytest.warns(CommentWarning, match=r"^a\.txt line 1: 1 lines in front .* 1 with a tag are read as words, 0 w"):
        assert [example.source for example in lax.examples(lax.train)] == [("#", "5"), ("of", "#")]
    words = replace(lax, hash_lines="words")
    assert words.load().digest == strict.load().digest
    comments = replace(lax, hash_lines="comments", scheme="iob1")
    assert [example.source for example in comments.examples(comments.train)] == [("5",), ("of", "#")]
    assert comments.written(comments.train, [("B-NP",), ("O", "O")]) == content.replace(b"\n# # B-NP", b"\n# # O")


@pytest.mark.parametrize("columns", ["{}\tO", "{}\tNN\tO"])
def test_a_comment_is_a_line_of_other_columns(tmp_path: Path, columns: str) -> None:
    lines = ["# two words", "#one", columns.format("#tag"), columns.format("#more"), columns.format("a")]
    content = "\n".join([*lines, "", columns.format("#"), "", "# a b c", columns.format("b"), ""])
    task = task_for(tmp_path / "a.txt", content.encode())
    assert [example.source for example in task.load().train] == [("#tag", "#more", "a"), ("#",), ("b",)]
    assert task.written(task.train, [("O", "O", "O"), ("O",), ("O",)]) == content.encode()


def test_where_columns_cannot_tell_tags_do_and_a_warning_says_so(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt", b"# text\n#tag O\na O\n\n#b O\n\n# 2\nc O\n")
    with pytest.warns(CommentWarning) as caught:
        assert [example.source for example in task.examples(task.train)] == [("#tag", "a"), ("#b",), ("c",)]
    assert [str(each.message) for each in caught] == [
        "a.txt line 1: 4 lines in front of sentences begin with # and have as many columns as the others, so that they "
        "may be words or comments: 2 with a tag are read as words, 2 without are passed over; set "
        "Conll.hash_lines to 'words' or 'comments'"
    ]
    with pytest.raises(DataError, match=r"^a\.txt line 1: the tag must be O or one of .* but it is 'text'"):
        replace(task, hash_lines="words").load()


def test_new_fields_leave_the_identity_of_older_runs() -> None:
    assert "part_of_speech" not in cast("dict[str, object]", encode(Conll2000(), versions=True))
    old = encode(Conll(train="a", test="b"), versions=True)
    assert not {"hash_lines", "beside"} & set(cast("dict[str, object]", old))
    assert "hash_lines" in cast(
        "dict[str, object]", encode(Conll(train="a", test="b", hash_lines="words"), versions=True)
    )


@pytest.mark.parametrize("space", [b" ", b"  "])
def test_spaces_around_a_column_are_dropped(tmp_path: Path, space: bytes) -> None:
    content = PLAIN.replace(b" ", b"\t")
    padded = content.replace(b"B-NP", space + b"B-NP" + space).replace(b"cat", b"cat" + space)
    task = task_for(tmp_path / "a.txt", padded)
    assert task.load().digest == task_for(tmp_path / "b.txt", content).load().digest
    assert task.written(task.train, [("O", "B-VP", "O"), ("B-NP",)]) == padded.replace(
        b"DT\t" + space + b"B-NP", b"DT\t" + space + b"O"
    ).replace(b"I-NP", b"B-VP")


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\u00a0", "U+00A0 (NO-BREAK SPACE)"),
        (" ", "U+0020 (SPACE)"),
        ("\u200b", "U+200B (ZERO WIDTH SPACE)"),
        ("\u200d", "U+200D (ZERO WIDTH JOINER)"),
        ("\ufeff", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("\x85", "U+0085 (a control character)"),
        ("\x1f", "U+001F (a control character)"),
    ],
)
def test_what_nobody_sees_in_a_tag_is_refused(tmp_path: Path, character: str, name: str) -> None:
    for tag in (f"B-N{character}P", f"B-NP{character}") if character != " " else ("B-N P",):
        content = PLAIN.replace(b" ", b"\t").replace(b"B-NP\ncat", f"{tag}\ncat".encode())
        with pytest.raises(DataError) as error:
            task_for(tmp_path / "a.txt", content).load()
        assert str(error.value) == (
            f"a.txt line 1: the tag must be without white space and invisible characters, but {tag!r} holds {name}; "
            "remove that"
        )


def test_labels_of_held_out_data_that_training_lacks_give_one_warning(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt", b"a O\n")
    (tmp_path / "dev.txt").write_bytes(b"b B-X\nc B-Y\n")
    (tmp_path / "test.txt").write_bytes(b"c O\n\nd B-X\n")
    with pytest.warns(NewLabelWarning) as caught:
        replace(task, dev=str(tmp_path / "dev.txt"), test=str(tmp_path / "test.txt")).load()
    (message,) = (str(each.message) for each in caught)
    assert message.startswith(
        "2 labels of dev and 1 of test are in no training output, so that no model can give them: 'B-X' (dev.txt line "
        "1), 'B-Y' (dev.txt line 1); check"
    )


@pytest.mark.filterwarnings("error")
def test_sentences_on_two_sides_give_one_warning_and_clean_data_none(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt", PLAIN)
    (tmp_path / "dev.txt").write_bytes(b"It PRP B-NP\n\nIts PRP B-NP\n")
    (tmp_path / "test.txt").write_bytes(b"Its PRP B-NP\n")
    dev, test = str(tmp_path / "dev.txt"), str(tmp_path / "test.txt")
    replace(task, dev=test, test=test).load()
    with pytest.warns(SharedInputWarning) as caught:
        replace(task, dev=dev, test=test).load()
    assert [str(each.message) for each in caught] == [
        "1 of 2 dev sentences and 0 of 1 test sentences are also in the training data, such as that of dev.txt line 1; "
        "scores on them flatter, so remove them from one side"
    ]


def test_gzip_files_are_read(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt.gz", gzip.compress(PLAIN))
    assert [example.source for example in task.load().train] == WORDS
    assert task.written(task.train, TAGS) == PLAIN


def test_examples_say_where_they_stand(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt", b"# comment\n" + PLAIN)
    assert [example.where for example in task.examples(task.train)] == ["a.txt line 2", "a.txt line 6"]


def test_without_a_dev_file_the_last_tenth_is_held_out(tmp_path: Path) -> None:
    content = "".join(f"w{i} O\n\n" for i in range(25)).encode()
    splits = replace(task_for(tmp_path / "a.txt", content), dev=None).load()
    assert [spelt(example.source)[0] for example in splits.dev] == ["w23", "w24"]
    assert [len(splits.train), len(splits.test)] == [23, 25]
    with pytest.raises(DataError, match="must have at least 10 sentences"):
        replace(task_for(tmp_path / "b.txt", PLAIN), dev=None).load()


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        (b"a B-X\nb O extra\n", {}, "a.txt line 2 must have 2 columns, like the first word of the file, but it has 3"),
        (b"a B-X\nb\n", {}, "a.txt line 2 must have 2 columns, like the first word of the file, but it has 1"),
        (b"a\tO\n\tO\n", {}, "a.txt line 2 must hold something in column 0, but it is empty"),
        (b"a\tO\nb\t\n", {}, "a.txt line 2 must hold something in column -1, but it is empty"),
        (b"a O\n", {"label": 2}, "a.txt must have a column 2, but it has 2, counted from 0; name another column"),
        (b"a O\n", {"word": -3}, "a.txt must have a column -3, but it has 2, counted from 0; name another column"),
        (b"a O\n\nb I-X\n", {}, "a.txt line 3: 'I-X' must continue a chunk of its kind in IOB2"),
        (b"a NN\n", {}, "a.txt line 1: the tag must be O or one of B-…, I-… in IOB2, but it is 'NN'"),
        (
            b"a O\n\n" + b"b O\n" * 4,
            {"longest": 3},
            "a.txt line 3: a sentence must have at most 3 words",
        ),
        (b"# only\n\n-DOCSTART- O\n", {}, "a.txt must hold at least one sentence, but it has none"),
        (b"", {}, "a.txt must hold at least one line, but it is empty"),
        (b"a O\n\xe9 O\n", {}, "a.txt line 2 must be UTF-8"),
        (b"a O\nb \x00O\n", {}, "a.txt line 2 must be plain text, but it holds a NUL character"),
        (b"a O\rb O\n", {}, "a.txt line 1 must be plain text, but it holds a carriage return"),
    ],
)
def test_damage_is_refused_where_it_stands(
    tmp_path: Path, content: bytes, fields: dict[str, object], expected: str
) -> None:
    with pytest.raises(DataError) as error:
        task_for(tmp_path / "a.txt", content, **fields).load()
    assert str(error.value).startswith(expected)


def test_further_columns_stand_behind_the_word(tmp_path: Path) -> None:
    task = task_for(tmp_path / "a.txt", PLAIN, beside=(1,))
    assert [example.source for example in task.examples(task.test)] == [("The￨DT", "cat￨NN", "sat￨VB"), ("It￨PRP",)]
    assert [example.references for example in task.examples(task.test)] == [(tags,) for tags in TAGS]
    assert task.written(task.train, [("O", "O", "O"), TAGS[1]]) == PLAIN.replace(b"B-NP\n", b"O\n", 1).replace(
        b"I-NP", b"O"
    )
    assert task.parse("a￨DT  cat￨NN") == ("a￨DT", "cat￨NN")
    swapped = replace(task, word=-2, beside=(0, 0))
    assert swapped.examples(task.test)[1].source == ("PRP￨It￨It",)


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        (b"a X O\n", {"beside": (3,)}, "a.txt must have a column 3, but it has 3, counted from 0; name another column"),
        (b"a\tX\tO\nb\t\tO\n", {"beside": (1,)}, "a.txt line 2 must hold something in column 1, but it is empty"),
        (
            b"a X O\n",
            {"beside": (1, 2)},
            "Conll.beside must name columns of the input, but (1, 2) has that of the labels",
        ),
        (
            b"a X O\n",
            {"beside": (-1,)},
            "Conll.beside must name columns of the input, but (-1,) has that of the labels",
        ),
        ("a X O\nb Y￨ O\n".encode(), {"beside": (1,)}, "a.txt line 2 must not hold '￨', which stands between"),
        ("a X O\n￨ Y O\n".encode(), {"beside": (1,)}, "a.txt line 2 must not hold '￨', which stands between"),
    ],
)
def test_columns_that_cannot_stand_behind_the_word_are_refused(
    tmp_path: Path, content: bytes, fields: dict[str, object], expected: str
) -> None:
    with pytest.raises(DataError) as error:
        task_for(tmp_path / "a.txt", content, **fields).load()
    assert str(error.value).startswith(expected)
    assert task_for(tmp_path / "b.txt", "￨ Y O\n".encode()).examples(str(tmp_path / "b.txt"))[0].source == ("￨",)


@pytest.mark.parametrize("text", ["a", "a￨DT￨x", "a￨DT cat", "￨DT", "a￨"])
def test_text_has_the_columns_that_files_have(text: str) -> None:
    with pytest.raises(
        DataError, match="every word must have 2 columns with '￨' between them, none of them empty, but"
    ):
        Conll(train="a", test="a", beside=(1,)).parse(text)


@pytest.mark.parametrize("outputs", [[], TAGS[:1], [("O",), ("O",)], [*TAGS, ("O",)]])
def test_writing_takes_a_tag_for_every_word(tmp_path: Path, outputs: list[Symbols]) -> None:
    task = task_for(tmp_path / "a.txt", PLAIN)
    with pytest.raises(DataError, match=r"expected tags for its 2 sentences"):
        task.written(task.train, outputs)


def test_sentences_in_text_are_words_between_spaces() -> None:
    task = Conll(train="a", test="a", longest=3)
    assert task.parse(" the  ca\xa0t\n") == ("the", "ca\xa0t")
    assert task.render(("O", "B-NP")) == "O B-NP"
    with pytest.raises(DataError, match="the input must be a sentence, but it is empty"):
        task.parse("  ")
    with pytest.raises(DataError, match="must have at most 3 words, but it has 4"):
        task.parse("a b c d")


# ------------------------------------------------------------------------------------------------------ CoNLL-2000


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHUNKS", raising=False)
    with pytest.raises(DataError, match=r"CHUNKS is not set; set \$CHUNKS to the folder"):
        Conll2000(folder="$CHUNKS/english").load()


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt\.gz must be a text file .* no such file"):
        Conll2000(folder=str(tmp_path)).load()


@pytest.mark.skipif("STRUCTPRED_DATA" not in os.environ, reason="set STRUCTPRED_DATA to the folder with conll2000")
@pytest.mark.filterwarnings("ignore::structpred.tasks.published.NewLabelWarning")  # I-LST, in the test part only
def test_the_shared_task_has_its_published_sizes_and_goes_out_as_it_came_in() -> None:
    splits = Conll2000().load()
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [8043, 893, 2012]
    assert sum(len(example.source) for example in splits.test) == 47_377
    assert len({tag for example in splits.train + splits.dev for tag in example.references[0]}) == 22
    path = Path(os.environ["STRUCTPRED_DATA"]) / "conll2000" / "test.txt.gz"
    files = Conll(train=str(path), test=str(path), comments=False)
    assert files.written(str(path), [example.references[0] for example in splits.test]) == gzip.decompress(
        path.read_bytes()
    )
    assert Conll2000().parse("a cat") == ("a", "cat")
    tagged = Conll2000(part_of_speech=True).load()
    assert spelt(tagged.test[0].source)[:3] == ("Rockwell￨NNP", "International￨NNP", "Corp.￨NNP")
    for plain, joined in zip(splits.dev + splits.test, tagged.dev + tagged.test, strict=True):
        assert tuple(symbol.split("￨")[0] for symbol in spelt(joined.source)) == plain.source
        assert joined.references == plain.references
    assert (
        len({symbol.split("￨")[1] for example in tagged.train + tagged.dev for symbol in spelt(example.source)}) == 44
    )
    assert Conll2000().render(("O", "B-NP")) == "O B-NP"
