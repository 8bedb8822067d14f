import itertools
import math

import pytest
import torch
import torchcrf

from structpred.distributions import Factorised, LinearChain
from structpred.distributions.protocols import (
    Argmax,
    CrossEntropy,
    Decode,
    Decoding,
    Distribution,
    Entropy,
    ExpectedScore,
    LocalScores,
    LogPartition,
    LogProb,
    LossAugmented,
    Marginals,
    NBest,
    Sample,
    Score,
    StepScores,
    TokenLogProbs,
    cross_entropy,
    kl,
)
from structpred.errors import ConfigError
from structpred.payoffs import HammingPayoff, Temperature
from structpred.sequences import Sequences
from tests.distributions.chains import (
    KINDS,
    LABELS,
    LENGTHS,
    TIME,
    agree,
    chain,
    generator,
    inside,
    log_probs_by_hand,
    outputs,
    random_scores,
    row,
    scores_by_hand,
)

EXAMPLES = range(len(LENGTHS))
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_log_probabilities_agree_with_enumeration(kind: str) -> None:
    p = chain(kind)
    for example in EXAMPLES:
        one, listed, scores = row(p, example), outputs(p, example), scores_by_hand(p, example)
        agree(one.score(listed)[0], scores)
        agree(p.log_partition()[example], scores.logsumexp(0))
        agree(one.log_prob(listed)[0], log_probs_by_hand(p, example))


@each_kind
def test_token_log_probs_agree_with_enumeration(kind: str) -> None:
    p = chain(kind)
    for example in EXAMPLES:
        one, listed, log_probs = row(p, example), outputs(p, example), log_probs_by_hand(p, example)
        tokens, length = one.token_log_probs(listed)[0], int(LENGTHS[example])
        agree(tokens.sum(-1), log_probs)
        assert (tokens[:, length:] == 0).all()
        for t, (y, given) in itertools.product(range(length), zip(listed.labels[0], tokens, strict=True)):
            same = (listed.labels[0, :, :t] == y[:t]).all(1)
            past, both = log_probs[same].logsumexp(0), log_probs[same & (listed.labels[0, :, t] == y[t])].logsumexp(0)
            if past > -math.inf and both > -math.inf:
                agree(given[t], both - past)


@each_kind
def test_marginals_agree_with_enumeration(kind: str) -> None:
    p = chain(kind)
    labels, pairs = p.marginals(), p.pair_marginals()
    assert labels.shape == (len(LENGTHS), TIME, p.num_labels)
    assert pairs.shape == (len(LENGTHS), TIME - 1, p.num_labels, p.num_labels)
    assert (labels[~inside()] == 0).all()
    assert (pairs[~inside()[:, 1:]] == 0).all()
    for example in EXAMPLES:
        y, probs, length = outputs(p, example).labels[0], log_probs_by_hand(p, example).exp(), int(LENGTHS[example])
        for t, i in itertools.product(range(length), range(p.num_labels)):
            agree(labels[example, t, i], probs[y[:, t] == i].sum())
        for t, i, j in itertools.product(range(length - 1), range(p.num_labels), range(p.num_labels)):
            agree(pairs[example, t, i, j], probs[(y[:, t] == i) & (y[:, t + 1] == j)].sum())


@each_kind
def test_entropy_and_divergences_agree_with_enumeration(kind: str) -> None:
    p, q = chain(kind), chain("one label" if kind == "one label" else "plain", seed=1)
    for example in EXAMPLES:
        log_p, log_q = log_probs_by_hand(p, example), log_probs_by_hand(q, example)
        finite = torch.where(log_p.isneginf(), 0.0, log_p)
        agree(p.entropy()[example], -(log_p.exp() * finite).sum())
        agree(cross_entropy(p, q)[example], -(log_p.exp() * log_q).sum())
        agree(kl(p, q)[example], (log_p.exp() * (finite - log_q)).sum())
        agree(cross_entropy(q, p)[example], -(log_q.exp() * log_p).sum())


