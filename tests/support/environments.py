"""Tasks small enough to follow an environment step by step, and ways to run episodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium import Env
from jaxtyping import Int

from structpred.metrics import Metric, SymbolErrorRate
from structpred.rewards import Reward
from structpred.sequences import Sequences
from structpred.task import Example, Splits, Task
from structpred.vocabulary import Symbols, Vocabulary


@dataclass(frozen=True, kw_only=True)
class Readings(Task):
    """Words with several readings of different lengths, an empty one among them; the test words hold news."""

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(),)

    def load(self) -> Splits:
        train = (
            _example("ab", "x", "xyx", "yy"),
            _example("bba", "yxy"),
            _example("a", "", "x"),
            _example("", "xyxyx"),
        )
        return Splits(train, (_example("ba", "yx"),), (_example("cb", "zx", "y"),), "readings")

    def parse(self, text: str) -> Symbols:
        return tuple(text)

    def render(self, output: Symbols) -> str:
        return "".join(output)


@dataclass(frozen=True, kw_only=True)
class OnlyOneLabel(Readings):
    """Tagging with nothing to choose; one example has two references."""

    def load(self) -> Splits:
        examples = (_example("ab", "xx"), _example("b", "x", "x"))
        return Splits(examples, examples, examples, "only one label")


@dataclass(frozen=True, kw_only=True)
class TwoReadings(Readings):
    """Tagging with two references."""

    def load(self) -> Splits:
        train = (_example("abab", "xxyy", "yyyx"), _example("b", "x"), _example("aab", "yyx", "xxx"))
        return Splits(train, (_example("ca", "zx"),), (), "two readings")


def _example(source: str, *references: str) -> Example:
    return Example(tuple(source), tuple(map(tuple, references)), f"word {source!r}")


def scores_of(
    reward: Reward, outputs: Sequence[Int[np.ndarray, " time"]], examples: Sequence[Example], labels: Symbols
) -> list[float]:
    """R of every output by the reward itself; labels unknown from training are equal to none."""
    scores = []
    for count in {len(example.references) for example in examples}:
        rows = [i for i, example in enumerate(examples) if len(example.references) == count]
        known = Vocabulary(labels)
        ids = [known.encode(each, unknown=len(labels)) for i in rows for each in examples[i].references]
        flat = Sequences.of(ids)
        targets = Sequences(flat.labels.view(len(rows), count, -1), flat.lengths.view(len(rows), count))
        candidates = Sequences.of([outputs[i].tolist() for i in rows]).candidates()
        scores += list(zip(rows, reward.score(candidates, targets)[:, 0].tolist(), strict=True))
    return [score for _, score in sorted(scores)]


def steps_of(env: Env[Any, Any], *, seed: int | None = None, masked: bool = False) -> Iterator[tuple[Any, ...]]:
    """One episode of random actions: what each step returns."""
    _, info = env.reset(seed=seed)
    over = False
    while not over:
        result = env.step(env.action_space.sample(info["action_mask"] if masked else None))
        info, over = result[4], result[2] or result[3]
        yield result
