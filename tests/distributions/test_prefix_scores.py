"""A distribution made of one function has every verb, and each is right."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Autoregressive
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.testing import check_model
from tests.support.tiny import DECODERS, as_candidates, strings, tiny_decoder, tiny_p

V, LIMITS = 2, torch.tensor([3, 1, 2])


class Remembering:
    """Scores by a decaying sum of the symbols so far, another one for each example."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(0)
        self.table = torch.randn(len(LIMITS), V + 1, V + 1, generator=source, dtype=torch.float64).mul(1.5)
        self.table.requires_grad_()

    def __call__(self, prefixes: Tensor, examples: Tensor) -> Tensor:
        read = self.table[examples.unsqueeze(1), prefixes]
        decay = 0.7 ** (torch.arange(prefixes.shape[1]).unsqueeze(1) - torch.arange(prefixes.shape[1])).double()
        return decay.tril() @ read


def by_hand(function: Remembering, example: int, output: list[int], *, ended: bool) -> Tensor:
    """log p(y|x), one call for each symbol."""
    prefix, total = [V], torch.zeros((), dtype=torch.float64)
    for symbol in [*output, V] if ended else output:
        scores = function(torch.tensor([prefix]), torch.tensor([example]))[0, -1]
        total, prefix = total + scores.log_softmax(-1)[symbol], [*prefix, symbol]
    return total


def test_probabilities_are_products_of_the_softmax_and_sum_to_one() -> None:
    function = Remembering()
    p = Autoregressive.from_logits(function, V, LIMITS)
    outputs = strings(V, 4)
    every = as_candidates(outputs, batch=3)
    every = replace(every, ended=(every.lengths < 4))
    log_probs = p.log_prob(every)
    for example in range(3):
        expected = [by_hand(function, example, output, ended=len(output) < 4) for output in outputs]
        torch.testing.assert_close(log_probs[example], torch.stack(expected), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda _: p.log_prob(every), function.table, fast_mode=True)


def test_a_beam_as_wide_as_there_are_prefixes_is_exact_whatever_the_limits() -> None:
    function = Remembering()
    ranked = Autoregressive.from_logits(function, V, LIMITS).beam(2 ** (3 + 1) - 1)
    for example, limit in enumerate(LIMITS.tolist()):
        outputs = strings(V, limit)
        log_probs = torch.stack([by_hand(function, example, output, ended=True) for output in outputs])
        order = log_probs.argsort(descending=True)
        found = Sequences(ranked.outputs.labels[example], ranked.outputs.lengths[example]).tolist()
        assert found[: len(outputs)] == [outputs[i] for i in order]
        torch.testing.assert_close(ranked.log_probs[example, : len(outputs)], log_probs[order])


