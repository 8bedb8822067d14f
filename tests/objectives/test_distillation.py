"""Distillation: the mathematics by enumeration, the teacher kept as it is, and what is refused."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import Steps, cross_entropy
from structpred.errors import ConfigError, Interrupted, RunError
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import RML, Best, Distillation, Exact, MaximumLikelihood, Sampled, Weighted, WeightedSum
from structpred.objectives.distillation import Teacher, per_position
from structpred.payoffs import HammingPayoff, Temperature
from structpred.runs import Run, train
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.tasks import Pronunciation
from structpred.training import Trainer, checkpoint
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from tests.support.tiny import Copying, as_candidates, strings, tiny_p

V = 3
LENGTHS = torch.tensor([3, 2, 0])
FREE = Sequences.of([[0, 2, 1], [1]])
FIXED = Sequences.of([[0, 2, 1], [1, 1], []])


def factorised(seed: int, requires_grad: bool = False) -> tuple[torch.Tensor, Factorised]:
    torch.manual_seed(seed)
    logits = torch.randn(3, 3, V, dtype=torch.float64, requires_grad=requires_grad)
    return logits, Factorised(logits.log_softmax(-1), LENGTHS)


def chain(seed: int) -> LinearChain:
    torch.manual_seed(seed)
    return LinearChain(torch.randn(3, 3, V).double(), torch.randn(V, V).double(), LENGTHS)


def along(p: Any, outputs: Sequences) -> Steps:
    steps: Steps = p.steps(outputs.candidates())
    return steps


# ------------------------------------------------------------------------------------------------ per position


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(
    ("q", "p", "outputs"),
    [(tiny_p(V, seed=1), tiny_p(V, seed=2), FREE), (factorised(1)[1], factorised(2)[1], FIXED)],
    ids=["autoregressive", "factorised"],
)
def test_per_position_is_the_sum_over_steps_and_symbols(q: Any, p: Any, outputs: Sequences, temperature: float) -> None:
    found = per_position(along(q, outputs), along(p, outputs), temperature)
    teacher, student = along(q, outputs), along(p, outputs)
    for example in range(len(outputs)):
        total, entropy = 0.0, 0.0
        for time in student.mask[example, 0].nonzero().flatten().tolist():
            q_t = (teacher.log_probs[example, 0, time].exp() ** (1 / temperature)).detach()
            p_t = (student.log_probs[example, 0, time].exp() ** (1 / temperature)).detach()
            q_t, p_t = q_t / q_t.sum(), p_t / p_t.sum()
            total -= temperature**2 * float((q_t * p_t.log()).sum())
            entropy -= temperature**2 * float((q_t * q_t.log()).sum())
        assert found.cross_entropy[example, 0].item() == pytest.approx(total, abs=1e-9)
        assert found.divergence[example, 0].item() == pytest.approx(total - entropy, abs=1e-9)


def test_the_divergence_is_zero_for_the_teacher_alone_and_so_is_the_gradient() -> None:
    _, q = factorised(1)
    logits, p = factorised(1, requires_grad=True)
    found = per_position(along(q, FIXED), along(p, FIXED), 2.0)
    assert found.divergence.abs().max() < 1e-12
    (gradient,) = torch.autograd.grad(found.cross_entropy.sum(), logits)
    assert gradient.abs().max() < 1e-12
    other = per_position(along(factorised(2)[1], FIXED), along(q, FIXED), 2.0)
    assert (other.divergence[:2] > 0.01).all(), "and more for any other"


def test_no_gradient_reaches_the_teacher_and_impossible_symbols_are_harmless() -> None:
    logits, q = factorised(1, requires_grad=True)
    barred = torch.zeros(3, 3, V).double()
    barred[:, :, 0] = -torch.inf
    p_logits = torch.zeros(3, 3, V, dtype=torch.float64, requires_grad=True)
    teacher, student = (Factorised((each + barred).log_softmax(-1), LENGTHS) for each in (logits, p_logits))
    found = per_position(along(teacher, FIXED), along(student, FIXED))
    (gradient,) = torch.autograd.grad(found.cross_entropy.sum(), p_logits)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(found.cross_entropy).all()
    assert not per_position(along(q, FIXED), along(factorised(2)[1], FIXED)).cross_entropy.requires_grad


def test_a_certain_teacher_is_maximum_likelihood() -> None:
    p = tiny_p(V)
    steps = along(p, FREE)
    certain = torch.full_like(steps.log_probs, -torch.inf).scatter(-1, steps.targets.unsqueeze(-1), 0.0)
    found = per_position(Steps(certain, steps.targets, steps.mask), steps).cross_entropy.squeeze(1)
    torch.testing.assert_close(found, MaximumLikelihood()(p, FREE).values, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------ per sequence


@pytest.mark.parametrize("teacher", [lambda: factorised(1)[1], lambda: chain(1)], ids=["factorised", "chain"])
@pytest.mark.parametrize("student", [lambda: factorised(2)[1], lambda: chain(2)], ids=["factorised", "chain"])
def test_the_closed_form_is_the_sum_over_all_outputs(teacher: Callable[[], Any], student: Callable[[], Any]) -> None:
    q, p = teacher(), student()
    found = Exact().cross_entropy(q, p, None)
    for example, length in enumerate(LENGTHS.tolist()):
        outputs = as_candidates(strings(V, length, shortest=length), batch=3)
        log_q, log_p = (each.log_prob(outputs)[example] for each in (q, p))
        assert found[example].item() == pytest.approx(-(log_q.exp() * log_p).sum().item(), abs=1e-9)
        divergence = found[example] - q.entropy()[example]
        assert divergence.item() == pytest.approx((log_q.exp() * (log_q - log_p)).sum().item(), abs=1e-9)
    torch.testing.assert_close(Exact().cross_entropy(q, q, None), q.entropy(), rtol=0, atol=1e-9)


def test_rml_is_distillation_from_its_payoff() -> None:
    """With q the Hamming payoff: as a whole, and symbol by symbol on a model whose labels are independent."""
    payoff = HammingPayoff(temperature=Temperature(literal=0.7))
    q, (_, p) = payoff.distribution(FIXED, V), factorised(2)
    rml = RML(payoff=payoff, estimator=Exact())(p, FIXED).values
    torch.testing.assert_close(cross_entropy(q, p), rml, rtol=0, atol=1e-12)
    written_out = Factorised(q.marginals().log(), FIXED.lengths)
    symbols = per_position(along(written_out, FIXED), along(p, FIXED))
    torch.testing.assert_close(symbols.cross_entropy.squeeze(1), rml, rtol=0, atol=1e-9)
    torch.testing.assert_close(symbols.divergence.squeeze(1), rml - q.entropy(), rtol=0, atol=1e-9)


def test_draws_have_the_closed_form_as_their_mean() -> None:
    (_, q), (_, p) = factorised(1), factorised(2)
    sampled = Sampled(k=20_000)
    found = sampled.cross_entropy(q, p, sampled.draw(q, torch.Generator().manual_seed(0)))
    # log p varies by less than 3 nats a draw, so 5 standard errors are below 0.11: a false alarm in 10^6
    assert (found - Exact().cross_entropy(q, p, None)).abs().max() < 0.11


def test_the_best_outputs_weigh_by_their_probability_under_the_teacher() -> None:
    (_, q), (_, p) = factorised(1), factorised(2)
    ranked = q.n_best(4)
    log_p = p.log_prob(ranked.outputs)
    one = Best(k=1).cross_entropy(q, p, None)
    torch.testing.assert_close(one, -log_p[:, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(one, -p.log_prob(q.argmax().candidates()).squeeze(1), rtol=0, atol=1e-12)
    weights = ranked.log_probs[0, :4].exp()
    four = -(weights * log_p[0, :4]).sum() / weights.sum()
    torch.testing.assert_close(Best(k=4).cross_entropy(q, p, None)[0], four, rtol=0, atol=1e-12)
    every = Best(k=27, search=27).cross_entropy(q, p, None)
    torch.testing.assert_close(every, Exact().cross_entropy(q, p, None), rtol=0, atol=1e-9)


def test_the_best_output_of_a_decoder_is_what_its_beam_predicts() -> None:
    q, p = tiny_p(V, seed=1), tiny_p(V, seed=2)
    predicted = q.beam(5).outputs
    best = Sequences(predicted.labels[:, :1], predicted.lengths[:, :1])
    torch.testing.assert_close(Best().cross_entropy(q, p, None), -p.log_prob(best).squeeze(1), rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------------------------- in training

TEACHER = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(TEACHER, root=tmp_path_factory.mktemp("teachers"))


@pytest.fixture(scope="module")
def tagging_teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs on a task whose outputs are as long as their inputs."""
    root = tmp_path_factory.mktemp("taggers")
    models: dict[str, Model] = {"tagger": LSTMTagger(embedding=4, hidden=4), "chain": CRF(embedding=4, hidden=4)}
    return {name: train(replace(TEACHER, model=model), root=root) for name, model in models.items()}


