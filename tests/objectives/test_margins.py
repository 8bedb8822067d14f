"""Hinges and softmax-margins against the list of all outputs, in float64."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from structpred.distributions import Factorised, LinearChain
from structpred.errors import ConfigError
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import Beam, CandidateHinge, MaximumLikelihood, MaxMargin, NBest, Perceptron, SoftmaxMargin
from structpred.objectives.candidate_hinge import Violations, margins, violation
from structpred.rewards import EditDistance, FunctionReward, Hamming
from structpred.sequences import Sequences
from tests.support.tiny import as_candidates, strings, tiny_p, tiny_seq2seq

V = 3
TARGETS = [[0, 2, 1], [1], []]
SCALES = [0.4, 1.0, 5.0]
NO_COST = 1e-15  # a scale must be above 0; rounding swallows this one

Distribution = Factorised | LinearChain


class Scores:
    """Unary and pairwise scores, and the distribution that is made of them; garbage stands in the padding."""

    def __init__(self, kind: str, seed: int = 0, sharpness: float = 1.5) -> None:
        source = torch.Generator().manual_seed(seed)
        self.kind = kind
        lengths = torch.tensor([len(target) for target in TARGETS])
        garbage = (torch.arange(3) >= lengths.unsqueeze(1)).unsqueeze(-1)
        unary = sharpness * torch.randn(len(TARGETS), 3, V, generator=source, dtype=torch.float64)
        pairs = sharpness * torch.randn(V, V, generator=source, dtype=torch.float64)
        self.unary = unary.masked_fill(garbage, math.nan).requires_grad_()
        self.pairs = (pairs if kind == "chain" else torch.zeros_like(pairs)).requires_grad_()
        labels = torch.where(garbage.squeeze(-1), 7, Sequences.of(TARGETS).labels)
        self.targets, self.lengths = Sequences(labels, lengths), lengths

    def p(self) -> Distribution:
        if self.kind == "chain":
            return LinearChain(self.unary, self.pairs, self.lengths)
        return Factorised(self.unary, self.lengths)

    def outputs(self, example: int) -> list[list[int]]:
        length = len(TARGETS[example])
        return strings(V, length, shortest=length)

    def score(self, example: int, output: list[int]) -> Tensor:
        total = self.unary.new_zeros(())
        for t, label in enumerate(output):
            total = total + self.unary[example, t, label]
            if t:
                total = total + self.pairs[output[t - 1], label]
        return total

    def augmented(self, example: int, scale: float) -> Tensor:
        """score(y) + c·Δ(y, y*) of every output."""
        target = TARGETS[example]
        return torch.stack(
            [self.score(example, each) + scale * distance(each, target) for each in self.outputs(example)]
        )

    def over_examples(self, value: Callable[[int], Tensor]) -> Tensor:
        return torch.stack([value(example) for example in range(len(TARGETS))])

    def gradient(self, loss: Tensor) -> tuple[Tensor, ...]:
        leaves = [self.unary, self.pairs] if self.kind == "chain" else [self.unary]
        return torch.autograd.grad(loss, leaves, retain_graph=True)


def distance(one: list[int], other: list[int]) -> int:
    return sum(map(int.__ne__, one, other))


def losses(objective: Objective, scores: Scores) -> Tensor:
    return objective(scores.p(), scores.targets).values


def close(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.fixture(params=["chain", "factorised"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scores(kind: str) -> Scores:
    return Scores(kind)


# ----------------------------------------------------------------------------------------------------- exact search


@pytest.mark.parametrize("scale", SCALES)
def test_the_hinge_is_the_maximum_over_all_outputs(scores: Scores, scale: float) -> None:
    expected = scores.over_examples(lambda i: scores.augmented(i, scale).max() - scores.score(i, TARGETS[i]))
    found = losses(MaxMargin(scale=scale), scores)
    close(found, expected)
    assert found[2] == 0, "the empty output has no rival"
    close(scores.gradient(found.sum()), scores.gradient(expected.sum()))


def test_the_subgradient_is_the_features_of_the_worst_output_less_those_of_the_reference(scores: Scores) -> None:
    unary, pairs = torch.zeros_like(scores.unary), torch.zeros_like(scores.pairs)
    for example, target in enumerate(TARGETS):
        worst = scores.outputs(example)[int(scores.augmented(example, 1.0).argmax())]
        for output, sign in ((worst, 1), (target, -1)):
            for t, label in enumerate(output):
                unary[example, t, label] += sign
            for before, after in itertools.pairwise(output):
                pairs[before, after] += sign
    found = scores.gradient(losses(MaxMargin(), scores).sum())
    close(found[0], unary)
    if scores.kind == "chain":
        close(found[1], pairs)


@pytest.mark.parametrize("seed", range(20))
def test_the_hinge_bounds_the_cost_of_the_prediction(kind: str, seed: int) -> None:
    scores = Scores(kind, seed)
    p = scores.p()
    cost = -Hamming().score(p.argmax().candidates(), Sequences.of(TARGETS)).squeeze(1)
    assert (losses(MaxMargin(), scores) >= cost).all()


@pytest.mark.parametrize(("lead", "left"), [(0.75, 0.25), (1.0, 0.0), (1.5, 0.0)])
def test_the_hinge_is_zero_just_where_every_margin_holds(kind: str, lead: float, left: float) -> None:
    scores = Scores(kind)
    with torch.no_grad():
        scores.pairs.zero_()
        for example, target in enumerate(TARGETS):
            for t, label in enumerate(target):
                scores.unary[example, t] = lead * (torch.arange(V) == label)
    found = MaxMargin()(scores.p(), scores.targets)
    close(found.values, left * scores.lengths.double())  # each position may gain 1 in cost for its lead in score
    assert found.diagnostics["violated"].tolist() == [left > 0, left > 0, False]
    if lead > 1:  # at 1 a rival ties with the reference
        assert not any(each.any() for each in scores.gradient(found.values.sum()))


def test_a_cost_of_zero_is_the_perceptron(scores: Scores) -> None:
    expected = scores.over_examples(lambda i: scores.augmented(i, 0.0).max() - scores.score(i, TARGETS[i]))
    found = Perceptron()(scores.p(), scores.targets)
    close(found.values, expected)
    close(found.values, losses(MaxMargin(scale=NO_COST), scores))
    close(scores.gradient(found.values.sum()), scores.gradient(expected.sum()))
    right = scores.p().argmax()
    assert found.diagnostics["violated"].tolist() == [
        each != t for each, t in zip(right.tolist(), TARGETS, strict=True)
    ]
    close(Perceptron()(scores.p(), right).values, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("scale", SCALES)
def test_softmax_margin_is_the_log_sum_over_all_outputs(scores: Scores, scale: float) -> None:
    expected = scores.over_examples(lambda i: scores.augmented(i, scale).logsumexp(0) - scores.score(i, TARGETS[i]))
    found = losses(SoftmaxMargin(scale=scale), scores)
    close(found, expected)
    close(scores.gradient(found.sum()), scores.gradient(expected.sum()))


@pytest.mark.parametrize("scale", SCALES)
def test_softmax_margin_lies_between_the_hinge_and_the_hinge_with_room_for_every_output(
    scores: Scores, scale: float
) -> None:
    hinge, soft = losses(MaxMargin(scale=scale), scores), losses(SoftmaxMargin(scale=scale), scores)
    assert (hinge <= soft + 1e-12).all()
    assert (soft <= hinge + scores.lengths * math.log(V) + 1e-12).all()
    assert (soft >= losses(MaximumLikelihood(), scores) - 1e-12).all()


def test_softmax_margin_without_a_cost_is_the_likelihood(scores: Scores) -> None:
    soft, likelihood = losses(SoftmaxMargin(scale=NO_COST), scores), losses(MaximumLikelihood(), scores)
    close(soft, likelihood)
    close(scores.gradient(soft.sum()), scores.gradient(likelihood.sum()))


def test_softmax_margin_of_large_scores_becomes_the_hinge(kind: str) -> None:
    scores, factor = Scores(kind), 1e4
    hinge = losses(MaxMargin(), scores)
    with torch.no_grad():
        scores.unary *= factor
        scores.pairs *= factor
    soft = losses(SoftmaxMargin(scale=factor), scores) / factor
    assert ((soft - hinge).abs() <= scores.lengths * math.log(V) / factor + 1e-12).all()


def test_the_gradient_of_softmax_margin_is_the_tilted_marginals_less_the_reference(scores: Scores) -> None:
    tilted = scores.p().loss_augmented(Hamming().costs(scores.targets, V))
    expected = tilted.marginals().detach()
    for example, target in enumerate(TARGETS):
        for t, label in enumerate(target):
            expected[example, t, label] -= 1
    close(scores.gradient(losses(SoftmaxMargin(), scores).sum())[0], expected)


def test_the_cost_in_the_diagnostics_is_that_of_the_worst_output(scores: Scores) -> None:
    costs = MaxMargin(scale=5.0)(scores.p(), scores.targets).diagnostics["cost"]
    for example, target in enumerate(TARGETS):
        worst = scores.outputs(example)[int(scores.augmented(example, 5.0).argmax())]
        assert costs[example] == distance(worst, target)


# ------------------------------------------------------------------------------------------------------- candidates

EVERY = 40  # more than the 31 outputs of at most four of two labels, and than the 27 of three positions
FREE = [[0, 1, 1], []]


def levenshtein(outputs: list[list[int]], target: list[int]) -> Tensor:
    candidates = as_candidates(outputs)
    return -EditDistance().score(candidates, Sequences.of([target])).squeeze(0).double()


def by_enumeration(violations: Violations, apart: Tensor) -> Tensor:
    return {"worst": apart.max(), "sum": apart.clamp(min=0).sum(), "softmax": apart.logsumexp(0)}[violations]


@pytest.mark.parametrize("violations", ["worst", "sum", "softmax"])
@pytest.mark.parametrize("candidates", [NBest(k=EVERY), Beam(k=EVERY)], ids=["n-best", "beam"])
def test_over_all_outputs_of_a_decoder_it_is_the_exact_margin(violations: Violations, candidates: NBest | Beam) -> None:
    module, inputs, every = tiny_seq2seq(2).eval(), Sequences.of([[0, 1, 2], [2]]), strings(2, 4)
    p = module(inputs)
    log_probs = p.log_prob(as_candidates(every, 2))
    expected = []
    for example, target in enumerate(FREE):
        costs = 0.7 * levenshtein(every, target)
        apart = log_probs[example] + costs - log_probs[example, every.index(target)]
        expected.append(by_enumeration(violations, apart))
    objective = CandidateHinge(candidates=candidates, violations=violations, scale=0.7)
    found, exact = objective(p, Sequences.of(FREE)).values, torch.stack(expected)
    close(found, exact)
    parameters = list(module.parameters())
    gradients = [torch.autograd.grad(each.sum(), parameters, retain_graph=True) for each in (found, exact)]
    close(*gradients)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_the_pseudo_reference_is_the_best_candidate(length_penalty: float) -> None:
    p, every = tiny_p(2), strings(2, 4)
    candidates = NBest(k=5, reference="left out")
    outputs = candidates.draw(p, Sequences.of(FREE), None).outputs
    objective = CandidateHinge(candidates=candidates, against="best", length_penalty=length_penalty)
    found = objective(p, Sequences.of(FREE)).values
    log_probs = p.log_prob(as_candidates(every, 2))
    for example, target in enumerate(FREE):
        listed = Sequences(outputs.labels[example], outputs.lengths[example]).tolist()
        scores = torch.stack(
            [log_probs[example, every.index(each)] / (len(each) + 1) ** length_penalty for each in listed]
        )
        augmented = scores + levenshtein(listed, target)
        gold = int(levenshtein(listed, target).argmin())
        assert target not in listed or listed[gold] == target
        close(found[example], augmented.max() - augmented[gold])


@pytest.mark.parametrize(("violations", "exact"), [("worst", MaxMargin()), ("softmax", SoftmaxMargin())])
def test_over_all_outputs_of_a_tagger_it_is_the_exact_objective(
    scores: Scores, violations: Violations, exact: Objective
) -> None:
    objective = CandidateHinge(reward=Hamming(), candidates=NBest(k=EVERY), violations=violations)
    found, expected = losses(objective, scores), losses(exact, scores)
    close(found, expected)
    close(scores.gradient(found.sum()), scores.gradient(expected.sum()))


@pytest.mark.parametrize("k", [1, 4])
def test_over_some_outputs_it_is_at_most_the_exact_hinge(scores: Scores, k: int) -> None:
    objective = CandidateHinge(reward=Hamming(), candidates=NBest(k=k))
    assert (losses(objective, scores) <= losses(MaxMargin(), scores) + 1e-12).all()
    assert (losses(objective, scores) >= 0).all()


def test_two_candidates_give_the_whole_margin_and_not_half_of_it() -> None:
    scores = torch.tensor([[-1.0, -1.5]], dtype=torch.float64)
    rewards = torch.tensor([[0.0, -2.0]], dtype=torch.float64)
    apart = margins(scores, rewards, torch.tensor([0]))
    inside = torch.ones(1, 2, dtype=torch.bool)
    every: dict[Violations, float] = {"worst": 1.5, "sum": 1.5, "softmax": math.log1p(math.exp(1.5))}
    for violations, expected in every.items():
        close(violation(apart, inside, violations), torch.tensor([expected], dtype=torch.float64))


def test_the_sum_is_not_divided_by_the_number_of_candidates_and_those_outside_the_set_do_not_count() -> None:
    apart = torch.tensor([[0.0, 1.0, 2.0, 9.0]], dtype=torch.float64)
    inside = torch.tensor([[True, True, True, False]])
    assert [violation(apart, inside, "worst").item(), violation(apart, inside, "sum").item()] == [2.0, 3.0]


def test_each_example_is_measured_from_its_own_gold_candidate() -> None:
    scores, rewards = torch.tensor([[-1.0, -2.0], [-1.0, -2.0]]), torch.tensor([[0.0, -1.0], [-1.0, 0.0]])
    assert margins(scores, rewards, torch.tensor([0, 1])).tolist() == [[0.0, 0.0], [2.0, 0.0]]


def test_the_share_of_violating_candidates_is_reported() -> None:
    p = tiny_p(2)
    tiny, huge = (CandidateHinge(scale=scale)(p, Sequences.of(FREE)).diagnostics["violated"] for scale in (1e-9, 1e9))
    assert (tiny <= huge).all()
    sizes = NBest().draw(p, Sequences.of(FREE), None).mask.sum(1)
    close(huge.double(), ((sizes - 1) / sizes).double())  # all but the reference


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("make", [MaxMargin, SoftmaxMargin])
@pytest.mark.parametrize("reward", [EditDistance(), FunctionReward(function="operator:eq")])
def test_a_reward_that_is_no_sum_over_positions_is_refused(
    make: type[MaxMargin] | type[SoftmaxMargin], reward: EditDistance | FunctionReward
) -> None:
    words = rf"{make.__name__} needs a reward that is a sum.*{type(reward).__name__} is not.*hamming.*CandidateHinge"
    with pytest.raises(ConfigError, match=words):
        make(reward=reward)


@pytest.mark.parametrize("objective", [MaxMargin(), SoftmaxMargin(), Perceptron()])
def test_an_exact_search_is_refused_on_a_decoder(objective: Objective) -> None:
    with pytest.raises(ConfigError, match=rf"{type(objective).__name__} needs `.*of Seq2Seq.*use CandidateHinge"):
        objective.check_model(Seq2Seq())
    for model in (LSTMTagger(), CRF()):
        objective.check_model(model)


def test_candidates_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"NBest\(reference='left out'\) does not add it; use reference='added'"):
        CandidateHinge(candidates=NBest(reference="left out"))
    with pytest.raises(ConfigError, match="CandidateHinge with the reward Hamming needs outputs as long"):
        CandidateHinge(reward=Hamming()).check_model(Seq2Seq())
    with pytest.raises(ConfigError, match=r"CandidateHinge with Beam\(\) needs `beam`.*CRF"):
        CandidateHinge(candidates=Beam()).check_model(CRF())
    with pytest.raises(ConfigError, match=r"MaxMargin\.scale must be above 0, but got 0"):
        MaxMargin(scale=0.0)


def test_only_exact_searches_say_so() -> None:
    assert [each.exact for each in (MaxMargin(), SoftmaxMargin(), Perceptron(), CandidateHinge())] == [True] * 3 + [
        False
    ]
