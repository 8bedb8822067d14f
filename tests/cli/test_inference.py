"""Predicting from inputs that are not as they should be, and where streams are closed."""

import sys
from pathlib import Path

import pytest

from structpred.cli import main
from structpred.runs import Run
from structpred.tasks import Tsv
from structpred.text import unescaped

pytestmark = pytest.mark.usefixtures("own_folder")


def test_predict_gives_a_line_for_every_line_and_names_the_bad_ones(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_bytes(b"ab\n\xff\naxb\ncab\na\0\n\n\n")
    first, last = Run.load(trained).predict(["ab", "cab"])
    for words in ([], ["--output", "out.txt"]):
        assert main(["predict", str(trained), "in.txt", *words]) == 2
        said = capsys.readouterr()
        written = (tmp_path / "out.txt").read_text(encoding="utf-8") if words else said.out
        assert written == f"{first}\n\n\n{last}\n\n\n\n"
        assert [line.partition(", ")[0].partition(";")[0] for line in said.err.splitlines()] == [
            "structpred: in.txt line 2 must be UTF-8",
            "structpred: in.txt line 3: the symbol 'x' never occurs in the training data",
            "structpred: in.txt line 5 must be plain text",
            "structpred: in.txt line 6: the input must hold at least one symbol",
            "structpred: in.txt line 7: the input must hold at least one symbol",
            "structpred: 5 of 7 inputs cannot be read and have empty lines in the output",
        ]
        assert "--keep-unknown" in said.err.splitlines()[1]
    assert main(["predict", str(trained), "in.txt", "--n-best", "2"]) == 2
    assert [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["ab", "ab", "cab", "cab"]


def test_predict_stops_at_the_first_bad_line_where_it_is_strict(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("ab\n\n\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt", "--strict", "--output", "out.txt"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("structpred: in.txt line 2: the input must hold at least one symbol")
    assert not (tmp_path / "out.txt").exists()


def test_predict_never_writes_over_its_inputs(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("ab\n", encoding="utf-8")
    (tmp_path / "symbolic.txt").symlink_to("in.txt")
    (tmp_path / "hard.txt").hardlink_to(tmp_path / "in.txt")
    for output in ("in.txt", "./in.txt", "symbolic.txt", "hard.txt"):
        assert main(["predict", str(trained), "in.txt", "--output", output]) == 2
        assert "must be another file than the inputs, in.txt, which would be lost" in capsys.readouterr().err
    assert (tmp_path / "in.txt").read_text(encoding="utf-8") == "ab\n"


def test_predict_where_no_line_can_be_read(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt"]) == 2
    said = capsys.readouterr()
    assert said.out == "\n"
    assert "1 of 1 inputs cannot be read" in said.err


def test_rows_of_the_best_outputs_have_three_columns_whatever_the_input_holds(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Tsv, "parse", lambda _, text: tuple(text.replace("\t", "a").replace("\\", "b")))
    (tmp_path / "in.txt").write_text("a\tb\\c\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt", "--n-best", "1"]) == 0
    source, _, log_prob = capsys.readouterr().out.rstrip("\n").split("\t")
    assert unescaped(source) == "a\tb\\c"
    assert float(log_prob) < 0


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_predict_with_a_stream_that_is_closed(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed: str
) -> None:
    (tmp_path / "in.txt").write_text("ab\n", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("ab\n\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, closed, None)
        assert main(["predict", str(trained), "in.txt", "--output", "out.txt"]) == 0
        assert main(["predict", str(trained), *(() if closed == "stdin" else ("bad.txt",))]) == 2
    assert (tmp_path / "out.txt").read_text(encoding="utf-8").count("\n") == 1
    said = capsys.readouterr()
    if closed == "stderr":
        assert said.out.count("\n") == 2, "nothing but predictions, though `print` would take this stream instead"
    else:
        (line,) = said.err.splitlines()
        kind = {"stdin": "inputs come from the standard input", "stdout": "predictions go to the standard output"}
        assert line.startswith(f"structpred: {kind[closed]}, but that is closed; name a file")
