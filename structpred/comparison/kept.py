"""Arms as stored in a ``results.json``, for readers who do not have the classes of their components."""

import json
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
    """The value of every field of an arm, as text, by dotted name; see `structpred.config.leaves`."""
    return dict(leaves(tree_of(arm)))
