"""Arms as a ``results.json`` describes them, for readers who do not have the classes they are made of."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from structpred.config import Config, Json, encode, leaves


@dataclass(frozen=True, kw_only=True)
class KeptArm(Config):
    """An arm's config as JSON; nothing can be trained or built from it.

    Attributes:
        text: the JSON of the config's tree.
    """

    text: str


def tree_of(arm: Config) -> Json:
    """The JSON tree of an arm."""
    tree: Json = json.loads(arm.text) if isinstance(arm, KeptArm) else encode(arm)
    return tree


def leaves_of(arm: Config) -> dict[str, str]:
    """Value as text of every field of an arm, by dotted name; see `structpred.config.leaves`."""
    return dict(_leaves(tree_of(arm), "") if isinstance(arm, KeptArm) else leaves(arm))


def _leaves(node: Json, place: str) -> Iterator[tuple[str, str]]:
    """What `structpred.config.leaves` says of the config that a tree encodes."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "type":
                if place:
                    yield place, str(value)
            else:
                yield from _leaves(value, f"{place}.{name}" if place else name)
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for number, item in enumerate(node):
            yield from _leaves(item, f"{place}[{number}]")
    elif isinstance(node, list):
        yield place, str(tuple(node))
    else:
        yield place, "-" if node is None else str(node)
