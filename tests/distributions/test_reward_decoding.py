"""Decoding by expected reward against brute force over the whole output space, and searches among some lengths."""

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from structpred.distributions import Autoregressive, Factorised, LinearChain
from structpred.distributions.decoders import MeanDecoder
from structpred.distributions.decoding import bounded, decode, most_rewarded
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiment import check_decoding
from structpred.models import CRF
from structpred.registry import rewards
from structpred.rewards import (
    ConstantReward,
    Context,
    EditDistance,
    EveryReference,
    FunctionReward,
    Hamming,
    Reward,
    SentenceBleu,
    SentenceChrf,
    SentenceGleu,
    SentenceTer,
    TextBleu,
    WeightedReward,
    WeightedRewards,
    bind,
)
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings
from structpred.training.evaluation import refuse_asking
from structpred.vocabulary import Vocabulary
from tests.support.tiny import Copying, tiny_p

LONGEST = 2


def test_where_nothing_can_end_an_output_is_chosen_all_the_same() -> None:
    """The end is forbidden throughout, for the first example or for both."""
    for forbidden in ([True, False], [True, True]):
        ends = torch.where(torch.tensor(forbidden), -math.inf, 0.0)

        def scores(prefixes: Tensor, examples: Tensor, ends: Tensor = ends) -> Tensor:
            found = torch.zeros(*prefixes.shape, 4)
            found[..., 3] = ends[examples].unsqueeze(1)
            return found

        p = Autoregressive.from_logits(scores, 3, [2, 2])
        found = decode(p, Decoding(reward=EditDistance(), num_candidates=5))
        assert found.lengths.tolist()[0] == 2


def test_no_length_penalty_keeps_a_search_from_its_end() -> None:
    """(length + 1)^penalty can be too large for a number; what cannot end must not pass for the best, or for ever."""
    p = Autoregressive.from_logits(lambda prefixes, _: torch.zeros(*prefixes.shape, 4), 3, [9, 0])
    ranked = p.beam(3, length_penalty=400.0)
    assert ranked.log_probs.isfinite().any(1).all()
    with pytest.raises(ConfigError, match="length_penalty must be at least 0 and at most 10, but got 400"):
        Decoding(length_penalty=400)


def first_label(output: list[int], reference: list[int]) -> float:
    """A reward that is neither symmetric nor greatest at the reference itself."""
    return float(output[:1] == reference[-1:]) - 0.1 * len(output)


REWARDS: dict[str, Reward] = {
    "bleu": SentenceBleu(),
    "chrf": SentenceChrf(),
    "constant": ConstantReward(),
    "edit-distance": EditDistance(),
    "function": FunctionReward(function=f"{__name__}:first_label"),
    "gleu": SentenceGleu(),
    "hamming": Hamming(),
    "ter": SentenceTer(),
    "text-bleu": TextBleu(),
    "weighted": WeightedRewards(parts=(WeightedReward(reward=EditDistance()), WeightedReward(reward=SentenceGleu()))),
}


def distributions() -> dict[str, tuple[Any, list[list[list[int]]]]]:
    """Distributions for two inputs, and all outputs of each."""
    torch.manual_seed(7)
    lengths = torch.tensor([3, 1])
    unary, transitions = torch.randn(2, 3, 2).double(), torch.randn(2, 2).double()
    spaces = [strings(2, 3, shortest=3), strings(2, 1, shortest=1)]
    # a beam finds every string, and its probabilities are normalised over those within the limit
    free = [strings(2, LONGEST)] * 2
    return {
        "chain": (LinearChain(unary, transitions, lengths), spaces),
        "tagger": (Factorised(unary, lengths), spaces),
        "seq2seq": (tiny_p(2, longest=LONGEST, sharpness=2.0), free),
    }


KINDS = distributions()
CONTEXT = Context(Copying(), Vocabulary(("a", "b")), ())


@cache
def rewards_of(name: str, space: tuple[tuple[int, ...], ...]) -> list[list[float]]:
    """r(c, y) in row y and column c."""
    reward, every = bind(REWARDS[name], CONTEXT), as_candidates(space)
    return [reward.score(every, Sequences.of([reference]))[0].tolist() for reference in space]


