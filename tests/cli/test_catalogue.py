"""What can be listed and described."""

import pytest

from structpred.cli import main

pytestmark = pytest.mark.usefixtures("own_folder")


def test_list_names_everything_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["family", "name", "what it is"]
    assert {("objective", "rml"), ("task", "tsv"), ("payoff", "hamming")} <= {(row[0], row[1]) for row in rows}
    assert all(len(row) == 3 and row[2] for row in rows)
    assert main(["list", "objective"]) == 0
    assert {line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]} == {"objective"}


def test_describe_everything_that_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    for name in {line.split("\t")[1] for line in capsys.readouterr().out.splitlines()[1:]}:
        assert main(["describe", name]) == 0
        assert capsys.readouterr().out.startswith(f"{name} (")
    assert main(["describe", "label-smoothing"]) == 0
    assert "epsilon\tnumber below 1 and at least 0\t0.1\n" in capsys.readouterr().out
    assert main(["describe", "tsv"]) == 0
    shown = capsys.readouterr().out
    assert "train\ttext\trequired\n" in shown
    assert "dev\ttext or null\tnull\n" in shown
    assert main(["describe", "snips"]) == 0
    shown = capsys.readouterr().out
    assert "Licence: CC0 1.0\n" in shown
    assert "Cite: Coucke et al.: Snips Voice Platform" in shown


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("RML", "rml (objective, structpred.objectives.reward_augmented:RML)"),
        ("editdistancepayoff", "edit-distance (payoff, structpred.payoffs.edit_distance:EditDistancePayoff)"),
        ("trainer", "Trainer (settings, structpred.training.settings:Trainer)"),
        ("Experiment", "Experiment (settings, structpred.experiment:Experiment)"),
        ("temperature", "Temperature (settings, structpred.payoffs.base:Temperature)"),
    ],
)
def test_describe_takes_names_of_classes_and_of_settings(
    name: str, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", name]) == 0
    assert capsys.readouterr().out.splitlines()[0] == title
