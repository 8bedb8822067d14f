"""Two invented tasks whose best possible scores are known, for teaching and for tests of whole experiments."""

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float

from structpred.errors import ConfigError, DataError
from structpred.metrics import SER, Accuracy, Metric, WordErrorRate
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.reading import sentence_of, splits_of
from structpred.values import Count, Interval
from structpred.vocabulary import Symbols

LETTERS = (*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2)))
"""The letters, then pairs of letters."""

Alphabet = Annotated[int, Interval(least=2, most=len(LETTERS))]
Probability = Annotated[float, Interval(above=0, below=1)]


@dataclass(frozen=True, kw_only=True)
class Synthetic(Task):
    """Examples drawn from a known law, from a seed; sources of equal text may come again, as in life.

    Attributes:
        size: training examples.
        held_out: dev examples, and test examples.
        alphabet: number of distinct input symbols: the letters, after *z* in pairs (*aa*, *ab*, …).
        shortest, longest: limits of the length of a source, which is uniform between them.
        seed: of the draws; it belongs to the data and is not that of a run.
    """

    size: Count = 1000
    held_out: Count = 500
    alphabet: Alphabet = 4
    shortest: Count = 4
    longest: Count = 10
    seed: int = 0

    @property
    def terms(self) -> str:
        """The examples are nobody's."""
        return "examples drawn by this task, free for any use"

    def check(self) -> None:
        """Refuse limits that leave no length."""
        if self.shortest > self.longest:
            raise ConfigError(
                f"{type(self).__name__}.shortest must be at most longest={self.longest}, but got {self.shortest}"
            )

    @property
    def letters(self) -> Symbols:
        """The input symbols."""
        return LETTERS[: self.alphabet]

    @abstractmethod
    def draw(self, length: int, generator: random.Random) -> tuple[Symbols, Symbols]:
        """A source of the given length and its output."""

    @abstractmethod
    def best(self, source: Symbols) -> Symbols:
        """The output that scores best on average, given what the law says."""

    @abstractmethod
    def optimum(self, sources: Sequence[Symbols]) -> float:
        """What the first metric gives to `best` on these sources, averaged over the law, in percent."""

    def load(self) -> Splits:
        """Draw the examples; the same for the same fields, whatever else was drawn."""
        parts = {"train": self.size, "dev": self.held_out, "test": self.held_out}
        drawn = {}
        for part, count in parts.items():
            generator = random.Random(f"{self.seed} {part}")
            pairs = [self.draw(generator.randint(self.shortest, self.longest), generator) for _ in range(count)]
            drawn[part] = [Example(x, (y,), f"{part} example {i}") for i, (x, y) in enumerate(pairs, start=1)]
        return splits_of(**drawn)

    def parse(self, text: str) -> Symbols:
        """Letters between spaces.

        Raises:
            DataError: there is none, or one is not of the alphabet.
        """
        symbols = sentence_of(text, 1000)
        if strange := next((symbol for symbol in symbols if symbol not in self.letters), None):
            raise DataError(
                f"the input must be letters {self.letters[0]} to {self.letters[-1]}, but one is {strange!r}"
            )
        return symbols

    def render(self, output: Symbols) -> str:
        """Symbols between spaces."""
        return " ".join(output)


@tasks.register("hidden-markov")
@dataclass(frozen=True, kw_only=True)
class HiddenMarkov(Synthetic):
    """Tagging: recover the states of a hidden Markov chain from the symbols it emits.

    The chain begins in any state alike and stays where it is with probability ``stay``, else it goes to one of the
    others. State A shows an *a*, but with probability ``noise`` one of the other letters. The best accuracy is that of
    the most probable state at each position, by forward and backward sums; a CRF can reach it, and a tagger that sees
    the whole source too.

    Attributes:
        stay: probability to stay in a state.
        noise: probability that a state shows another letter.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Accuracy(), WordErrorRate())

    stay: Probability = 0.8
    noise: Probability = 0.3

    def draw(self, length: int, generator: random.Random) -> tuple[Symbols, Symbols]:
        """The observed symbols, and the states."""
        states = [generator.randrange(self.alphabet)]
        while len(states) < length:
            states.append(self._move(states[-1], 1 - self.stay, generator))
        shown = [self._move(state, self.noise, generator) for state in states]
        known = self.letters
        return tuple(known[i] for i in shown), tuple(known[i].upper() for i in states)

    def _move(self, state: int, probability: float, generator: random.Random) -> int:
        """The same, or with the given probability one of the others."""
        if generator.random() >= probability:
            return state
        return (state + generator.randrange(1, self.alphabet)) % self.alphabet

    def posterior(self, source: Symbols) -> Float[np.ndarray, "time states"]:
        """p(state at each position | source)."""
        others = self.alphabet - 1
        moves = np.full((self.alphabet, self.alphabet), (1 - self.stay) / others)
        np.fill_diagonal(moves, self.stay)
        known = self.letters
        shown = np.array([known.index(symbol) for symbol in source], dtype=int)
        likelihoods = np.full((len(source), self.alphabet), self.noise / others)
        likelihoods[np.arange(len(source)), shown] = 1 - self.noise
        ahead, behind = likelihoods.copy(), np.ones_like(likelihoods)
        for t in range(1, len(source)):
            ahead[t] *= (ahead[t - 1] / ahead[t - 1].sum()) @ moves
        for t in reversed(range(len(source) - 1)):
            behind[t] = moves @ (likelihoods[t + 1] * behind[t + 1])
            behind[t] /= behind[t].sum()
        joint = ahead * behind
        probabilities: Float[np.ndarray, "time states"] = joint / joint.sum(1, keepdims=True)
        return probabilities

    def best(self, source: Symbols) -> Symbols:
        """The most probable state at each position."""
        known = self.letters
        return tuple(known[i].upper() for i in self.posterior(source).argmax(1))

    def optimum(self, sources: Sequence[Symbols]) -> float:
        """Expected accuracy of `best`, in percent."""
        right = sum(float(self.posterior(source).max(1).sum()) for source in sources)
        return 100 * right / sum(map(len, sources))


@tasks.register("spelling-variants")
@dataclass(frozen=True, kw_only=True)
class SpellingVariants(Synthetic):
    """Transduction: every letter is written in capitals, and with probability ``noise`` with an *h* behind it.

    So *a b* becomes ``A B``, ``A h B``, ``A B h`` or ``A h B h``: the length is free, the output says which letters
    were varied, and the most probable output varies none or, where ``noise`` is above one half, all. A source of n
    letters gives it with probability max(noise, 1 − noise)ⁿ, and no model can be right more often.

    Attributes:
        noise: probability of the variant.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (WordErrorRate(), SER())

    noise: Probability = 0.05

    def draw(self, length: int, generator: random.Random) -> tuple[Symbols, Symbols]:
        """Letters, and how they are written this time."""
        letters = self.letters
        source = tuple(generator.choice(letters) for _ in range(length))
        written = [(letter.upper(), "h") if generator.random() < self.noise else (letter.upper(),) for letter in source]
        return source, tuple(symbol for symbols in written for symbol in symbols)

    def best(self, source: Symbols) -> Symbols:
        """The most probable output."""
        return tuple(symbol for letter in source for symbol in ([letter.upper(), "h"][: 2 if self.noise > 0.5 else 1]))

    def optimum(self, sources: Sequence[Symbols]) -> float:
        """Expected WER of `best`, in percent."""
        likely = max(self.noise, 1 - self.noise)
        return 100 - 100 * sum(likely ** len(source) for source in sources) / len(sources)