def brute_force(p: Any, row: int, space: list[list[int]], name: str) -> list[int]:
    """argmax_c Σ_y p(y) r(c, y) / Σ_y p(y), a sum of plain numbers; ties go to the more probable output."""
    with torch.no_grad():
        log_probs = p.log_prob(as_candidates(space, batch=2))[row].tolist()
    mass = math.fsum(map(math.exp, log_probs))
    against = rewards_of(name, tuple(map(tuple, space)))

    def expected(place: int) -> float:
        pairs = zip(against, log_probs, strict=True)
        return math.fsum(math.exp(log_prob) / mass * rewards[place] for rewards, log_prob in pairs)

    return space[max(range(len(space)), key=lambda place: (round(expected(place), 8), log_probs[place]))]


def test_every_registered_reward_is_tried() -> None:
    ours = {name for name in rewards if rewards[name].__module__.startswith("structpred.")}
    assert set(REWARDS) == ours - {"every-reference"}, "which asks for an example, that no output has"
    with pytest.raises(ConfigError, match=r"EveryReference asks for the source .* which an output does not have"):
        refuse_asking(Decoding(reward=EveryReference()))


@pytest.mark.parametrize(
    ("kind", "name"),
    # Experiment refuses a reward of equal lengths for a model that decides the length
    [(kind, name) for kind in KINDS for name, reward in REWARDS.items() if kind != "seq2seq" or not reward.same_length],
)
def test_over_the_whole_space_it_is_the_output_of_least_risk(kind: str, name: str) -> None:
    p, spaces = KINDS[kind]
    reward = bind(REWARDS[name], CONTEXT)
    decoding = Decoding(reward=reward, num_candidates=max(map(len, spaces)))
    wanted = [brute_force(p, row, space, name) for row, space in enumerate(spaces)]
    assert decode(p, decoding).tolist() == wanted


def test_the_least_risk_is_not_always_the_most_probable_output() -> None:
    p, _ = KINDS["chain"]
    assert decode(p, Decoding(reward=REWARDS["function"], num_candidates=8)).tolist() != decode(p, Decoding()).tolist()


def test_samples_have_equal_weights_however_often_they_recur() -> None:
    candidates = as_candidates([[0, 0], [1], [1], [0]])
    log_probs = torch.tensor([[-0.1, -3.0, -3.0, -2.0]])
    counted = most_rewarded(candidates, torch.ones(1, 4), log_probs, EditDistance())
    # distances to [0,0], [1], [1], [0]: of [1] 2+0+0+1 = 3, of [0] 1+1+1+0 = 3, of [0,0] 0+2+2+1 = 5
    assert counted.tolist() == [[0]], "a tie, which goes to the more probable of the two"
    assert most_rewarded(candidates, torch.ones(1, 4), -log_probs, EditDistance()).tolist() == [[1]]
    without = most_rewarded(candidates, torch.tensor([[1.0, 0.0, 0.0, 0.0]]), log_probs, EditDistance())
    assert without.tolist() == [[0, 0]], "candidates of no weight are none"


@pytest.mark.parametrize("kind", ["chain", "tagger"])
def test_many_samples_choose_what_the_whole_space_does(kind: str) -> None:
    """Fails for one seed in a million at most, by Hoeffding's inequality and the gap asserted here."""
    p, spaces = KINDS[kind]
    count, every = 4000, as_candidates(spaces[0], batch=len(spaces[0]))
    probabilities = p.log_prob(as_candidates(spaces[0], batch=2))[0].exp()
    expected = probabilities @ EditDistance().score(every, Sequences.of(spaces[0])).double()
    best, second = expected.topk(2).values.tolist()
    width = 2 * 3  # the difference of two rewards is between -3 and 3
    assert len(spaces[0]) * math.exp(-2 * count * (best - second) ** 2 / width**2) < 1e-6
    decoding = Decoding(reward=EditDistance(), candidates="samples", num_candidates=count)
    sampled = decode(p, decoding, generator=torch.Generator().manual_seed(3))
    assert sampled.tolist()[0] == spaces[0][int(expected.argmax())]


