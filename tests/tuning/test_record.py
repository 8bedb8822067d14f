"""What tuning leaves in results.json, and the way back from it."""

import json
from pathlib import Path

import pytest

from structpred.errors import RunError
from structpred.report import markdown
from structpred.tuning import Result, Tuning
from tests.tuning.test_analysis import CLEAR, result


@pytest.mark.parametrize("studies", [{"one": result(CLEAR)}, {"one": result(CLEAR), "two": result({0.1: [1.0]})}])
def test_reading_back_gives_the_same_report(studies: dict[str, Result], tmp_path: Path) -> None:
    tuning = Tuning(studies, {"s": {"tau": 0.75, "other": 0.25}}, "somewhere")
    tuning.write(tmp_path)
    again = Tuning.read(tmp_path / "results.json")
    for name, study in studies.items():
        assert again.studies[name].outcomes == study.outcomes
        assert again.studies[name].distributions == study.distributions
        assert again.studies[name].search == study.search
    assert again.importances == tuning.importances
    assert markdown.render(again.document()) == (tmp_path / "report.md").read_text(encoding="utf-8")
    assert [len(part.blocks) for part in again.document().sections] == [
        len(part.blocks) for part in tuning.document().sections
    ]


def test_a_trial_in_no_known_state_is_refused(tmp_path: Path) -> None:
    Tuning({"one": result(CLEAR)}, {}, "somewhere").write(tmp_path)
    place = tmp_path / "results.json"
    tree = json.loads(place.read_text(encoding="utf-8"))
    tree["studies"]["one"]["trials"][0]["state"] = [1]
    place.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(RunError, match=r"holds no report \(ValueError: no trial is \[1\]\); write the report again"):
        Tuning.read(place)


def test_results_of_a_comparison_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format": 1, "arms": {}}', encoding="utf-8")
    with pytest.raises(RunError, match=r"holds no report \(KeyError: 'studies'\); write the report again"):
        Tuning.read(tmp_path / "results.json")
