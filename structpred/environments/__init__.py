"""Gymnasium environments: an episode writes one output, symbol by symbol, and is paid a reward of ours.

Importing this package registers ``structpred/Pronunciation-v0``, ``structpred/LetterTagging-v0``,
``structpred/SpellingVariants-v0`` and ``structpred/HiddenMarkov-v0``. Gymnasium imports it by itself where an id names
it, as in ``gymnasium.make("structpred.environments:structpred/Pronunciation-v0")``; it has read no entry points of
installed packages since version 1.0. Neither imports PyTorch.
"""

import importlib
from typing import TYPE_CHECKING

from gymnasium.envs.registration import register, registry

if TYPE_CHECKING:
    from structpred.environments.policy import Policy
    from structpred.environments.single import SequencePrediction
    from structpred.environments.vector import SequencePredictionVectorEnv

__all__ = ["IDS", "Policy", "SequencePrediction", "SequencePredictionVectorEnv"]

IDS = {
    "structpred/Pronunciation-v0": {"task": "pronunciation", "reward": "edit-distance"},
    "structpred/LetterTagging-v0": {"task": "letter-tagging", "reward": "hamming"},
    "structpred/SpellingVariants-v0": {"task": "spelling-variants", "reward": "edit-distance"},
    "structpred/HiddenMarkov-v0": {"task": "hidden-markov", "reward": "hamming"},
}
"""The registered environments, which need no download: their tasks and rewards by name."""

_HOMES = {
    "Policy": "structpred.environments.policy",
    "SequencePrediction": "structpred.environments.single",
    "SequencePredictionVectorEnv": "structpred.environments.vector",
}

for _id, _arguments in IDS.items():
    if _id not in registry:  # a reload registers nothing twice
        register(
            _id,
            entry_point=f"{_HOMES['SequencePrediction']}:SequencePrediction",
            vector_entry_point=f"{_HOMES['SequencePredictionVectorEnv']}:SequencePredictionVectorEnv",
            kwargs=dict(_arguments),
        )

if not TYPE_CHECKING:  # a type checker would take it for the home of any name

    def __getattr__(name: str) -> object:
        """Import a name when it is first asked for: PyTorch takes seconds, and registering needs none of it."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(importlib.import_module(_HOMES[name]), name))

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