@each_kind
def test_expected_scores_agree_with_enumeration(kind: str) -> None:
    p = chain(kind)
    others = chain("one label" if kind == "one label" else "plain", seed=2)
    without = p.expected_score(LocalScores(others.unary, LENGTHS))
    with_pairs = p.expected_score(LocalScores(others.unary, LENGTHS, others.transitions))
    for example in EXAMPLES:
        probs, alone = log_probs_by_hand(p, example).exp(), LinearChain(others.unary, 0 * others.transitions, LENGTHS)
        agree(with_pairs[example], (probs * scores_by_hand(others, example)).sum())
        agree(without[example], (probs * scores_by_hand(alone, example)).sum())


def test_cross_entropy_from_a_payoff_agrees_with_enumeration() -> None:
    p = chain()
    references = Sequences.of([[2, 0, 1], [], [1], [0, 0, 2, 1], [1, 2]])
    q = HammingPayoff(temperature=Temperature(edit_rate=0.2)).distribution(references, LABELS)
    for example in EXAMPLES:
        listed = outputs(p, example)
        everything = Sequences(listed.labels.expand(5, -1, -1), listed.lengths.expand(5, -1))
        probs = q.log_prob(everything)[example].exp()
        agree(cross_entropy(q, p)[example], -(probs * log_probs_by_hand(p, example)).sum())


def test_tilting_adds_costs() -> None:
    p, costs = chain(), random_scores(3)[0]
    tilted, by_hand = p.loss_augmented(costs), LinearChain(p.unary + costs, p.transitions, LENGTHS)
    for example in EXAMPLES:
        agree(row(tilted, example).log_prob(outputs(p, example))[0], log_probs_by_hand(by_hand, example))
    narrow = LinearChain(p.unary[1:3], p.transitions, LENGTHS[1:3]).loss_augmented(costs[1:3, :1])
    agree(narrow.log_partition(), tilted.log_partition()[1:3])


@each_kind
def test_decoding_by_the_hamming_rule_has_the_least_expected_cost(kind: str) -> None:
    p = chain(kind)
    decoded = p.decode(Decoding(rule="hamming"))
    assert p.decode(Decoding()).tolist() == p.argmax().tolist()
    assert (decoded.labels[~inside()] == 0).all()
    for example in EXAMPLES:
        length = int(LENGTHS[example])
        y, probs = outputs(p, example).labels[0, :, :length], log_probs_by_hand(p, example).exp()
        risks = ((y.unsqueeze(1) != y).sum(-1) * probs).sum(1)
        chosen = (y == decoded.labels[example, :length]).all(1)
        agree(risks[chosen].squeeze(0), risks.min())


def test_the_hamming_rule_differs_from_the_most_probable_output() -> None:
    shares = torch.tensor([[0.4, 0.0], [0.3, 0.3]])  # 00 is the best output, but most outputs begin with 1
    p = LinearChain(torch.zeros(1, 2, 2), shares.log(), torch.tensor([2]))
    assert p.decode(Decoding()).tolist() == [[0, 0]]
    assert p.decode(Decoding(rule="hamming")).tolist() == [[1, 0]]


def test_agrees_with_torchcrf() -> None:
    crf = torchcrf.CRF(LABELS, batch_first=True).double()
    lengths = torch.tensor([3, 1, 4, 2])
    mask = torch.arange(TIME) < lengths.unsqueeze(1)
    unary = torch.randn(4, TIME, LABELS, generator=generator(), dtype=torch.float64)
    labels = torch.where(mask, torch.randint(LABELS, (4, TIME), generator=generator()), 0)
    p = LinearChain.with_ends(unary, crf.transitions, crf.start_transitions, crf.end_transitions, lengths)
    ours, theirs = p.log_prob(Sequences(labels, lengths).candidates())[:, 0], crf(unary, labels, mask, reduction="none")
    agree(ours, theirs)
    assert p.argmax().tolist() == crf.decode(unary, mask)
    wanted = list(crf.parameters())
    for one, other in zip(
        torch.autograd.grad(ours.sum(), wanted), torch.autograd.grad(theirs.sum(), wanted), strict=True
    ):
        agree(one, other)