def training(experiment: Experiment) -> Training:
    return Training(experiment, EncodedData.of(experiment.task.load(), experiment.model), device="cpu", observer=ignore)


def by(teacher: Run, **fields: Any) -> Distillation:
    return Distillation(teacher=str(teacher.folder.path), **fields)


def test_a_student_begins_and_ends_without_touching_its_teacher(teacher: Run, tmp_path: Path) -> None:
    under_way = training(replace(TEACHER, objective=by(teacher)))
    state = under_way.stepper.modules.state
    assert isinstance(state, Teacher)
    before = {name: value.clone() for name, value in state.state_dict().items()}
    under_way.stepper.modules.train()
    under_way.rehearse(3)
    assert all(torch.equal(value, before[name]) for name, value in state.state_dict().items())
    assert not any(module.training for module in state.modules())
    trained = [each for group in under_way.stepper.optimizer.param_groups for each in group["params"]]
    assert {id(each) for each in trained} == {id(each) for each in under_way.model.parameters()}
    run = train(replace(TEACHER, objective=by(teacher)), root=tmp_path)
    assert run.result.history[0].diagnostics["divergence"] > 0
    assert set(checkpoint.load(run.folder.weights)) == set(under_way.model.state_dict()), "the teacher stays behind"


def test_a_student_with_the_weights_of_its_teacher_has_nothing_to_learn(teacher: Run) -> None:
    state = by(teacher).state(teacher.sizes)
    inputs, targets = teacher.codec.read([("a", "b"), ("b",)]).gather(torch.arange(2)), Sequences.of([[0, 1], [1]])
    found = by(teacher)(teacher.model(inputs), targets, state=state, inputs=inputs)
    assert found.diagnostics["divergence"].abs().max() < 1e-5


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 3.0},
        {"per": "sequence", "estimator": Sampled(k=2)},
        {"per": "sequence", "estimator": Best()},
    ],
)
def test_a_distilled_run_is_resumed_to_the_same_weights(fields: dict[str, Any], teacher: Run, tmp_path: Path) -> None:
    experiment = replace(TEACHER, objective=by(teacher, **fields))
    taken = iter(range(3))
    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path / "interrupted", stopping=lambda: next(taken, None) is None)
    runs = [train(experiment, root=tmp_path / each) for each in ("interrupted", "undisturbed")]
    weights = [checkpoint.load(run.folder.weights) for run in runs]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize("student", [LSTMTagger(embedding=4, hidden=4), CRF(embedding=4, hidden=4)])
