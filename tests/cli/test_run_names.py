"""Runs by the beginning of their identity, on the command line."""

import shutil
from pathlib import Path

import pytest

from structpred.cli import main
from structpred.runs import Run
from tests.support.commands import SMALL, absolute

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_run_is_named_by_what_a_report_shows_of_its_identity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *absolute(tmp_path), *SMALL, "--root", "here"]) == 0
    (run,) = (tmp_path / "here").iterdir()
    shown = Run.load(run).result.identity[:12]
    assert main(["evaluate", f"here/{shown}"]) == 0
    (tmp_path / "words.txt").write_text("abc\n", encoding="utf-8")
    assert main(["predict", f"here/{shown}", "words.txt", "--output", "outputs.txt"]) == 0
    assert main(["train", "--start", shown, "--root", "here", "objective=rml", "trainer.epochs=1"]) == 0
    assert main(["train", "--start", f"here/{shown}", "--root", "here", "objective=rml", "trainer.epochs=1"]) == 0
    assert len(list((tmp_path / "here").iterdir())) == 2
    capsys.readouterr()
    shutil.copytree(run, tmp_path / "here" / f"{shown}ffff")
    for arguments in (["evaluate", f"here/{shown}"], ["train", "--start", shown, "--root", "here"]):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert f"here/{shown} may be any of " in said
        assert f"here/{shown}ffff" in said
