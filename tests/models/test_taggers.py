"""The two taggers against enumeration, and the CRF against pytorch-crf on its own parameters."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.distributions.factorised import Factorised
from structpred.distributions.linear_chain import LinearChain
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError, DataError
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate
from structpred.models import CRF, CharacterCNN, LSTMTagger, WordEmbedding
from structpred.models.taggers import CRFModule, Tagger
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.sequences import Sequences
from structpred.task import Example, Splits
from structpred.tasks import Conll, LetterTagging
from structpred.training import Adam, Trainer
from structpred.training.data import EncodedData
from structpred.training.distributed import cpu_has_bf16
from tests.support.tagging import TAGGERS, tiny_tagger
from tests.support.tiny import Copying, as_candidates, strings

INPUTS = [[0, 1, 2], [2], []]


@pytest.mark.parametrize("labels", [1, 2, 3])
@pytest.mark.parametrize("kind", TAGGERS)
def test_probabilities_of_all_outputs_of_the_right_length_sum_to_one(kind: type[Tagger], labels: int) -> None:
    p = tiny_tagger(kind, labels, layers=2).eval()(Sequences.of(INPUTS))
    log_probs = p.log_prob(as_candidates(strings(labels, 4), batch=3))
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    for row, length in zip(log_probs, [3, 1, 0], strict=True):
        assert row.isfinite().sum() == labels**length, "other lengths are impossible"


@pytest.mark.parametrize("kind", TAGGERS)
def test_the_prediction_is_the_most_probable_output(kind: type[Tagger]) -> None:
    p = tiny_tagger(kind, 3).eval()(Sequences.of(INPUTS))
    outputs = strings(3, 3)
    best = p.log_prob(as_candidates(outputs, batch=3)).argmax(1)
    assert p.decode(Decoding()).tolist() == [outputs[i] for i in best]


@pytest.mark.parametrize("kind", TAGGERS)
def test_padding_and_batching_change_nothing(kind: type[Tagger]) -> None:
    module = tiny_tagger(kind, 3).eval()
    outputs = strings(3, 3)
    together = module(Sequences.of(INPUTS)).log_prob(as_candidates(outputs, batch=3))
    for i, each in enumerate(INPUTS):
        padded = Sequences(torch.tensor([[*each, 1, 2, 0]]), torch.tensor([len(each)]))
        alone = module(padded).log_prob(as_candidates(outputs))
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", TAGGERS)
def test_a_batch_of_empty_inputs_has_the_empty_output(kind: type[Tagger]) -> None:
    p = tiny_tagger(kind).eval()(Sequences.of([[], []]))
    assert p.log_prob(as_candidates([[]], batch=2)).tolist() == [[0.0], [0.0]]
    assert p.decode(Decoding()).tolist() == [[], []]


@pytest.mark.parametrize("kind", TAGGERS)
def test_gradients_are_those_of_finite_differences(kind: type[Tagger]) -> None:
    module = tiny_tagger(kind, dropout=0.4).train()
    names = [name for name, _ in module.named_parameters()]

    def log_probs(*parameters: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)  # the same dropout masks at every evaluation
        p = torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), Sequences.of([[0, 1], [2]]))
        found: torch.Tensor = p.log_prob(as_candidates(strings(2, 2), batch=2))
        return torch.where(found.isfinite(), found, 0.0)

    assert torch.autograd.gradcheck(log_probs, tuple(module.parameters()), fast_mode=True)


@pytest.mark.parametrize("kind", TAGGERS)
def test_a_distribution_keeps_its_dropout_masks_and_another_has_others(kind: type[Tagger]) -> None:
    module = tiny_tagger(kind, dropout=0.5).train()
    outputs = as_candidates(strings(2, 2, shortest=2))
    first, second = module(Sequences.of([[0, 1]])), module(Sequences.of([[0, 1]]))
    torch.testing.assert_close(first.log_prob(outputs), first.log_prob(outputs), rtol=0, atol=0)
    assert not torch.allclose(first.log_prob(outputs), second.log_prob(outputs))


@pytest.mark.parametrize("kind", TAGGERS)
def test_without_layers_a_score_is_linear_in_the_vector_at_its_own_position(kind: type[Tagger]) -> None:
    module = tiny_tagger(kind, 3, layers=0, hidden=256).eval()
    inputs, others = Sequences.of([[0, 1, 2], [2], []]), Sequences.of([[2, 1, 0], [2], []])
    scores: Any = module.scores
    found = scores(inputs)
    expected = scores.encoder.reader(inputs) @ scores.output.weight.T + scores.output.bias
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert torch.equal(found[0, 1], scores(others)[0, 1])
    assert not torch.allclose(found[0, 0], scores(others)[0, 0])
    outputs = strings(3, 3)
    together = module(inputs).log_prob(as_candidates(outputs, batch=3))
    torch.testing.assert_close(together.exp().sum(1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    for i, each in enumerate([[0, 1, 2], [2], []]):
        alone = module(Sequences.of([each])).log_prob(as_candidates(outputs))
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)
    assert module(Sequences.of([[], []])).decode(Decoding()).tolist() == [[], []]


@pytest.mark.parametrize("kind", TAGGERS)
def test_without_layers_there_is_dropout_all_the_same(kind: type[Tagger]) -> None:
    module = tiny_tagger(kind, 3, layers=0, hidden=256, dropout=0.5).train()
    outputs = as_candidates(strings(3, 2, shortest=2))
    torch.manual_seed(1)
    first, second = (module(Sequences.of([[0, 1]])) for _ in range(2))
    assert torch.equal(first.log_prob(outputs), first.log_prob(outputs))
    assert not torch.allclose(first.log_prob(outputs), second.log_prob(outputs))


# ---------------------------------------------------------------------------------------------------- pytorch-crf


def crf_and_batch() -> tuple[CRFModule, Sequences, Sequences]:
    module = tiny_tagger(CRF, 4, seed=1)
    assert isinstance(module, CRFModule)
    inputs = Sequences.of([[0, 1, 2, 1, 0], [2], [1, 1, 0]])
    return module, inputs, Sequences.of([[3, 0, 1, 1, 2], [3], [0, 2, 2]])


def test_log_likelihood_and_its_gradient_are_those_of_pytorch_crf() -> None:
    module, inputs, outputs = crf_and_batch()
    parameters = tuple(module.parameters())
    ours = module(inputs).log_prob(outputs.candidates()).squeeze(1)
    theirs = module.chain(module.scores(inputs), outputs.labels, outputs.mask(), reduction="none")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    for one, other in zip(
        torch.autograd.grad(ours.sum(), parameters), torch.autograd.grad(theirs.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_the_best_output_is_that_of_pytorch_crf() -> None:
    module, inputs, _ = crf_and_batch()
    assert module(inputs).argmax().tolist() == module.chain.decode(module.scores(inputs), inputs.mask())


# ----------------------------------------------------------------------------------------------- as an experiment


@pytest.mark.parametrize("kind", TAGGERS)
def test_an_odd_state_is_refused(kind: type[Tagger]) -> None:
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.hidden must be even"):
        kind(hidden=255)


@pytest.mark.parametrize("kind", TAGGERS)
def test_a_size_without_layers_is_refused(kind: type[Tagger]) -> None:
    with pytest.raises(
        ConfigError, match=rf"^{kind.__name__}\.hidden is the size of recurrent layers, but layers is 0"
    ):
        kind(hidden=64, layers=0)


@pytest.mark.parametrize("kind", TAGGERS)
def test_canonical_json_gives_an_equal_model_back(kind: type[Tagger]) -> None:
    for inputs in (WordEmbedding(), WordEmbedding(characters=None), WordEmbedding(characters=CharacterCNN(filters=7))):
        model = kind(inputs=inputs)
        assert kind.from_json(model.to_json()) == model


@pytest.mark.parametrize("kind", TAGGERS)
def test_a_task_of_other_lengths_is_refused(kind: type[Tagger]) -> None:
    EncodedData.of(Copying().load(), kind())
    odd = Example(("a", "b"), (("a",),), where="here")
    with pytest.raises(DataError, match=rf"^here: {kind.__name__} predicts one label per input symbol"):
        EncodedData.of(Splits((odd,), (), (), ""), kind())


def test_both_distributions_fix_the_length() -> None:
    assert LSTMTagger.distribution is Factorised
    assert CRF.distribution is LinearChain


@pytest.mark.skipif(not cpu_has_bf16(), reason="PyTorch cannot run an LSTM in bf16 on this processor")
@pytest.mark.parametrize("kind", TAGGERS)
def test_probabilities_are_at_least_float32_under_autocast(kind: type[Tagger]) -> None:
    module: nn.Module = tiny_tagger(kind, sharpness=1.0).float().eval()
    with torch.autocast("cpu", torch.bfloat16):
        p = module(Sequences.of([[0, 1]]))
        assert p.log_prob(as_candidates([[0, 1]])).dtype == torch.float32


def columns_at(path: Path, sentences: int) -> str:
    lines = "the O\ncat B-NP\nsat O\n\na O\ndog B-NP\n\n" * sentences
    path.write_text(lines, encoding="utf-8")
    return str(path)


@pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning")
@pytest.mark.parametrize("kind", TAGGERS)
def test_a_saved_run_tags_new_sentences(kind: type[Tagger], tmp_path: Path) -> None:
    path = columns_at(tmp_path / "a.txt", 10)
    experiment = Experiment(
        task=Conll(train=path, dev=path, test=path),
        model=kind(inputs=WordEmbedding(size=8, word_dropout=0.2), hidden=8, dropout=0.1),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=3e-2),
        trainer=Trainer(epochs=6, batch_tokens=20),
    )
    run = Run.load(train(experiment, root=tmp_path / "runs", device="cpu").folder.path)
    assert run.result.scores["test"]["F1"] == 100.0
    assert run.predict(["the cat sat", "a dog"]) == ["O B-NP O", "O B-NP"]
    assert len(run.predict(["the zebra sat"])[0].split()) == 3, "an unknown word is nothing unusual"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TAGGERS)
def test_letters_are_learned(kind: type[Tagger], tmp_path: Path) -> None:
    experiment = Experiment(
        task=LetterTagging(size=500, held_out=100),
        model=kind(embedding=32, hidden=64),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=1e-2),
        trainer=Trainer(epochs=4, batch_tokens=128),
    )
    run = train(experiment, root=tmp_path, device="cpu")
    losses = [epoch.loss for epoch in run.result.history]
    assert losses[-1] < losses[0]
    assert run.result.scores["test"]["ACC"] > 60
    assert SymbolErrorRate.name not in run.result.scores["test"]
    assert len(run.predict(["letters"])[0].split()) == 7