def test_samples_that_were_cut_are_outputs_too() -> None:
    p = tiny_p(2, longest=1, sharpness=0.1)
    decoding = Decoding(reward=EditDistance(), candidates="samples", num_candidates=50)
    found, again = (decode(p, decoding, generator=torch.Generator().manual_seed(3)).tolist() for _ in range(2))
    assert found == again
    ended = p.sample(50, torch.Generator().manual_seed(3)).ended
    assert ended is not None
    assert not ended.all()


def test_a_sample_that_was_cut_is_no_longer_than_the_model_allows() -> None:
    def hardly_ever_ends(prefixes: Tensor, _: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0, -30.0]).expand(*prefixes.shape, -1)

    p = Autoregressive.from_logits(hardly_ever_ends, 2, [2, 1, 0])
    decoding = Decoding(reward=EditDistance(), candidates="samples", num_candidates=10)
    found = decode(p, decoding, generator=torch.Generator().manual_seed(0))
    assert found.lengths.tolist() == [2, 1, 0]
    assert not found.labels[~found.mask()].any()


def test_hamming_is_exact_where_marginals_are() -> None:
    """With a single candidate an estimate could only return the most probable output."""
    unary = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]]).double()
    transitions = torch.tensor([[1.0, 0.9], [-3.0, 1.1]]).double()
    p = LinearChain(unary, transitions, torch.tensor([2]))
    assert p.argmax().tolist() != p.decode(Decoding(rule="hamming")).tolist() == [[0, 1]]
    assert decode(p, Decoding(reward=Hamming(), num_candidates=1)).tolist() == [[0, 1]]


# --------------------------------------------------------------------------------------------------- lengths


def best_within(p: Autoregressive, row: int, penalty: float, shortest: int, longest: int) -> list[int]:
    space = strings(2, longest, shortest)
    with torch.no_grad():
        log_probs = p.log_prob(as_candidates(space, batch=2))[row].tolist()
    ranked = zip(space, log_probs, strict=True)
    return max(ranked, key=lambda pair: pair[1] / (len(pair[0]) + 1) ** penalty)[0]


@pytest.mark.parametrize(
    ("least", "most", "penalty", "ranges"),
    [
        (1.0, None, 0.0, [(3, 3), (1, 3)]),
        (0.0, 0.7, 1.0, [(0, 2), (0, 0)]),
        (0.4, 0.7, 0.0, [(2, 2), (1, 1)]),  # nothing is between 0.4 and 0.7 labels
        (9.0, 9.0, 0.0, [(3, 3), (3, 3)]),  # the model's own limit is 3
    ],
)
def test_a_wide_beam_finds_the_best_output_of_allowed_length(
    least: float, most: float | None, penalty: float, ranges: Sequence[tuple[int, int]]
) -> None:
    p, lengths = tiny_p(longest=3), torch.tensor([3, 1])
    settings: dict[str, Any] = {"least_length_ratio": least, "most_length_ratio": most, "length_penalty": penalty}
    found = decode(p, Decoding(beam=15, **settings), lengths)
    assert found.tolist() == [best_within(p, row, penalty, *each) for row, each in enumerate(ranges)]
    greedy = decode(p, Decoding(beam=1, **settings), lengths)
    assert all(low <= len(row) <= high for row, (low, high) in zip(greedy.tolist(), ranges, strict=True))


def test_ratios_round_as_decimal_numbers_do() -> None:
    """0.1 · 30 is 3.0000000000000004 in binary numbers, and 0.29 · 100 is 28.999999999999996."""
    found = bounded(
        tiny_p(longest=200), Decoding(least_length_ratio=0.1, most_length_ratio=0.29), torch.tensor([30, 100])
    )
    assert found.shortest.tolist() == [3, 10]
    assert found.decoder.limits.tolist() == [8, 29]


