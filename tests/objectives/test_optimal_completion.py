"""Optimal completion distillation against brute force over completions, in float64."""

import math
from dataclasses import dataclass

import pytest
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from structpred.distributions import Autoregressive
from structpred.distributions.protocols import Steps
from structpred.errors import ConfigError
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objectives import MaximumLikelihood, OptimalCompletion
from structpred.objectives.optimal_completion import excess_edits, optimal_policy, policy_divergence
from structpred.sequences import Sequences
from tests.support.tiny import as_candidates, strings, tiny_p, tiny_seq2seq

V, LONGEST = 2, 3
REFERENCES = strings(V, LONGEST)


def close(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def by_completions(prefix: list[int], reference: list[int]) -> list[int]:
    """The excess of each next symbol, over all completions that are no longer than the reference; last of the end."""
    ends = [
        min(Levenshtein.distance([*prefix, label, *rest], reference) for rest in strings(V, len(reference)))
        for label in range(V)
    ]
    ends.append(Levenshtein.distance(prefix, reference))
    return [end - min(ends) for end in ends]


@dataclass(frozen=True)
class Dictated:
    """p whose draws are given."""

    p: Autoregressive
    outputs: Sequences

    fixed_length = False

    @property
    def num_labels(self) -> int:
        return self.p.num_labels

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        assert self.outputs.lengths.shape[1] == k
        return self.outputs

    def steps(self, outputs: Sequences) -> Steps:
        return self.p.steps(outputs)


# ---------------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
def test_the_targets_are_the_first_symbols_of_the_best_completions(reference: list[int]) -> None:
    outputs = strings(V, 4)
    excess = excess_edits(as_candidates(outputs), Sequences.of([reference]), V)
    for number, output in enumerate(outputs):
        for t in range(len(output) + 1):
            assert excess[0, number, t].tolist() == by_completions(output[:t], reference), (output, t)


def test_each_candidate_of_each_example_has_targets_of_its_own() -> None:
    references = Sequences(torch.tensor([[0, 1, 9], [9, 9, 9], [1, 1, 0]]), torch.tensor([2, 0, 3]))
    outputs = [[[0, 1], [1]], [[0], []], [[1, 0, 0], [1]]]
    flat = Sequences.of([each for row in outputs for each in row])
    together = Sequences(flat.labels.view(3, 2, -1), flat.lengths.view(3, 2))
    excess = excess_edits(together, references, V)
    for example, reference in enumerate(references.tolist()):
        for number, output in enumerate(outputs[example]):
            for t in range(len(output) + 1):
                assert excess[example, number, t].tolist() == by_completions(output[:t], reference)


def test_along_the_reference_the_next_symbol_is_the_only_optimum_unless_symbols_repeat() -> None:
    excess = excess_edits(as_candidates([[0, 2, 1]]), Sequences.of([[0, 2, 1]]), 3)
    assert (excess[0, 0] == 0).int().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_an_empty_reference_wants_the_end_at_once_and_ever_after() -> None:
    excess = excess_edits(as_candidates([[0, 1]]), Sequences.of([[]]), V)
    assert excess[0, 0].tolist() == [[1, 1, 0]] * 3


def test_the_end_costs_what_is_missing() -> None:
    excess = excess_edits(as_candidates([[]]), Sequences.of([[0, 0, 0]]), V)
    assert excess[0, 0].tolist() == [[0, 1, 3]]


def test_a_temperature_softens_the_targets_and_zero_is_its_limit() -> None:
    excess = torch.tensor([[[[0.0, 1.0, 0.0, 3.0]]]])
    assert optimal_policy(excess, 0.0).tolist() == [[[[0.5, 0.0, 0.5, 0.0]]]]
    torch.testing.assert_close(optimal_policy(excess, 1e-3), optimal_policy(excess, 0.0))
    weights = [1.0, math.exp(-1 / 0.7), 1.0, math.exp(-3 / 0.7)]
    expected = torch.tensor([[[[weight / sum(weights) for weight in weights]]]])
    torch.testing.assert_close(optimal_policy(excess, 0.7), expected)


# ------------------------------------------------------------------------------------------------------------- loss


def divergence(p: Autoregressive, example: int, output: list[int], reference: list[int], temperature: float) -> Tensor:
    """Σ_t KL(π_t ‖ p_t) by hand; a cut output has one step fewer."""
    cut = len(output) > p.decoder.limits[example]
    steps = p.steps(as_candidates([output], 2)).log_probs[example, 0]
    total = steps.new_zeros(())
    for t in range(len(output) + (not cut)):
        excess = by_completions(output[:t], reference)
        weights = [float(e == 0) if temperature == 0 else math.exp(-e / temperature) for e in excess]
        for symbol, weight in enumerate(weights):
            share = weight / sum(weights)
            if share > 0:
                total = total + share * (math.log(share) - steps[t, symbol])
    return total


def every_draw(p: Autoregressive) -> Sequences:
    """All that p can draw: the strings up to its limit, and the prefixes just beyond it, cut."""
    limit = int(p.decoder.limits[0])
    rows = strings(V, limit + 1)
    outputs = as_candidates(rows, 2)
    return Sequences(outputs.labels, outputs.lengths, torch.tensor([[len(row) <= limit for row in rows]] * 2))


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_the_expected_loss_and_gradient_are_those_over_all_draws(temperature: float) -> None:
    """The gradient is that of the divergence under draws held fixed: none passes through drawing them."""
    module, references = tiny_seq2seq(V, longest=2), [[0, 1, 1], []]
    parameters = list(module.parameters())
    p = module(Sequences.of([[0, 1, 2], [2]]))
    outputs = every_draw(p)
    probabilities = p.log_prob(outputs).exp().detach()
    close(probabilities.sum(1), torch.ones(2, dtype=torch.float64))
    objective = OptimalCompletion(temperature=temperature)
    found = p.log_prob(outputs).new_zeros(())
    for number in range(outputs.lengths.shape[1]):
        assert outputs.ended is not None
        one = slice(number, number + 1)
        draw = Sequences(outputs.labels[:, one], outputs.lengths[:, one], outputs.ended[:, one])
        values = objective(Dictated(p, draw), Sequences.of(references)).values
        found = found + (probabilities[:, number] * values).sum()
    rows = Sequences(outputs.labels[0], outputs.lengths[0]).tolist()
    expected = sum(
        (
            probabilities[example, number] * divergence(p, example, row, references[example], temperature)
            for number, row in enumerate(rows)
            for example in range(2)
        ),
        start=torch.zeros((), dtype=torch.float64),
    )
    close(found, expected)
    gradients = [torch.autograd.grad(each, parameters, retain_graph=True) for each in (found, expected)]
    close(*gradients)


def test_several_draws_are_averaged() -> None:
    p, references, outputs = tiny_p(V), [[0, 1], [1]], [[0], [1, 1], []]
    found = OptimalCompletion(k=3)(Dictated(p, as_candidates(outputs, 2)), Sequences.of(references)).values
    for example, reference in enumerate(references):
        every = [divergence(p, example, output, reference, 0.0) for output in outputs]
        close(found[example], torch.stack(every).mean())


def test_a_draw_that_is_the_reference_is_maximum_likelihood() -> None:
    module, target = tiny_seq2seq(3), Sequences.of([[0, 2, 1], []])
    p = module(Sequences.of([[0, 1, 2], [2]]))
    found = OptimalCompletion()(Dictated(p, target.candidates()), target).values
    likelihood = MaximumLikelihood()(p, target).values
    close(found, likelihood)
    parameters = list(module.parameters())
    gradients = [torch.autograd.grad(each.sum(), parameters, retain_graph=True) for each in (found, likelihood)]
    close(*gradients)


def test_the_loss_is_zero_where_p_follows_the_targets() -> None:
    excess = excess_edits(as_candidates([[0, 0], [1]]), Sequences.of([[0, 1]]), V)
    for temperature in (0.0, 0.5):
        policy = optimal_policy(excess.double(), temperature)
        follows = Steps(policy.log(), torch.zeros(1, 2, 3, dtype=torch.long), torch.ones(1, 2, 3).bool())
        close(policy_divergence(policy, follows), torch.zeros(1, dtype=torch.float64))


def test_the_loss_is_the_divergence_and_not_the_cross_entropy() -> None:
    uniform = torch.full((1, 1, 1, 2), math.log(0.5), dtype=torch.float64)
    steps = Steps(uniform, torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1, dtype=torch.bool))
    both, one = (torch.tensor([[[each]]], dtype=torch.float64) for each in ([0.5, 0.5], [1.0, 0.0]))
    close(policy_divergence(both, steps), torch.zeros(1, dtype=torch.float64))
    close(policy_divergence(one, steps), torch.tensor([math.log(2)], dtype=torch.float64))


