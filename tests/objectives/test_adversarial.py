"""Adversarial training: values and gradients by hand, the direction and length of the shift, and what is refused."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from structpred.distributions import Factorised
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, FrameFeatures, LSTMTagger, Model, Seq2Seq, Transformer
from structpred.models.embedded import embedded, embedder_of
from structpred.objective import Losses, Objective
from structpred.objectives import GRPO, RML, Adversarial, MaximumLikelihood, Weighted, WeightedSum
from structpred.objectives.adversarial import worst_shift
from structpred.pretrained.seq2seq import PretrainedSeq2Seq
from structpred.sequences import FlatSequences, Sequences
from structpred.testing.spaces import built, sizes_of, targets_for
from structpred.training import Trainer
from structpred.training.step import TrainingStep
from tests.support.tiny import Copying

INPUTS = Sequences.of([[0, 1], [2]])
DROPPED: dict[str, Model] = {
    "crf": CRF(embedding=3, hidden=4, dropout=0.5),
    "lstm-tagger": LSTMTagger(embedding=3, hidden=4, dropout=0.5),
    "seq2seq": Seq2Seq(embedding=3, hidden=4, dropout=0.5),
    "transformer": Transformer(hidden=4, heads=2, feedforward=4, encoder_layers=1, decoder_layers=1, dropout=0.5),
}
LIKELIHOOD = "maximum-likelihood/loss"
SHIFTED = "adversarial/loss"


class Linear(nn.Module):
    """A softmax over W v at every position, v being the vector of the symbol there."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.table = nn.Embedding(3, 2, dtype=torch.float64)
        nn.init.normal_(self.table.weight, generator=random)
        self.weight = nn.Parameter(torch.randn(4, 2, generator=random, dtype=torch.float64))

    def forward(self, inputs: Sequences) -> Factorised:
        return Factorised(self.table(inputs.labels) @ self.weight.T, inputs.lengths)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    shares: np.ndarray = exponentials / exponentials.sum(-1, keepdims=True)
    return shares


