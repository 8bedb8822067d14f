"""The kernels of a chain, on CUDA or by Triton's interpreter (``TRITON_INTERPRET=1``, Triton 3.6, NumPy below 2.4)."""

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from torch import Tensor

from structpred.distributions import Factorised, LinearChain, fused_chain
from structpred.distributions.layout import Packing
from structpred.distributions.log_space import log_messages
from structpred.sequences import Sequences
from tests.distributions.chains import KINDS, chain, generator

interpreted = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_kernels = pytest.mark.skipif(
    not fused_chain.installed() or not (torch.cuda.is_available() or interpreted),
    reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1",
)


def kernels(test: Callable[..., None]) -> Callable[..., None]:
    """Where they run; the interpreter makes numbers of arrays in a way that NumPy warns of."""
    quiet = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")
    marked: Callable[..., None] = needs_kernels(quiet(test))
    return marked


def in_float(p: LinearChain) -> LinearChain:
    return LinearChain(p.unary.float(), p.transitions.float(), p.lengths)


def by_logarithms(p: LinearChain, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log Z, the gradient of Σ_b w_b log Z_b to u and to T, all in float64."""
    unary, transitions = (each.detach().double().requires_grad_() for each in (p.unary, p.transitions))
    packing = Packing.of(p.lengths, unary.shape[1])
    with torch.enable_grad():
        log_z = log_messages(unary, transitions, p.lengths, packing).log_partition()
        found = torch.autograd.grad((log_z * weights).sum(), (unary, transitions), allow_unused=True)
    of_unary, of_pairs = (
        torch.zeros_like(x) if g is None else g for x, g in zip((unary, transitions), found, strict=True)
    )
    return log_z.detach(), torch.where(unary.isnan(), 0.0, of_unary), of_pairs


def random_chain(batch: int, time: int, labels: int, scale: float = 1.0) -> LinearChain:
    source = generator(batch + time + labels)
    unary, transitions = (torch.randn(s, generator=source) * scale for s in ((batch, time, labels), (labels, labels)))
    return LinearChain(unary, transitions, torch.randint(time + 1, (batch,), generator=source))


def check(p: LinearChain, scale: float = 1.0) -> None:
    """Errors are those of float32: relative to the scores for log Z, absolute for probabilities."""
    from structpred.distributions import chain_kernels

    weights = torch.linspace(-1, 2, len(p.lengths), dtype=torch.float64)
    expected = by_logarithms(p, weights)
    unary, transitions, lengths = (each.to(DEVICE) for each in (p.unary, p.transitions, p.lengths))
    log_z, alpha = chain_kernels.forward(unary, transitions, lengths)
    marginals, pairs = chain_kernels.backward(unary, transitions, lengths, alpha, weights.float().to(DEVICE))
    torch.testing.assert_close(log_z.cpu(), expected[0], rtol=1e-6, atol=2e-6 * scale)
    torch.testing.assert_close(marginals.cpu().double(), expected[1], rtol=2e-5, atol=4e-6 * scale)
    torch.testing.assert_close(pairs.cpu().double(), expected[2], rtol=2e-5, atol=2e-5 * scale)


@kernels
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_agree_with_recursions_by_logarithms_in_float64(kind: str) -> None:
    check(in_float(chain(kind)), {"wide": 60, "widest": 400}.get(kind, 1))


@kernels
@pytest.mark.parametrize(("batch", "time", "labels"), [(3, 1, 2), (1, 9, 17), (7, 5, 33), (2, 30, 5), (1100, 2, 3)])
def test_kernels_agree_at_sizes_that_are_no_powers_of_two_and_with_more_outputs_than_programs(
    batch: int, time: int, labels: int
) -> None:
    check(random_chain(batch, time, labels))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="too much for the interpreter: needs a CUDA device")
@pytest.mark.parametrize(("batch", "time", "labels"), [(64, 100, 50), (8, 1000, 23), (5, 40, 128)])
def test_kernels_agree_at_sizes_of_real_problems(batch: int, time: int, labels: int) -> None:
    check(random_chain(batch, time, labels, scale=3.0), scale=3.0)


def scored_exactly(unary: Tensor, transitions: Tensor, lengths: Tensor, outputs: Tensor) -> Tensor:
    """The scores in float64, summed output by output."""
    scores = torch.zeros(outputs.shape[:2], dtype=torch.float64)
    for b, length in enumerate(lengths.tolist()):
        for c, labels in enumerate(outputs[b, :, :length].tolist()):
            scores[b, c] = sum(float(unary[b, t, y]) for t, y in enumerate(labels))
            scores[b, c] += sum(float(transitions[y, z]) for y, z in pairwise(labels))
    return scores


def counted_exactly(weights: Tensor, unary: Tensor, lengths: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted counts of labels and of pairs in float64, counted one by one."""
    of_unary, of_pairs = torch.zeros_like(unary).double(), torch.zeros(2 * unary.shape[2:]).double()
    for b, length in enumerate(lengths.tolist()):
        for c, labels in enumerate(outputs[b, :, :length].tolist()):
            for t, y in enumerate(labels):
                of_unary[b, t, y] += weights[b, c]
            for y, z in pairwise(labels):
                of_pairs[y, z] += weights[b, c]
    return of_unary, of_pairs


@kernels
@pytest.mark.parametrize(("batch", "time", "labels", "candidates"), [(3, 1, 2, 1), (5, 9, 17, 4), (1, 300, 3, 2)])
def test_kernels_score_outputs_and_count_their_labels(batch: int, time: int, labels: int, candidates: int) -> None:
    from structpred.distributions import chain_kernels

    p, source = random_chain(batch, time, labels), generator(time)
    outputs = torch.randint(labels, (batch, candidates, time), generator=source)
    weights = torch.randn(batch, candidates, dtype=torch.float64, generator=source)
    scores = scored_exactly(p.unary, p.transitions, p.lengths, outputs)
    expected = [scores, *counted_exactly(weights, p.unary, p.lengths, outputs)]
    padding = torch.arange(time).view(1, 1, -1) >= p.lengths.view(-1, 1, 1)
    outputs = torch.where(padding, -100, outputs)  # which nothing may read
    there = [each.to(DEVICE) for each in (p.unary, p.transitions, p.lengths, outputs)]
    found = (chain_kernels.score(*there), *chain_kernels.score_backward(weights.to(DEVICE), *there))
    torch.testing.assert_close([each.cpu().double() for each in found], expected, rtol=1e-6, atol=1e-5)


@kernels
def test_the_score_of_a_label_that_is_not_there_is_no_number() -> None:
    from structpred.distributions import chain_kernels

    outputs = torch.tensor([[[0, 1], [0, 2], [-1, 0]]])
    given = torch.ones(1, 2, 2), torch.ones(2, 2), torch.tensor([2]), outputs
    scores = chain_kernels.score(*(each.to(DEVICE) for each in given))
    assert scores.isnan().tolist() == [[False, True, True]]


@kernels
def test_what_cannot_be_is_impossible_and_a_length_beyond_the_scores_is_no_number() -> None:
    from structpred.distributions import chain_kernels

    unary = torch.zeros(3, 3, 2)
    unary[1, :, 1] = -torch.inf
    never = torch.tensor([[-torch.inf, 0.0], [0.0, 0.0]])
    lengths = torch.tensor([3, 3, 4])
    log_z, _ = chain_kernels.forward(*(each.to(DEVICE) for each in (unary, never, lengths)))
    assert log_z[0].exp().item() == pytest.approx(5)  # of eight, those without two zeros in a row
    assert log_z[1].item() == -torch.inf
    assert log_z[2].isnan()


class Reference(ModuleType):
    """What stands in for the kernels where there is no GPU: the same functions by logarithms."""

    def __init__(self) -> None:
        super().__init__("structpred.distributions.chain_kernels")
        self.calls = 0

    def forward(self, unary: Tensor, transitions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        zero = torch.zeros(len(lengths), dtype=torch.float64)
        return by_logarithms(LinearChain(unary, transitions, lengths), zero)[0], torch.empty_like(unary)

    def backward(
        self, unary: Tensor, transitions: Tensor, lengths: Tensor, alpha: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.calls += 1
        _, of_unary, of_pairs = by_logarithms(LinearChain(unary, transitions, lengths), weights.double())
        return of_unary.float(), of_pairs.float()

    def score(self, unary: Tensor, transitions: Tensor, lengths: Tensor, outputs: Tensor) -> Tensor:
        self.calls += 1
        return scored_exactly(unary, transitions, lengths, outputs)

    def score_backward(
        self, weights: Tensor, unary: Tensor, transitions: Tensor, lengths: Tensor, outputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.calls += 1
        del transitions
        of_unary, of_pairs = counted_exactly(weights, unary, lengths, outputs)
        return of_unary.float(), of_pairs.float()


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Reference:
    """A chain in main memory that takes the way of one on CUDA."""
    import structpred.distributions as package

    module = Reference()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(package, "chain_kernels", module, raising=False)
    monkeypatch.setattr(fused_chain, "fits", lambda unary, transitions: True)
    return module


def losses(p: LinearChain) -> dict[str, Callable[[], Tensor]]:
    """All that is made of log Z, one number for each example."""
    given = p.argmax().candidates()
    spread = Factorised(torch.zeros_like(p.unary), p.lengths)
    return {
        "log Z": p.log_partition,
        "log p": lambda: p.log_prob(given).squeeze(1),
        "cross-entropy": lambda: p.cross_entropy_from(spread),
        "entropy": p.entropy,
        "n-best": lambda: p.n_best(2).log_probs.exp().sum(1),
    }


@pytest.mark.parametrize("verb", ["log Z", "log p", "cross-entropy", "entropy", "n-best"])
def test_a_chain_gives_the_same_values_and_gradients_through_the_kernels(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = random_chain(6, 5, 4)
    leaves = (one.unary.requires_grad_(), one.transitions.requires_grad_())
    expected = losses(one)[verb]()
    module = Reference()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, module.__name__, module)
        patched.setattr("structpred.distributions.chain_kernels", module, raising=False)
        patched.setattr(fused_chain, "fits", lambda unary, transitions: True)
        found = losses(one)[verb]()
        torch.testing.assert_close(found, expected)
        if expected.requires_grad:
            theirs, ours = (torch.autograd.grad(each.sum(), leaves) for each in (expected, found))
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert module.calls if verb != "entropy" else not module.calls


def differentiated_twice(values: Tensor, leaves: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """The gradient of the squared length of the gradient of a sum."""
    first = torch.autograd.grad(values.sum(), leaves, create_graph=True)
    return torch.autograd.grad(torch.cat([each.flatten() for each in first]).square().sum(), leaves)


def test_a_gradient_through_the_kernels_is_differentiated_again(reference: Reference) -> None:
    unary, transitions = torch.randn(2, 3, 2, generator=generator()), torch.randn(2, 2, generator=generator(1))
    leaves = (unary.requires_grad_(), transitions.requires_grad_())
    lengths = torch.tensor([3, 2])

    def twice(p: LinearChain) -> tuple[Tensor, ...]:
        return differentiated_twice(p.log_partition(), leaves)

    found = twice(LinearChain(*leaves, lengths))
    before = reference.calls
    assert before == 1  # the gradient is made of other messages
    doubled = (leaves[0].detach().double().requires_grad_(), leaves[1].detach().double().requires_grad_())
    log_z = log_messages(*doubled, lengths, Packing.of(lengths, 3)).log_partition()
    expected = differentiated_twice(log_z, doubled)
    torch.testing.assert_close([each.double() for each in found], list(expected), rtol=1e-4, atol=1e-5)


def test_a_gradient_of_scores_through_the_kernels_is_differentiated_again(reference: Reference) -> None:
    one, source = random_chain(3, 4, 2), generator()
    leaves = (one.unary.requires_grad_(), one.transitions.requires_grad_())
    lengths = torch.tensor([4, 2, 0])
    given = Sequences(torch.randint(2, (3, 1, 4), generator=source), lengths.unsqueeze(1))

    def twice(dtype: torch.dtype) -> tuple[Tensor, ...]:
        cast = [each.detach().to(dtype).requires_grad_() for each in leaves]
        p = LinearChain(cast[0], cast[1], lengths)
        scores = p.score(given) if dtype == torch.float32 else p._summed_score(given)
        return differentiated_twice(scores.square(), (cast[0], cast[1]))

    found = twice(torch.float32)
    assert reference.calls == 2  # the scores and, at the end, their gradient; that in between is made of gathered ones
    torch.testing.assert_close([each.double() for each in found], list(twice(torch.float64)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "labels"), [(torch.float32, 3), (torch.float64, 3), (torch.float32, 129)])
def test_only_float32_on_cuda_and_few_labels_go_to_the_kernels(dtype: torch.dtype, labels: int) -> None:
    p = random_chain(2, 3, labels)
    goes = fused_chain.fits(p.unary.to(DEVICE, dtype), p.transitions.to(DEVICE, dtype))
    assert goes == (DEVICE == "cuda" and fused_chain.installed() and dtype == torch.float32 and labels <= 128)
