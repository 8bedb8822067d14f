"""The vectors that a network reads its inputs as: seen in one pass, shifted in another."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.returned import described, refuse, shortened
from structpred.sequences import Sequences

Network = Callable[[Sequences], Any]
"""From inputs ``[batch, time]`` to p."""


@dataclass(frozen=True)
class EmbeddedInputs:
    """The inputs of p as the vectors that the network has read, and p under other vectors.

    Attributes:
        vectors: one for every input position; p depends on them, and gradients with respect to them can be computed.
        lengths: how many positions of each input are real.
        shifted: from a shift of the vectors, of their shape, to p under vectors + shift, all else being equal, dropout
            masks included.
    """

    vectors: Float[Tensor, "batch time size"]
    lengths: Tensor
    shifted: Callable[[Tensor], Any]


def embedder_of(network: nn.Module, name: str) -> nn.Module:
    """The module that reads a network's inputs, by its dotted name; see `structpred.models.base.Model.embedder`.

    Raises:
        ConfigError: the network has no module of that name.
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if not name or name not in modules:
        names = ", ".join(each for each in modules if each)
        raise ConfigError(
            f"a model's class attribute `embedder` must be the dotted name of a module of its network, but "
            f"{type(network).__name__} has no module {name!r}; name one of {shortened(names)}"
        )
    return modules[name]


def embedded(
    network: Network,
    embedder: nn.Module,
    inputs: Sequences,
    again: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[Any, EmbeddedInputs]:
    """p, and the vectors that it was computed from.

    Args:
        network: called on inputs, it returns p; it calls the embedder once.
        embedder: the module whose output is the vectors, ``[batch, time, size]``.
        inputs: the inputs.
        again: a context in which the network draws the dropout masks of the first pass again.

    Raises:
        ConfigError: the embedder returns something else, or is not called exactly once.
    """
    what, vectors = f"the embedder {type(embedder).__name__}", list[Tensor]()

    def seen(output: object) -> Tensor:
        output = _checked(output, inputs, what)
        # vectors that no weight has made, such as the frames of speech, have no gradient of their own
        vectors.append(output if output.requires_grad else output.detach().requires_grad_())
        return vectors[-1]

    with torch.enable_grad(), _replacing(embedder, seen):
        p = network(inputs)
    if len(vectors) != 1:
        raise ConfigError(
            f"{what} must be called once for p, but was called {len(vectors)} times; name the module that reads inputs"
        )

    def shifted(shift: Tensor) -> Any:
        with again(), _replacing(embedder, lambda output: output + shift):
            return network(inputs)

    return p, EmbeddedInputs(vectors[0], inputs.lengths, shifted)


def _checked(output: object, inputs: Sequences, what: str) -> Tensor:
    """The output of an embedder, if it is one vector of floating-point numbers at every input position."""
    batch, longest = len(inputs.lengths), inputs.labels.shape[1]
    expected = "one vector of floating-point numbers at every input position, [batch, time, size]"
    if not isinstance(output, Tensor):
        refuse(what, expected, described(output), "return those")
    assert isinstance(output, Tensor)
    if output.ndim != 3 or len(output) != batch or output.shape[1] < longest or not output.is_floating_point():
        form = f"{output.dtype} of shape {tuple(output.shape)} for a batch of {batch}"
        refuse(what, expected, form, "return those")
    return output


@contextmanager
def _replacing(module: nn.Module, change: Callable[[Any], Tensor]) -> Iterator[None]:
    """The module returns what ``change`` makes of its output."""
    handle = module.register_forward_hook(lambda _module, _arguments, output: change(output))
    try:
        yield
    finally:
        handle.remove()