def test_settings_that_exclude_each_other_or_do_nothing_are_refused() -> None:
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"least_length_ratio": 1.0, "most_length_ratio": 0.5}, "at least least_length_ratio, 1, but got 0.5"),
        ({"most_length_ratio": 1e30}, "most_length_ratio must be above 0 and at most 1e\\+06, but got 1e\\+30"),
        ({"num_candidates": 8}, "there is no reward; add one"),
        ({"rule": "hamming", "reward": Hamming()}, "rule='hamming' or a reward, not both"),
        ({"reward": Hamming(), "candidates": "samples", "most_length_ratio": 1.0}, "samples are not searched for"),
    ]
    for wrong, message in wrongs:
        with pytest.raises(ConfigError, match=message):
            Decoding(**wrong)
    with pytest.raises(ConfigError, match="need `within`, which LinearChain does not offer"):
        decode(KINDS["chain"][0], Decoding(most_length_ratio=1.0), torch.tensor([3, 2]))
    with pytest.raises(ConfigError, match="refer to the lengths of the inputs"):
        decode(tiny_p(), Decoding(most_length_ratio=1.0))


# ------------------------------------------------------------------------------------------------- coverage


def attention_of(p: Autoregressive, row: int, output: list[int]) -> torch.Tensor:
    """``[steps, positions]``: attention along one output, one step of the LSTM after another."""
    decoder: Any = p.decoder
    network, (hidden, cells, _) = decoder.network, decoder.initial
    state = hidden[row].transpose(0, 1), cells[row].transpose(0, 1)
    weights = []
    for previous in [decoder.num_labels, *output]:
        shown, state = network.recurrent(network.embedding(torch.tensor([[previous]])), state)
        real = decoder.padding[row, 0] == 0
        scores = torch.where(real, shown[0, 0] @ decoder.keys[row], -torch.inf)
        weights.append(scores.softmax(-1))
    return torch.stack(weights)


def test_attention_is_what_the_decoder_looks_at() -> None:
    p = tiny_p()
    decoder: Any = p.decoder
    outputs = [[0, 1], [1]]
    with torch.no_grad():
        found = decoder.log_attention(as_candidates(outputs, batch=2)).exp()
        for row in (0, 1):
            for place, output in enumerate(outputs):
                torch.testing.assert_close(found[row, place, : len(output) + 1], attention_of(p, row, output))
    assert found[1, :, :, 2:].abs().sum() == 0, "the second input has one symbol and its end"


@pytest.mark.parametrize("weight", [0.3, 5.0])
def test_a_coverage_penalty_ranks_what_the_beam_has_found(weight: float) -> None:
    p, space = tiny_p(longest=3, seed=8), strings(2, 3)
    with torch.no_grad():
        log_probs = p.log_prob(as_candidates(space, batch=2)).tolist()

        def rank(row: int, place: int) -> float:
            total = attention_of(p, row, space[place]).sum(0)
            coverage = sum(math.log(min(each, 1.0)) for each in total.tolist() if each > 0)
            return float(log_probs[row][place] / (len(space[place]) + 1) ** 0.5 + weight * coverage)

        wanted = [space[max(range(len(space)), key=partial(rank, row))] for row in (0, 1)]
    decoding = Decoding(beam=15, length_penalty=0.5, coverage_penalty=weight)
    assert decode(p, decoding).tolist() == wanted
    alike = Autoregressive.mean((p, p)).within(None, torch.tensor([3, 3]))
    assert decode(alike, decoding).tolist() == wanted, "as of an ensemble, within limits"
    assert wanted != decode(p, Decoding(beam=15, length_penalty=0.5)).tolist()


class Blind:
    """A decoder that does not say what it looks at."""

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder

    def __getattr__(self, name: str) -> Any:
        if name == "log_attention":
            raise AttributeError(name)
        return getattr(self.decoder, name)


def test_coverage_needs_attention() -> None:
    blind = MeanDecoder((Blind(tiny_p().decoder),))
    with pytest.raises(ConfigError, match="needs `log_attention`, which MeanDecoder does not offer"):
        Autoregressive(blind).coverage(as_candidates([[0]], batch=2))
    with pytest.raises(ConfigError, match=r"a reward takes the place of Decoding\.coverage_penalty"):
        Decoding(reward=EditDistance(), coverage_penalty=1.0)
    with pytest.raises(ConfigError, match="attention to the input is known, but that of CRF is not; leave it out"):
        check_decoding(Decoding(coverage_penalty=1.0), CRF())
