"""Weights that come from a file and are never trained: a run keeps the file's digest instead of a copy."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.protocols import Distribution
from structpred.errors import ConfigError, Interrupted, RunError
from structpred.experiment import Experiment
from structpred.models import Model, Seq2Seq
from structpred.models.sources import LeftOut, WeightSource
from structpred.objectives import MaximumLikelihood
from structpred.registry import models
from structpred.runs import Run, train
from structpred.task import Sizes
from structpred.training import Adam, Part, Trainer, checkpoint
from tests.support.tiny import Copying

PLAIN = Seq2Seq(embedding=4, hidden=4, dropout=0.0, length_ratio=1.0, length_extra=1)


@models.register("test-from-file")
@dataclass(frozen=True, kw_only=True)
class FromFile(Model):
    """An encoder-decoder whose encoder is read from a file, and says so."""

    path: str
    says: bool = True

    distribution: ClassVar[type[Distribution]] = Autoregressive

    def build(self, sizes: Sizes) -> nn.Module:
        network = PLAIN.build(sizes)
        content = Path(self.path).read_bytes()
        weights = checkpoint.decoded(content)
        network.encoder.load_state_dict(weights)
        if self.says:
            source = WeightSource(self.path, hashlib.sha256(content).hexdigest(), frozenset(weights))
            network.encoder.weight_source = source  # type: ignore[assignment]
        return network


FROZEN = Adam(parts=(Part(name="encoder", frozen=1.0),))


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """One whose model reads a file of random weights."""
    path = tmp_path / "encoder.pt"
    write(path, seed=1)
    return Experiment(
        task=Copying(train=12),
        model=FromFile(path=str(path)),
        objective=MaximumLikelihood(),
        optimiser=FROZEN,
        trainer=Trainer(epochs=2, batch_tokens=30, average=0.5),
    )


def write(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    sizes = Sizes(num_inputs=2, num_labels=2, label_counts=(1, 1), references=1)
    torch.save(PLAIN.build(sizes).encoder.state_dict(), path)


def test_a_run_keeps_what_it_trained_and_ends_like_one_that_keeps_everything(
    experiment: Experiment, tmp_path: Path
) -> None:
    silent = replace(experiment, model=FromFile(path=experiment.model.path, says=False))  # type: ignore[attr-defined]
    everything = train(silent, root=tmp_path / "all")
    stops = iter([False, False, True])
    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path / "part", stopping=lambda: next(stops, True))
    (saved,) = (tmp_path / "part").glob("*/checkpoint.pt")
    state = checkpoint.load(saved)
    assert not any("encoder." in name for part in ("modules", "average") for name in state[part])
    run = train(experiment, root=tmp_path / "part")
    kept, whole = run.weights(), everything.weights()
    assert {name for name in whole if name not in kept} == {name for name in whole if name.startswith("encoder.")}
    assert run.model.state_dict().keys() == whole.keys()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, whole[name]), name
    assert run.result.scores == everything.result.scores
    assert run.folder.weights.stat().st_size < everything.folder.weights.stat().st_size
    (place,) = run.sources.values()
    assert place[1] == hashlib.sha256(Path(place[0]).read_bytes()).hexdigest()
    assert Run.load(run.folder.path).decode([("a", "b")]) == everything.decode([("a", "b")])


def test_a_file_that_has_changed_or_gone_is_one_sentence(experiment: Experiment, tmp_path: Path) -> None:
    run, path = train(experiment, root=tmp_path / "runs"), Path(experiment.model.path)  # type: ignore[attr-defined]
    content = path.read_bytes()
    write(path, seed=2)
    with pytest.raises(RunError, match=r"the weights of encoder were not trained .* put the earlier ones back"):
        _ = Run.load(run.folder.path).model
    path.unlink()
    with pytest.raises(RunError, match=r"keeps only the weights that it trained, .*encoder\.pt.* put them back"):
        _ = Run.load(run.folder.path).model
    path.write_bytes(content)
    assert Run.load(run.folder.path).model is not None


def test_a_checkpoint_is_not_resumed_with_another_file(experiment: Experiment, tmp_path: Path) -> None:
    stops = iter([False, True])
    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path / "runs", stopping=lambda: next(stops, True))
    write(Path(experiment.model.path), seed=2)  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"checkpoint\.pt: the weights of encoder were not trained"):
        train(experiment, root=tmp_path / "runs")


def test_weights_that_an_earlier_run_has_trained_are_kept_though_they_are_frozen_now(
    experiment: Experiment, tmp_path: Path
) -> None:
    first = replace(experiment, optimiser=Adam(lr=0.1), trainer=replace(experiment.trainer, average=None))
    stops = iter([False, False])
    tuned = train(first, root=tmp_path / "runs")
    assert tuned.sources == {}
    experiment = replace(experiment, trainer=first.trainer, start=first)
    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path / "runs", stopping=lambda: next(stops, True))
    run = train(experiment, root=tmp_path / "runs")
    for name, value in tuned.weights().items():
        if name.startswith("encoder."):
            assert torch.equal(run.weights()[name], value)
    assert run.sources == {}
    assert "weights_from" not in json.loads(run.folder.record.read_text(encoding="utf-8"))


def test_a_weight_with_two_names_is_left_out_under_both() -> None:
    network = nn.ModuleDict({"one": nn.Linear(2, 2), "other": nn.Linear(2, 2), "buffered": nn.BatchNorm1d(2)})
    network["other"].weight = network["one"].weight
    everything: Any = frozenset(network.state_dict())
    network.weight_source = WeightSource("file", "0" * 64, everything)  # type: ignore[assignment]
    network["one"].requires_grad_(False)
    network["buffered"].requires_grad_(False)
    left_out = LeftOut.of(network)
    assert set(left_out.owners) == {"one.weight", "one.bias", "other.weight", "buffered.weight", "buffered.bias"}
    assert set(left_out.kept(network.state_dict())) == everything - set(left_out.owners)
    assert left_out.without({"one.bias"}).digests == {"": "0" * 64}
    assert left_out.without(everything).digests == {}


def test_a_digest_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits of SHA-256, but got 'abc' for file"):
        WeightSource("file", "abc", frozenset())
