"""The outputs of the arms for the test examples: errors by kind of example and by symbol, and examples to browse."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from rapidfuzz.distance import Levenshtein

from structpred.comparison.plan import Plan
from structpred.errors import RunError
from structpred.sequences import Recording, spelt
from structpred.task import Example, Splits
from structpred.text import plain
from structpred.vocabulary import Symbols

MOST_COUNTED, MOST_SHOWN = 5000, 1000
"""Test examples that are counted, and that a page shows, at most; of more, evenly spread ones."""
MOST_BYTES, LONGEST = 1_000_000, 300
"""Bytes of all examples that a page shows, about, and symbols of a sequence there."""
ROWS, RARE = 20, 10
"""Rows of a table of symbols, and how often a symbol or pair must occur to have one."""
NONE = "∅"
"""Stands where a symbol was left out or put in."""

Shown = Literal["licensed", "all", "none"]
"""Which examples a page shows: those whose task says that they may be given away, all, or none."""

Outputs = Mapping[str, Sequence[Sequence[Symbols]]]
"""By arm and seed the outputs for the test examples."""


@dataclass(frozen=True)
class BreakdownRow:
    """A kind of examples or symbols.

    Attributes:
        name: of the kind.
        count: how many there are in the test examples that were counted.
        values: one per arm, the mean over seeds.
    """

    name: str
    count: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Breakdown:
    """A table of kinds.

    Attributes:
        title: how the kinds are defined.
        counted: what a row counts, such as ``"examples"``.
        unit: of an arm's value.
        rows: the kinds.
        chosen: the number of kinds of which these differ most among arms; None if the rows are all kinds, or the
            most frequent ones.
    """

    title: str
    counted: str
    unit: str
    rows: tuple[BreakdownRow, ...]
    chosen: int | None = None


@dataclass(frozen=True)
class Inspection:
    """What the outputs of a comparison show beyond the scores.

    Attributes:
        counted: test examples behind the tables.
        total: test examples in all.
        in_place: errors were counted position by position, as all outputs have the length of their references;
            otherwise as edit distance to the nearest reference.
        breakdowns: the tables.
        shown: examples with every arm's outputs, as `page` describes; empty where they may not be shown.
        notice: the terms under which they are shown, or why they are not.
    """

    counted: int
    total: int
    in_place: bool
    breakdowns: tuple[Breakdown, ...]
    shown: Mapping[str, Any]
    notice: str

    @classmethod
    def of_tree(cls, tree: Mapping[str, Any]) -> "Inspection":
        """The inverse of `dataclasses.asdict`, after a round trip through JSON."""
        tables = tuple(
            Breakdown(**{**table, "rows": tuple(BreakdownRow(**row) for row in table["rows"])})
            for table in tree["breakdowns"]
        )
        return cls(**{**tree, "breakdowns": tables})


@dataclass(frozen=True)
class _Outcome:
    """An output against its nearest reference.

    Attributes:
        edits: substitutions, deletions and insertions.
        nearest: which reference.
        kept: for each of its positions, whether the output matches it.
        confused: pairs of a symbol of the reference and the symbol put in its place.
        first: position of the first difference, from 1; 0 if there is none.
    """

    edits: int
    nearest: int
    kept: tuple[bool, ...]
    confused: tuple[tuple[str, str], ...]
    first: int


def inspect(
    splits: Splits, outputs: Outputs, baseline: str, seeds: Sequence[int], notice: str, *, show: bool
) -> Inspection:
    """Count errors and choose examples.

    Args:
        splits: the data.
        outputs: by arm and seed.
        baseline: the arm that others are compared with.
        seeds: of the outputs.
        notice: the terms under which examples are shown, or why they are not.
        show: whether they may be.
    """
    total = len(splits.test)
    if not total:
        return Inspection(0, 0, False, (), {}, "there are no test examples")
    chosen = _spread(total, MOST_COUNTED)
    examples = [splits.test[i] for i in chosen]
    kept = {arm: [[run[i] for i in chosen] for run in runs] for arm, runs in outputs.items()}
    in_place = all(
        len(example.references) == 1 and len(run[i]) == len(example.references[0])
        for runs in kept.values()
        for run in runs
        for i, example in enumerate(examples)
    )
    found = _Found(examples, kept, in_place)
    tables = (
        _by_kind("length of the reference", examples, _lengths(examples), found),
        _by_kind("training count of the rarest source symbol", examples, _frequencies(examples, splits.train), found),
        _by_kind("new words", examples, _new_words(examples), found),
        _first_errors(found),
        _labels(examples, found),
        _pairs(examples, found, baseline),
        _confusions(found, baseline),
    )
    shown = _page(splits.test, outputs, baseline, seeds, in_place) if show else {}
    kept_tables = tuple(table for table in tables if table is not None)
    return Inspection(len(examples), total, in_place, kept_tables, shown, notice)


def of_plan(plan: Plan, examples: Shown) -> Inspection | None:
    """The inspection of a finished comparison; None if the stored outputs of a run cannot be read.

    Args:
        plan: the comparison, with all its runs finished.
        examples: which examples the page may show.
    """
    outputs: dict[str, list[list[Symbols]]] = {arm: [] for arm in plan.arms}
    try:
        for run in plan.runs:
            outputs[run.arm].append(run.found().outputs("test"))
    except RunError:
        return None
    terms = next(iter(plan.arms.values())).task.terms
    show = examples == "all" or (examples == "licensed" and bool(terms))
    if show:
        notice = terms or "their terms are not known here; whoever asked for them has to know that they may be shared"
    elif examples == "none":
        notice = "they were not asked for"
    else:
        notice = (
            "their licence rules it out or is not known; --examples all puts them into the files of the report, which "
            "may then not be given to everybody"
        )
    return inspect(plan.splits, outputs, plan.baseline, plan.seeds, notice, show=show)


class _Found:
    """The outcomes of all outputs; each distinct output of an example is compared only once."""

    def __init__(self, examples: Sequence[Example], outputs: Outputs, in_place: bool) -> None:
        self.seeds = len(next(iter(outputs.values())))
        known: list[dict[Symbols, _Outcome]] = [{} for _ in examples]
        self.of: dict[str, list[list[_Outcome]]] = {}
        for arm, runs in outputs.items():
            self.of[arm] = [[] for _ in examples]
            for run in runs:
                for i, output in enumerate(run):
                    if output not in known[i]:
                        known[i][output] = _outcome(output, examples[i], in_place)
                    self.of[arm][i].append(known[i][output])


def _outcome(output: Symbols, example: Example, in_place: bool) -> _Outcome:
    if in_place:
        reference = example.references[0]
        kept = tuple(one == other for one, other in zip(reference, output, strict=True))
        confused = tuple((one, other) for one, other in zip(reference, output, strict=True) if one != other)
        return _Outcome(len(confused), 0, kept, confused, kept.index(False) + 1 if confused else 0)
    distances = [Levenshtein.distance(reference, output) for reference in example.references]
    nearest = int(np.argmin(distances))
    reference = example.references[nearest]
    there, confused_pairs = [True] * len(reference), []
    for operation in Levenshtein.editops(reference, output):
        if operation.tag != "insert":
            there[operation.src_pos] = False
        wanted = NONE if operation.tag == "insert" else _shown(reference[operation.src_pos])
        written = NONE if operation.tag == "delete" else _shown(output[operation.dest_pos])
        confused_pairs.append((wanted, written))
    return _Outcome(distances[nearest], nearest, tuple(there), tuple(confused_pairs), _first(reference, output))


def _first(reference: Symbols, output: Symbols) -> int:
    differing = (i for i, (one, other) in enumerate(zip(reference, output, strict=False), 1) if one != other)
    shared = min(len(reference), len(output))
    return next(differing, 0 if len(reference) == len(output) else shared + 1)


def _spread(number: int, most: int) -> list[int]:
    """Indices spread evenly, as many as are allowed."""
    return sorted({int(i) for i in np.linspace(0, number - 1, min(number, most))}) if number else []


def _lengths(examples: Sequence[Example]) -> list[tuple[int, str]]:
    """For each example, the length range of its first reference, one of at most five."""
    lengths = np.array([len(example.references[0]) for example in examples])
    edges = sorted({int(edge) for edge in np.quantile(lengths, [0.2, 0.4, 0.6, 0.8])} | {int(lengths.max())})
    places = np.searchsorted(edges, lengths)
    names = []
    for i, edge in enumerate(edges):
        low = int(lengths.min()) if i == 0 else edges[i - 1] + 1
        names.append(f"{low} symbols" if low == edge else f"{low} to {edge} symbols")
    return [(int(place), names[int(place)]) for place in places]


def _frequencies(examples: Sequence[Example], train: Sequence[Example]) -> list[tuple[int, str]] | None:
    """For each example, how often its rarest source symbol occurs in the training sources; None for recordings."""
    if any(isinstance(example.source, Recording) for example in examples):
        return None
    counts = Counter(symbol for example in train for symbol in spelt(example.source))
    names = ("never (unknown)", "1 to 9 times", "10 to 99 times", "100 to 999 times", "1,000 times or more")
    rarest = [min((counts[symbol] for symbol in spelt(example.source)), default=0) for example in examples]
    places = [min(len(str(count)), 4) if count else 0 for count in rarest]
    return [(place, names[place]) for place in places]


def _new_words(examples: Sequence[Example]) -> list[tuple[int, str]] | None:
    """For each example, how many of its words are new according to the task; None if the task does not say."""
    if not any(example.unknown for example in examples):
        return None
    names = ("no new word", "1 new word", "2 new words or more")
    places = [min(2, sum(example.unknown)) for example in examples]
    return [(place, names[place]) for place in places]


def _by_kind(
    title: str, examples: Sequence[Example], kinds: Sequence[tuple[int, str]] | None, found: _Found
) -> Breakdown | None:
    """Errors in percent of the references' symbols; None where all examples are of one kind."""
    if kinds is None or len(set(kinds)) < 2:
        return None
    rows = []
    for kind in sorted(set(kinds)):
        members = [i for i, other in enumerate(kinds) if other == kind]
        values = {}
        for arm, outcomes in found.of.items():
            edits = sum(each.edits for i in members for each in outcomes[i])
            symbols = sum(len(each.kept) for i in members for each in outcomes[i])
            values[arm] = 100 * edits / max(symbols, 1)
        rows.append(BreakdownRow(kind[1], len(members), values))
    return Breakdown(title, "examples", "errors in % of reference symbols", tuple(rows))


