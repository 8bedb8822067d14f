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

from structpred import compare
from structpred.comparison.report import Report
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments import translation_objectives
from structpred.experiments.translation_objectives import (
    PARTS,
    PENALTIES,
    RATES,
    SEARCH,
    START,
    arm,
    dev_bleu,
    experiments,
    main,
    read_kept,
    searched,
)
from structpred.metrics import Bleu, Metric
from structpred.models import Transformer
from structpred.objectives import REINFORCE, MaximumLikelihood
from structpred.rewards import SentenceBleu
from structpred.runs import Run
from structpred.task import Splits
from structpred.tasks import Parallel
from structpred.training import Trainer


def test_arms_differ_from_likelihood_in_their_objective_alone() -> None:
    assert sum(map(len, PARTS.values())) == 10
    for part, objectives in PARTS.items():
        ml = experiments(part)["ML"]
        assert ml == replace(arm(MaximumLikelihood(), RATES[part], 0.5), decoding=SEARCH)
        for name, each in experiments(part).items():
            assert replace(each, objective=ml.objective) == ml
            assert each.objective == objectives[name]
            assert replace(each, seed=3).start == START


@dataclass
class Stub:
    """A finished run whose BLEU on dev is ten times the length penalty."""

    model: nn.Module = field(default_factory=lambda: nn.Linear(1, 1))
    searched: list[float] = field(default_factory=list)
    result: Any = field(
        default_factory=lambda: SimpleNamespace(identity="a" * 64, scores={"dev": {"BLEU": 10 * SEARCH.length_penalty}})
    )

    def evaluate(
        self, examples: Sequence[object], *, decoding: Decoding, metrics: Sequence[Metric]
    ) -> dict[str, float]:
        del examples
        assert replace(decoding, length_penalty=1.0) == SEARCH
        assert metrics == (Bleu(tokenize="none"),), "as the scores of runs are"
        self.searched.append(decoding.length_penalty)
        return {"BLEU": 10 * decoding.length_penalty}


def test_a_search_is_made_once_for_each_penalty_that_training_did_not_have() -> None:
    kept: dict[str, dict[str, float]] = {}
    run: Any = Stub()
    nothing = Splits(train=(), dev=(), test=(), digest="")
    assert dev_bleu(run, nothing, kept) == {penalty: 10 * penalty for penalty in PENALTIES}
    assert run.searched == [penalty for penalty in PENALTIES if penalty != SEARCH.length_penalty]
    again: Any = Stub()
    assert dev_bleu(again, nothing, json.loads(json.dumps(kept))) == {penalty: 10 * penalty for penalty in PENALTIES}
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
    monkeypatch.setattr(translation_objectives, "PARTS", {"small": objectives})
    monkeypatch.setattr(translation_objectives, "RATES", {"small": 1e-3})
    monkeypatch.setattr(translation_objectives, "TRAINER", trainer)
    monkeypatch.setattr(translation_objectives, "START", replace(START, task=task, model=small, trainer=trainer))
    monkeypatch.setattr(translation_objectives, "PENALTIES", (1.0, 0.0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["translation_objectives", "--part", "small", "--seeds", "2", "--workers", "1"])
    main()
    folder = tmp_path / "reports" / "translation_objectives" / "small"
    kept = json.loads((folder / "penalties.json").read_text(encoding="utf-8"))
    assert list(map(len, kept.values())) == [2] * 4
    found = Report.read(folder, Experiment)
    assert list(map(len, found.results.values())) == [2, 2]
    assert list(found.over_examples) == [("REINFORCE", "ML")]
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert len(runs) == 5, "one start"
    main()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()) == runs
    assert "REINFORCE" in capsys.readouterr().out
    # what another search finds is what training under that search would have recorded
    other = compare({"ML": arm(MaximumLikelihood(), 1e-3, 0.0)}, seeds=(0,), root=tmp_path / "others", workers=1)
    run, splits = Run.load(tmp_path / "runs" / found.results["ML"][0].identity[:16]), task.load()
    again = searched(run, splits, 0.0)
    assert again.result.scores == other.results["ML"][0].scores
    assert again.result.scores != run.result.scores, "the search makes a difference"
    assert again.result.length_ratios == other.results["ML"][0].length_ratios
    assert searched(run, splits, 1.0).result == run.result