def test_with_ends_leaves_the_empty_output_alone() -> None:
    unary, transitions = random_scores()
    start, end = torch.randn(2, LABELS, generator=generator(4), dtype=torch.float64)
    p = LinearChain.with_ends(unary, transitions, start, end, LENGTHS)
    assert p.log_partition()[1] == 0
    assert p.log_prob(Sequences.of([[0]] * 5).candidates())[1] == -math.inf
    agree(p.unary[2, 0], unary[2, 0] + start + end)
    agree(p.unary[4, 1], unary[4, 1] + end)


@each_kind
def test_no_log_likelihood_is_positive_and_no_length_is_special(kind: str) -> None:
    p = chain(kind)
    for example in EXAMPLES:
        assert (row(p, example).log_prob(outputs(p, example)) <= 1e-12).all()
    ones = LinearChain(p.unary[[2, 2]], p.transitions, p.lengths[[2, 2]])  # nothing but length 1
    agree(ones.marginals().sum((1, 2)), torch.ones(2, dtype=torch.float64))
    assert not ones.entropy().isnan().any()


def test_another_length_is_impossible() -> None:
    given = Sequences.of([[0, 1], [1], [], [0, 0, 0, 0, 0], [2, 2]]).candidates()
    for values in (chain().log_prob(given), chain().score(given), chain().token_log_probs(given).sum(-1)):
        assert values[:4].isneginf().all()
        assert values[4].isfinite().all()


@pytest.mark.parametrize("time", [0, TIME])
@pytest.mark.parametrize("batch", [0, 2])
def test_empty_batches_and_outputs(batch: int, time: int) -> None:
    lengths = torch.zeros(batch, dtype=torch.long)
    p = LinearChain(torch.full((batch, time, LABELS), math.nan), torch.zeros(LABELS, LABELS), lengths)
    empty = Sequences(torch.zeros(batch, 1, time, dtype=torch.long), lengths.unsqueeze(1))
    for zeros in (p.log_partition(), p.log_prob(empty), p.entropy(), p.marginals(), p.token_log_probs(empty), kl(p, p)):
        assert (zeros == 0).all()
    assert p.sample(3).labels.shape == (batch, 3, time)
    assert p.argmax().tolist() == p.decode(Decoding(rule="hamming")).tolist() == [[]] * batch
    assert p.n_best(2).log_probs.tolist() == [[0.0, -math.inf]] * batch
    assert p.loss_augmented(p.unary).pair_marginals().sum() == 0


@each_kind
def test_order_and_padding_change_nothing(kind: str) -> None:
    p, order = chain(kind), torch.tensor([4, 2, 0, 3, 1])
    wide = torch.nn.functional.pad(p.unary, (0, 0, 0, 2), value=math.inf)
    for other, same in (
        (LinearChain(p.unary[order], p.transitions, LENGTHS[order]), order),
        (LinearChain(wide, p.transitions, LENGTHS), torch.arange(5)),
    ):
        agree(other.log_partition(), p.log_partition()[same])
        agree(other.entropy(), p.entropy()[same])
        agree(other.marginals()[:, :TIME], p.marginals()[same])
        agree(other.n_best(3).log_probs, p.n_best(3).log_probs[same])
        assert other.argmax().tolist() == [p.argmax().tolist()[i] for i in same.tolist()]


def test_other_outputs_are_refused() -> None:
    p = chain()
    with pytest.raises(ConfigError, match="one has 2 positions and the other 3"):
        cross_entropy(Factorised(p.unary, LENGTHS - torch.tensor([1, 0, 0, 0, 0])), p)
    with pytest.raises(ConfigError, match="at most 4, the number of positions with scores, but got 5"):
        LinearChain(p.unary, p.transitions, LENGTHS + 1).log_partition()


def test_verbs_are_the_protocols() -> None:
    verbs = (Argmax, CrossEntropy, Decode, Distribution, Entropy, ExpectedScore, LogPartition, LogProb, Marginals)
    for verb in (*verbs, NBest, Sample, Score, LossAugmented, TokenLogProbs):
        assert isinstance(chain(), verb)
    assert not isinstance(chain(), StepScores)  # normalised step by step it would be another model
    assert chain().fixed_length
