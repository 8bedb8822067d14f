"""Parts of a network with settings of their own: learning rate, weight decay, decay by layer, and freezing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from torch import nn

from structpred.config import Config
from structpred.errors import ConfigError
from structpred.values import Fraction, Interval, Positive

Group = dict[str, Any]
"""A parameter group of ``torch.optim``, with its own learning rate under ``"rate"``, before the schedule."""

NAMED = 24
"""Parts that a message lists at most."""

_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h|encoder|decoder)\.(\d+)(?=\.|$)")
_BELOW = re.compile(r"embed|(?:^|\.)(?:wte|wpe|shared)(?:\.|$)")


@dataclass(frozen=True, kw_only=True)
class Part(Config):
    """Some of the network's parameters, with settings of their own.

    With ``layer_decay`` d, a parameter of layer l of n (counted from 0, the bottom) has the learning rate
    lr · d^(n − 1 − l), as in ULMFiT's discriminative fine-tuning (Howard and Ruder 2018, arXiv 1801.06146) and ELECTRA
    (Clark et al. 2020, arXiv 2003.10555). Embeddings lie below layer 0 and get lr · dⁿ; whatever else has no layer
    number, such as a last normalisation, gets lr. Layers are recognised by names such as ``layer.3.``, ``layers.3.``,
    ``block.3.`` and ``h.3.``; an encoder and a decoder in the same part count apart.

    While a part is frozen, its parameters have no gradient, no weight decay and no optimiser state; it is frozen
    until both ``frozen`` and ``frozen_epochs`` are over.

    Attributes:
        name: the dotted name of a module or a parameter of the network, as in ``named_parameters``; it stands for
            every parameter below it.
        lr: learning rate, which the schedule multiplies; None for the optimiser's.
        weight_decay: None for the optimiser's.
        layer_decay: d above; 1 gives every layer the same rate.
        frozen: share of training during which the part is not trained; 1 leaves it as it is for the whole run.
        frozen_epochs: epochs during which it is not trained.
    """

    name: str
    lr: Positive | None = None
    weight_decay: Fraction | None = None
    layer_decay: Annotated[float, Interval(above=0, most=1)] = 1.0
    frozen: Annotated[float, Interval(least=0, most=1)] = 0.0
    frozen_epochs: Annotated[int, Interval(least=0)] = 0

    def contains(self, name: str) -> bool:
        """True if the dotted name is the part's own or lies below it."""
        return name == self.name or name.startswith(f"{self.name}.")

    def trained(self, share: float, epoch: float) -> bool:
        """True if the part is trained once that share of training and that many epochs are done."""
        return share >= self.frozen and epoch >= self.frozen_epochs

    def never_trained(self, epochs: int) -> bool:
        """True if it is frozen for a whole run of so many epochs."""
        return self.frozen == 1 or self.frozen_epochs >= epochs


def check_apart(parts: Sequence[Part]) -> None:
    """Refuse parts that overlap.

    Raises:
        ConfigError: one contains another.
    """
    for number, part in enumerate(parts):
        for other in parts[:number]:
            if part.contains(other.name) or other.contains(part.name):
                raise ConfigError(
                    f"parts of an optimiser must not overlap, but {other.name!r} and {part.name!r} do; name only one "
                    "of them, or smaller parts"
                )


