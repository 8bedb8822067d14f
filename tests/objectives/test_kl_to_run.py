"""The divergence from a finished run: closed form and samples by enumeration, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import (
    REINFORCE,
    Best,
    Exact,
    KLToRun,
    MaximumLikelihood,
    Sampled,
    Weighted,
    WeightedSum,
)
from structpred.objectives.distillation import Teacher
from structpred.runs import train
from structpred.sequences import Sequences
from structpred.testing.spaces import (
    Dictated,
    built,
    every_output,
    log_probs_of,
    repeated,
    targets_for,
    tiny_models,
    tuples_of,
)
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from tests.support.tiny import Copying

INPUTS = Sequences.of([[0, 1]])
MODELS = ("crf", "lstm-tagger", "seq2seq")


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
    )


def prepared(name: str) -> tuple[nn.Module, Teacher, Sequences]:
    model = tiny_models()[name]
    return built(model), Teacher(built(model, seed=7), "symbols", "given"), targets_for(model, INPUTS)


def listed(name: str, *, backwards: bool = False) -> tuple[Tensor, Tensor]:
    """KL(p‖q), or KL(q‖p), over all outputs, and its gradient."""
    network, teacher, _ = prepared(name)
    every = every_output(network(INPUTS), 2)
    log_p, log_q = network(INPUTS).log_prob(every)[0], teacher(INPUTS).log_prob(every)[0].detach()
    value = (log_q.exp() * (log_q - log_p)).sum() if backwards else (log_p.exp() * (log_p - log_q)).sum()
    return value.detach(), gradient(value, network)


@pytest.mark.parametrize("name", ["crf", "lstm-tagger"])
def test_the_closed_form_is_the_sum_over_all_outputs(name: str) -> None:
    network, teacher, targets = prepared(name)
    objective = KLToRun(run="given", estimator=Exact())
    (found,) = objective(network(INPUTS), targets, state=teacher, inputs=INPUTS).values
    value, slopes = listed(name)
    assert value > 0.01
    torch.testing.assert_close(found.detach(), value, rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient(found, network), slopes, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("name", "k"), [("crf", 2), ("crf", 3), ("lstm-tagger", 3), ("seq2seq", 2)])
def test_samples_have_the_same_value_and_gradient_in_expectation(name: str, k: int) -> None:
    network, teacher, targets = prepared(name)
    tuples = tuples_of(every_output(network(INPUTS), 2), k)
    inputs = repeated(INPUTS, len(tuples))
    p = network(inputs)
    chances = log_probs_of(p, tuples).sum(1).exp()
    objective = KLToRun(run="given", estimator=Sampled(k=k))
    values = objective(Dictated(p, tuples), repeated(targets, len(tuples)), state=teacher, inputs=inputs).values
    value, slopes = listed(name)
    torch.testing.assert_close((chances * values).sum().detach(), value, rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient((chances * values).sum(), network), slopes, rtol=0, atol=1e-9)


def test_the_derivative_of_the_usual_estimator_is_that_of_the_other_divergence() -> None:
    """q/p − 1 − log(q/p) over samples of p has the right mean, and differentiated as it stands the wrong gradient."""
    network, teacher, _ = prepared("lstm-tagger")
    p = network(INPUTS)
    every = every_output(p, 2)
    log_p = p.log_prob(every)[0]
    log_ratio = teacher(INPUTS).log_prob(every)[0] - log_p
    estimate = log_ratio.exp() - 1 - log_ratio
    chances = log_p.detach().exp()
    value, slopes = listed("lstm-tagger")
    torch.testing.assert_close((chances * estimate).sum().detach(), value, rtol=0, atol=1e-9)
    found = gradient((chances * estimate).sum(), network)
    torch.testing.assert_close(found, listed("lstm-tagger", backwards=True)[1], rtol=0, atol=1e-9)
    assert (found - slopes).norm() > 0.1 * slopes.norm()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_has_not_moved_is_not_penalised(name: str) -> None:
    network, _, targets = prepared(name)
    same = Teacher(built(tiny_models()[name]), "symbols", "given")
    source = torch.Generator().manual_seed(0)
    found = KLToRun(run="given")(network(INPUTS), targets, state=same, inputs=INPUTS, generator=source).values
    assert found.abs().max() < 1e-9
    assert gradient(found.sum(), network).abs().max() < 1e-9


TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)


def test_it_is_a_term_of_any_objective_and_begins_at_zero_from_its_own_start(tmp_path: Path) -> None:
    start = train(TINY, root=tmp_path)
    folder = str(start.folder.path)
    parts = (Weighted(objective=REINFORCE()), Weighted(objective=KLToRun(run=folder), weight=0.1))
    experiment = replace(TINY, objective=WeightedSum(parts=parts))
    data = EncodedData.of(experiment.task.load(), experiment.model)
    under_way = Training(experiment, data, device="cpu", observer=ignore)
    under_way.rehearse(2)
    assert under_way.totals.diagnostics()["kl-to-run/loss"] != 0
    state = KLToRun(run=folder).state(start.sizes)
    inputs, targets = start.codec.read([("a", "b"), ("b",)]).gather(torch.arange(2)), Sequences.of([[0, 1], [1]])
    found = KLToRun(run=folder)(start.model.eval()(inputs), targets, state=state, inputs=inputs)
    assert found.values.abs().max() < 1e-5
    assert experiment.identity("data") != replace(TINY, objective=REINFORCE()).identity("data")


def test_what_cannot_work_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"KLToRun compares a sample with the others, so it needs at least 2"):
        KLToRun(run="x", estimator=Sampled(k=1))
    with pytest.raises(ConfigError, match=r"KLToRun\.estimator must be Exact\(\) or Sampled\(k=4\), but got Best"):
        KLToRun(run="x", estimator=Best())
    with pytest.raises(ConfigError, match=r"KLToRun with Exact\(\) needs `expected_score`.*Seq2Seq.*Sampled\(k=4\)"):
        replace(TINY, objective=KLToRun(run="x", estimator=Exact()))
    network, _, targets = prepared("crf")
    with pytest.raises(ConfigError, match=r"KLToRun needs its teacher and the inputs of p: pass state="):
        KLToRun(run="x")(network(INPUTS), targets)
