"""After likelihood has taught a Transformer to translate, does one more epoch under another objective raise its BLEU?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``multi30k/tok/*``, or let it be downloaded (research only). It
can be stopped at any time and resumes::

    python -m structpred.experiments.translation_objectives --device cuda --workers 5

Captions from German into English, in lower case. The network is the Transformer of `translation_transformer`, with the
dropout and the learning rate that were best on dev there, in thirteen epochs of likelihood. From that start of the same
seed every arm goes on for one epoch with a fresh optimiser. Nine arms: likelihood (ML), which the others are compared
with; label smoothing; RML with one draw by Hamming and by edit distance; RML by sentence BLEU, around draws by Hamming
distance and by replaced n-grams, as published implementations do; minimum risk, REINFORCE and the candidate hinge, all
by sentence BLEU. Where several outputs are needed there are five an example. Outputs are found by a beam of 5.

One rule chooses the settings of every arm by BLEU on dev, under seed 100, which is not compared: first one of two
learning rates, with a length penalty of 1; then, for the better of the two, one of three length penalties. All else was
fixed beforehand, and so was the number of seeds, three.

Seen before: after eight epochs the start of seed 100 had 32.6 BLEU on dev and 33.1 on test, so the start is trained for
thirteen, as in `translation_transformer`. On one core of a CPU a step takes 1.4 seconds under likelihood, 7 under RML
by BLEU and 14 under minimum risk.

Expected before the runs: the start has at least 36 BLEU on the test set of 2016. Minimum risk gains 0.3 to 1 BLEU over
ML, the hinge and REINFORCE less. Smoothing and the four arms of RML are within half a point of ML. With three seeds no
difference below half a point will be shown. Minimum risk, REINFORCE and the hinge take four to ten times the time of
ML, RML by BLEU two to five times.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few, one_of
from structpred.comparison.plan import Plan
from structpred.comparison.runner import compare
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments.five_objectives import K
from structpred.experiments.translation_transformer import ADAM, BASE, TRANSFORMER
from structpred.files import write_atomically
from structpred.objective import Objective
from structpred.objectives import (
    REINFORCE,
    RML,
    CandidateHinge,
    LabelSmoothing,
    MaximumLikelihood,
    MinimumRisk,
    NBest,
    Samples,
    SelfNormalised,
)
from structpred.payoffs import (
    AroundPayoff,
    EditDistancePayoff,
    HammingPayoff,
    NGramReplacement,
    ReweightedPayoff,
    Temperature,
)
from structpred.report.files import refuse_others
from structpred.rewards import SentenceBleu
from structpred.runs import Run
from structpred.task import Example, loaded
from structpred.training import Trainer

SEARCH = Decoding(beam=5, length_penalty=1.0)
PENALTIES = (1.0, 0.5, 1.5)
"""Length penalties that are tried; on a tie the earlier one is taken."""
RATES = (1e-4, 3e-4)
TUNING_SEED, SEEDS = 100, 3

TRAINER = Trainer(epochs=13, batch_tokens=3072, average=0.99, precision="bf16")
START = replace(
    BASE, model=replace(TRANSFORMER, dropout=0.2), optimiser=replace(ADAM, lr=2e-3), trainer=TRAINER, decoding=SEARCH
)

NEAR = Temperature(edit_rate=0.04)
BLEU = SentenceBleu()


def by_bleu(base: AroundPayoff | NGramReplacement) -> RML:
    """RML whose draws are weighted by BLEU."""
    return RML(payoff=ReweightedPayoff(reward=BLEU, base=base), estimator=SelfNormalised(k=K))


OBJECTIVES: dict[str, Objective] = {
    "ML": MaximumLikelihood(),
    "smoothing": LabelSmoothing(epsilon=0.1),
    "RML, Hamming": RML(payoff=HammingPayoff(temperature=NEAR)),
    "RML, edit distance": RML(payoff=EditDistancePayoff(temperature=NEAR)),
    "RML, BLEU around Hamming": by_bleu(AroundPayoff(payoff=HammingPayoff(temperature=Temperature(edit_rate=0.1)))),
    "RML, BLEU of replaced n-grams": by_bleu(NGramReplacement(substitutes="batch", density="kept")),
    "minimum risk": MinimumRisk(reward=BLEU, candidates=Samples(k=K, reference="left out")),
    "REINFORCE": REINFORCE(reward=BLEU, samples=K),
    "candidate hinge": CandidateHinge(reward=BLEU, candidates=NBest(k=K), scale=10.0),
}


def arm(name: str, rate: float, penalty: float = SEARCH.length_penalty) -> Experiment:
    """One epoch of an objective after the start."""
    return replace(
        START,
        start=START,
        objective=OBJECTIVES[name],
        optimiser=replace(ADAM, lr=rate),
        trainer=replace(TRAINER, epochs=1),
        decoding=replace(SEARCH, length_penalty=penalty),
    )


def experiments() -> dict[str, Experiment]:
    """Every arm with the first of its learning rates, as `structpred compare` takes them."""
    return {name: arm(name, RATES[0]) for name in OBJECTIVES}


def tried() -> dict[str, Experiment]:
    """Every arm with each of its learning rates."""
    return {f"{name}, lr {rate:g}": arm(name, rate) for name in OBJECTIVES for rate in RATES}


def best_rates(dev: Mapping[str, float]) -> dict[str, float]:
    """The learning rate of each arm with the highest BLEU on dev, given by the names of `tried`; on a tie the first."""
    return {name: max(RATES, key=lambda rate: dev[f"{name}, lr {rate:g}"]) for name in OBJECTIVES}


def by_penalty(run: Run, dev: Iterable[Example], device: str, kept: dict[str, dict[str, float]]) -> dict[float, float]:
    """BLEU on dev under each length penalty.

    Args:
        run: a finished run.
        dev: the examples.
        device: where outputs are searched.
        kept: what was found before, by the identity of a run; what is found is added.
    """
    scores = kept.setdefault(run.result.identity, {f"{SEARCH.length_penalty:g}": run.result.scores["dev"]["BLEU"]})
    for penalty in PENALTIES:
        if f"{penalty:g}" not in scores:
            run.model.to(device)
            search = replace(SEARCH, length_penalty=penalty)
            scores[f"{penalty:g}"] = run.evaluate(dev, decoding=search, metrics=("bleu",))["BLEU"]
    return {penalty: scores[f"{penalty:g}"] for penalty in PENALTIES}


def read_kept(place: Path) -> dict[str, dict[str, float]]:
    """What `by_penalty` found before; nothing where there is no file.

    Raises:
        ConfigError: the file holds something else.
    """
    if not place.exists():
        return {}
    try:
        kept: dict[str, dict[str, float]] = json.loads(place.read_text(encoding="utf-8"))
        if all(isinstance(score, float) for scores in kept.values() for score in scores.values()):
            return kept
    except (AttributeError, ValueError):
        pass
    raise ConfigError(
        f"{place} must hold BLEU by run and length penalty, but holds something else; remove it, and it is made again"
    )


def main() -> None:
    """Train the starts, tune, compare, and write the two reports and the scores by length penalty."""
    options = Parser("python -m structpred.experiments.translation_objectives", (__doc__ or "").partition("\n")[0])
    options.add_argument("--seeds", type=few, default=SEEDS, metavar="N", help="compare under seeds 0 to N - 1")
    options.add_argument("--workers", type=few, default=None, metavar="N", help="runs that are trained at once")
    options.add_argument("--device", type=one_of(("cpu", "cuda")), default="cpu", help="where: cpu or cuda")
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/translation_objectives"), help="where reports go")
    given = options.read()
    for report in ("tuning", "comparison"):
        refuse_others(given.report / report)
    trained = partial(compare, root=given.root, workers=given.workers, device=given.device)

    tuning = trained(tried(), seeds=(TUNING_SEED,), examples="none")
    tuning.write(given.report / "tuning")
    rates = best_rates({name: results[0].scores["dev"]["BLEU"] for name, results in tuning.results.items()})
    plan = Plan.of({name: arm(name, rate) for name, rate in rates.items()}, (TUNING_SEED,), None, given.root)
    place = given.report / "tuning" / "penalties.json"
    kept = read_kept(place)
    dev = loaded(START.task).dev
    chosen = {}
    for run in plan.runs:
        found = by_penalty(run.found(), dev, given.device, kept)
        chosen[run.arm] = arm(run.arm, rates[run.arm], max(PENALTIES, key=lambda penalty: found[penalty]))
        write_atomically(place, json.dumps(kept, indent=1) + "\n")

    comparison = trained(chosen, seeds=range(given.seeds))
    comparison.write(given.report / "comparison")
    comparison.show()


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