def test_diagnostics_count_optimal_symbols_and_the_steps_that_took_one() -> None:
    outputs, reference = [[1], [0, 0]], [0, 1]
    found = OptimalCompletion(k=2)(Dictated(tiny_p(V), as_candidates(outputs, 2)), Sequences.of([reference] * 2))
    optimal, followed = [], []
    for output in outputs:
        for t, taken in enumerate([*output, V]):
            excess = by_completions(output[:t], reference)
            optimal.append(excess.count(0))
            followed.append(excess[taken] == 0)
    for name, every in (("optimal", optimal), ("followed", followed)):
        torch.testing.assert_close(found.diagnostics[name], torch.full((2,), sum(every) / len(every)))


def test_draws_are_the_models_own_and_repeat_themselves() -> None:
    p, targets = tiny_p(V), Sequences.of([[0, 1], []])
    first, again = (OptimalCompletion(k=2)(p, targets, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    close(first.values, again.values)
    drawn = p.sample(2, torch.Generator().manual_seed(1))
    close(first.values, OptimalCompletion(k=2)(Dictated(p, drawn), targets).values)
    assert not OptimalCompletion().exact


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("model", [CRF(), LSTMTagger()])
def test_a_model_of_fixed_length_is_refused(model: CRF | LSTMTagger) -> None:
    words = rf"OptimalCompletion .*with {type(model).__name__} the input decides the length; use .*Seq2Seq"
    with pytest.raises(ConfigError, match=words):
        OptimalCompletion().check_model(model)
    OptimalCompletion().check_model(Seq2Seq())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"OptimalCompletion\.temperature must be at least 0, but got -1"):
        OptimalCompletion(temperature=-1.0)
    with pytest.raises(ConfigError, match=r"OptimalCompletion\.k must be at least 1, but got 0"):
        OptimalCompletion(k=0)
