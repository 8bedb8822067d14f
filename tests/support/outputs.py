"""Made-up outputs of several arms, for inspections and pages."""

import numpy as np

from structpred.comparison.inspection import Inspection, inspect
from structpred.task import Example, Splits
from structpred.vocabulary import Symbols

HOSTILE = '<script>alert(1)</script><b onclick="x">&"\x00\x1b[31m\u202e עברית'
LONG = tuple("ab" * 5000)


def splits(number: int, hostile: bool = False) -> Splits:
    """Sources of letters whose references are the same letters in capitals."""
    generator = np.random.default_rng(0)
    words = [tuple(generator.choice(list("abcdefgh"), int(generator.integers(3, 12)))) for _ in range(number)]
    sources = [tuple(str(letter) for letter in word) for word in words]
    if hostile:
        sources[:3] = [(HOSTILE, "</script>", "a b"), tuple("שלום"), LONG]
    examples = tuple(
        Example(source, (tuple(symbol.upper() for symbol in source),), f"line {i}") for i, source in enumerate(sources)
    )
    return Splits(examples[: number // 2], examples[:1], examples, "digest")


def outputs(data: Splits, rates: dict[str, float], seeds: int) -> dict[str, list[list[Symbols]]]:
    """By arm and seed outputs in which each symbol is wrong, left out or doubled at about the arm's rate."""
    generator = np.random.default_rng(1)
    return {
        arm: [[_noisy(e.references[0], rate, generator) for e in data.test] for _ in range(seeds)]
        for arm, rate in rates.items()
    }


def _noisy(reference: Symbols, rate: float, generator: np.random.Generator) -> Symbols:
    found: list[str] = []
    for symbol, draw, kind in zip(
        reference, generator.random(len(reference)), generator.integers(0, 3, len(reference)), strict=True
    ):
        found += [symbol] if draw >= rate else [["?"], [], [symbol, symbol]][kind]
    return tuple(found)


def inspection(
    rates: dict[str, float], seeds: int, number: int, *, hostile: bool = False, show: bool = True
) -> Inspection:
    """What they show."""
    data = splits(number, hostile)
    return inspect(data, outputs(data, rates, seeds), next(iter(rates)), range(seeds), "made up", show=show)
