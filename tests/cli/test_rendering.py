"""Reports made anew from their results."""

import contextlib
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from structpred.cli import main
from structpred.cli.comparing import kept_in
from structpred.report import markdown
from structpred.report.document import Figure

pytestmark = pytest.mark.usefixtures("own_folder")
RECORDS = Path(__file__).resolve().parents[2] / "experiments" / "records"
TABLE = "objectives_table"
"""A record of many alike pieces, of which the tuning and the comparison take seconds each; their studies are enough."""
EVERY = sorted(file.parent.relative_to(RECORDS) for file in RECORDS.rglob("results.json") if "claims" not in file.parts)
"""But for claims, whose results are not of a comparison or of tuning."""
FOLDERS = [folder for folder in EVERY if folder.parts[0] != TABLE or folder.name == "temperature"]
QUICK = {"slots", "sigmorphon_tuning/against_ML"}
DRAWN = {"five_objectives", "pronunciation_tuning"}
"""One record of each kind whose pictures are drawn."""
LARGE = {"five_objectives", "five_objectives_tuning"}
"""Whose text takes over a second."""


def told(text: str) -> list[str]:
    """A report without what names the process that wrote it."""
    return [line for line in text.splitlines() if not line.startswith("* Report made with")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[
                *([] if str(name) in QUICK else [pytest.mark.slow]),
                *([pytest.mark.figures] if str(name) in DRAWN else []),
            ],
        )
        for name in FOLDERS
    ],
    ids=str,
)
def test_every_record_is_rendered_from_its_results_alone(name: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(
        RECORDS / name, "kept", ignore=lambda folder, files: {file for file in files if file != "results.json"}
    )
    assert main(["report", "kept"]) == 0
    files = [
        Path("reports/kept") / file for file in ("results.json", "report.csv", "report.md", "report.html", "report.svg")
    ]
    tree = json.loads((RECORDS / name / "results.json").read_text(encoding="utf-8"))
    absent = {"report.csv"} - ({"report.csv"} if {"arms", "panels"} & tree.keys() else set())
    absent |= {"report.svg"} - {path.name for path in (RECORDS / name).iterdir()}
    written = [file for file in files if file.name not in absent]
    assert capsys.readouterr().out == f"Report: {', '.join(map(str, written))}\n"
    assert files[0].read_bytes() == (RECORDS / name / "results.json").read_bytes()
    page = files[3].read_text(encoding="utf-8")
    root = ElementTree.fromstring(page.partition("\n")[2])
    figures = [
        each for part in kept_in(files[0]).document().sections for each in part.blocks if isinstance(each, Figure)
    ]
    assert len(list(root.iter("svg"))) == len(figures) > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if str(name) in LARGE else []) for name in FOLDERS], ids=str
)
def test_the_text_beside_each_record_is_what_its_results_give_now(name: Path) -> None:
    """After a change of wording render the records again: only ``report.md`` and ``report.svg`` of each are kept."""
    again = markdown.render(kept_in(RECORDS / name / "results.json").document())
    assert told(again) == told((RECORDS / name / "report.md").read_text(encoding="utf-8"))


def test_a_record_of_tuning_keeps_its_trials_and_its_conclusion() -> None:
    results = RECORDS / "pronunciation_tuning" / "results.json"
    lead = json.loads(results.read_text(encoding="utf-8"))["conclusion"][0]
    assert main(["report", str(results), "--to", "there"]) == 0
    text = Path("there/report.md").read_text(encoding="utf-8")
    assert lead.partition(",")[0] in text.replace("\\", "")
    table = text.partition("## Trials of pronunciation")[2]
    assert "τ literal" in table
    assert table.count("| finished |") == 20


def test_files_of_a_users_own_are_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes").mkdir()
    Path("notes/report.md").write_text("my own notes\n", encoding="utf-8")
    with contextlib.redirect_stdout(None):
        assert main(["report", str(RECORDS / "pronunciation"), "--to", "notes"]) == 2
    assert "notes/report.md is not from a report of structpred" in capsys.readouterr().err
    assert [path.name for path in Path("notes").iterdir()] == ["report.md"]
