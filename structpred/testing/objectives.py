"""What every objective must satisfy, on every model it can serve."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.models import Model
from structpred.models.embedded import EmbeddedInputs, embedded, embedder_of
from structpred.objective import Losses, Objective, StepContext
from structpred.sequences import Sequences
from structpred.testing.spaces import INPUTS as SYMBOLS
from structpred.testing.spaces import (
    Dictated,
    built,
    double_precision,
    every_output,
    log_probs_of,
    repeated,
    sizes_of,
    targets_for,
    tiny_models,
    tuples_of,
)

LABELS = 2
INPUTS = ((0, 1), (2,), (1, 1))

POINTS = ((0, 0.0), (100, 0.75))
"""Steps and shares of the training done at which losses are looked at: an objective may change over training."""

Exactly = Callable[[Tensor, Sequences, Sequences], Tensor]
"""From log p(y) ``[outputs]``, all outputs ``[1, outputs, time]`` and the reference ``[1, time]`` to a loss."""


StateFor = Callable[[Model], nn.Module | None]
"""From a model to the objective's state on it."""


def check_objective(
    objective: Objective,
    *,
    models: Mapping[str, Model] | None = None,
    state: StateFor | None = None,
    samples: int | None = None,
    exactly: Exactly | None = None,
    apart: bool = True,
) -> tuple[str, ...]:
    """Check an objective on every tiny model that it does not refuse.

    Losses are ``[batch]``, finite and repeat themselves under the same generator, early and late in training, and
    diagnostics are detached. At the first step losses follow a permuted batch, padding changes nothing, and each is
    that of the example alone; this with samples of p and q that belong to the example. An objective that draws by the
    generator even then is only checked to give an example the same loss beside others of the same lengths, and that
    where it draws equally many random numbers for them. Where nothing is drawn in the step the gradient is that of
    finite differences (float64), a shift of the inputs' vectors being held constant. With ``exactly`` and ``samples``
    the gradient expected over all tuples of so many outputs must equal that of ``exactly`` to 1e-9.

    Args:
        objective: what to check.
        models: specifications by name; our own ones, tiny, by default.
        state: makes the objective's state for a model, where `Objective.state` needs more than sizes, such as a
            finished run; by default that method does.
        samples: how many outputs the objective draws from p for each example.
        exactly: the loss that the objective estimates, from the log-probabilities of all outputs.
        apart: False where losses depend on the other examples of the batch by design, such as on negatives taken from
            them; then this is not checked.

    Returns:
        The names of the models it was checked on.

    Raises:
        AssertionError: a property does not hold; the message says which, and on which model.
    """
    able = {name: model for name, model in (models or tiny_models()).items() if serves(objective, model)}
    assert able, f"{objective} refuses every model it was tried on: pass one that it can serve as models={{...}}"
    for name, model in able.items():
        where = f"{type(objective).__name__} on {name}"
        make: StateFor = state or (lambda _: objective.state(sizes_of(LABELS)))
        case = _Case(objective, model, make)
        for point in POINTS:
            _check_losses(case, *point, where)
        _check_batch(case, apart, where)
        _check_gradient(case, where)
        if exactly is not None and samples is not None:
            _check_expectation(objective, model, samples, exactly, where)
    return tuple(able)


def serves(objective: Objective, model: Model) -> bool:
    """True where the objective does not refuse the model."""
    try:
        objective.check_model(model)
    except ConfigError:
        return False
    return True


def expected_gradient(
    objective: Objective, network: nn.Module, inputs: Sequences, target: Sequences, samples: int
) -> tuple[Tensor, ...]:
    """The gradient of the loss expected over all tuples of ``samples`` outputs of one example, term by term.

    Args:
        objective: draws ``samples`` outputs from p.
        network: called on inputs it returns p, whose outputs must be few.
        inputs: one example, ``[1, time]``.
        target: its reference, ``[1, time]``.
        samples: draws of the objective.
    """
    p = network(inputs)
    tuples = tuples_of(every_output(p, int(inputs.lengths[0])), samples)
    count = len(tuples)
    many = network(repeated(inputs, count))
    weights = log_probs_of(many, tuples).sum(1).exp()
    references = repeated(target, count)
    state = _made(lambda: objective.state(sizes_of(p.num_labels)))
    losses = _losses(objective, Dictated(many, tuples), references, repeated(inputs, count), state=state)
    return _gradient((weights * losses.values).sum(), network)


