"""The second experiment with other libraries' agents: budgets, numbers and marks, and what its record says."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from structpred.experiments import outside_agents_tasks
from structpred.experiments._agents import AGENTS, EPISODES, Setting, arms, outputs_of, rows
from structpred.experiments.outside_agents_tasks import (
    NUMBERS,
    SEEDS,
    SETTINGS,
    by_letter,
    chosen_arms,
    marks,
    panels,
    picture,
    text,
)
from structpred.sequences import spelt
from structpred.tasks import HiddenMarkov, SpellingVariants

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "experiments" / "records"
PICTURE = ROOT / "docs" / "pictures" / "outside_agents_tasks.svg"


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDS / "outside_agents_tasks" / "curves.json").read_text(encoding="utf-8"))
    return found


def test_numbers_are_those_that_the_first_experiment_chose() -> None:
    first = json.loads((RECORDS / "outside_agents" / "curves.json").read_text(encoding="utf-8"))
    assert {name: arm["chosen"] for name, arm in first["arms"].items()} == NUMBERS
    for task in SETTINGS:
        assert {name: arm.tried for name, arm in chosen_arms(task).items()} == {n: (v,) for n, v in NUMBERS.items()}


def test_every_arm_has_the_same_budget(record: dict[str, Any]) -> None:
    for panel in panels().values():
        for each in panel.arms.values():
            assert each.epochs * outputs_of(each.objective) in {setting.epochs for setting in SETTINGS.values()}
    most = max(settings["n_steps"] for settings in AGENTS.values()) * EPISODES
    for task, setting in SETTINGS.items():
        part = record["tasks"][task]
        budget = part["runs"]["ML"][0]["curve"][-1]["labels"]
        if task == "spelling":  # the lexicon takes seconds to read
            assert budget == setting.epochs * setting.labels()
        assert f"{budget:,}" in (outside_agents_tasks.__doc__ or "")
        assert part["runs"].keys() == NUMBERS.keys()
        assert part["seeds"] == list(range(SEEDS[task]))
        for name, runs in part["runs"].items():
            assert len(runs) == SEEDS[task]
            for run in runs:
                spent = run["curve"][-1]["labels"]
                assert budget <= spent < budget + most if name in AGENTS else spent == budget, name
                assert any(run["scores"]["dev"] == pytest.approx(point["dev"]) for point in run["curve"])


def test_the_best_spelling_leaves_out_every_h() -> None:
    examples = SpellingVariants().load().test
    symbols = [symbol for example in examples for symbol in example.references[0]]
    assert marks("spelling", "test")["best possible"] == pytest.approx(100 - 100 * symbols.count("h") / len(symbols))


def test_a_table_of_letters_takes_the_most_frequent_label_of_each() -> None:
    setting = Setting(task=HiddenMarkov(size=50, held_out=5))
    seen = [
        (letter, label)
        for x in setting.task.load().train
        for letter, label in zip(spelt(x.source), x.references[0], strict=True)
    ]
    (found,) = by_letter(setting, [("a", "b")])
    for letter, label in zip("ab", found, strict=True):
        labels = [each for other, each in seen if other == letter]
        assert labels.count(label) == max(map(labels.count, set(labels)))


def test_agents_learn_to_spell_as_well_as_can_be(record: dict[str, Any]) -> None:
    part = record["tasks"]["spelling"]
    for name in AGENTS:
        for run in part["runs"][name]:
            assert run["scores"]["test"] == pytest.approx(part["marks"]["test"]["best possible"], abs=0.5)


@pytest.mark.figures
@pytest.mark.slow
def test_report_and_picture_are_those_of_the_record(record: dict[str, Any]) -> None:
    assert (RECORDS / "outside_agents_tasks" / "report.md").read_text(encoding="utf-8") == text(record)
    for part in record["tasks"].values():
        assert [row[0] for row in rows(part)] == list(arms())
    drawn = picture(record)
    assert PICTURE.read_text(encoding="utf-8") == drawn
    told = " ".join(ElementTree.fromstring(drawn).itertext())
    assert all(word in told for word in (*SETTINGS, *NUMBERS, "CPU-seconds"))
