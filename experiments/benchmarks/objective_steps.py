"""What does a training step cost under each objective, relative to maximum likelihood, when translating captions?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``. All arms see the same sentences, drawing is
counted in, and arms take turns at every step. Figures are per example, and per target token that is scored: with k
candidates an example has k outputs.
"""

import torch

from structpred.experiments.benchmarks.captions import MODEL, captions, some
from structpred.experiments.benchmarks.rml_step import Arm, tokens_scored, turn
from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import Median, report
from structpred.objective import Objective
from structpred.objectives import REINFORCE, RML, LabelSmoothing, MaximumLikelihood, MinimumRisk, Sampled, Samples
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.rewards import EditDistance

BATCH_TOKENS = 1024
"""About 64 sentences of 16 tokens."""
SENTENCES, TURNS, CANDIDATES = 64, 6, 5
PAYOFF = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
SAMPLES = Samples(k=CANDIDATES, reference="left out")

OBJECTIVES: dict[str, Objective] = {
    "ml": MaximumLikelihood(),
    "smoothing": LabelSmoothing(),
    "rml_1": RML(payoff=PAYOFF),
    f"rml_{CANDIDATES}": RML(payoff=PAYOFF, estimator=Sampled(k=CANDIDATES)),
    f"reinforce_{CANDIDATES}": REINFORCE(reward=EditDistance(), samples=CANDIDATES),
    f"minimum_risk_{CANDIDATES}": MinimumRisk(reward=EditDistance(), candidates=SAMPLES),
}


def main() -> None:
    """Time passes over the sentences after one that is thrown away."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = some(captions(), SENTENCES)
    arms = {name: Arm(objective, data, MODEL, BATCH_TOKENS) for name, objective in OBJECTIVES.items()}
    turns = [turn(arms, epoch) for epoch in range(TURNS + 1)][1:]
    figures: dict[str, float | int | str] = {"threads": 1, "sentences": SENTENCES, "labels": data.sizes.num_labels}
    tokens = {name: tokens_scored(arm.plan(0)) for name, arm in arms.items()}
    figures["ml_tokens_per_cpu_second"] = 1 / Median.of([each["ml"].cpu for each in turns]).value
    for name in list(arms)[1:]:
        per_token = Median.of([each[name].cpu / each["ml"].cpu for each in turns]).value
        figures[f"{name}_per_target_token"] = per_token
        figures[f"{name}_per_example"] = per_token * tokens[name] / tokens["ml"]
    report(figures, "A step relative to maximum likelihood, drawing included; medians")


if __name__ == "__main__":
    standalone(main)
