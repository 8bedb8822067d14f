"""What does it cost to aim RML at BLEU, by weighted draws, against RML with the Hamming payoff alone?

First how many candidates are drawn and weighted a second, for every base measure that needs no run; then, with
``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``, training steps on captions with five candidates each,
drawing and weighting counted in. Both arms draw from the same Hamming payoff and take turns at every step.
"""

import torch

from structpred.experiments.benchmarks.captions import MODEL, captions, some
from structpred.experiments.benchmarks.measuring import Figures, Median, Stopwatch, standalone, without_options
from structpred.experiments.benchmarks.rml_step import Arm, ratios, turns
from structpred.objectives import RML, Sampled, SelfNormalised
from structpred.payoffs import (
    AroundPayoff,
    BaseMeasure,
    EditDistancePayoff,
    HammingPayoff,
    NGramReplacement,
    ReweightedPayoff,
    Substitution,
    Temperature,
)
from structpred.sequences import Sequences

LABELS, TIME, EXAMPLES, CANDIDATES = 7856, 25, 4096, 5
"""The labels of Multi30k's German captions; as many examples as training draws for together."""
HAMMING = HammingPayoff(temperature=Temperature(edit_rate=0.1))
EDITS = EditDistancePayoff(temperature=Temperature(edit_rate=0.1))
BASES: dict[str, BaseMeasure] = {
    "hamming": AroundPayoff(payoff=HAMMING),
    "hamming_unigram": Substitution(temperature=HAMMING.temperature, substitutes="unigram"),
    "edit_distance": AroundPayoff(payoff=EDITS),
    "n_grams": NGramReplacement(),
}
REPEATS, BATCH_TOKENS, SENTENCES, TURNS = 7, 1024, 128, 9


def drawn_and_weighted(base: BaseMeasure) -> tuple[float, float]:
    """Candidates a second, by the clock and by the CPU-time of the process: BLEU of each, and its weight."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(LABELS, (EXAMPLES, TIME), generator=generator)
    q = ReweightedPayoff(base=base).distribution(Sequences(labels, torch.full((EXAMPLES,), TIME)), LABELS)
    watches = []
    for _ in range(REPEATS + 1):
        watches.append(Stopwatch())
        with watches[-1].running():
            q.weighted_sample(CANDIDATES, generator)
    wall, cpu = (Median.of([getattr(watch, name) for watch in watches[1:]]).value for name in ("wall", "cpu"))
    return EXAMPLES * CANDIDATES / wall, EXAMPLES * CANDIDATES / cpu


def main() -> Figures:
    """Measure."""
    without_options()
    torch.set_flush_denormal(True)
    figures: Figures = {"labels": LABELS, "length": TIME, "k": CANDIDATES}
    for name, base in BASES.items():
        by_clock, by_cpu = drawn_and_weighted(base)
        figures |= {f"candidates_per_second_{name}": by_clock, f"candidates_per_core_second_{name}": by_cpu}
    data = some(captions(), SENTENCES)
    objectives = {
        "hamming": RML(payoff=HAMMING, estimator=Sampled(k=CANDIDATES)),
        "bleu": RML(payoff=ReweightedPayoff(base=BASES["hamming"]), estimator=SelfNormalised(k=CANDIDATES)),
    }
    arms = {name: Arm(objective, data, MODEL, BATCH_TOKENS) for name, objective in objectives.items()}
    return figures | {"sentences": SENTENCES} | ratios(turns(arms, TURNS), "bleu", "hamming")


if __name__ == "__main__":
    standalone(main)
