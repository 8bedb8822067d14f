"""How rewards that read more than ids come by the data."""

from dataclasses import replace
from typing import TypeVar

from structpred.config import Config, components, hints
from structpred.errors import ConfigError
from structpred.rewards.base import Reward
from structpred.rewards.context import Context
from structpred.rewards.reading import Reading

Bound = TypeVar("Bound", bound=Config)


def bind(config: Bound, context: Context) -> Bound:
    """The same reward, or an objective or payoff that holds rewards, where each of them may read the data.

    What is bound equals what is not, and has the same JSON and the same identity. A config without a reward that reads
    more than ids is returned as it is.

    Args:
        config: a reward, or what holds rewards, however deep.
        context: the data that ids come from.

    Raises:
        ConfigError: they are something else.
    """
    if not isinstance(config, Config) or not isinstance(context, Context):
        raise ConfigError(
            "bind takes a reward, or what holds rewards, and a Context, but got "
            f"{type(config).__name__} and {type(context).__name__}; call bind(reward, Context.of(task))"
        )
    changed = {}
    for name in hints(type(config)):
        before = getattr(config, name)
        after = _bound(before, context)
        if after is not before:
            changed[name] = after
    if not changed and not isinstance(config, Reading):
        return config
    made = replace(config, **changed)
    if isinstance(made, Reading):
        made.attach(context)
    return made


def asks_for_examples(config: Config) -> bool:
    """True where a reward in it wants to know which example each reference is of (`Sequences.examples`)."""
    return any(part.asks_for_examples for part in components(config) if isinstance(part, Reward))


def _bound(value: object, context: Context) -> object:
    """The value itself where nothing in it was bound, so that `bind` sees that."""
    if isinstance(value, Config):
        return bind(value, context)
    if isinstance(value, tuple):
        items = tuple(_bound(each, context) for each in value)
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value
