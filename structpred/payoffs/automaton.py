"""The Levenshtein automaton of a reference: exact sums over all strings, and the edit rate they define.

A state is the row of the edit table for the string read so far, minus its first entry. A short reference has few
states, so Z = Σ_y a^d(y,y*) over infinitely many strings is the solution of one linear system (Schulz and Mihov 2002
describe the automaton).
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from structpred.errors import ConfigError

NOMINAL = 5
"""Length of the reference that represents a long one; beyond it, each symbol adds a nearly constant number of edits."""

FEW_LABELS = 3
"""Up to this number of labels the reference repeats so soon that two more symbols are needed, at few extra states."""

Row = tuple[int, ...]


@dataclass(frozen=True)
class Automaton:
    """Exponents and multiplicities of the linear system, all exponents 0 or more.

    Costs are relative to the lowest entry of the current row, which no later row goes below, so exp(−1/τ) may underflow
    harmlessly.

    Attributes:
        counts: the number of labels that lead from state i to state j, ``[states, states]``.
        steps: the increase in the row's lowest entry along that transition.
        rests: the last entry of a state's row minus its lowest.
    """

    counts: Float[np.ndarray, "states states"]
    steps: Float[np.ndarray, "states states"]
    rests: Float[np.ndarray, " states"]


def automaton(reference: tuple[int, ...], num_labels: int) -> Automaton:
    """The automaton of a short reference over V = ``num_labels`` labels; it has up to 3^length states."""
    start = tuple(range(len(reference) + 1))
    states: dict[Row, int] = {start: 0}
    edges: Counter[tuple[int, int, int]] = Counter()
    waiting = [start]
    while waiting:
        row = waiting.pop()
        for symbol, multiplicity in _alphabet(reference, num_labels):
            target = _read(row, symbol, reference)
            shifted = tuple(entry - target[0] for entry in target)
            if shifted not in states:
                states[shifted] = len(states)
                waiting.append(shifted)
            edges[states[row], states[shifted], min(target) - min(row)] += multiplicity
    counts, steps = np.zeros((len(states), len(states))), np.zeros((len(states), len(states)))
    for (source, destination, rise), multiplicity in edges.items():
        counts[source, destination], steps[source, destination] = multiplicity, rise
    return Automaton(counts, steps, np.array([row[-1] - min(row) for row in states], dtype=float))


def _alphabet(reference: tuple[int, ...], num_labels: int) -> list[tuple[int, int]]:
    """Each label of the reference, and all others as one, with the number of labels that each represents."""
    present = sorted(set(reference))
    absent = num_labels - len(present)
    return [*((label, 1) for label in present), *([(-1, absent)] if absent else [])]


def _read(row: Row, symbol: int, reference: tuple[int, ...]) -> Row:
    """The next row of the edit table."""
    entries = [row[0] + 1]
    for i, label in enumerate(reference):
        entries.append(min(entries[-1] + 1, row[i + 1] + 1, row[i] + (symbol != label)))
    return tuple(entries)


def partition(machine: Automaton, log_edit: float) -> tuple[float, float]:
    """ln Z and the expected number of edits E[d] = a Z′(a) / Z(a), with ln a = ``log_edit``.

    Z(a) = e₀ᵀ (I − A)⁻¹ r with A = counts · a^steps and r = a^rests; the derivative multiplies by the exponents.
    """
    moves = machine.counts * np.exp(machine.steps * log_edit)
    ends = np.exp(machine.rests * log_edit)
    system = np.eye(len(ends)) - moves
    first = np.zeros(len(ends))
    first[0] = 1.0
    after = np.linalg.solve(system, ends)
    before = np.linalg.solve(system.T, first)
    slope = before @ ((machine.steps * moves) @ after) + before @ (machine.rests * ends)
    return math.log(after[0]), float(slope / after[0])


def expected_edits(reference: tuple[int, ...], num_labels: int, temperature: float) -> float:
    """E[d(y, y*)] under q(y) ∝ exp(−d(y, y*)/τ), exactly, for a reference of up to about six symbols."""
    return partition(automaton(reference, num_labels), -1 / temperature)[1]


@lru_cache(maxsize=64)
def _nominal(length: int, num_labels: int) -> Automaton:
    return automaton(tuple(i % num_labels for i in range(length)), num_labels)


@lru_cache(maxsize=1024)
def edit_rate(num_labels: int, log_edit: float) -> float:
    """Expected edits per symbol of a long reference without repeats: what one more symbol adds to E[d].

    With one label it is 0: only the length can change, and equally around references of any large length.
    """
    if num_labels == 1:
        return 0.0
    length = NOMINAL if num_labels > FEW_LABELS else NOMINAL + 2
    shorter, longer = (partition(_nominal(m, num_labels), log_edit)[1] for m in (length - 1, length))
    return longer - shorter


@lru_cache(maxsize=1024)
def temperature_of(rate: float, num_labels: int) -> float:
    """The literal τ at which `edit_rate` is ``rate``.

    Raises:
        ConfigError: no temperature gives that rate.
    """
    most = -math.log(num_labels) - 1e-6  # V·a < 1, otherwise the total weight of all strings is infinite
    least = (
        min(math.log(rate), 0.0) - math.log(2 * num_labels) - 10
    )  # a long reference has at most 2V neighbours per symbol
    highest = edit_rate(num_labels, most)
    if rate >= highest:
        raise ConfigError(
            f"edit_rate must be below {highest:.6g} for the edit distance over {num_labels} labels, but got {rate:g}; "
            "lower it"
            + ("" if num_labels > 1 else ", or give literal or rescaled: with one label there is nothing to edit")
        )
    from scipy.optimize import brentq  # takes as long to import as a quarter of PyTorch, and few runs need it

    solution = brentq(
        lambda log_edit: math.log(edit_rate(num_labels, log_edit)) - math.log(rate), least, most, xtol=1e-13
    )
    return -1 / float(solution)