def by_hand(
    vectors: np.ndarray, weight: np.ndarray, labels: list[int], epsilon: float, scale: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """L(v) + w L(v + r) for one input, and its gradients with respect to W and v, r being a constant."""
    hot = np.eye(len(weight))[labels]

    def at(v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        p = softmax(v @ weight.T)
        return -float(np.log((p * hot).sum(1)).sum()), (p - hot).T @ v, (p - hot) @ weight

    loss, by_weight, by_vectors = at(vectors)
    again = at(vectors + epsilon * by_vectors / np.sqrt((by_vectors**2).sum()))
    return loss + scale * again[0], by_weight + scale * again[1], by_vectors + scale * again[2]


def test_loss_and_gradient_are_those_computed_by_hand() -> None:
    network, targets, objective = Linear(), [[3, 1], [2]], Adversarial(objective=MaximumLikelihood(), weight=0.7)
    p, vectors = embedded(network, network.table, INPUTS)
    found = objective(p, Sequences.of(targets), embedded=vectors).values
    gradients = torch.autograd.grad(found.sum(), (network.weight, network.table.weight))
    table, weight = (each.detach().numpy() for each in (network.table.weight, network.weight))
    rows = [[0, 1], [2]]
    losses, by_weight, by_vectors = zip(
        *(by_hand(table[row], weight, y, 0.5, 0.7) for row, y in zip(rows, targets, strict=True)), strict=True
    )
    assert found.tolist() == pytest.approx(losses, abs=1e-12)
    np.testing.assert_allclose(gradients[0], sum(by_weight), atol=1e-12)
    np.testing.assert_allclose(gradients[1], np.concatenate(by_vectors), atol=1e-12)


def step_of(model: Model, objective: Objective, dropout: bool = True) -> TrainingStep:
    network = built(model).train(dropout)
    state = objective.state(sizes_of(2))
    return TrainingStep(network, objective, state, torch.Generator(), symbols=3, specification=model)


def losses_of(step: TrainingStep, model: Model, inputs: Sequences = INPUTS, seed: int = 0) -> Losses:
    torch.manual_seed(seed)
    return Losses(*step(inputs.tensors(), targets_for(model, inputs, 2).tensors(), ()))


@pytest.mark.parametrize("name", DROPPED)
def test_a_small_shift_raises_the_loss_by_the_length_of_the_gradient(name: str) -> None:
    """To first order, and only if both passes have the same dropout masks."""
    model, epsilon = DROPPED[name], 1e-5
    step = step_of(model, Adversarial(objective=MaximumLikelihood(), epsilon=epsilon))
    found = losses_of(step, model).diagnostics
    torch.manual_seed(0)
    p, vectors = embedded(step.model, step.model.get_submodule(model.embedder), INPUTS)
    loss = MaximumLikelihood()(p, targets_for(model, INPUTS, 2)).values
    torch.testing.assert_close(found[LIKELIHOOD], loss.detach(), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(loss.sum(), vectors.vectors)
    slopes = (found[SHIFTED] - found[LIKELIHOOD]) / epsilon
    torch.testing.assert_close(slopes, gradient.flatten(1).norm(dim=1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", DROPPED)
def test_the_random_stream_goes_on_as_if_the_network_had_been_called_once(name: str) -> None:
    model, states = DROPPED[name], []
    for objective in (MaximumLikelihood(), Adversarial(objective=MaximumLikelihood())):
        losses_of(step_of(model, objective), model)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_without_a_shift_it_is_the_objective() -> None:
    model, rml = Seq2Seq(embedding=3, hidden=4, dropout=0.0), RML()
    p_gradients = []
    for objective in (rml, Adversarial(objective=rml, epsilon=1e-12, weight=0.25)):
        step = step_of(model, objective)
        draws = objective.draw(targets_for(model, INPUTS, 2), 2, torch.Generator().manual_seed(0))
        assert draws is not None
        values = step(INPUTS.tensors(), targets_for(model, INPUTS, 2).tensors(), draws.tensors())[0]
        gradients = torch.autograd.grad(values.sum(), list(step.model.parameters()))
        p_gradients.append([values, *gradients])
    for plain, adversarial in zip(*p_gradients, strict=True):
        torch.testing.assert_close(1.25 * plain, adversarial, rtol=0, atol=1e-9)


def test_losses_can_be_examined_without_gradient() -> None:
    model = DROPPED["seq2seq"]
    step = step_of(model, Adversarial(objective=MaximumLikelihood()))
    expected = losses_of(step, model)
    with torch.no_grad():
        found = losses_of(step, model)
    torch.testing.assert_close(found.diagnostics, expected.diagnostics, rtol=0, atol=0)


def test_measured_inputs_are_shifted_too() -> None:
    """Frames come from no weight, so nothing but this asks for their gradient."""
    model = LSTMTagger(inputs=FrameFeatures(features=2), hidden=4, dropout=0.0)
    values = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frames = FlatSequences.of([[0, 1], [2]], values).gather(torch.arange(2))
    step = step_of(model, Adversarial(objective=MaximumLikelihood(), epsilon=0.1))
    found = losses_of(step, model, frames).diagnostics
    assert (found[SHIFTED] > found[LIKELIHOOD]).all()


def test_a_sum_passes_the_vectors_on() -> None:
    model, alone = DROPPED["lstm-tagger"], Adversarial(objective=MaximumLikelihood())
    both = WeightedSum(parts=(Weighted(objective=alone), Weighted(objective=MaximumLikelihood(), weight=2)))
    one, other = (losses_of(step_of(model, each), model) for each in (alone, both))
    expected = one.values + 2 * one.diagnostics[LIKELIHOOD]
    torch.testing.assert_close(other.values, expected, rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------------------------------- the shift


def test_the_shift_has_one_length_over_all_real_positions() -> None:
    gradient = torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4, 2, 0])
    shift = worst_shift(gradient, lengths, 0.3)
    assert shift.flatten(1).norm(dim=1).tolist() == pytest.approx([0.3, 0.3, 0])
    assert not shift[1, 2:].any()
    assert torch.nn.functional.cosine_similarity(shift[0].flatten(), gradient[0].flatten(), 0) == pytest.approx(1)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_length_does_not_depend_on_that_of_the_gradient(size: float) -> None:
    gradient = size * torch.tensor([[[3.0], [-4.0]]])
    assert worst_shift(gradient, torch.tensor([2]), 1.0).flatten().tolist() == pytest.approx([0.6, -0.8])


def test_no_gradient_is_no_shift() -> None:
    assert not worst_shift(torch.zeros(2, 3, 1), torch.tensor([3, 1]), 1.0).any()
    assert worst_shift(torch.zeros(2, 0, 1), torch.tensor([0, 0]), 1.0).shape == (2, 0, 1)


# ------------------------------------------------------------------------------------------------------ what is refused


class Plain(LSTMTagger):
    """A model that does not say what reads its inputs."""

    embedder: ClassVar[str] = ""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Adversarial(objective=Adversarial(objective=MaximumLikelihood())),
            r"Adversarial\.objective must not shift inputs itself, but Adversarial does; leave one",
        ),
        (lambda: Adversarial(objective=GRPO(updates=2)), r"one update on a batch, but GRPO makes 2; use updates=1"),
        (
            lambda: Experiment(task=Copying(), model=Plain(), objective=Adversarial(objective=MaximumLikelihood())),
            r"^Adversarial shifts the vectors .*, but Plain does not name .*; set its class attribute `embedder`, or ",
        ),
        (
            lambda: Adversarial(objective=MaximumLikelihood()).check_model(PretrainedSeq2Seq(path_or_name="folder")),
            r"PretrainedSeq2Seq does not name the module",
        ),
        (
            lambda: Experiment(
                task=Copying(),
                model=Seq2Seq(),
                objective=Adversarial(objective=MaximumLikelihood()),
                trainer=Trainer(compile=True),
            ),
            r"^Adversarial needs gradients within a step, .*; set trainer\.compile to false$",
        ),
        (
            lambda: Adversarial(objective=MaximumLikelihood())(Linear()(INPUTS), Sequences.of([[0, 1], [1]])),
            r"^Adversarial needs the vectors of p's inputs, .*; pass p and embedded from structpred\.models\.embedded",
        ),
        (
            lambda: embedded(Linear(), nn.ReLU(), INPUTS),
            r"^the embedder ReLU must be called once for p, but was called 0 times; name the module",
        ),
        (
            lambda: embedder_of(Linear(), "tables"),
            r"`embedder` must be the dotted name of a module .*, but Linear has no module 'tables'; name one of table$",
        ),
        (lambda: embedder_of(Linear(), ""), r"but Linear has no module ''; name one of table$"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_embedder_that_returns_something_else_is_refused() -> None:
    network = built(CRF(embedding=3, hidden=4))
    with pytest.raises(
        ConfigError,
        match=r"RecurrentEncoder must return one vector of .* at every input position, .* returned an Encoded: ",
    ):
        embedded(network, network.get_submodule("scores.encoder"), INPUTS)


@pytest.mark.parametrize(
    ("change", "form"),
    [
        (lambda output: output.transpose(0, 1)[:1], r"torch\.float64 of shape \(1, 2, 2\) for a batch of 2"),
        (lambda output: output[:, :1], r"torch\.float64 of shape \(2, 1, 2\) for a batch of 2"),
        (lambda output: output.flatten(1), r"torch\.float64 of shape \(2, 4\) for a batch of 2"),
        (lambda output: output.long(), r"torch\.int64 of shape \(2, 2, 2\) for a batch of 2"),
    ],
)
def test_vectors_that_are_not_of_the_inputs_positions_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], form: str
) -> None:
    network = Linear()
    network.table.register_forward_hook(lambda _module, _arguments, output: change(output))
    message = rf"Embedding must return one vector of floating-point numbers .*, but returned {form}; "
    with pytest.raises(ConfigError, match=message):
        embedded(network, network.table, INPUTS)


def test_it_comes_back_from_json() -> None:
    experiment = Experiment(
        task=Copying(), model=Seq2Seq(), objective=Adversarial(objective=RML(), epsilon=2.0, weight=0.5)
    )
    assert Experiment.from_json(experiment.to_json()) == experiment
