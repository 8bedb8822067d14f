"""What a report says of calibration and entropy."""

from dataclasses import replace
from pathlib import Path

from structpred.comparison import certainty
from structpred.comparison.report import Report
from structpred.report.document import Sentences, Table
from structpred.results import Certainty
from tests.support.reports import ML, Trial, a_report


def certain(report: Report, **found: Certainty | None) -> Report:
    runs = {arm: tuple(replace(run, certainty=found.get(arm)) for run in runs) for arm, runs in report.results.items()}
    return replace(report, results=runs)


def parts(report: Report) -> tuple[Table, Sentences]:
    (section,) = certainty.sections(report)
    table, notes = section.blocks
    assert isinstance(table, Table)
    assert isinstance(notes, Sentences)
    return table, notes


def test_arms_say_how_certain_they_are_and_results_keep_it(tmp_path: Path) -> None:
    report = certain(a_report(ML=ML, RML=ML), ML=Certainty(300, 4.0, 12.5, 0.25), RML=Certainty(300, 1.0, 9.0, 0.75))
    table, notes = parts(report)
    assert [column.title for column in table.columns[1:]] == [
        "calibration error of labels (%)",
        "calibration error of outputs (%)",
        "entropy (nats a symbol)",
    ]
    assert table.rows == (("ML", "4.00", "12.50", "0.250"), ("RML", "1.00", "9.00", "0.750"))
    assert "on 300 test examples" in notes.sentences[0]
    assert notes.sentences[-1].endswith("It is exact.")
    report.write(tmp_path)
    kept = Report.read(tmp_path, Trial)
    assert parts(kept) == (table, notes)
    assert "How certain the models are" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_what_is_not_known_is_left_out() -> None:
    report = a_report(ML=ML, RML=ML)
    assert certainty.sections(report) == ()
    some = certain(report, RML=Certainty(300, None, 9.0, 0.75, estimated=True))
    table, notes = parts(some)
    assert table.rows == (("ML", "", ""), ("RML", "9.00", "0.750"))
    assert notes.sentences[-1].endswith("It is estimated from outputs drawn from the model.")