def _first_errors(found: _Found) -> Breakdown:
    names = {0: "no error", 1: "symbol 1", 2: "symbol 2", 3: "symbol 3", 4: "symbols 4 and 5"}
    names |= {5: "symbols 6 to 10", 6: "later"}
    edges = (0, 1, 2, 3, 5, 10)
    counts = {
        arm: Counter(int(np.searchsorted(edges, each.first)) for example in outcomes for each in example)
        for arm, outcomes in found.of.items()
    }
    rows = []
    for place, name in names.items():
        total = sum(count[place] for count in counts.values())
        values = {arm: 100 * count[place] / max(count.total(), 1) for arm, count in counts.items()}
        rows.append(BreakdownRow(name, total, values))
    return Breakdown("position of the first error", "outputs of all arms", "% of the arm's outputs", tuple(rows))


def _right(
    found: _Found, keys: Sequence[Sequence[Sequence[str]]], span: int
) -> dict[str, tuple[int, dict[str, float]]]:
    """For each label, or pair of neighbouring labels, its count and the percentage that each arm gets right."""
    seen: dict[str, Counter[str]] = {arm: Counter() for arm in found.of}
    had: dict[str, Counter[str]] = {arm: Counter() for arm in found.of}
    for arm, outcomes in found.of.items():
        for i, example in enumerate(outcomes):
            for each in example:
                for place, key in enumerate(keys[i][each.nearest]):
                    seen[arm][key] += 1
                    had[arm][key] += all(each.kept[place : place + span])
    every = set().union(*seen.values())
    most = {key: max(seen[arm][key] for arm in seen) // found.seeds for key in every}
    return {
        key: (most[key], {arm: 100 * had[arm][key] / max(seen[arm][key], 1) for arm in seen})
        for key in sorted(every, key=lambda key: (-most[key], key))
    }


def _labels(examples: Sequence[Example], found: _Found) -> Breakdown:
    """The most frequent labels."""
    keys = [[[_shown(symbol) for symbol in reference] for reference in example.references] for example in examples]
    rows = [BreakdownRow(key, count, values) for key, (count, values) in _right(found, keys, 1).items()]
    return Breakdown("label, the most frequent", "times in the references", "% of them right", tuple(rows[:ROWS]))


def _pairs(examples: Sequence[Example], found: _Found, baseline: str) -> Breakdown | None:
    """The pairs of labels on which arms differ most from the baseline."""
    keys = [
        [[f"{_shown(one)} {_shown(other)}" for one, other in pairwise(reference)] for reference in example.references]
        for example in examples
    ]
    rows = [BreakdownRow(key, *each) for key, each in _right(found, keys, 2).items() if each[0] >= RARE]
    return _most_different("two labels in a row", "times in the references", "% of them right", rows, baseline)


def _confusions(found: _Found, baseline: str) -> Breakdown | None:
    """The confusions of symbols on which arms differ most."""
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for arm, outcomes in found.of.items():
        counts[arm].update(pair for example in outcomes for each in example for pair in each.confused)
    every = sorted(set().union(*counts.values()))
    rows = []
    for pair in every:
        values = {arm: counts[arm][pair] / found.seeds for arm in found.of}
        if max(values.values()) >= RARE / 2:
            total = sum(counts[arm][pair] for arm in found.of)
            rows.append(BreakdownRow(f"{pair[0]} → {pair[1]}", total, values))
    return _most_different("confusion, reference → output", "times in all outputs", "times a seed", rows, baseline)


def _most_different(
    title: str, counted: str, unit: str, rows: Sequence[BreakdownRow], baseline: str
) -> Breakdown | None:
    def size(row: BreakdownRow) -> float:
        gaps = [abs(value - row.values[baseline]) for value in row.values.values()]
        return max(gaps) * (row.count**0.5 if unit.startswith("%") else 1)  # a rare pair's share varies by chance

    kept = sorted(rows, key=size, reverse=True)[:ROWS]
    return Breakdown(title, counted, unit, tuple(kept), len(rows)) if kept else None


def _page(
    test: Sequence[Example], outputs: Outputs, baseline: str, seeds: Sequence[int], in_place: bool
) -> dict[str, Any]:
    """Examples for the page, each with its distinct outputs and, per arm, which of them each seed gave."""
    chosen = _spread(len(test), MOST_SHOWN)
    examples = [_shown_example(i, test[i], outputs, in_place) for i in chosen]
    size = sum(_size(example) for example in examples)
    if size > MOST_BYTES:
        part = max(1, int(len(examples) * MOST_BYTES / size))
        examples = [examples[i] for i in _spread(len(examples), part)]
    return {"arms": list(outputs), "seeds": list(seeds), "baseline": baseline, "examples": examples}


def _shown_example(number: int, example: Example, outputs: Outputs, in_place: bool) -> dict[str, Any]:
    distinct = list(dict.fromkeys(run[number] for runs in outputs.values() for run in runs))
    place = {output: i for i, output in enumerate(distinct)}
    outcomes = [_outcome(output, example, in_place) for output in distinct]
    return {
        "number": number + 1,
        "source": _written(spelt(example.source)),
        "references": [_written(reference) for reference in example.references],
        "outputs": [
            {"text": _written(output), "edits": each.edits, "nearest": each.nearest}
            for output, each in zip(distinct, outcomes, strict=True)
        ],
        "chosen": [" ".join(str(place[run[number]]) for run in runs) for runs in outputs.values()],
    }


def _size(example: Mapping[str, Any]) -> int:
    texts: Iterable[str] = (
        example["source"],
        *example["references"],
        *example["chosen"],
        *(f"{output['text']}{' ' * 30}" for output in example["outputs"]),
    )
    return sum(len(text.encode()) for text in texts) + 60


def _written(symbols: Symbols) -> str:
    """Symbols joined by spaces, shortened if there are many."""
    text = " ".join(map(_shown, symbols[:LONGEST]))
    return text if len(symbols) <= LONGEST else f"{text} … ({len(symbols):,}␣symbols␣in␣all)"


def _shown(symbol: str) -> str:
    """A symbol without spaces and with control characters escaped, shortened if it is long."""
    text = plain(symbol).replace(" ", "␣") or NONE
    return text if len(text) <= 60 else f"{text[:60]}…"
