from collections.abc import Callable

import pytest
import torch
import torchcrf
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from structpred.distributions import LinearChain
from structpred.distributions.forward_backward import ScaledMessages
from structpred.distributions.log_space import LogMessages, log_messages
from structpred.distributions.protocols import LocalScores, cross_entropy, kl
from structpred.distributions.scaled_messages import widest
from structpred.sequences import Sequences
from tests.distributions.chains import LABELS, LENGTHS, TIME, agree, chain, forbidding, generator, inside, random_scores

TARGETS = Sequences.of([[2, 0, 1], [], [1], [0, 0, 2, 1], [1, 2]]).candidates()


def differentiable(seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    unary, transitions = random_scores(seed, scale=scale)
    return unary.nan_to_num(7.0).requires_grad_(), transitions.requires_grad_()


def messages(unary: Tensor, transitions: Tensor) -> ScaledMessages | LogMessages:
    return LinearChain(unary, transitions, LENGTHS)._messages()


Verb = Callable[[LinearChain], Tensor]
TWICE: dict[str, Verb] = {
    "log_partition": lambda p: p.log_partition(),
    "log_prob": lambda p: p.log_prob(TARGETS),
}
ONCE: dict[str, Verb] = {
    "entropy": lambda p: p.entropy(),
    "marginals": lambda p: p.marginals(),
    "pair_marginals": lambda p: p.pair_marginals(),
    "token_log_probs": lambda p: p.token_log_probs(TARGETS),
}


@pytest.mark.parametrize("verb", [*TWICE, *ONCE])
@pytest.mark.parametrize("scale", [1.0, 200.0], ids=["scaled", "logarithms"])
def test_gradients_agree_with_finite_differences(verb: str, scale: float) -> None:
    function = (TWICE | ONCE)[verb]
    inputs = differentiable(scale=scale)
    assert isinstance(messages(*inputs), ScaledMessages if scale == 1.0 else LogMessages)
    assert gradcheck(lambda u, t: function(LinearChain(u, t, LENGTHS)), inputs, atol=1e-5 * scale)


@pytest.mark.parametrize("verb", TWICE)
def test_second_derivatives_agree_with_finite_differences(verb: str) -> None:
    assert gradgradcheck(lambda u, t: TWICE[verb](LinearChain(u, t, LENGTHS)), differentiable())


def test_expectations_have_gradients_to_both_sides() -> None:
    lengths = LENGTHS[:3]

    def expected(u: Tensor, t: Tensor, v: Tensor, s: Tensor) -> Tensor:
        return LinearChain(u, t, lengths).expected_score(LocalScores(v, lengths, s))

    def divergence(u: Tensor, t: Tensor, v: Tensor, s: Tensor) -> Tensor:
        return kl(LinearChain(u, t, lengths), LinearChain(v, s, lengths))

    (u, t), (v, s) = differentiable(0), differentiable(1)
    inputs = tuple(each.detach().requires_grad_() for each in (u[:3], t, v[:3], s))
    assert gradcheck(expected, inputs)
    assert gradcheck(divergence, inputs)


def test_the_gradient_of_log_partition_is_the_marginals() -> None:
    unary, transitions = differentiable()
    p = LinearChain(unary, transitions, LENGTHS)
    to_unary, to_transitions = torch.autograd.grad(p.log_partition().sum(), (unary, transitions))
    agree(to_unary, p.marginals())
    agree(to_transitions, p.pair_marginals().sum((0, 1)))


def test_recording_the_gradient_does_not_change_it() -> None:
    unary, transitions = differentiable()
    weights = torch.randn(5, generator=generator(), dtype=torch.float64)
    total = weights @ LinearChain(unary, transitions, LENGTHS).log_partition()
    plain = torch.autograd.grad(total, (unary, transitions), retain_graph=True)
    recorded = torch.autograd.grad(total, (unary, transitions), create_graph=True)
    for one, other in zip(plain, recorded, strict=True):
        agree(one, other.detach())


@pytest.mark.parametrize("kind", ["plain", "forbidden label", "forbidden pair", "widest"])
def test_nothing_in_the_padding_has_a_gradient(kind: str) -> None:
    p = chain(kind)
    unary, transitions = p.unary.clone().requires_grad_(), p.transitions.clone().requires_grad_()
    p = LinearChain(unary, transitions, LENGTHS)
    verbs = (p.log_prob(TARGETS).squeeze(1), p.entropy(), p.marginals().square().sum((1, 2)), cross_entropy(chain(), p))
    for values in verbs:
        finite = values[values.isfinite()].sum()
        to_unary, to_transitions = torch.autograd.grad(finite, (unary, transitions), retain_graph=True)
        assert (to_unary[~inside()] == 0).all()
        assert to_unary.isfinite().all()
        assert to_transitions.isfinite().all()


def test_both_ways_agree_up_to_the_widest_range() -> None:
    unary, transitions = random_scores()
    low, high = transitions.aminmax()
    transitions = (transitions - low) / (high - low) * widest(torch.float64)
    scaled = messages(unary, transitions)
    assert isinstance(scaled, ScaledMessages)
    by_logarithms = log_messages(unary, transitions, LENGTHS, scaled.packing)
    agree(scaled.log_partition(), by_logarithms.log_partition())
    agree(scaled.marginals(), by_logarithms.marginals())
    agree(scaled.expected_score(unary, transitions), by_logarithms.expected_score(unary, transitions))


@pytest.mark.parametrize(
    ("range_of_transitions", "dtype"), [(27.0, torch.float32), (28.0, torch.float64), (317.0, torch.float64)]
)
def test_precision_follows_the_range_of_the_transitions(range_of_transitions: float, dtype: torch.dtype) -> None:
    transitions = torch.zeros(LABELS, LABELS)
    transitions[0, 1] = -range_of_transitions
    chosen = messages(torch.zeros(5, TIME, LABELS), transitions)
    assert isinstance(chosen, ScaledMessages)
    assert chosen.unary.dtype == dtype


def test_logarithms_where_the_range_is_too_wide() -> None:
    unary, transitions = random_scores()
    assert isinstance(messages(unary, transitions * 400), LogMessages)
    assert isinstance(messages(unary, forbidding(transitions)), LogMessages)


def long_chain(scale: float, range_of_transitions: float) -> tuple[LinearChain, Sequences]:
    """In float32, with 20 labels and lengths up to 60; the labels to score are drawn at random."""
    source = generator(5)
    lengths = torch.randint(0, 61, (8,), generator=source)
    unary = torch.randn(8, 60, 20, generator=source) * scale
    transitions = (torch.rand(20, 20, generator=source) - 0.5) * range_of_transitions
    labels = torch.randint(20, (8, 3, 60), generator=source)
    return LinearChain(unary, transitions, lengths), Sequences(labels, lengths.unsqueeze(1).repeat(1, 3))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("range_of_transitions", [0.2, 26.0, 100.0, 300.0, 1000.0])
def test_float32_is_accurate_at_every_scale(scale: float, range_of_transitions: float) -> None:
    p, outputs = long_chain(scale, range_of_transitions)
    exact = LinearChain(p.unary.double(), p.transitions.double(), p.lengths)
    for one, other in (
        (p.log_prob(outputs), exact.log_prob(outputs)),
        (p.log_partition(), exact.log_partition()),
        (cross_entropy(exact.loss_augmented(torch.ones_like(exact.unary)), p), exact.entropy()),
    ):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)
    relative = (p.log_prob(outputs) / exact.log_prob(outputs) - 1)[p.lengths > 0]
    assert relative.abs().max() < 1e-5
    torch.testing.assert_close(p.marginals().double(), exact.marginals(), rtol=1e-3, atol=1e-4)


