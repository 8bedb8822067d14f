"""Independent gradients of an objective at fixed weights and a fixed batch, one for each draw of its randomness."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.distributions import Factorised, LinearChain
from structpred.errors import ConfigError
from structpred.models.embedded import EmbeddedInputs, embedded, embedder_of
from structpred.objective import Objective
from structpred.seeds import stream
from structpred.sequences import Sequences
from structpred.task import Sizes

Wrt = Literal["scores", "weights"]
"""With respect to what a gradient is taken: the scores that p is made of, or the network's weights."""

MOST = 2**27
"""Numbers that all draws of a gradient hold together, at most: 1 GiB in float64."""


@dataclass(frozen=True)
class Batch:
    """What gradients are computed on.

    Attributes:
        inputs: the model's inputs.
        targets: a reference for each, ``[batch, time]``.
        sizes: the sizes that the network was built for.
    """

    inputs: Sequences
    targets: Sequences
    sizes: Sizes

    @property
    def tokens(self) -> int:
        """Target tokens, including ends, by which training divides the summed losses of a batch."""
        return int(self.targets.lengths.sum()) + len(self.targets)


@dataclass(frozen=True)
class Gradients:
    """Independent draws of a gradient.

    Attributes:
        rows: the gradient of the summed losses over `Batch.tokens`, flattened, ``[draws, parameters]`` in float64; a
            single row if the objective draws nothing.
        seconds: CPU-seconds of one gradient, model and objective together.
    """

    rows: Float[Tensor, "draws parameters"]
    seconds: float

    @property
    def random(self) -> bool:
        """False for an objective that draws nothing."""
        return len(self.rows) > 1


@dataclass(frozen=True)
class Point:
    """Where in training gradients are taken.

    Attributes:
        name: such as ``"finished"``.
        network: called on inputs it returns p; in evaluation mode, so that dropout adds no noise.
        step: optimiser steps taken before, for objectives that change over training.
        share: the fraction of training done before, likewise.
        embedder: the name of the network's module that reads inputs (`structpred.models.Model.embedder`), for
            objectives that shift its vectors.
    """

    name: str
    network: nn.Module
    step: int = 0
    share: float = 0.0
    embedder: str = ""


def gradients(
    objective: Objective, point: Point, batch: Batch, *, draws: int, seed: int = 0, wrt: Wrt = "weights"
) -> Gradients:
    """Independent gradients of an objective, each with its own draws of outputs, payoffs and noise.

    Weights and batch stay the same, so the spread is that of the objective's own randomness: neither the choice of the
    batch nor dropout adds to it. An objective that learns something, such as a critic, uses its untrained
    state, which does not change from draw to draw.

    Args:
        objective: must suit the model.
        point: the network.
        batch: inputs and references.
        draws: how many.
        seed: seeds all draws.
        wrt: `"scores"` needs a distribution that is made of a table of scores, as those of taggers and chains are, and
            an objective that neither adds noise to inputs nor shifts their vectors.

    Raises:
        ConfigError: the distribution has no table of scores, or the gradients would not fit into memory.
        RunError: the objective needs a run that does not exist.
    """
    source = torch.Generator().manual_seed(stream(seed, "diagnosis", wrt))
    with torch.random.fork_rng():
        torch.manual_seed(stream(seed, "diagnosis", "state"))
        state = objective.state(batch.sizes)
    before = None if state is None else copy.deepcopy(state.state_dict())
    shared = None if objective.corrupts else _Prepared.of(point, batch.inputs, wrt, objective.perturbs)
    rows: list[Tensor] = []
    seconds = 0.0
    for _ in range(draws):
        if state is not None and before is not None:
            state.load_state_dict(before)
        untouched, start = source.get_state(), time.process_time()
        given = objective.corrupt(batch.inputs, batch.sizes.num_inputs, source)
        prepared = shared or _Prepared.of(point, given, wrt, objective.perturbs)
        _check_size(prepared.wanted, draws)
        drawn = objective.draw(batch.targets, prepared.p.num_labels, source)
        losses = objective(
            prepared.p,
            batch.targets,
            step=point.step,
            share=point.share,
            draws=drawn,
            state=state,
            generator=source,
            inputs=given,
            embedded=prepared.vectors,
        )
        found = _gradient(losses.values.sum() / batch.tokens, prepared.wanted)
        seconds += time.process_time() - start
        rows.append(found)
        if torch.equal(source.get_state(), untouched):  # nothing was drawn, so all would be the same
            break
    forward = 0.0 if shared is None else shared.seconds
    return Gradients(torch.stack(rows), forward + seconds / len(rows))


def gradient_of(
    loss: Callable[[Any], Float[Tensor, " batch"]], point: Point, batch: Batch, wrt: Wrt
) -> Float[Tensor, " parameters"]:
    """The gradient of a function of p, summed over the batch and divided by `Batch.tokens`, flattened."""
    prepared = _Prepared.of(point, batch.inputs, wrt)
    return _gradient(loss(prepared.p).sum() / batch.tokens, prepared.wanted)


def has_scores(p: object) -> bool:
    """True for a distribution that is made of a table of scores."""
    return isinstance(p, Factorised | LinearChain)


@dataclass(frozen=True)
class _Prepared:
    """A distribution, the tensors with respect to which gradients are taken, and the inputs' vectors if asked for."""

    p: Any
    wanted: list[Tensor]
    seconds: float
    vectors: EmbeddedInputs | None

    @classmethod
    def of(cls, point: Point, inputs: Sequences, wrt: Wrt, perturbs: bool = False) -> "_Prepared":
        start, network, vectors = time.process_time(), point.network, None
        if perturbs:
            p, vectors = embedded(network, embedder_of(network, point.embedder), inputs)
        else:
            p = network(inputs)
        wanted: list[Tensor] = [each for each in network.parameters() if each.requires_grad]
        if wrt == "scores":
            p, wanted = _on_scores(p)
        return cls(p, wanted, time.process_time() - start, vectors)


def _on_scores(p: object) -> tuple[Any, list[Tensor]]:
    """The same distribution, made of scores that a gradient may be asked of."""
    if isinstance(p, Factorised):
        scores = p.scores.detach().requires_grad_()
        return replace(p, scores=scores), [scores]
    if isinstance(p, LinearChain):
        unary, transitions = p.unary.detach().requires_grad_(), p.transitions.detach().requires_grad_()
        return replace(p, unary=unary, transitions=transitions), [unary, transitions]
    raise ConfigError(
        f"a gradient with respect to scores needs a distribution made of a table of scores, as that of a tagger or a "
        f"chain, but {type(p).__name__} has none; use wrt='weights'"
    )


def _check_size(wanted: list[Tensor], draws: int) -> None:
    numbers = draws * sum(each.numel() for each in wanted)
    if numbers > MOST:
        raise ConfigError(
            f"{draws} gradients of {numbers // draws:,} numbers each are more than {MOST:,} numbers in memory; lower "
            f"the number of draws to {max(2, MOST * draws // numbers)}"
        )


def _gradient(loss: Tensor, wanted: list[Tensor]) -> Tensor:
    found = torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True)
    parts = [torch.zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True)]
    return torch.cat([each.detach().flatten().double() for each in parts])
