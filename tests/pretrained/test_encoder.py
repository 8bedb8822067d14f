"""Pretrained networks as input encoders of our models, frozen and tuned, alone and beside spellings."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.cli import main
from structpred.errors import ConfigError, DataError
from structpred.experiment import Experiment
from structpred.models import (
    CRF,
    Beside,
    CharacterCNN,
    Featurizer,
    LSTMTagger,
    Model,
    Seq2Seq,
    Transformer,
    WordEmbedding,
)
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.runs.run import OtherCodeWarning
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training import Trainer
from structpred.vocabulary import Vocabularies

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

from structpred.pretrained import PretrainedEncoder
from structpred.pretrained.encoder import Mixture
from tests.support.pretrained import SENTENCES, saved
from tests.support.tiny import Copying

KNOWN = Vocabularies.of(SENTENCES, [("X", "Y")])
SIZES = Sizes(
    num_inputs=len(KNOWN.inputs), num_labels=2, label_counts=(1, 1), references=1, characters=len(KNOWN.characters)
)
SPELT = WordEmbedding(size=3, characters=CharacterCNN(embedding=2, filters=4))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bert"))


def read(encoder: Featurizer, sentences: list[tuple[str, ...]] = SENTENCES) -> Sequences:
    return encoder.read(sentences, KNOWN).gather(torch.arange(len(sentences)))


def seen(encoder: Featurizer, sentences: list[tuple[str, ...]] = SENTENCES) -> torch.Tensor:
    """What a model sees at every position, in evaluation mode."""
    module = encoder.build(SIZES, 5).eval()
    found: torch.Tensor = module(read(encoder, sentences))
    assert found.shape[-1] == module.size
    return found


@pytest.mark.parametrize(
    "fields",
    [{}, {"layers": ()}, {"layers": (1, -1), "pooling": "mean", "window": 5}, {"layers": (), "mix": "learned"}],
)
def test_frozen_and_tuned_see_the_same_up_to_half_precision(bert: Path, fields: dict[str, Any]) -> None:
    frozen = PretrainedEncoder(path_or_name=str(bert), **fields)
    tuned = replace(frozen, tune=True)
    torch.testing.assert_close(seen(frozen), seen(tuned), rtol=0, atol=4e-3)
    assert seen(frozen).shape == (4, 3, 8)
    assert seen(frozen).dtype == torch.float32
    assert frozen.build(SIZES, 5).double()(read(frozen)).dtype == torch.float64
    torch.testing.assert_close(seen(frozen, [("cab",)])[0, 0], seen(frozen)[3, 0], rtol=0, atol=4e-3)


def test_nothing_frozen_is_among_the_weights(bert: Path) -> None:
    frozen = PretrainedEncoder(path_or_name=str(bert), layers=())
    assert not frozen.build(SIZES, 5).state_dict()
    assert set(replace(frozen, mix="learned").build(SIZES, 5).state_dict()) == {"mixture.weights", "mixture.scale"}
    names = set(replace(frozen, tune=True).build(SIZES, 5).state_dict())
    assert names
    assert all(name.startswith("encoder.pretrained.") for name in names)


def test_inputs_of_one_network_are_told_from_those_of_another(bert: Path, tmp_path: Path) -> None:
    """A teacher that reads other pieces or features than its student is refused by what they read."""
    other = saved(tmp_path, seed=4)
    encoders = [
        SPELT,
        *(PretrainedEncoder(path_or_name=str(path), tune=tune) for path in (bert, other) for tune in (False, True)),
        PretrainedEncoder(path_or_name=str(bert), layers=(1,)),
    ]
    contents = [encoder.read((), KNOWN).content for encoder in encoders]
    assert len(set(contents)) == len(contents)
    for encoder, content in zip(encoders, contents, strict=True):
        batch = read(encoder)
        assert batch.content == Sequences.from_tensors(*batch.tensors()).content == content
        assert (
            batch.select(slice(0, 1)).to("cpu").content == encoder.read(SENTENCES, KNOWN).to("cpu").content == content
        )


def test_layers_that_nothing_depends_on_are_not_trained(bert: Path) -> None:
    module = PretrainedEncoder(path_or_name=str(bert), layers=(1, 0), tune=True).build(SIZES, 5)
    torch.autograd.backward(module(read(PretrainedEncoder(path_or_name=str(bert), tune=True))).sum())
    for name, parameter in module.named_parameters():
        later = ".layer.1." in name or ".layer.2." in name
        assert parameter.requires_grad == (parameter.grad is not None) == (not later), name


def test_a_mixture_starts_as_the_mean_and_is_that_of_elmo() -> None:
    mixture, states = Mixture(3).double(), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(mixture(states), states.mean(2))
    with torch.no_grad():
        mixture.weights.copy_(torch.tensor([1.0, -1.0, 0.5]))
        mixture.scale.fill_(2.0)
    weights = mixture.weights.exp() / mixture.weights.exp().sum()
    expected = 2 * sum(weights[layer] * states[:, :, layer] for layer in range(3))
    torch.testing.assert_close(mixture(states), expected)

    def mixed(weights: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(mixture, {"weights": weights, "scale": scale}, states)
        return found

    assert torch.autograd.gradcheck(mixed, tuple(mixture.parameters()))


@pytest.mark.parametrize("tune", [False, True], ids=["frozen", "tuned"])
@pytest.mark.parametrize("sentences", [[], [()], [(), ()]], ids=["none", "one empty", "two empty"])
def test_a_batch_without_words_has_no_vectors(bert: Path, sentences: list[tuple[str, ...]], tune: bool) -> None:
    both = Beside(parts=(SPELT, PretrainedEncoder(path_or_name=str(bert), tune=tune)))
    assert seen(both, sentences).shape == (len(sentences), 0, 15)


def test_parts_stand_side_by_side_through_the_whole_path_of_a_batch(bert: Path) -> None:
    network = PretrainedEncoder(path_or_name=str(bert))
    both = Beside(parts=(network, SPELT, replace(network, tune=True)))
    flat = both.read(SENTENCES, KNOWN)
    assert re.fullmatch(r"vectors of \w{8} and words and words of \w{8}", flat.content)
    batch = Sequences.from_tensors(*flat.to("cpu").gather(torch.tensor([2, 1, 0])).select(slice(0, 2)).tensors())
    assert batch.content == flat.content
    assert batch.lengths.tolist() == [2, 0]
    torch.manual_seed(1)
    module = both.build(SIZES, 5).eval()
    found = module(batch)
    assert found.shape == (2, 3, 8 + 7 + 8)
    assert module.size == 23
    readers = module.get_submodule("readers").children()
    for place, (part, reader) in enumerate(zip(both.parts, readers, strict=True)):
        alone = reader(read(part, [SENTENCES[2], SENTENCES[1]]))
        start = (0, 8, 15)[place]
        torch.testing.assert_close(found[0, :2, start : start + alone.shape[-1]], alone[0], rtol=0, atol=4e-3)
    moved = flat.to("meta")
    assert {part.lengths.device.type for part in moved.parts} == {"meta"}
    gathered = flat.gather(torch.tensor([0])).to("meta")
    assert {part.labels.device.type for part in gathered.parts} == {"meta"}


MODELS: dict[str, Model] = {
    "tagger": LSTMTagger(hidden=4, dropout=0.0),
    "crf": CRF(hidden=4, dropout=0.0),
    "seq2seq": Seq2Seq(embedding=3, hidden=4, dropout=0.0),
    "transformer": Transformer(hidden=4, heads=2, feedforward=4, encoder_layers=1, decoder_layers=1, dropout=0.0),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tune", [False, True], ids=["frozen", "tuned"])
def test_every_model_takes_a_step_and_batching_changes_nothing(bert: Path, name: str, tune: bool) -> None:
    torch.manual_seed(0)
    inputs = Beside(parts=(PretrainedEncoder(path_or_name=str(bert), tune=tune), SPELT))
    network: nn.Module = replace(MODELS[name], inputs=inputs).build(SIZES)  # type: ignore[call-arg]  # each has inputs
    network.eval()
    targets = Sequences.of([[0, 1, 1], [], [1, 0], [1]])
    p = network(read(inputs))
    losses = MaximumLikelihood()(p, targets)
    torch.autograd.backward(losses.values.sum())
    gradients = {name: each.grad for name, each in network.named_parameters() if "transitions" not in name}
    absent = [name for name, gradient in gradients.items() if gradient is None]
    assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)
    assert not absent
    assert any(".pretrained." in name for name in gradients) == tune
    alone = network(read(inputs, [SENTENCES[2]])).log_prob(Sequences.of([[1, 0]]).candidates())
    torch.testing.assert_close(-losses.values[2], alone[0, 0], rtol=0, atol=5e-3)


def experiment(bert: Path, **fields: Any) -> Experiment:
    inputs = Beside(parts=(PretrainedEncoder(path_or_name=str(bert), **fields), SPELT))
    return Experiment(
        task=Copying(train=6, longest=3),
        model=CRF(inputs=inputs, hidden=4, dropout=0.0),
        objective=MaximumLikelihood(),
        trainer=Trainer(epochs=1),
    )


def test_an_identity_is_of_the_weights_and_not_of_their_place(bert: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(bert, tmp_path / "copied"))
    other = saved(tmp_path / "other", seed=5)
    first = experiment(bert).identity("data")
    assert experiment(copied).identity("data") == first
    assert experiment(other).identity("data") != first
    assert experiment(bert, tune=True).identity("data") != first
    assert experiment(bert, pooling="mean").identity("data") != first
    assert Experiment.from_json(experiment(bert).to_json()) == experiment(bert)


@pytest.mark.parametrize("tune", [False, True], ids=["frozen", "tuned"])
def test_a_run_keeps_what_was_trained_and_predicts_alike_when_loaded(
    bert: Path, tmp_path: Path, tune: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = Path(shutil.copytree(bert, tmp_path / "copied"))
    run = train(experiment(copied, tune=tune), root=tmp_path)
    assert any(".pretrained." in name for name in run.weights()) == tune
    again = Run.load(run.folder.path)
    texts = ["ab", "ba", "bab"]
    assert [outcome.prediction for outcome in again.predictions("dev")]
    assert [again.predict([text]) for text in texts] == [run.predict([text]) for text in texts]
    saved(copied, seed=6)
    with pytest.warns(OtherCodeWarning, match="or files of Copying, PretrainedEncoder have changed since"):
        Run.load(run.folder.path)
    shutil.rmtree(copied)
    assert Run.load(run.folder.path).result == run.result, "scores need no weights"
    (tmp_path / "words").write_text("ab\nba\n", encoding="utf-8")
    assert main(["predict", str(run.folder.path), str(tmp_path / "words")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("must be the folder of a pretrained model") == said.err.count("\n") == 1, "not for every line"


def test_layers_that_are_not_there_and_parts_that_do_not_fit_are_refused(bert: Path) -> None:
    for layers in [(4,), (-5,), (0, 9)]:
        with pytest.raises(ConfigError, match=r"layers must be from -4 to 3 for .* \(0 is the embeddings\), but got"):
            PretrainedEncoder(path_or_name=str(bert), layers=layers).build(SIZES, 5)
    flat = Path(shutil.copytree(bert, bert.parent / "flat"))
    (flat / "config.json").write_text(
        json.dumps(json.loads((bert / "config.json").read_text()) | {"num_hidden_layers": 0})
    )
    with pytest.raises(DataError, match=r"config\.json must have at least one layer, but it has 0"):
        PretrainedEncoder(path_or_name=str(flat)).read(SENTENCES, KNOWN)
    with pytest.raises(
        ConfigError, match=re.escape("PretrainedEncoder.layers must name each layer once, but got (1, 1)")
    ):
        PretrainedEncoder(path_or_name=str(bert), layers=(1, 1))
    with pytest.raises(ConfigError, match=re.escape("must name each layer once, but (3, -1) does not")):
        PretrainedEncoder(path_or_name=str(bert), layers=(3, -1)).read(SENTENCES, KNOWN)
