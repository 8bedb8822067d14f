"""The experiment with other libraries' agents: what it measures, and what its record says."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from structpred.experiments import outside_agents
from structpred.experiments._agents import (
    AGENT_RATES,
    AGENTS,
    EPISODES,
    EPOCHS,
    TUNING_SEED,
    Setting,
    accuracy,
    arms,
    best_of,
    outputs_of,
    rows,
)
from structpred.experiments.outside_agents import TASK, gap_closed, panels, picture, references, text
from structpred.tasks import HiddenMarkov

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "experiments" / "records" / "outside_agents"
PICTURE = ROOT / "docs" / "pictures" / "outside_agents.svg"


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORD / "curves.json").read_text(encoding="utf-8"))
    return found


def test_every_arm_has_the_same_budget_of_labels(record: dict[str, Any]) -> None:
    labels = sum(len(example.source) for example in TASK.load().train)
    ours = [each for panel in panels().values() for each in panel.arms.values()]
    assert {each.epochs * outputs_of(each.objective) for each in ours} == {EPOCHS}
    budget = EPOCHS * labels
    assert f"{budget:,}" in (outside_agents.__doc__ or "")
    for name, runs in record["runs"].items():
        most = max(settings["n_steps"] for settings in AGENTS.values()) * EPISODES
        for run in runs:
            spent = run["curve"][-1]["labels"]
            assert budget <= spent < budget + most if name in AGENTS else spent == budget, name


def test_an_agent_that_copies_is_scored_as_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sb3_contrib", reason="needs the extra rl: pip install structpred[rl]")
    from structpred.environments.rules import EncodedTask

    small = HiddenMarkov(size=50, held_out=30)
    monkeypatch.setattr(outside_agents, "TASK", small)  # of `references`
    found = EncodedTask.of(small).vocabularies
    copied = np.array([found.labels.encode((symbol.upper(),))[0] for symbol in found.inputs.symbols])

    class Copying:
        def predict(self, seen: dict[str, np.ndarray], deterministic: bool) -> tuple[np.ndarray, None]:
            assert deterministic
            shown = np.take_along_axis(seen["source"], seen["prefix_length"], 1)[:, 0]
            return copied[np.minimum(shown, len(copied) - 1)], None

    share = references.__wrapped__("test")["copying"]  # of this task, not the cached one
    assert accuracy(Copying(), "test", Setting(task=small)) == pytest.approx(share, abs=1e-9)


def test_the_gap_is_between_copying_and_the_best_decision() -> None:
    marks = references("test")
    assert marks["copying"] < marks["expected"] == pytest.approx(marks["best"], abs=2)
    assert [gap_closed(marks["copying"]), gap_closed(marks["best"])] == pytest.approx([0, 100])
    assert gap_closed((marks["copying"] + marks["best"]) / 2) == pytest.approx(50)


def test_the_best_value_on_dev_is_chosen_and_the_smaller_of_equals() -> None:
    assert best_of({1.0: 70.0, 2.0: 72.0, 4.0: 72.0, 8.0: 71.0}) == 2.0


def test_the_record_follows_the_rule_of_tuning(record: dict[str, Any]) -> None:
    assert record["arms"].keys() == record["runs"].keys() == arms().keys()
    assert TUNING_SEED not in record["seeds"]
    for name, arm in arms().items():
        dev = {float(value): score for value, score in record["tuning"][name].items()}
        assert tuple(dev) == arm.tried, name
        assert best_of(dev) == record["arms"][name]["chosen"], name
        assert len(record["runs"][name]) == len(record["seeds"])
        for run in record["runs"][name]:
            assert run["scores"]["dev"] == pytest.approx(max(point["dev"] for point in run["curve"]))
    assert len(AGENT_RATES) == 4


def test_maskable_ppo_closes_more_than_sixty_percent_of_the_gap(record: dict[str, Any]) -> None:
    closed = [gap_closed(run["scores"]["test"]) for run in record["runs"]["MaskablePPO"]]
    assert closed == pytest.approx(record["gap_closed"]["MaskablePPO"])
    assert len(closed) == 5
    assert np.mean(closed) >= 60


@pytest.mark.figures
def test_report_and_picture_are_those_of_the_record(record: dict[str, Any]) -> None:
    assert (RECORD / "report.md").read_text(encoding="utf-8") == text(record)
    assert [row[0] for row in rows(record)] == list(arms())
    drawn = picture(record)
    assert PICTURE.read_text(encoding="utf-8") == drawn
    told = " ".join(ElementTree.fromstring(drawn).itertext())
    assert all(word in told for word in (*arms(), "CPU-seconds", "outputs scored by the reward"))
