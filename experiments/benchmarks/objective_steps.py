"""What does a training step cost under each objective, relative to maximum likelihood, when translating captions?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``. All arms see the same sentences, drawing is
counted in, and arms take turns at every step. Figures are per example, and per target token that is scored: with k
candidates an example has k outputs.
"""

from structpred.experiments.benchmarks.captions import MODEL, captions, some
from structpred.experiments.benchmarks.measuring import Figures, Median, standalone, without_options
from structpred.experiments.benchmarks.rml_step import Arm, ratios, tokens_scored, turns
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


def main() -> Figures:
    """Time passes over the sentences after one that is thrown away."""
    without_options()
    data = some(captions(), SENTENCES)
    arms = {name: Arm(objective, data, MODEL, BATCH_TOKENS) for name, objective in OBJECTIVES.items()}
    spent = turns(arms, TURNS)
    figures: Figures = {"sentences": SENTENCES, "labels": data.sizes.num_labels}
    tokens = {name: tokens_scored(arm.plan(0)) for name, arm in arms.items()}
    figures["ml_tokens_per_cpu_second"] = 1 / Median.of([each["ml"].cpu for each in spent]).value
    for name in list(arms)[1:]:
        per_token = float(ratios(spent, name, "ml")[f"{name}_to_ml"])
        figures[f"{name}_per_target_token"] = per_token
        figures[f"{name}_per_example"] = per_token * tokens[name] / tokens["ml"]
    return figures


if __name__ == "__main__":
    standalone(main)