@pytest.mark.parametrize("name", ["tagger", "chain"])
@pytest.mark.parametrize("estimator", [Exact(), Sampled(k=2), Best(k=2)])
def test_taggers_and_chains_teach_each_other(
    student: Model, name: str, estimator: Any, tagging_teachers: dict[str, Run]
) -> None:
    objective = by(tagging_teachers[name], per="sequence", estimator=estimator)
    under_way = training(replace(TEACHER, model=student, objective=objective))
    under_way.rehearse(2)
    assert under_way.totals.loss() > 0


def test_the_dropout_of_a_student_is_that_of_other_arms(teacher: Run) -> None:
    states = []
    for objective in (MaximumLikelihood(), by(teacher)):
        arm = training(replace(TEACHER, objective=objective))
        arm.rehearse(3)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_distillation_may_be_a_part(teacher: Run) -> None:
    parts = (Weighted(objective=MaximumLikelihood(), weight=0.5), Weighted(objective=by(teacher), weight=0.5))
    under_way = training(replace(TEACHER, objective=WeightedSum(parts=parts)))
    under_way.rehearse(2)
    assert "distillation/divergence" in under_way.totals.diagnostics()


def test_the_identity_is_that_of_the_teachers_run_too(teacher: Run, tmp_path: Path) -> None:
    experiment, folder = replace(TEACHER, objective=by(teacher)), teacher.folder.path
    before = experiment.identity("data")
    other = train(replace(TEACHER, seed=TEACHER.seed + 1), root=tmp_path).folder.path
    aside = folder.rename(folder.with_name("aside"))
    try:
        shutil.copytree(other, folder)
        assert experiment.identity("data") != before
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)
    assert experiment.identity("data") == before
    assert Experiment.from_json(experiment.to_json()) == experiment


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Distillation(teacher="x", estimator=Sampled()), r"per='position'\) .* needs no Sampled\(\); leave"),
        (lambda: Distillation(teacher="x", per="sequence", temperature=2), "has no temperature, but got 2"),
        (lambda: Best(k=6), r"Best\.search must be at least k, 6, but got 5"),
        (
            lambda: replace(TEACHER, objective=Distillation(teacher="x", per="sequence")),
            r"with Exact\(\) needs `cross_entropy_from`.*Seq2Seq.*Sampled\(k=1\)",
        ),
        (
            lambda: replace(TEACHER, model=CRF(), objective=Distillation(teacher="x")),
            r"per='position'\) needs `steps`.*CRF.*per='sequence'",
        ),
        (
            lambda: RML(payoff=HammingPayoff(temperature=Temperature(literal=1)), estimator=Best()),
            r"RML cannot take Best\(\) with HammingPayoff, .*; use estimator=Sampled\(k=1\)",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_teacher_that_is_no_finished_run_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere: expected the folder of a run"):
        train(replace(TEACHER, objective=Distillation(teacher="nowhere")), root=tmp_path / "runs")
    with pytest.raises(Interrupted):
        train(TEACHER, root=tmp_path / "half", stopping=lambda: True)
    (half,) = (tmp_path / "half").iterdir()
    with pytest.raises(RunError, match="this run is not finished"):
        train(replace(TEACHER, objective=Distillation(teacher=str(half))), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_teacher_of_other_symbols_is_refused(teacher: Run) -> None:
    task = Pronunciation(size=60, held_out=20)
    with pytest.raises(ConfigError, match="was trained on other symbols than those of this task"):
        training(replace(TEACHER, task=task, objective=by(teacher)))
    with pytest.raises(ConfigError, match="other symbols"):
        by(teacher).state(Sizes(num_inputs=2, num_labels=2, label_counts=(1, 1), references=1))


def test_a_teacher_without_the_verb_is_refused(teacher: Run, tagging_teachers: dict[str, Run]) -> None:
    with pytest.raises(ConfigError, match=r"asks the teacher for ExpectedScore, which Seq2Seq .* does not offer"):
        by(teacher, per="sequence").state(teacher.sizes)
    with pytest.raises(ConfigError, match=r"asks the teacher for StepScores, which CRF .* use per='sequence'"):
        by(tagging_teachers["chain"]).state(teacher.sizes)


def test_a_teacher_of_another_kind_is_refused(teacher: Run, tagging_teachers: dict[str, Run]) -> None:
    with pytest.raises(ConfigError, match=r"leaves the length to the input, but the student decides the length itself"):
        training(replace(TEACHER, objective=by(tagging_teachers["tagger"]))).rehearse(1)
    state: nn.Module = by(teacher).state(teacher.sizes)
    with pytest.raises(ConfigError, match="reads symbols, but the student's inputs are vectors; give both"):
        state(FlatSequences.of([[0]], torch.ones(1, 2)).gather(torch.tensor([0])))


def test_without_its_teacher_it_says_what_to_pass() -> None:
    objective: Objective = Distillation(teacher="x")
    with pytest.raises(ConfigError, match=r"pass state=objective\.state\(sizes\) and inputs="):
        objective(tiny_p(V), FREE)
