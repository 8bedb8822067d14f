"""Objectives made of others: exactly the weighted sums of their parts, at the right time, each with its own draws."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError, Interrupted
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import (
    RML,
    Anneal,
    Exact,
    LabelSmoothing,
    MaximumLikelihood,
    Point,
    Sampled,
    Switch,
    Weighted,
    WeightedSum,
)
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.registry import objectives
from structpred.runs import train
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training import Trainer, checkpoint
from structpred.training.meters import Totals
from tests.support.tiny import Copying, tiny_p, tiny_seq2seq

LABELS = 3
SIZES = Sizes(num_inputs=3, num_labels=LABELS, label_counts=(5, 1, 2), references=4)
TARGETS = Sequences.of([[0, 2, 1], [1]])
INPUTS = Sequences.of([[0, 1], [2]])

ML = MaximumLikelihood()
UNIGRAM = LabelSmoothing(epsilon=0.3, prior="unigram")
TWO = RML(payoff=EditDistancePayoff(temperature=Temperature(literal=0.5)), estimator=Sampled(k=2))
ONE = RML(payoff=HammingPayoff(temperature=Temperature(literal=0.5)), estimator=Sampled(k=1))
SUM = WeightedSum(
    parts=(
        Weighted(objective=ML),
        Weighted(objective=TWO, weight=0.25, name="edits"),
        Weighted(objective=UNIGRAM, weight=3),
        Weighted(objective=ONE, weight=0.5),
    )
)
WEIGHTS = {"maximum-likelihood": 1.0, "edits": 0.25, "label-smoothing": 3.0, "rml": 0.5}


@objectives.register("test-noisy")
@dataclass(frozen=True, kw_only=True)
class Noisy(Objective):
    """Likelihood given inputs whose symbols have all become one."""

    symbol: int = 0

    requires = (LogProb,)

    def corrupt(self, inputs: Any, symbols: int, generator: torch.Generator | None) -> Sequences:
        return Sequences(torch.full_like(inputs.labels, self.symbol), inputs.lengths)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        return Losses(-p.log_prob(targets.candidates()).squeeze(1))


@objectives.register("test-secretive")
@dataclass(frozen=True, kw_only=True)
class Secretive(Noisy):
    """Draws ahead without saying how many."""

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences:
        return targets.candidates()


@dataclass(frozen=True, kw_only=True)
class Silent(Objective):
    """Does not say what it requires."""

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        return Losses(-p.log_prob(targets.candidates()).squeeze(1))


@pytest.mark.parametrize("requires", [None, LogProb, "log_prob", ("log_prob",)])
def test_an_objective_that_does_not_say_what_it_requires_is_told_how(
    requires: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if requires is not None:
        monkeypatch.setattr(Silent, "requires", requires, raising=False)
    with pytest.raises(ConfigError, match=r"^Silent must name the verbs of p .* as in requires = \(LogProb,\) "):
        Silent().check_model(Seq2Seq())


def parts_by_hand(module: nn.Module, draws: Sequences) -> dict[str, Losses]:
    """Every part on its own, with its share of the draws."""
    p = module(INPUTS)
    own = {"edits": draws_of(draws, slice(0, 2)), "rml": draws_of(draws, slice(2, 3))}
    return {
        part.label: part.objective(p, TARGETS, draws=own.get(part.label), state=part.objective.state(SIZES))
        for part in SUM.parts
    }


def draws_of(draws: Sequences, chosen: slice) -> Sequences:
    return Sequences(draws.labels[:, chosen], draws.lengths[:, chosen])


def gradient(values: torch.Tensor, module: nn.Module) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(values.sum(), list(module.parameters()), retain_graph=True)


# ------------------------------------------------------------------------------------------------ the weighted sum


def test_a_sum_has_exactly_the_values_and_gradients_of_its_parts() -> None:
    module, draws = tiny_seq2seq(LABELS), SUM.draw(TARGETS, LABELS, torch.Generator().manual_seed(0))
    assert draws is not None
    found = SUM(module(INPUTS), TARGETS, draws=draws, state=SUM.state(SIZES))
    by_hand = parts_by_hand(module, draws)
    total = sum((WEIGHTS[name] * each.values for name, each in by_hand.items()), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(found.values, total, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient(found.values, module), gradient(total, module), rtol=0, atol=1e-12)
    assert set(found.diagnostics) == {*(f"{name}/loss" for name in WEIGHTS), "edits/unchanged", "rml/unchanged"}
    for name, each in by_hand.items():
        torch.testing.assert_close(found.diagnostics[f"{name}/loss"], each.values.detach(), rtol=0, atol=0)
    assert not any(values.requires_grad for values in found.diagnostics.values())


def test_a_sum_of_one_part_is_that_part() -> None:
    p = tiny_p(LABELS)
    alone = WeightedSum(parts=(Weighted(objective=ML),))
    assert torch.equal(alone(p, TARGETS).values, ML(p, TARGETS).values)
    assert (alone.drawn, alone.draw(TARGETS, LABELS, torch.Generator()), alone.state(SIZES)) == (0, None, None)


def test_every_part_gets_its_own_draws() -> None:
    assert (ML.drawn, TWO.drawn, ONE.drawn, replace(ONE, estimator=Exact()).drawn, SUM.drawn) == (0, 2, 1, 0, 3)
    ahead = SUM.draw(TARGETS, LABELS, torch.Generator().manual_seed(7))
    assert ahead is not None
    assert ahead.lengths.shape == (2, 3)
    source = torch.Generator().manual_seed(7)
    for part, chosen in ((TWO, slice(0, 2)), (ONE, slice(2, 3))):
        alone = part.draw(TARGETS, LABELS, source)
        assert alone is not None
        assert alone.flatten().tolist() == draws_of(ahead, chosen).flatten().tolist()
    p = tiny_p(LABELS)
    within = SUM(p, TARGETS, state=SUM.state(SIZES), generator=torch.Generator().manual_seed(7)).values
    given = SUM(p, TARGETS, draws=ahead, state=SUM.state(SIZES)).values
    torch.testing.assert_close(within, given, rtol=0, atol=1e-12)


def test_sums_may_be_parts() -> None:
    inner = WeightedSum(parts=(Weighted(objective=TWO), Weighted(objective=UNIGRAM)))
    outer = WeightedSum(parts=(Weighted(objective=ONE), Weighted(objective=inner, weight=2)))
    flat = WeightedSum(
        parts=(
            Weighted(objective=ONE),
            Weighted(objective=TWO, weight=2, name="two"),
            Weighted(objective=UNIGRAM, weight=2),
        )
    )
    p, results = tiny_p(LABELS), []
    for each in (outer, flat):
        draws = each.draw(TARGETS, LABELS, torch.Generator().manual_seed(1))
        results.append(each(p, TARGETS, draws=draws, state=each.state(SIZES)))
    torch.testing.assert_close(results[0].values, results[1].values, rtol=0, atol=1e-12)
    assert "weighted-sum/label-smoothing/loss" in results[0].diagnostics


def test_a_sum_is_exact_where_its_parts_are_and_needs_what_they_need() -> None:
    assert not SUM.exact
    assert WeightedSum(parts=(Weighted(objective=ML), Weighted(objective=UNIGRAM))).exact
    assert {each.purpose for each in SUM.requirements()} == {
        "MaximumLikelihood", "RML with Sampled()", "LabelSmoothing",
    }  # fmt: skip


def test_states_are_trained_and_saved_with_the_run() -> None:
    state = SUM.state(SIZES)
    assert state is not None
    assert list(state.state_dict()) == ["2.counts"]
    with pytest.raises(ConfigError, match=r"state=objective\.state\(sizes\)"):
        SUM(tiny_p(LABELS), TARGETS, generator=torch.Generator())


def test_one_part_may_put_noise_on_the_inputs() -> None:
    noisy = WeightedSum(parts=(Weighted(objective=ML), Weighted(objective=Noisy())))
    assert noisy.corrupts
    assert not SUM.corrupts
    assert noisy.corrupt(INPUTS, 3, None).tensors()[0].tolist() == [[0, 0], [0, 0]]
    assert SUM.corrupt(INPUTS, 3, None) is INPUTS
    again = (*noisy.parts, Weighted(objective=Noisy(symbol=1), name="again"))
    with pytest.raises(ConfigError, match="'test-noisy' and 'again' each put noise on it; keep one"):
        WeightedSum(parts=again)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedSum(parts=()), "needs at least one part"),
        (
            lambda: WeightedSum(parts=(Weighted(objective=ML),) * 2),
            "'maximum-likelihood' occurs twice; set Weighted.name",
        ),
        (lambda: Weighted(objective=ML, weight=0), r"Weighted\.weight must be above 0"),
        (lambda: Weighted(objective=ML, weight=-1), r"Weighted\.weight must be above 0"),
        (lambda: Point(), "exactly one of step, share, but got none"),
        (lambda: Point(step=1, share=0.1), "exactly one of step, share, but got step and share"),
        (
            lambda: Point(share=1.5),
            r"Point\.share must be at most 1 and at least 0|Point\.share must be at least 0 and",
        ),
        (lambda: Switch(first=Noisy(), second=ML, at=Point(step=1)), "Switch cannot take Noisy: .* start= the first"),
        (lambda: Anneal(first=ML, second=ONE, start=Point(step=1), end=Point(share=1)), "in the same unit"),
        (lambda: Anneal(first=ML, second=ONE, start=Point(step=3), end=Point(step=3)), "but got 3 after 3; use Switch"),
    ],
)
def test_what_cannot_be_combined_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_a_part_refuses_is_refused() -> None:
    exact = WeightedSum(parts=(Weighted(objective=ML), Weighted(objective=replace(ONE, estimator=Exact()))))
    with pytest.raises(ConfigError, match=r"RML with Exact\(\) needs `cross_entropy_from`"):
        Experiment(task=Copying(), model=Seq2Seq(), objective=exact)


def test_draws_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs 3 samples per example, .* \(0, 2, 0, 1\), but got 2"):
        SUM(tiny_p(LABELS), TARGETS, draws=TWO.draw(TARGETS, LABELS, torch.Generator()))
    secretive = WeightedSum(parts=(Weighted(objective=Secretive()),))
    with pytest.raises(ConfigError, match=r"Secretive .* declares 0 candidates, but `draw` returned 1"):
        secretive.draw(TARGETS, LABELS, torch.Generator())


# ---------------------------------------------------------------------------------------------------- over time


@pytest.mark.parametrize("at", [Point(step=3), Point(share=0.5)])
def test_a_switch_is_exactly_at_its_point(at: Point) -> None:
    switch, p = Switch(first=ML, second=ONE, at=at), tiny_p(LABELS)
    draws = switch.draw(TARGETS, LABELS, torch.Generator().manual_seed(0))
    for step, share, active in [(2, 0.4999, "first"), (3, 0.5, "second"), (9, 1.0, "second"), (0, 0.0, "first")]:
        found = switch(p, TARGETS, draws=draws, step=step, share=share)
        expected = (switch.first if active == "first" else switch.second)(
            p, TARGETS, draws=draws if active == "second" else None
        )
        assert torch.equal(found.values, expected.values)
        assert {name.partition("/")[0] for name in found.diagnostics} == {active}


def test_a_part_that_does_not_count_is_not_computed() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Failing(Noisy):
        @property
        def corrupts(self) -> bool:
            return False

        def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
            pytest.fail("it was computed")

    switch = Switch(first=ML, second=Failing(), at=Point(step=1))
    torch.testing.assert_close(switch(tiny_p(LABELS), TARGETS).values, ML(tiny_p(LABELS), TARGETS).values)


def test_annealing_moves_the_weight_linearly() -> None:
    module = tiny_seq2seq(LABELS)
    anneal = Anneal(first=ML, second=UNIGRAM, start=Point(step=10), end=Point(step=20))
    for step, second in [(0, 0.0), (10, 0.0), (11, 0.1), (15, 0.5), (20, 1.0), (99, 1.0)]:
        p = module(INPUTS)
        found = anneal(p, TARGETS, step=step, state=anneal.state(SIZES)).values
        one, other = ML(p, TARGETS).values, UNIGRAM(p, TARGETS, state=UNIGRAM.state(SIZES)).values
        expected = (1 - second) * one + second * other
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(gradient(found, module), gradient(expected, module), rtol=0, atol=1e-12)
    by_share = replace(anneal, start=Point(share=0.2), end=Point(share=0.6))
    assert by_share.weights(StepContext(share=0.3)) == pytest.approx((0.75, 0.25))


def test_means_of_diagnostics_are_over_the_examples_that_have_them() -> None:
    totals = Totals()
    totals.add(torch.ones(2), {"first/loss": torch.tensor(3.0)}, tokens=2)
    totals.add(torch.ones(4), {"second/loss": torch.tensor(22.0)}, tokens=4)
    totals.add(torch.ones(1), {"second/loss": torch.tensor(3.0)}, tokens=1)
    assert totals.diagnostics() == {"first/loss": 1.5, "second/loss": 5.0}


# ---------------------------------------------------------------------------------------------------- in training

STEPS = 7  # not at an end of an epoch
SWITCHED = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=Switch(first=ML, second=TWO, at=Point(step=STEPS)),
    trainer=Trainer(epochs=3, batch_tokens=40),
)


@pytest.mark.parametrize("stop", [STEPS - 1, STEPS, STEPS + 1])
def test_a_run_interrupted_around_the_switch_goes_on_to_the_same_weights(stop: int, tmp_path: Path) -> None:
    undisturbed = train(SWITCHED, root=tmp_path / "undisturbed")
    taken = iter(range(stop))
    with pytest.raises(Interrupted):
        train(SWITCHED, root=tmp_path / "interrupted", stopping=lambda: next(taken, None) is None)
    resumed = train(SWITCHED, root=tmp_path / "interrupted")
    weights = [checkpoint.load(run.folder.weights) for run in (undisturbed, resumed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert [each.diagnostics for each in undisturbed.result.history] == [
        each.diagnostics for each in resumed.result.history
    ]
    names = [set(epoch.diagnostics) for epoch in undisturbed.result.history]
    assert "first/loss" in names[0]
    assert names[-1] == {"second/loss", "second/unchanged"}


def test_a_switch_is_its_first_objective_until_then(tmp_path: Path) -> None:
    late = replace(SWITCHED, objective=Switch(first=ML, second=TWO, at=Point(step=10**6)))
    runs = [train(each, root=tmp_path) for each in (late, replace(SWITCHED, objective=ML))]
    weights = [checkpoint.load(run.folder.weights) for run in runs]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    "objective", [SUM, Anneal(first=SWITCHED.objective, second=SUM, start=Point(share=0), end=Point(share=1))]
)
def test_combined_objectives_come_back_from_json_and_have_identities(objective: Objective) -> None:
    experiment = replace(SWITCHED, objective=objective)
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert experiment.identity("data") != SWITCHED.identity("data")