def _check_expectation(objective: Objective, model: Model, samples: int, exactly: Exactly, where: str) -> None:
    for row in INPUTS[:2]:
        inputs = Sequences.of([row])
        target, network = targets_for(model, inputs, LABELS), built(model, LABELS)
        estimated = expected_gradient(objective, network, inputs, target, samples)
        p = network(inputs)
        outputs = every_output(p, len(row))
        truth = _gradient(exactly(p.log_prob(outputs)[0], outputs, target).sum(), network)
        worst = max(float((one - other).abs().max()) for one, other in zip(estimated, truth, strict=True))
        assert worst < 1e-9, f"{where}: the expected gradient is off by {worst:.3g}, so the estimator is biased"


@dataclass(frozen=True)
class _Case:
    """An objective on one model, and what both are tried on.

    Attributes:
        objective: the objective.
        model: the specification of the model.
        make: makes the objective's state.
    """

    objective: Objective
    model: Model
    make: StateFor

    @cached_property
    def inputs(self) -> Sequences:
        """A few examples."""
        return Sequences.of(INPUTS)

    @cached_property
    def targets(self) -> Sequences:
        """Their references."""
        return targets_for(self.model, self.inputs, LABELS)

    @cached_property
    def network(self) -> nn.Module:
        """In float64."""
        return built(self.model, LABELS)

    @cached_property
    def drawn(self) -> Sequences | None:
        """What the objective draws ahead of the step."""
        return self.objective.draw(self.targets, LABELS, torch.Generator().manual_seed(2))

    def read(self, inputs: Sequences, call: Callable[[Sequences], Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """p by a call of the network, or of something that calls it, and the vectors if the objective shifts them."""
        if not self.objective.perturbs:
            return (call or self.network)(inputs), {}
        p, vectors = embedded(call or self.network, embedder_of(self.network, self.model.embedder), inputs)
        return p, {"embedded": vectors}

    def losses(self, p: Any, targets: Sequences, inputs: Sequences, **given: Any) -> Losses:
        """The objective as the trainer calls it, everything random starting anew."""
        return _losses(self.objective, p, targets, inputs, state=_made(lambda: self.make(self.model)), **given)


def _check_losses(case: _Case, step: int, share: float, where: str) -> None:
    when = {"step": step, "share": share}
    (p, vectors), where = case.read(case.inputs), f"{where}, step {step}"
    found = case.losses(p, case.targets, case.inputs, **when, **vectors)
    p, vectors = case.read(case.inputs)
    again = case.losses(p, case.targets, case.inputs, **when, **vectors)
    shape = tuple(found.values.shape)
    assert shape == (len(INPUTS),), f"{where}: expected one loss per example, [{len(INPUTS)}], but got shape {shape}"
    assert torch.isfinite(found.values).all(), f"{where}: losses must be finite, but got {found.values.tolist()}"
    assert torch.equal(found.values, again.values), f"{where}: the same generator must give the same losses"
    for name, values in found.diagnostics.items():
        assert not values.requires_grad, f"{where}: the diagnostic {name!r} must be detached"
        assert values.shape == found.values.shape, f"{where}: the diagnostic {name!r} must be one number per example"
    gradients = _gradient(found.values.sum(), case.network)
    assert all(torch.isfinite(each).all() for each in gradients), f"{where}: gradients must be finite"


def _check_batch(case: _Case, apart: bool, where: str) -> None:
    """That order, padding and other examples change no loss, with draws of p and q that belong to the example."""
    order, every = torch.tensor([2, 0, 1]), torch.arange(3)
    source = torch.Generator().manual_seed(1)
    before = source.get_state()

    def losses(rows: Tensor, references: Sequences, drawn: Sequences | None) -> Tensor:
        inputs = case.inputs.select(rows)
        p, vectors = case.read(inputs, lambda inputs: _Fixed(case.network(inputs), rows))
        draws = None if drawn is None else drawn.select(rows)
        return case.losses(p, references.select(rows), inputs, draws=draws, generator=source, **vectors).values

    straight = losses(every, case.targets, case.drawn)
    if not torch.equal(source.get_state(), before):
        if apart:
            _check_beside_others(case, where)
        return
    wide, drawn = _widened(case.targets), None if case.drawn is None else _widened(case.drawn)
    if not _close(losses(order, wide, drawn), straight[order]):  # both at once, and one by one only to say which
        permuted = losses(order, case.targets, case.drawn)
        assert _close(permuted, straight[order]), f"{where}: permuting the batch must permute the losses"
        raise AssertionError(f"{where}: what stands in the padding must not matter")
    if not apart:
        return
    alone = torch.cat([losses(row, case.targets, case.drawn) for row in every.unsqueeze(1)])
    assert _close(alone, straight), _mixed(where, f"together they are {_shown(straight)}, and alone {_shown(alone)}")


def _check_beside_others(case: _Case, where: str) -> None:
    """The same loss beside others of the same lengths: then every example is given the same random numbers.

    Where the objective draws more or fewer of them beside others, this says nothing.
    """

    def losses(inputs: Sequences, targets: Sequences) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(1)
        p, vectors = case.read(inputs, lambda inputs: _Fixed(case.network(inputs), torch.arange(len(INPUTS))))
        found = case.losses(p, targets, inputs, draws=case.drawn, generator=source, **vectors)
        return found.values, source.get_state()

    values, drawn = losses(case.inputs, case.targets)
    for row in range(len(INPUTS)):
        kept = torch.arange(len(INPUTS)).unsqueeze(1) == row
        inputs, targets = (
            replace(each, labels=torch.where(kept | ~each.mask(), each.labels, (each.labels + 1) % size))
            for each, size in ((case.inputs, SYMBOLS), (case.targets, LABELS))
        )
        beside, after = losses(inputs, targets)
        one, other = values[row : row + 1], beside[row : row + 1]
        assert _close(one, other) or not torch.equal(after, drawn), _mixed(
            where, f"beside others of the same lengths that of example {row} is {_shown(other)} and not {_shown(one)}"
        )


def _mixed(where: str, found: str) -> str:
    return (
        f"{where}: a loss must not depend on the other examples of the batch, but {found}; if that is meant, pass "
        "apart=False"
    )


def _shown(losses: Tensor) -> str:
    return "[" + ", ".join(f"{each:.6g}" for each in losses.tolist()) + "]"


def _widened(sequences: Sequences) -> Sequences:
    """The same with garbage beyond the ends."""
    labels = torch.where(sequences.mask(), sequences.labels, 1)
    return replace(sequences, labels=torch.nn.functional.pad(labels, (0, 2), value=1))


class _Fixed:
    """p with draws that belong to the example, wherever it stands in the batch."""

    def __init__(self, p: Any, rows: Tensor) -> None:
        self.p, self.rows = p, rows

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.p, verb)

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        del generator
        lengths = torch.tensor([len(row) for row in INPUTS])[self.rows].unsqueeze(1).repeat(1, k)
        labels = (torch.arange(2) + torch.arange(k).unsqueeze(1) + self.rows.view(-1, 1, 1)) % LABELS
        inside = torch.arange(2) < lengths.unsqueeze(-1)
        return Sequences(torch.where(inside, labels, 0), lengths)


def _check_gradient(case: _Case, where: str) -> None:
    """Finite differences, where the loss is a function of p and not of draws within the step."""
    if not case.objective.exact and _draws_in_step(case):
        return
    names = [name for name, _ in case.network.named_parameters()]
    held = list[Tensor]()

    def values(*parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        p, vectors = case.read(case.inputs, lambda inputs: torch.func.functional_call(case.network, given, inputs))
        vectors = {name: _held(each, held) for name, each in vectors.items()}
        return case.losses(p, case.targets, case.inputs, draws=case.drawn, **vectors).values

    right = torch.autograd.gradcheck(values, tuple(case.network.parameters()), fast_mode=True, raise_exception=False)
    assert right, f"{where}: the gradient is not that of finite differences"


def _held(vectors: EmbeddedInputs, shifts: list[Tensor]) -> EmbeddedInputs:
    """The same, but every shift is the first one asked for, as an objective holds it constant."""

    def shifted(shift: Tensor) -> Any:
        if not shifts:
            shifts.append(shift)
        return vectors.shifted(shifts[0])

    return replace(vectors, shifted=shifted)


def _draws_in_step(case: _Case) -> bool:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    p, vectors = case.read(case.inputs)
    case.losses(p, case.targets, case.inputs, draws=case.drawn, generator=generator, **vectors)
    return not torch.equal(before, generator.get_state())


def _made(make: Callable[[], nn.Module | None]) -> nn.Module | None:
    with torch.random.fork_rng(), double_precision():
        torch.default_generator.manual_seed(0)  # `torch.manual_seed` takes milliseconds: it writes its callers down
        return make()


def _losses(
    objective: Objective,
    p: Any,
    targets: Sequences,
    inputs: Sequences,
    *,
    state: nn.Module | None,
    generator: torch.Generator | None = None,
    **given: Any,
) -> Losses:
    """Not checked: what is wrong is for this kit to say."""
    source = generator or torch.Generator().manual_seed(1)
    return objective.losses(p, targets, StepContext(state=state, generator=source, inputs=inputs, **given))


def _gradient(loss: Tensor, network: nn.Module) -> tuple[Tensor, ...]:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True))


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-9)
