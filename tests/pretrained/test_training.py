"""Pretrained networks train under every objective, and their runs are kept, found and loaded like any other."""

import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.mark.structures import ParameterSet

from structpred.capabilities import combinations
from structpred.config import registered_name
from structpred.errors import AbsentError, ConfigError, DataError, Interrupted
from structpred.experiment import Experiment
from structpred.models import Model
from structpred.objective import Objective
from structpred.objectives import REINFORCE, MaximumLikelihood, MinimumRisk, SwitchOut
from structpred.pretrained import PretrainedSeq2Seq
from structpred.registry import objectives
from structpred.runs import Run, train
from structpred.task import Splits, loaded
from structpred.training import Trainer, checkpoint
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from tests.support.networks import KINDS, saved
from tests.support.tiny import Copying

TASK = Copying(train=8, longest=3)
SHORT: dict[str, Any] = {"length_ratio": 1.0, "length_extra": 1}


def folder_of(kind: str, root: Path) -> str:
    """The path of a folder with a network; made once."""
    return str(root / kind) if (root / kind).exists() else saved(kind, root / kind)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@functools.cache
def splits() -> Splits:
    return loaded(TASK)


def experiment_of(model: Model, objective: Objective) -> Experiment:
    trainer = Trainer(epochs=1, batch_tokens=16)
    return Experiment(task=TASK, model=model, objective=objective, trainer=trainer)