def test_every_verb_is_that_of_the_decoder_which_the_function_asks() -> None:
    theirs = tiny_p(V, longest=3)

    def scores(prefixes: Tensor, examples: Tensor) -> Tensor:
        rows, steps = prefixes.shape
        outputs = Sequences(prefixes[:, None, 1:], torch.full((rows, 1), steps - 1))
        return theirs.decoder.select(examples).logits(outputs, torch.arange(rows * steps)).view(rows, steps, -1)

    ours = Autoregressive.from_logits(scores, V, theirs.decoder.limits)
    outputs, source = as_candidates(strings(V, 2), batch=2), torch.Generator()
    own = torch.arange(outputs.labels.numel()).view_as(outputs.labels) % 2 == 0
    prefixes = Sequences.of([[1, 0], [1]])

    def asked(p: Autoregressive) -> list[Any]:
        history = p.mixed_history(outputs, own, source.manual_seed(1))
        return [
            p.token_log_probs_given(outputs, history),
            p.steps(outputs).log_probs,
            p.sample(50, source.manual_seed(2)).labels,
            p.continuations(prefixes, 50, source.manual_seed(3)).labels,
            p.greedy().labels,
            p.decode(Decoding(beam=2)).labels,
            p.n_best(3).log_probs,
        ]

    for one, other in zip(asked(ours), asked(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_symbol_may_be_forbidden() -> None:
    def never_the_first(prefixes: Tensor, _: Tensor) -> Tensor:
        return torch.tensor([-torch.inf, 0.0, 0.0]).expand(*prefixes.shape, -1)

    p = Autoregressive.from_logits(never_the_first, V, torch.tensor([4]))
    drawn = p.sample(100, torch.Generator().manual_seed(0))
    assert drawn.labels[drawn.mask()].all()
    assert p.log_prob(as_candidates([[0]])).isneginf().all()


def test_no_symbol_is_named_that_does_not_exist_where_few_are_possible() -> None:
    """Only label 1 can follow label 1, and after a label of probability 0 the function forbids everything."""
    seen: list[int] = []

    def scores(prefixes: Tensor, _: Tensor) -> Tensor:
        seen.append(int(prefixes.max()))
        table = torch.tensor([[-torch.inf] * 3, [-torch.inf, 0.0, -1.0], [-torch.inf, 2.0, 1.0]])
        return table[prefixes]

    p = Autoregressive.from_logits(scores, V, [3])
    ranked = p.beam(6)
    assert max(seen) == V
    assert ranked.outputs.flatten().tolist()[:4] == [[], [1], [1, 1], [1, 1, 1]]
    log_probs = p.log_prob(Sequences(ranked.outputs.labels, ranked.outputs.lengths))
    torch.testing.assert_close(ranked.log_probs[:, :4], log_probs[:, :4].double())
    assert ranked.log_probs[:, 4:].isneginf().all(), "there are no more outputs"
    assert p.log_prob(as_candidates([[0], [0, 1], [1, 0, 0]])).isneginf().all()


def test_after_an_end_everything_may_be_forbidden() -> None:
    """A beam that is wider than there are labels goes on after an end, with probability 0."""

    def scores(prefixes: Tensor, _: Tensor) -> Tensor:
        ended = (prefixes[:, 1:] == V).cumsum(1).bool()
        ended = torch.cat([torch.zeros_like(prefixes[:, :1]).bool(), ended], 1)
        seen.append(bool(ended.any()))
        return torch.zeros(*prefixes.shape, V + 1).masked_fill(ended.unsqueeze(-1), -torch.inf)

    seen: list[bool] = []
    ranked = Autoregressive.from_logits(scores, V, [3]).beam(4)
    assert any(seen)
    assert ranked.log_probs.isfinite().all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (torch.nan, "but returned nan"),
        (torch.inf, "but returned inf"),
        (-torch.inf, "but forbids every label and the end after a prefix that it allows; allow one of them"),
    ],
)
def test_scores_that_are_no_distribution_are_refused(row: float, message: str) -> None:
    def after_the_first(prefixes: Tensor, _: Tensor) -> Tensor:
        return torch.where((prefixes == 0).unsqueeze(-1), row, torch.tensor([2.0, 1.0, 0.0]))

    p = Autoregressive.from_logits(after_the_first, V, [3])
    for asked in (p.greedy, lambda: p.beam(3), lambda: p.log_prob(as_candidates([[0]]))):
        with pytest.raises(ConfigError, match=message):
            asked()
    assert p.log_prob(as_candidates([[1]])).isfinite().all(), "what nobody reads is not asked for"


def test_a_function_may_write_into_what_it_is_given() -> None:
    function = Remembering()

    def writing(prefixes: Tensor, examples: Tensor) -> Tensor:
        found = function(prefixes, examples)
        prefixes.fill_(0)
        examples.fill_(0)
        return found

    p, same = (Autoregressive.from_logits(each, V, LIMITS) for each in (writing, function))
    assert p.beam(4).outputs.flatten().tolist() == same.beam(4).outputs.flatten().tolist()
    assert p.greedy().tolist() == same.greedy().tolist()