class Parts:
    """The parts of one network: their parameter groups, and which of them are frozen.

    Parameters that are frozen for the whole run lose ``requires_grad`` at once, so that nothing is kept for them.

    Args:
        network: the network.
        parts: the parts.
        epochs: those of the run.

    Raises:
        ConfigError: a part names no parameter that is trained, or one that another part has too; its layers are not
            numbered; or nothing would be trained at the start.
    """

    def __init__(self, network: nn.Module, parts: Sequence[Part], epochs: int) -> None:
        check_apart(parts)
        trained = [each for each in network.parameters() if each.requires_grad]
        members = [(part, _members(network, part)) for part in parts]
        _refuse_shared(members)
        self._rates = {id(each): rate for part, own in members for rate, each in _rates(part, own)}
        self._by_id = {id(each): part for part, own in members for each in own.values()}
        self._in_time = [(part, list(own.values())) for part, own in members if not part.never_trained(epochs)]
        for part, own in members:
            if part.never_trained(epochs):
                _train(own.values(), trained=False)
        late = {id(each) for part, own in members if not part.trained(0.0, 0) for each in own.values()}
        if late.issuperset(map(id, trained)):
            raise ConfigError(
                "the parts of the optimiser freeze every weight of the network at the start; leave at least one to be "
                "trained"
            )

    def groups(self, parameters: Iterable[nn.Parameter], rate: float, *, decay_vectors: bool) -> list[Group]:
        """Groups of parameters with the same settings, in the order in which they first occur.

        Args:
            parameters: all parameters that the optimiser gets.
            rate: the learning rate of those without one of their own.
            decay_vectors: False takes parameters with fewer than two axes out of weight decay.
        """
        groups: dict[tuple[float, float | None], Group] = {}
        for each in parameters:
            part = self._by_id.get(id(each))
            own = rate if part is None or part.lr is None else part.lr
            own *= self._rates.get(id(each), 1.0)
            decay = None if part is None else part.weight_decay
            if each.ndim < 2 and not decay_vectors:
                decay = 0.0
            group = groups.setdefault((own, decay), {"params": [], "lr": own, "rate": own})
            group["params"].append(each)
            if decay is not None:
                group["weight_decay"] = decay
        return list(groups.values())

    def freeze(self, share: float, epoch: float) -> None:
        """Freeze the parts that are not to be trained yet, and no others."""
        for part, own in self._in_time:
            _train(own, trained=part.trained(share, epoch))


def _members(network: nn.Module, part: Part) -> dict[str, nn.Parameter]:
    """The trained parameters of a part, by name."""
    every = dict(network.named_parameters(remove_duplicate=False))
    own = {name: each for name, each in every.items() if part.contains(name)}
    if not own:
        names = _names(every)
        listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        raise ConfigError(
            f"the optimiser's part {part.name!r} names no parameter of the network; name one of its modules or "
            f"parameters, such as {listed}"
        )
    trained = {name: each for name, each in own.items() if each.requires_grad}
    if not trained:
        raise ConfigError(
            f"the optimiser's part {part.name!r} has no weights to train, because the model itself has frozen them; "
            "leave the part out, or let the model train it"
        )
    return trained


def _names(parameters: Iterable[str]) -> list[str]:
    """The modules of the outer three levels that have parameters, and parameters there."""
    paths = [name.split(".") for name in parameters]
    return list(dict.fromkeys(".".join(path[:depth]) for depth in (1, 2, 3) for path in paths))


def _refuse_shared(members: Sequence[tuple[Part, Mapping[str, nn.Parameter]]]) -> None:
    owners: dict[int, str] = {}
    for part, own in members:
        for name, each in own.items():
            other = owners.setdefault(id(each), part.name)
            if other != part.name:
                raise ConfigError(
                    f"parts of an optimiser must not overlap, but {other!r} and {part.name!r} share the parameter "
                    f"{name}; name only one of them"
                )


def _rates(part: Part, members: Mapping[str, nn.Parameter]) -> list[tuple[float, nn.Parameter]]:
    """The factor of the learning rate of every parameter of a part."""
    if part.layer_decay == 1:
        return [(1.0, each) for each in members.values()]
    below = layers_above(members, part.name)
    return [(part.layer_decay ** below[name], each) for name, each in members.items()]


def layers_above(names: Iterable[str], part: str) -> dict[str, int]:
    """How many layers lie above each parameter, in its stack of layers.

    Args:
        names: dotted names of parameters.
        part: their part, for the message.

    Raises:
        ConfigError: no name has the number of a layer.
    """
    found = {name: _LAYER.search(name) for name in names}
    heights: dict[str, int] = {}
    for name, match in found.items():
        if match is not None:
            stack = name[: match.start(1)]
            heights[stack] = max(heights.get(stack, 0), int(match[1]) + 1)
    if not heights:
        raise ConfigError(
            f"Part.layer_decay needs layers that are numbered in the names of parameters, as in layer.0. or h.0., but "
            f"the part {part!r} has only {', '.join(list(found)[:3])} and the like; leave layer_decay out, or name a "
            "part with such layers"
        )
    highest = max(heights.values())
    return {
        name: (highest if _BELOW.search(name) else 0)
        if match is None
        else heights[name[: match.start(1)]] - 1 - int(match[1])
        for name, match in found.items()
    }


def _train(parameters: Iterable[nn.Parameter], *, trained: bool) -> None:
    for each in parameters:
        each.requires_grad_(trained)
