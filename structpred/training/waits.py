"""Which steps promise never to synchronise with the device, and why the others must.

A step that does not synchronise is queued while the device still works on earlier ones, so that Python costs no time as
long as it is the faster of the two. The promise is that of a step under ``structpred.returned.waiting(False)``, as most
steps of training are; those after which training reports look at numbers in any case.
"""

from collections.abc import Iterator, Mapping

from structpred.config import Config, hints, registered_name
from structpred.distributions import Autoregressive, LinearChain
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.payoffs import Payoff

CHAIN = "a chain asks for its lengths, for the range of its transitions and whether scores in an expectation forbid any"
SYMBOLS = "drawing and searching ask after every symbol whether all outputs have ended"
EDITS = "edit distances are counted on the CPU"
TEXT = "symbols and text are made from labels, and their rewards computed, on the CPU"
NOISE = "noise on inputs is drawn where it falls, and how often it falls is known only then"
FIT = "a baseline that learns is fitted to the steps that there are, by a solver whose answer is checked"
WORDS = "each word of a batch is spelt once, and how many there are is known only then"

OF_PARTS: Mapping[str, str] = {
    "rewards/edit-distance": EDITS,
    "rewards/chrf": TEXT,
    "rewards/ter": TEXT,
    "rewards/text-bleu": TEXT,
    "rewards/function": TEXT,
    "rewards/every-reference": TEXT,
    "baselines/running-mean": FIT,
    "baselines/learned": FIT,
    "inputs/words": WORDS,
}
"""Reasons by family and name of any component of the objective or the model, whatever the other components are."""


def reasons(objective: Objective, model: Model) -> tuple[str, ...]:
    """The reasons why a step synchronises with the device; none if it promises not to.

    Components from outside the package make no promise and are not listed here.
    """
    parts = [part for each in (objective, model) for part in _asked_within(each) if part.family is not None]
    names = {_name(part) for part in parts}
    found = [OF_PARTS[name] for name in OF_PARTS if name in names]
    stepped = [part for part in parts if isinstance(part, Objective)]
    drawing = any(part.draws_in_step and not part.exact for part in stepped)
    if any(part.corrupts for part in stepped):
        found.append(NOISE)
    if issubclass(model.distribution, LinearChain):
        found.append(CHAIN)
    if issubclass(model.distribution, Autoregressive) and drawing:
        found.append(SYMBOLS)
    return tuple(dict.fromkeys(found))


def promises(objective: Objective, model: Model) -> bool:
    """True if a step never synchronises with the device."""
    return not reasons(objective, model)


def _asked_within(config: Config) -> Iterator[Config]:
    """A config and its parts, except payoffs, whose samples are drawn and weighted before the step."""
    if isinstance(config, Payoff):
        return
    yield config
    if isinstance(config, Objective):
        yield from config.asked
    for name in hints(type(config)):
        value = getattr(config, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Config):
                yield from _asked_within(part)


def _name(part: Config) -> str:
    assert part.family is not None
    return f"{part.family.group.rpartition('.')[2]}/{registered_name(part)}"
