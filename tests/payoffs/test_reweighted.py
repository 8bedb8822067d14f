"""q(y|y*) ∝ μ(y|y*) exp(r(y, y*)/τ) by weighted draws, against every output of small spaces."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import editdistance
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from structpred.errors import ConfigError
from structpred.payoffs import (
    AroundPayoff,
    BaseMeasure,
    EditDistancePayoff,
    HammingPayoff,
    NGramReplacement,
    Payoff,
    ReweightedPayoff,
    Substitution,
    Temperature,
)
from structpred.payoffs.base_measures import log_density
from structpred.rewards import EditDistance, FunctionReward, Hamming, Reward, SentenceBleu, SentenceGleu
from structpred.sequences import Sequences
from tests.support.tiny import as_candidates

Word = tuple[int, ...]
LABELS = 4
REFERENCE, OTHER = (0, 1, 1, 0), (2, 0, 1)
"""Drawn for together: the labels that occur are 0, 1 and 2, three, three times and once; 3 does not."""
TAU = 0.4
EDITED = Temperature(edit_rate=0.4)
EXACT_HAMMING = HammingPayoff(temperature=EDITED)
EXACT_EDITS = EditDistancePayoff(temperature=Temperature(literal=0.2))
"""Strings of more than 7 labels have less than one part in 10,000 of its mass."""


def nearly_one(output: list[int], reference: list[int]) -> float:
    """Rewards that single precision cannot tell apart."""
    del reference
    return 1 + 1e-9 * output.count(0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shares(substitutes: str) -> list[float]:
    """How probable each label is as a substitute."""
    counts = {"all": [1, 1, 1, 1], "batch": [1, 1, 1, 0], "unigram": [3, 3, 1, 0]}[substitutes]
    return [count / sum(counts) for count in counts]


def words(length: int) -> list[Word]:
    return list(itertools.product(range(LABELS), repeat=length))


def replaced(longest: int, substitutes: str) -> dict[Word, float]:
    """The probability of every n-gram replacement of the reference, adding up all the ways that lead to it."""
    m, found = len(REFERENCE), defaultdict[Word, float](float)
    most = min(longest, m)
    for n in range(1, most + 1):
        for i in range(m - n + 1):
            for new in itertools.product(range(LABELS), repeat=n):
                way = math.prod(shares(substitutes)[label] for label in new) / most / (m - n + 1)
                found[(*REFERENCE[:i], *new, *REFERENCE[i + n :])] += way
    return {word: probability for word, probability in found.items() if probability > 0}


def measure(base: BaseMeasure) -> dict[Word, float]:
    """μ of every output, up to a factor."""
    if isinstance(base, NGramReplacement):
        found = replaced(base.longest, base.substitutes)
        return found if base.density == "kept" else dict.fromkeys(found, 1.0)
    if isinstance(base, Substitution):
        cost = 1 / HammingPayoff(temperature=base.temperature).literal(LABELS)
        able = [label for label, share in enumerate(shares(base.substitutes)) if share > 0]
        outputs = itertools.product(able, repeat=len(REFERENCE))
        return {word: math.exp(-cost * sum(map(int.__ne__, word, REFERENCE))) for word in outputs}
    assert isinstance(base, AroundPayoff)
    cost = 1 / base.payoff.literal(LABELS)
    if isinstance(base.payoff, EditDistancePayoff):
        return {word: math.exp(-cost * editdistance.eval(word, REFERENCE)) for n in range(8) for word in words(n)}
    return {word: math.exp(-cost * sum(map(int.__ne__, word, REFERENCE))) for word in words(len(REFERENCE))}


TABLE = torch.tensor([[0.0, 0.7, 1.1, 2.0], [0.9, 0.0, 0.3, 1.2], [1.4, 0.1, 0.6, 0.8], [0.0, 0.5, 0.4, 1.9]]).double()
"""What each label costs at each position; as −log p, it is lower nearer to the reference."""


def value(word: Word) -> float:
    """A function of outputs whose expectation is estimated."""
    return sum(float(TABLE[position % 4, label]) for position, label in enumerate(word))


def expectation(law: Mapping[Word, float]) -> float:
    return sum(mass * value(word) for word, mass in law.items()) / sum(law.values())


def reweighted(base: BaseMeasure, reward: Reward) -> dict[Word, float]:
    """q of every output, up to a factor."""
    mass = measure(base)
    rewards = reward.score(as_candidates([list(word) for word in mass]), Sequences.of([REFERENCE]))[0].tolist()
    return {word: mu * math.exp(r / TAU) for (word, mu), r in zip(mass.items(), rewards, strict=True)}


BASES = {
    "Hamming": AroundPayoff(payoff=EXACT_HAMMING),
    "Hamming by any label": Substitution(temperature=EDITED, substitutes="all"),
    "Hamming of the batch": Substitution(temperature=EDITED, substitutes="batch"),
    "Hamming by unigrams": Substitution(temperature=EDITED, substitutes="unigram"),
    "edit distance": AroundPayoff(payoff=EXACT_EDITS),
    "n-grams": NGramReplacement(longest=3),
    "n-grams of the batch": NGramReplacement(longest=2, substitutes="batch"),
    "n-grams by unigrams": NGramReplacement(longest=9, substitutes="unigram"),
    "n-grams as drawn": NGramReplacement(longest=3, substitutes="unigram", density="kept"),
}
ROWS = 64
"""Repetitions of an estimate: as many copies of the reference, which are drawn around independently."""


def estimates(base: BaseMeasure, reward: Reward, k: int, rows: int = ROWS, seed: int = 0) -> Tensor:
    """Σ w f(y) of each repetition."""
    together = [REFERENCE] if getattr(base, "substitutes", "all") == "all" else [REFERENCE, OTHER]
    payoff = ReweightedPayoff(reward=reward, temperature=Temperature(literal=TAU), base=base)
    drawn = payoff.distribution(Sequences.of(together * rows), LABELS).weighted_sample(k, generator(seed))
    drawn = drawn.select(slice(0, None, len(together)))
    assert drawn.weights is not None
    torch.testing.assert_close(drawn.weights.sum(1), torch.ones(rows, dtype=torch.float64))
    return (drawn.weights * values(drawn)).sum(1)


def values(drawn: Sequences) -> Tensor:
    """`value` of each draw."""
    places = torch.arange(drawn.labels.shape[-1]) % 4
    return torch.where(drawn.mask(), TABLE[places, drawn.labels], 0.0).sum(-1)


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_estimates_converge_to_the_exact_expectation_as_one_over_the_root_of_k(name: str) -> None:
    """The slope of ln RMSE against ln k is −1/2; at k = 4,096 the mean is off by no more than chance and O(1/k).

    Of 64 repetitions each RMSE is known to about 9 %, so the slope from 256 on has a standard error of 0.045.
    """
    base, reward = BASES[name], SentenceBleu()
    exact, ks = expectation(reweighted(base, reward)), (2, 16, 64, 256, 1024, 4096)
    found = {k: estimates(base, reward, k) for k in ks}
    errors = {k: float((each - exact).square().mean().sqrt()) for k, each in found.items()}
    slope = math.log(errors[4096] / errors[256]) / math.log(4096 / 256)
    assert -0.68 < slope < -0.32, errors
    deviation = float(found[4096].std()) / math.sqrt(ROWS)
    assert abs(float(found[4096].mean()) - exact) < 5 * deviation, "once in two million, with this seed or never"
    assert errors[4096] < errors[2] / 10


@pytest.mark.slow
def test_the_bias_falls_as_one_over_k() -> None:
    base, reward, rows = BASES["Hamming"], SentenceBleu(), 40_000
    exact = expectation(reweighted(base, reward))
    biases = {k: float(estimates(base, reward, k, rows).mean()) - exact for k in (4, 16)}
    assert biases[4] / biases[16] == pytest.approx(4, rel=0.3)
    assert abs(biases[16]) > 0.005, "or there is nothing to see"


def test_the_weight_in_published_code_does_not_converge() -> None:
    """exp(r/τ) over exp(−e/τ') for e edits: without (V − 1)^(e/τ') of the density that was drawn from.

    The published draws choose e with C(m, e) (V − 1)^(e − e/τ') exp(−e/τ'), which is the Hamming payoff at a rescaled
    temperature τ'; over a uniform μ the weight would have to be exp(r/τ) over that payoff's probability.
    """
    rescaled, rows, k = 0.85, ROWS, 4096
    payoff = HammingPayoff(temperature=Temperature(rescaled=rescaled))
    references = Sequences.of([REFERENCE] * rows)
    q = payoff.distribution(references, LABELS)
    drawn = q.sample(k, generator())
    edits = (drawn.labels != references.labels.unsqueeze(1)).sum(-1)
    rewards = SentenceBleu().score(drawn, references).double() / TAU
    published = ((rewards + edits / rescaled).softmax(1) * values(drawn)).sum(1)
    right = ((rewards - q.log_prob(drawn)).softmax(1) * values(drawn)).sum(1)
    every = words(len(REFERENCE))
    law = SentenceBleu().score(as_candidates([list(word) for word in every]), Sequences.of([REFERENCE]))[0] / TAU
    exact = expectation(dict(zip(every, law.double().exp().tolist(), strict=True)))
    deviation = float(right.std()) / math.sqrt(rows)
    assert abs(float(right.mean()) - exact) < 5 * deviation
    assert abs(float(published.mean()) - exact) > 20 * deviation


@pytest.mark.parametrize("name", ["Hamming by unigrams", "Hamming of the batch", "n-grams by unigrams"])
@pytest.mark.parametrize("reward", [Hamming(), EditDistance()], ids=lambda reward: type(reward).__name__)
def test_any_reward_can_be_laid_upon_a_base(name: str, reward: Reward) -> None:
    exact = expectation(reweighted(BASES[name], reward))
    found = estimates(BASES[name], reward, 4096, seed=1)
    assert abs(float(found.mean()) - exact) < 5 * float(found.std()) / math.sqrt(ROWS) + 2e-3


@pytest.mark.parametrize("longest", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("substitutes", ["all", "unigram"])
def test_the_density_of_a_replacement_is_that_of_all_its_ways(longest: int, substitutes: str) -> None:
    law = replaced(longest, substitutes)
    assert sum(law.values()) == pytest.approx(1)
    outputs = as_candidates([list(word) for word in law])
    changed = outputs.labels != torch.tensor(REFERENCE)
    found = log_density(outputs, changed, torch.tensor(shares(substitutes), dtype=torch.float64).log(), longest)
    assert found[0].exp().tolist() == pytest.approx(list(law.values()))


def test_replacements_are_drawn_as_often_as_their_density_says() -> None:
    """By χ² over all outputs; the false-alarm rate is 10^−4 and the seed fixed."""
    base, k = NGramReplacement(longest=2, substitutes="unigram"), 50_000
    drawn = base.propose(Sequences.of([REFERENCE, OTHER]), LABELS, k, generator()).outputs.select(slice(0, 1))
    counts, law = Counter(map(tuple, drawn.flatten().tolist())), replaced(2, "unigram")
    assert counts.keys() <= law.keys()
    statistic = sum((counts[word] - k * share) ** 2 / (k * share) for word, share in law.items())
    assert chi2.sf(statistic, len(law) - 1) > 1e-4


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_draws_around_other_lengths_keep_to_their_own_reference(base: BaseMeasure) -> None:
    """An empty reference, one of a single symbol, and padding that must not be read."""
    references = Sequences(torch.tensor([[3, 3, 3], [2, 3, 3], [0, 1, 0]]), torch.tensor([0, 1, 3]))
    drawn = base.propose(references, LABELS, 200, generator())
    assert torch.isfinite(drawn.log_ratio).all()
    if base.keeps_length:
        assert torch.equal(drawn.outputs.lengths, references.lengths.unsqueeze(1).expand(-1, 200))
        assert (drawn.log_ratio[0] == drawn.log_ratio[0, 0]).all(), "an empty reference has one output"
    if isinstance(base, NGramReplacement | Substitution):
        allowed = {0, 1, 2} if base.substitutes != "all" else {0, 1, 2, 3}
        assert set(drawn.outputs.labels[drawn.outputs.mask()].tolist()) <= allowed
    again = base.propose(references, LABELS, 200, generator())
    assert torch.equal(drawn.outputs.labels, again.outputs.labels)


def test_where_one_label_is_all_there_is_nothing_is_substituted() -> None:
    references = Sequences.of([[2, 2], [2]])
    drawn = Substitution(temperature=EDITED, substitutes="unigram").propose(references, LABELS, 50, generator())
    assert (drawn.outputs.labels[drawn.outputs.mask()] == 2).all()
    assert (drawn.log_ratio == 0).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ReweightedPayoff(temperature=Temperature(edit_rate=0.1)), r"literal=\.\.\.\).* but got edit_rate"),
        (
            lambda: ReweightedPayoff(reward=Hamming(), base=AroundPayoff(payoff=EXACT_EDITS)),
            "Hamming needs outputs as long as their references, but the base measure AroundPayoff also proposes",
        ),
        (lambda: AroundPayoff(payoff=ReweightedPayoff()), "that can be sampled from, but ReweightedPayoff cannot"),
        (lambda: NGramReplacement(longest=0), r"NGramReplacement\.longest must be at least 1"),
    ],
)
def test_what_cannot_work_is_refused_with_a_way_out(make: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()  # type: ignore[operator]


def test_a_single_draw_is_refused() -> None:
    q = ReweightedPayoff().distribution(Sequences.of([REFERENCE]), LABELS)
    with pytest.raises(ConfigError, match=r"needs k of at least 2, but got 1: .* the reward would be ignored"):
        q.weighted_sample(1)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_payoff_comes_back_from_its_json(base: BaseMeasure) -> None:
    payoff: Payoff = ReweightedPayoff(reward=EditDistance(), temperature=Temperature(literal=2), base=base)
    assert Payoff.from_json(payoff.to_json()) == payoff


def test_rewards_keep_double_precision_until_the_temperature_has_divided_them() -> None:
    reward = FunctionReward(function=f"{__name__}:nearly_one")
    payoff = ReweightedPayoff(
        reward=reward, temperature=Temperature(literal=1e-9), base=AroundPayoff(payoff=EXACT_HAMMING)
    )
    drawn = payoff.distribution(Sequences.of([REFERENCE]), LABELS).weighted_sample(20, generator())
    zeros = torch.tensor([[row.count(0) for row in drawn.flatten().tolist()]], dtype=torch.float64)
    assert len(set(zeros[0].tolist())) > 2
    assert drawn.weights is not None
    torch.testing.assert_close(drawn.weights, zeros.softmax(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("reward", [SentenceBleu(), SentenceGleu()])
def test_rewards_that_are_no_whole_numbers_are_scored_in_double_precision(reward: Reward) -> None:
    target = Sequences.of([REFERENCE])
    assert reward.score(as_candidates([[0, 1, 3, 0]]), target).dtype == torch.float64
