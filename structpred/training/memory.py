"""What training keeps in memory: known from the parameters, and measured for what the gradient needs."""

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor, nn

from structpred.blame import out_of_memory
from structpred.training.batching import EpochPlan
from structpred.training.settings import Optimiser
from structpred.training.step import Stepper

Result = TypeVar("Result")

_PROBED = 64
"""Entries on the first axis of the parameter from which an optimiser's state is measured."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the device that trains.

    The sum is what a step needs at the most, besides Python, PyTorch itself, the data and what single operations use
    while they run: activations are gone when all gradients are there.

    Attributes:
        weights: parameters and buffers of the network and of the objective's own module.
        gradients: of the parameters that are trained at some time.
        optimiser: its state, such as Adam's two moments; None where a step with a small parameter cannot show it.
        kept: the copy with the best scores on dev, without weights that a run leaves out, and the moving average.
        activations: what the forward pass keeps for the gradient; None where it has not been measured.
    """

    weights: int
    gradients: int
    optimiser: int | None
    kept: int
    activations: int | None = None

    @property
    def total(self) -> int:
        """The sum of what is known."""
        return sum(getattr(self, field.name) or 0 for field in fields(self))

    def __str__(self) -> str:
        names = {field.name: "kept weights" if field.name == "kept" else field.name for field in fields(self)}
        known = {name: getattr(self, field) for field, name in names.items() if getattr(self, field) is not None}
        parts = ", ".join(f"{name} {in_units(number)}" for name, number in known.items())
        without = " or ".join(name for name in names.values() if name not in known)
        return f"{in_units(self.total)}{without and f', without {without}'} ({parts})"


def in_units(number: int) -> str:
    """Bytes in readable decimal units, rounded up.

    Examples:
        >>> in_units(20), in_units(1_234_000), in_units(4_600_000_001)
        ('1 kB', '1.3 MB', '4.7 GB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if number >= size:
            return f"{-(-number * 10 // size) / 10:.1f} {unit}"
    return f"{max(-(-number // 1000), 1)} kB" if number else "0 kB"


def of_parameters(
    parameters: int, trained: int | None = None, *, average: bool = False, kept: int | None = None, state: float = 8.0
) -> Memory:
    """What a network of a given size needs in single precision, without activations.

    bf16 changes none of this: autocast keeps weights and optimiser in single precision.

    Args:
        parameters: all parameters.
        trained: those that are trained; None for all.
        average: whether `Trainer.average` is on.
        kept: the parameters that a run keeps; None for all.
        state: bytes of the optimiser's state for a parameter; Adam has two numbers.
    """
    trained = parameters if trained is None else trained
    kept = parameters if kept is None else kept
    return Memory(4 * parameters, 4 * trained, int(state * trained), 4 * kept * (2 if average else 1))


def needed(stepper: Stepper) -> Memory:
    """What the steps of a run need, without activations."""
    weights = _bytes(itertools.chain(stepper.modules.parameters(), stepper.modules.buffers()))
    kept = _bytes(stepper.weights().values())
    if stepper.average is not None:
        owned = {id(each) for each in stepper.model.parameters()}
        kept += _bytes(each for each in stepper.average.model.parameters() if id(each) not in owned)
        kept += _bytes(stepper.average.model.buffers())
    gradients = sum(each.numel() * each.element_size() for each in stepper.parameters)
    return Memory(weights, gradients, state_bytes(stepper.recipe.optimiser, stepper.parameters), kept)


def state_bytes(optimiser: Optimiser, parameters: Sequence[nn.Parameter]) -> int | None:
    """Bytes of the state that an optimiser will have for some parameters, from a step with a small one of each rank.

    None where that step fails: an optimiser of a user may ask more of its parameters.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # a resumed run must not find another random state
            by_rank = {rank: _state_of_small(optimiser, rank) for rank in {each.ndim for each in parameters}}
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None
    return sum(int(each.numel() * by_rank[each.ndim][0]) + by_rank[each.ndim][1] for each in parameters)


def _state_of_small(optimiser: Optimiser, rank: int) -> tuple[float, int]:
    """Bytes for each entry of a parameter of some rank, and bytes beside these."""
    probe = nn.Parameter(torch.zeros([_PROBED] + [4] * (rank - 1) if rank else []))
    probe.grad = torch.zeros_like(probe)
    optimizer = optimiser.build([probe])
    optimizer.step()
    tensors = [each for each in optimizer.state[probe].values() if isinstance(each, Tensor)]
    shaped = sum(each.element_size() for each in tensors if rank and each.shape == probe.shape)
    fixed = sum(each.numel() * each.element_size() for each in tensors if not rank or each.shape != probe.shape)
    return shaped, fixed


def activations(stepper: Stepper, plan: EpochPlan) -> int | None:
    """Bytes that the forward pass of the largest batch keeps for the gradient; draws random numbers like a step.

    With gradient checkpointing these are the inputs of layers; the backward pass then adds one layer at a time. None if
    the batch as a whole does not fit into memory.
    """
    places = [len(rows) * (1 + int(plan.target_lengths[rows].max())) for rows in plan.rows]
    position = max(range(len(plan)), key=places.__getitem__)
    parts = plan.parts(position, stepper.gradient.pieces, stepper.ranks.rank, stepper.ranks.world)
    if not parts:
        return 0
    state = copy.deepcopy(stepper.buffers)
    own = itertools.chain(stepper.modules.parameters(), stepper.modules.buffers())
    found: int | None = None
    try:
        found, _ = saved_bytes(lambda: stepper.step(*parts[0].tensors(), 0, 0.5), apart_from=own)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    for buffer, before in zip(stepper.buffers, state, strict=True):
        buffer.copy_(before)
    return found


def saved_bytes(compute: Callable[[], Result], apart_from: Iterable[Tensor] = ()) -> tuple[int, Result]:
    """Bytes that a computation keeps for its gradient, and its result.

    Args:
        compute: what is measured; its result must hold on to its graph.
        apart_from: tensors that are there anyway, such as parameters.
    """
    known = {each.untyped_storage().data_ptr() for each in apart_from}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(saved.detach())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        result = compute()
    return sum(sizes.values()), result


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes behind some tensors; what several share counts once."""
    storages = [each.untyped_storage() for each in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