def test_autocast_changes_nothing() -> None:
    p, outputs = long_chain(1.0, 5.0)
    unary, transitions = p.unary.requires_grad_(), p.transitions.requires_grad_()
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            p = LinearChain(unary, transitions, p.lengths)
            total = (
                p.log_prob(outputs).sum(1)
                + p.entropy()
                + p.marginals().square().sum((1, 2))
                + kl(p, p.loss_augmented(unary))
            )
            gradients = torch.autograd.grad(total.sum(), (unary, transitions))
        results.append((total.detach(), *gradients))
    for plain, cast in zip(*results, strict=True):
        assert plain.dtype == cast.dtype == torch.float32
        assert torch.equal(plain, cast)


def test_half_precision_is_computed_in_float32() -> None:
    p, outputs = long_chain(1.0, 5.0)
    half = LinearChain(p.unary.bfloat16(), p.transitions, p.lengths)
    same = LinearChain(half.unary.float(), p.transitions, p.lengths)
    assert torch.equal(half.log_prob(outputs), same.log_prob(outputs))
    assert torch.equal(half.marginals(), same.marginals())


def test_a_mask_with_holes_cannot_be_given() -> None:
    """torchcrf's log-likelihood exceeds 0 where a mask has holes; lengths have none."""
    crf = torchcrf.CRF(2, batch_first=True)
    with torch.no_grad():
        crf.transitions.zero_()[1, 0] = 5.0
    unary, labels = torch.zeros(1, 3, 2), torch.tensor([[0, 1, 0]])
    unary[0, 0, 0] = 5.0
    mask = torch.tensor([[True, False, True]])
    assert crf(unary, labels, mask) > 0
    p = LinearChain.with_ends(unary, crf.transitions, crf.start_transitions, crf.end_transitions, mask.sum(1))
    assert p.log_prob(Sequences(labels, mask.sum(1)).candidates()) <= 0


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("verb", ["expected reward", "entropy", "kl", "kl to another", "marginals"])
@pytest.mark.parametrize(
    ("labels", "scale", "seed"), [(2, 0.1, 0), (2, 5.0, 3), (5, 1.0, 1), (5, 5.0, 4), (23, 1.0, 2)]
)
def test_float32_gradients_do_not_drift_with_length(verb: str, labels: int, scale: float, seed: int) -> None:
    source, lengths = generator(seed), torch.tensor([1000])
    unary, other, costs = (torch.randn(1, 1000, labels, generator=source) for _ in range(3))
    transitions, other_pairs = (torch.randn(labels, labels, generator=source) for _ in range(2))
    verbs: dict[str, Callable[[LinearChain, LinearChain, Tensor], Tensor]] = {
        "expected reward": lambda p, q, c: p.expected_score(LocalScores(c, lengths)),
        "entropy": lambda p, q, c: p.entropy(),
        "kl": lambda p, q, c: kl(p, q),
        "kl to another": lambda p, q, c: kl(q, p),
        "marginals": lambda p, q, c: (p.marginals() * c).sum((1, 2)),
    }

    def gradients(dtype: torch.dtype) -> tuple[Tensor, ...]:
        u = (unary * scale).to(dtype).requires_grad_()
        t = (transitions * min(scale, 3.0)).to(dtype).requires_grad_()
        p, q = LinearChain(u, t, lengths), LinearChain(other.to(dtype), other_pairs.to(dtype), lengths)
        value = verbs[verb](p, q, costs.to(dtype))
        return (value, *torch.autograd.grad(value.sum(), (u, t)))

    for found, exact in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        assert relative(found.detach(), exact.detach()) < 1e-4