@dataclass(frozen=True, kw_only=True)
class Peeking(Model):
    """Scores that see whole outputs, as those of a Transformer without a mask."""

    distribution = Autoregressive

    def build(self, sizes: Sizes) -> nn.Module:
        table = nn.Embedding(sizes.num_labels + 1, sizes.num_labels + 1)

        class Network(nn.Module):
            def forward(self, inputs: Sequences) -> Autoregressive:
                def scores(prefixes: Tensor, _: Tensor) -> Tensor:
                    read: Tensor = table(prefixes)
                    return read.sum(1, keepdim=True).expand_as(read)

                return Autoregressive.from_logits(scores, sizes.num_labels, torch.full_like(inputs.lengths, 2))

        return Network()


def test_a_function_that_sees_the_future_does_not_pass_the_kit() -> None:
    with pytest.raises(AssertionError, match="probabilities sum to"):
        check_model(Peeking())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda prefixes: torch.zeros(len(prefixes), V + 1), r"\[rows, steps, labels \+ 1\] of shape \(2, 3, 3\), but"),
        (lambda prefixes: torch.zeros(*prefixes.shape, V), r"returned one of shape \(2, 3, 2\)"),
        (lambda prefixes: prefixes, "returned one of shape"),
        (lambda prefixes: None, "must return a tensor"),
        (
            lambda prefixes: torch.full((*prefixes.shape, V + 1), torch.nan),
            r"but returned nan; look for a row of which",
        ),
    ],
)
def test_what_a_function_must_return_is_said(returned: Any, message: str) -> None:
    p = Autoregressive.from_logits(lambda prefixes, _: returned(prefixes), V, torch.tensor([3]))
    with pytest.raises(ConfigError, match=message):
        p.log_prob(as_candidates([[0, 1], [1]]))


@pytest.mark.parametrize(
    ("labels", "limits", "message"),
    [
        (0, torch.tensor([3]), "labels of .* must be at least 1, but got 0"),
        ("3", torch.tensor([3]), "labels of .* must be"),
        (V, None, "limits of .* must be a whole number for each example, but got None"),
        (V, "ab", "limits of .* must be a whole number for each example, but got 'ab'"),
        (V, torch.tensor([3.0]), r"whole numbers \[batch\], .*but got numbers of shape \(1,\) and torch\.float32"),
        (V, torch.tensor(3), r"but got numbers of shape \(\)"),
        (V, [3, -1], "at least 0, but got -1"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(labels: Any, limits: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Autoregressive.from_logits(lambda prefixes, _: prefixes, labels, limits)


def test_outputs_of_another_batch_are_refused() -> None:
    p = Autoregressive.from_logits(Remembering(), V, LIMITS[:2])
    with pytest.raises(ConfigError, match=r"as many examples as there are limits .*, 2, but are of 3; give"):
        p.log_prob(as_candidates([[0]], batch=3))


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("name", [*DECODERS, "function"])
def test_no_examples_and_no_candidates_are_no_special_case(name: str, batch: int) -> None:
    inputs = Sequences(torch.zeros(batch, 2, dtype=torch.long), torch.full((batch,), 2))
    p = Autoregressive.from_logits(Remembering(), V, [1] * batch) if name == "function" else tiny_decoder(name)(inputs)
    for k in (0, 3) if not batch else (0,):
        drawn = p.sample(k)
        assert drawn.labels.shape[:2] == p.log_prob(drawn).shape == (batch, k)
        assert p.steps(drawn).log_probs.shape[-1] == p.num_labels + 1
    if not batch:
        assert p.greedy().lengths.shape == p.decode(Decoding()).lengths.shape == (0,)
        assert p.n_best(3).log_probs.shape == (0, 3)
    with pytest.raises(ConfigError, match=r"^a beam search returns at least one output an example, but is asked for 0"):
        p.n_best(0)
