"""Nine ways to go on from likelihood on translation: what they share, and how their settings are chosen."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiments import translation_objectives
from structpred.experiments.translation_objectives import (
    OBJECTIVES,
    PENALTIES,
    RATES,
    SEARCH,
    START,
    arm,
    best_rates,
    by_penalty,
    experiments,
    main,
    read_kept,
    tried,
)
from structpred.models import Transformer
from structpred.objectives import REINFORCE, MaximumLikelihood
from structpred.rewards import SentenceBleu
from structpred.tasks import Parallel
from structpred.training import Trainer


def test_arms_differ_from_likelihood_in_their_objective_alone() -> None:
    assert len(tried()) == len(OBJECTIVES) * len(RATES) == 18
    ml = experiments()["ML"]
    for name, each in experiments().items():
        assert replace(each, objective=ml.objective) == ml
        assert each.objective == OBJECTIVES[name]
        assert each.start == START
    assert arm("ML", RATES[1], 0.5) == replace(
        tried()[f"ML, lr {RATES[1]:g}"], decoding=replace(SEARCH, length_penalty=0.5)
    )


def test_the_rate_with_most_bleu_on_dev_is_taken_and_the_first_of_equal_ones() -> None:
    dev = dict.fromkeys(tried(), 30.0)
    assert set(best_rates(dev).values()) == {RATES[0]}
    dev[f"REINFORCE, lr {RATES[1]:g}"] = 30.1
    assert [name for name, rate in best_rates(dev).items() if rate == RATES[1]] == ["REINFORCE"]


@dataclass
class Stub:
    """A finished run whose BLEU on dev is ten times the length penalty."""

    model: nn.Module = field(default_factory=lambda: nn.Linear(1, 1))
    searched: list[float] = field(default_factory=list)
    result: Any = field(
        default_factory=lambda: SimpleNamespace(identity="a" * 64, scores={"dev": {"BLEU": 10 * SEARCH.length_penalty}})
    )

    def evaluate(self, examples: Sequence[object], *, decoding: Decoding, metrics: Sequence[str]) -> dict[str, float]:
        del examples
        assert (replace(decoding, length_penalty=1.0), metrics) == (SEARCH, ("bleu",))
        self.searched.append(decoding.length_penalty)
        return {"BLEU": 10 * decoding.length_penalty}


def test_a_search_is_made_once_for_each_penalty_that_training_did_not_have() -> None:
    kept: dict[str, dict[str, float]] = {}
    run: Any = Stub()
    assert by_penalty(run, (), "cpu", kept) == {penalty: 10 * penalty for penalty in PENALTIES}
    assert run.searched == [penalty for penalty in PENALTIES if penalty != SEARCH.length_penalty]
    again: Any = Stub()
    assert by_penalty(again, (), "cpu", json.loads(json.dumps(kept))) == {
        penalty: 10 * penalty for penalty in PENALTIES
    }
    assert again.searched == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"1": "30"}}'])
def test_a_damaged_file_of_scores_is_not_believed(tmp_path: Path, text: str) -> None:
    place = tmp_path / "penalties.json"
    assert read_kept(place) == {}
    place.write_text('{"a": {"1": 30.0}}', encoding="utf-8")
    assert read_kept(place) == {"a": {"1": 30.0}}
    place.write_text(text, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"penalties\.json must hold BLEU by run and length penalty, but holds something"
    ):
        read_kept(place)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::structpred.training.searching.SearchWarning")
def test_a_small_comparison_runs_whole_and_again_from_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("de", "en"):
        lines = "".join(f"{side}{i % 7} {side}{i % 5} {side}{i % 3}\n" for i in range(40))
        (tmp_path / f"pairs.{side}").write_text(lines, encoding="utf-8")
    task = Parallel(train=str(tmp_path / "pairs"), source_suffix=".de", target_suffix=".en")
    small = Transformer(hidden=8, heads=2, feedforward=8, encoder_layers=1, decoder_layers=1)
    trainer = Trainer(epochs=2, batch_tokens=64)
    objectives = {"ML": MaximumLikelihood(), "REINFORCE": REINFORCE(reward=SentenceBleu(), samples=2)}
    monkeypatch.setattr(translation_objectives, "OBJECTIVES", objectives)
    monkeypatch.setattr(translation_objectives, "TRAINER", trainer)
    monkeypatch.setattr(translation_objectives, "START", replace(START, task=task, model=small, trainer=trainer))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["translation_objectives", "--seeds", "2", "--workers", "1"])
    main()
    reports = tmp_path / "reports" / "translation_objectives"
    kept = json.loads((reports / "tuning" / "penalties.json").read_text(encoding="utf-8"))
    assert len(kept) == len(objectives)
    assert all(len(scores) == len(PENALTIES) for scores in kept.values())
    first = (reports / "comparison" / "results.json").read_text(encoding="utf-8")
    assert {len(runs) for runs in json.loads(first)["runs"].values()} == {2}
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir())
    main()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()) == runs
    assert "REINFORCE" in capsys.readouterr().out
