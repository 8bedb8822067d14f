"""How fast are exact Hamming draws, against the usual loop over sentences?"""

import math
import random

import torch

from structpred.experiments.benchmarks.measuring import Figures, Medians, paired, standalone, without_options
from structpred.payoffs import HammingPayoff, Temperature
from structpred.sequences import Sequences

LABELS, TIME, RESCALED = 10_000, 25, 0.85


def by_strata(references: list[list[int]], k: int, source: random.Random) -> list[list[list[int]]]:
    """The usual way: a distance from its table, then that many positions, then a word for each.

    After process_samples.py of pcyin/pytorch_nmt, with the substitute made to differ from the reference, so that the
    law is the same as ours.
    """
    drawn = []
    for reference in references:
        size = len(reference)
        weights = [
            math.comb(size, e) * math.exp(-e / RESCALED) * (LABELS - 1) ** (e - e / RESCALED) for e in range(size + 1)
        ]
        drawn.append([_changed(reference, e, source) for e in source.choices(range(size + 1), weights, k=k)])
    return drawn


def _changed(reference: list[int], edits: int, source: random.Random) -> list[int]:
    output = list(reference)
    for place in source.sample(range(len(output)), edits):
        word = source.randrange(LABELS - 1)
        output[place] = word + (word >= reference[place])
    return output


def measure(batch: int, k: int) -> Medians:
    """Our draws against the usual ones."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(LABELS, (batch, TIME), generator=generator)
    references = Sequences(labels, torch.full((batch,), TIME))
    distribution = HammingPayoff(temperature=Temperature(rescaled=RESCALED)).distribution(references, LABELS)
    rows, source = labels.tolist(), random.Random(0)
    return paired(lambda: distribution.sample(k, generator), lambda: by_strata(rows, k, source), repeats=15)


def main() -> Figures:
    """Measure."""
    without_options()
    figures: Figures = {"labels": LABELS, "length": TIME, "rescaled": RESCALED}
    for batch, k in ((64, 10), (4096, 1)):
        medians = measure(batch, k)
        figures[f"exact_samples_per_second_{batch}x{k}"] = batch * k / medians.first
        figures[f"loop_samples_per_second_{batch}x{k}"] = batch * k / medians.second
        figures[f"exact_to_loop_{batch}x{k}"] = medians.ratio
    return figures


if __name__ == "__main__":
    standalone(main)
