"""How fast are exact edit-distance draws, against the usual approximate loop over sentences?"""

import math
import random

import torch

from structpred.experiments.benchmarks.measuring import Figures, paired, standalone, without_options
from structpred.payoffs import EditDistancePayoff, PublishedEditDistancePayoff, Temperature
from structpred.sequences import Sequences

LABELS, TIME, RESCALED, BATCH = 40, 10, 0.8, 4096


def by_published_loop(references: list[list[int]], source: random.Random) -> list[list[int]]:
    """The usual way: the number of edits from a table, then substitutions and insertions one by one.

    After the sampler its author released with RML (Norouzi et al. 2016); approximate, and without deletions. The
    table is computed once for the one length there is, which favours it.
    """
    counts = [[math.comb(TIME, s) * math.comb(TIME + e - 2 * s, e - s) for s in range(e + 1)] for e in range(TIME)]
    weights = [sum(row) * math.exp(-e / RESCALED) * LABELS ** (e - e / RESCALED) for e, row in enumerate(counts)]
    drawn = []
    for reference in references:
        edits = source.choices(range(TIME), weights)[0]
        substitutions = source.choices(range(edits + 1), counts[edits])[0]
        drawn.append(_edited(reference, substitutions, edits - substitutions, source))
    return drawn


def _edited(reference: list[int], substitutions: int, insertions: int, source: random.Random) -> list[int]:
    substituted = set(source.sample(range(TIME), substitutions))
    row = TIME - substitutions + insertions
    inserted = set(source.sample(range(row), insertions))
    output, place = [], 0
    for label_at, label in enumerate(reference):
        if label_at in substituted:
            output.append(source.randrange(LABELS))
            continue
        while place in inserted:
            output.append(source.randrange(LABELS))
            place += 1
        output.append(label)
        place += 1
    output.extend(source.randrange(LABELS) for _ in range(place, row))
    return output


def main() -> Figures:
    """Measure."""
    without_options()
    generator, source = torch.Generator().manual_seed(0), random.Random(0)
    labels = torch.randint(LABELS, (BATCH, TIME), generator=generator)
    references, rows = Sequences(labels, torch.full((BATCH,), TIME)), labels.tolist()
    temperature = Temperature(rescaled=RESCALED)
    exact = EditDistancePayoff(temperature=temperature).distribution(references, LABELS)
    published = PublishedEditDistancePayoff(temperature=temperature).distribution(references, LABELS)
    ours = paired(lambda: exact.sample(1, generator), lambda: by_published_loop(rows, source), repeats=15)
    theirs = paired(lambda: published.sample(1, generator), lambda: by_published_loop(rows, source), repeats=5)
    return {
        "labels": LABELS,
        "length": TIME,
        "rescaled": RESCALED,
        "block": BATCH,
        "exact_samples_per_second": BATCH / ours.first,
        "published_batched_samples_per_second": BATCH / theirs.first,
        "published_loop_samples_per_second": BATCH / ours.second,
        "exact_to_loop": ours.ratio,
        "batched_to_loop": theirs.ratio,
    }


if __name__ == "__main__":
    standalone(main)