def stepped(experiment: Experiment) -> Training:
    """Training after one step, which must have moved the weights and kept them finite."""
    with torch.random.fork_rng():
        prepared = EncodedData.of(splits(), experiment.model)
        training = Training(experiment, prepared, device="cpu", observer=ignore)
        before = [parameter.detach().clone() for parameter in training.model.parameters()]
        training.rehearse(1)
    after = list(training.model.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    return training


def every_objective() -> Iterator[ParameterSet]:
    """One of each that the grid allows, with its first reward; those that take others work where their parts do."""
    seen = set()
    for objective, model in combinations():
        name = registered_name(objective)
        ours = objectives[name].__module__.startswith("structpred.")
        if ours and isinstance(model, PretrainedSeq2Seq) and name not in seen and "module:" not in objective.to_json():
            seen.add(name)
            yield pytest.param(objective, id=name)


EVERY = list(every_objective())


def test_they_are_those_of_a_seq2seq() -> None:
    """But for noise in the inputs, which needs a vocabulary of them, or the module that embeds them."""
    of_both = [
        {registered_name(objective) for objective, model in combinations() if registered_name(model) == name}
        for name in ("seq2seq", "pretrained-seq2seq")
    ]
    assert of_both[0] == of_both[1] | {"switch-out", "adversarial"}
    assert len(EVERY) >= 16


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch on pieces."""
    model = PretrainedSeq2Seq(path_or_name=folder_of("bart", root), **SHORT)
    return train(experiment_of(model, MaximumLikelihood()), root=tmp_path_factory.mktemp("runs"), device="cpu")


@pytest.mark.parametrize("objective", [*EVERY, pytest.param(SwitchOut(), id="switch-out")])
def test_every_objective_takes_a_step(objective: Objective, root: Path, finished: Run) -> None:
    model = finished.experiment.model
    assert isinstance(model, PretrainedSeq2Seq)
    if isinstance(objective, SwitchOut):
        model = replace(model, symbols="task")
    if objective.learns_from:
        objective = replace(objective, **{objective.learns_from: str(finished.folder.path)})
    stepped(experiment_of(model, objective))


@pytest.mark.parametrize(
    ("kind", "symbols"), [*((kind, "pieces") for kind in KINDS), ("bert", "task"), ("gpt2", "task")]
)
def test_every_architecture_takes_a_step(kind: str, symbols: str, root: Path) -> None:
    model = PretrainedSeq2Seq(path_or_name=folder_of(kind, root), symbols=symbols, **SHORT)  # type: ignore[arg-type]
    objective = MinimumRisk() if symbols == "pieces" else REINFORCE()
    training = stepped(experiment_of(model, objective))
    labels = training.prepared.codec.vocabularies.labels.symbols
    assert (labels == ("a", "b")) == (symbols == "task")


# --------------------------------------------------------------------------------------------------- runs


def test_a_run_predicts_again_what_it_predicted(finished: Run) -> None:
    again = Run.load(finished.folder.path)
    rows = again.predictions("dev")
    assert again.predict([row.source.replace(" ", "") for row in rows]) == [row.prediction for row in rows]
    assert again.n_best(["ab"], 3)[0][0].log_prob <= 0


def test_a_copy_of_the_folder_leads_to_the_same_run_and_other_weights_to_another(
    finished: Run, root: Path, tmp_path: Path
) -> None:
    model, data = finished.experiment.model, finished.data
    assert isinstance(model, PretrainedSeq2Seq)
    shutil.copytree(model.path_or_name, tmp_path / "copy")
    copied = replace(finished.experiment, model=replace(model, path_or_name=str(tmp_path / "copy")))
    assert copied.identity(data) == finished.result.identity
    saved("bart", tmp_path / "copy", init_std=0.3)
    assert copied.identity(data) != finished.result.identity


def test_training_starts_from_a_run_and_goes_on_after_a_stop(finished: Run, tmp_path: Path) -> None:
    one = replace(finished.experiment, trainer=Trainer(epochs=1, batch_tokens=8))
    straight = train(replace(one, start=finished.experiment), root=finished.folder.path.parent, device="cpu")
    stops = iter([False] * 2)
    shutil.copytree(finished.folder.path, tmp_path / finished.folder.path.name)
    warm = replace(one, start=finished.experiment)
    with pytest.raises(Interrupted):
        train(warm, root=tmp_path, device="cpu", stopping=lambda: next(stops, True))
    resumed = train(warm, root=tmp_path, device="cpu")
    weights = [checkpoint.load(run.folder.weights) for run in (straight, resumed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, finished.weights()[name]) for name, value in weights[0].items())


# ------------------------------------------------------------------------------------------- wrong inputs


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match=r"must be the folder of a pretrained model, but there is no such folder"):
        PretrainedSeq2Seq(path_or_name=str(tmp_path / "no" / "such")).labels()


def test_an_encoder_alone_is_refused(tmp_path: Path) -> None:
    import transformers

    saved("bart", tmp_path)
    transformers.BertModel(transformers.BertConfig(vocab_size=12, hidden_size=8, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=8)).save_pretrained(tmp_path)  # fmt: skip
    model = PretrainedSeq2Seq(path_or_name=str(tmp_path))
    with pytest.raises(DataError, match=r"must hold an encoder-decoder or a decoder-only network, but it holds a bert"):
        stepped(experiment_of(model, MaximumLikelihood()))


@pytest.mark.parametrize(
    ("file", "entries", "expected"),
    [
        ("config.json", {"pad_token_id": 99}, "must hold weights that transformers can read, but it says: Padding_idx"),
        ("generation_config.json", {"eos_token_id": 99}, "must have ids below 12, which is how many scores the"),
        ("generation_config.json", {"bad_words_ids": 3}, "must have lists of ids as suppress_tokens and bad_words_ids"),
        ("generation_config.json", {"suppress_tokens": "5"}, "must have lists of ids as suppress_tokens and bad_"),
        ("generation_config.json", {"suppress_tokens": [5.7]}, "must have lists of ids as suppress_tokens and bad_"),
        ("generation_config.json", {"bad_words_ids": {"5": 1}}, "must have lists of ids as suppress_tokens and bad_"),
        ("generation_config.json", {"suppress_tokens": list(range(12))}, "are special, or forbidden by the model"),
    ],
)  # fmt: skip
def test_ids_that_are_none_are_refused(tmp_path: Path, file: str, entries: dict[str, Any], expected: str) -> None:
    place = Path(saved("bart", tmp_path)) / file
    known = json.loads(place.read_text()) if place.exists() else {}
    place.write_text(json.dumps(known | entries))
    with pytest.raises(DataError, match=expected):
        stepped(experiment_of(PretrainedSeq2Seq(path_or_name=str(tmp_path)), MaximumLikelihood()))


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = saved("bert", tmp_path, vocab_size=9)
    with pytest.raises(DataError, match=r"tokenizer of .* must have ids below 9, .* but it has 11"):
        stepped(experiment_of(PretrainedSeq2Seq(path_or_name=path), MaximumLikelihood()))


def test_symbols_that_are_no_pieces_are_refused(root: Path) -> None:
    model, train_ = PretrainedSeq2Seq(path_or_name=folder_of("bart", root)), splits().train[0]
    strange = replace(splits(), train=(replace(train_, references=(("a", "xy"),)),))
    expected = rf"{train_.where}: 'xy' is none of the 7 labels that the model can output; if the task is 'pretrained-p"
    with pytest.raises(DataError, match=expected):
        EncodedData.of(strange, model)
    strange = replace(splits(), train=(replace(train_, source=("xy",)),))
    with pytest.raises(DataError, match=r"the input 'xy' must be pieces of the tokenizer of .*, but 'xy' is not one;"):
        EncodedData.of(strange, model)


@pytest.mark.parametrize(("kind", "most"), [("bart", 24), ("gpt2", 22)])
def test_a_source_beyond_the_positions_is_refused(kind: str, most: int, root: Path) -> None:
    path = folder_of(kind, root)
    long = replace(splits(), train=(replace(splits().train[0], source=("a",) * 40),))
    with pytest.raises(DataError, match=rf"an input of 4[012] symbols.* must fit into the {most} positions of {path}"):
        EncodedData.of(long, PretrainedSeq2Seq(path_or_name=path))
    held_out = replace(splits(), test=(replace(splits().train[0], source=("a",) * 40, where="line 7"),))
    with pytest.raises(DataError, match=r"^line 7: an input of 42 symbols"):
        EncodedData.of(held_out, PretrainedSeq2Seq(path_or_name=path))
    model = PretrainedSeq2Seq(path_or_name=path, symbols="task")
    experiment = experiment_of(model, MaximumLikelihood())
    training = Training(experiment, EncodedData.of(long, model), device="cpu", observer=ignore)
    with pytest.raises(DataError, match=rf"must fit into the {most} positions"):
        training.rehearse(1)


def test_an_output_beyond_the_positions_is_refused(root: Path) -> None:
    long = replace(splits(), train=(replace(splits().train[0], references=(("a",) * 40,)),))
    model = PretrainedSeq2Seq(path_or_name=folder_of("bart", root))
    experiment = experiment_of(model, MaximumLikelihood())
    training = Training(experiment, EncodedData.of(long, model), device="cpu", observer=ignore)
    with pytest.raises(DataError, match=r"an output of 40 labels must fit into the 24 positions of .*bart"):
        training.rehearse(1)


def test_a_folder_that_does_not_say_what_ends_an_output_is_refused(tmp_path: Path) -> None:
    path = saved("gpt2", tmp_path)
    for file in ("config.json", "generation_config.json", "tokenizer_config.json"):
        place = tmp_path / file
        node = json.loads(place.read_text()) if place.exists() else {}
        kept = {name: value for name, value in node.items() if name not in ("eos_token_id", "sep_token", "eos_token")}
        place.write_text(json.dumps(kept | ({"eos_token_id": None} if file == "config.json" else {})))
    with pytest.raises(DataError, match=r"must say which token ends an output \(eos_token_id\)"):
        stepped(experiment_of(PretrainedSeq2Seq(path_or_name=path), MaximumLikelihood()))


def test_text_around_symbols_of_the_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"PretrainedSeq2Seq\.prefix and suffix must be empty with symbols='task'"):
        PretrainedSeq2Seq(path_or_name="folder", symbols="task", prefix="translate: ")
