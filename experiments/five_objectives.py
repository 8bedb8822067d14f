"""Which of five kinds of training objective should one use: likelihood, smoothing, RML, REINFORCE or a margin?

The main job: ``make compare``, or ``structpred compare``. Data are embedded, so nothing is downloaded. Sized for two
processor cores and ten minutes, in two panels:

*Tagging*: the sound of every letter of a word, by an LSTM tagger and by the same network under a linear chain (CRF);
five seeds. *Pronunciation*: all phones of a word by an encoder-decoder; four seeds. What learns from its own outputs
is trained there from random weights, and from those that likelihood has reached after 10 of 16 epochs, which every such
arm of a seed shares; "ML trained on" goes on from them by likelihood. All arms of a panel train for equally many
epochs in all. Wherever outputs are drawn or searched for, there are five an example. The reward is minus the number of
wrong labels on tagging and minus the edit distance on pronunciation.

One rule chose the settings of every arm: one number, four values each twice the one before, one run each under seed
100, which is not compared; the best first metric on dev decides, on a tie the next one. The number is what the
objective has to be given (smoothing's ε, RML's edit rate, the margin's scale) and the learning rate where it is given
nothing; those that have a number of their own take the learning rate of likelihood. Sizes, epochs and batches are the
same for all arms of a panel and were chosen for the time that they take. Where the best value is the first or the last
of the four, nothing beyond it was tried. ``five_objectives_tuning`` holds these runs.

Expected before the runs that are recorded, and after those of tuning: RML and smoothing within half a point of
likelihood on tagging and within one on pronunciation, in either direction; a chain better than the tagger by some
tenths of a point, a margin no worse than likelihood; what learns from its own outputs fails from random weights (fewer
than 60 % of labels right, more than 50 % of phones wrong), because hardly any output that it draws is better than
another; from likelihood it neither gains nor loses a point on "ML trained on", which in turn is worse than ML.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from structpred.comparison.panels import Panel
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import (
    REINFORCE,
    RML,
    CandidateHinge,
    Exact,
    ExpectedReward,
    LabelSmoothing,
    MaximumLikelihood,
    MaxMargin,
    MinimumRisk,
    NBest,
    Sampled,
    Samples,
)
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.rewards import EditDistance, Hamming
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Adam, Trainer

K = 5
"""Outputs an example, wherever any are drawn or searched for."""

TAGGER = Experiment(
    task=LetterTagging(size=2000, held_out=1000),
    model=LSTMTagger(embedding=48, hidden=128),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=2e-2),
    trainer=Trainer(epochs=12, batch_tokens=384),
)
CHAIN = replace(TAGGER, model=CRF(embedding=48, hidden=128))
SEQ2SEQ = Experiment(
    task=Pronunciation(size=2000, held_out=1000),
    model=Seq2Seq(embedding=64, hidden=128),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1.2e-2),
    trainer=Trainer(epochs=16, batch_tokens=384),
)
START = replace(SEQ2SEQ, trainer=Trainer(epochs=10, batch_tokens=384))
WARM = replace(SEQ2SEQ, start=START, optimiser=Adam(lr=1e-3), trainer=Trainer(epochs=6, batch_tokens=384))
"""The learning rates above are those chosen for likelihood, from random weights or from those of the start."""

LEARNING_RATES = {"tagging": (5e-3, 1e-2, 2e-2, 4e-2), "cold": (3e-3, 6e-3, 1.2e-2, 2.4e-2)}
WARM_RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
EPSILONS, EDIT_RATES, SCALES = (0.025, 0.05, 0.1, 0.2), (0.01, 0.02, 0.04, 0.08), (0.5, 1.0, 2.0, 4.0)

Values = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tuned:
    """An arm up to one number.

    Attributes:
        number: what it is.
        tried: its values.
        chosen: the one that was best on dev.
        arm: the experiment with a value of it.
    """

    number: str
    tried: Values
    chosen: float
    arm: Callable[[float], Experiment]

    @property
    def experiment(self) -> Experiment:
        """The arm as it is compared."""
        return self.arm(self.chosen)


def by_rate(base: Experiment, objective: Objective, tried: Values, chosen: float) -> Tuned:
    """An arm whose objective has nothing to be chosen: its learning rate."""
    return Tuned("lr", tried, chosen, lambda lr: replace(base, objective=objective, optimiser=Adam(lr=lr)))


def by_number(
    base: Experiment, number: str, tried: Values, chosen: float, objective: Callable[[float], Objective]
) -> Tuned:
    """An arm whose objective takes a number."""
    return Tuned(number, tried, chosen, lambda value: replace(base, objective=objective(value)))


def smoothing(epsilon: float) -> Objective:
    """The uniform prior, which is what the literature smooths with."""
    return LabelSmoothing(epsilon=epsilon)


def rml_exact(edit_rate: float) -> Objective:
    """In closed form, as both models allow for Hamming's reward."""
    return RML(payoff=HammingPayoff(temperature=Temperature(edit_rate=edit_rate)), estimator=Exact())


def rml_edit_distance(edit_rate: float) -> Objective:
    """From exact draws around the reference."""
    return RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=edit_rate)), estimator=Sampled(k=K))


def rml_hamming(edit_rate: float) -> Objective:
    """The same by substitutions alone."""
    return RML(payoff=HammingPayoff(temperature=Temperature(edit_rate=edit_rate)), estimator=Sampled(k=K))


def margin(scale: float) -> Objective:
    """The worst output is found exactly."""
    return MaxMargin(reward=Hamming(), scale=scale)


def hinge(scale: float) -> Objective:
    """The margin where only candidates can be searched."""
    return CandidateHinge(reward=EditDistance(), candidates=NBest(k=K), scale=scale)


def tagging() -> dict[str, Tuned]:
    """A label a letter, by a tagger and by a chain."""
    rates, likelihood = LEARNING_RATES["tagging"], MaximumLikelihood()
    sampled, expected = REINFORCE(reward=Hamming(), samples=K), ExpectedReward(reward=Hamming())
    return {
        "tagger ML": by_rate(TAGGER, likelihood, rates, 2e-2),
        "tagger smoothing": by_number(TAGGER, "epsilon", EPSILONS, 0.025, smoothing),
        "tagger RML": by_number(TAGGER, "edit rate", EDIT_RATES, 0.01, rml_exact),
        "tagger REINFORCE": by_rate(TAGGER, sampled, rates, 1e-2),
        "tagger expected reward": by_rate(TAGGER, expected, rates, 1e-2),
        "tagger max-margin": by_number(TAGGER, "scale", SCALES, 2.0, margin),
        "CRF ML": by_rate(CHAIN, likelihood, rates, 2e-2),
        "CRF RML": by_number(CHAIN, "edit rate", EDIT_RATES, 0.02, rml_exact),
        "CRF REINFORCE": by_rate(CHAIN, sampled, rates, 1e-2),
        "CRF expected reward": by_rate(CHAIN, expected, rates, 1e-2),
        "CRF max-margin": by_number(CHAIN, "scale", SCALES, 0.5, margin),
    }


def pronunciation() -> dict[str, Tuned]:
    """All phones of a word, from random weights and from those that likelihood has reached."""
    rates, likelihood = LEARNING_RATES["cold"], MaximumLikelihood()
    sampled = REINFORCE(reward=EditDistance(), samples=K)
    risk = MinimumRisk(reward=EditDistance(), candidates=Samples(k=K, reference="left out"))
    return {
        "ML": by_rate(SEQ2SEQ, likelihood, rates, 1.2e-2),
        "smoothing": by_number(SEQ2SEQ, "epsilon", EPSILONS, 0.05, smoothing),
        "RML edit distance": by_number(SEQ2SEQ, "edit rate", EDIT_RATES, 0.04, rml_edit_distance),
        "RML Hamming": by_number(SEQ2SEQ, "edit rate", EDIT_RATES, 0.04, rml_hamming),
        "minimum risk": by_rate(SEQ2SEQ, risk, rates, 3e-3),
        "REINFORCE": by_rate(SEQ2SEQ, sampled, rates, 3e-3),
        "ML trained on": by_rate(WARM, likelihood, WARM_RATES, 1e-3),
        "ML then minimum risk": by_rate(WARM, risk, WARM_RATES, 1e-3),
        "ML then REINFORCE": by_rate(WARM, sampled, WARM_RATES, 5e-4),
        "ML then candidate hinge": by_number(WARM, "scale", SCALES, 0.5, hinge),
    }


def panels() -> dict[str, Panel]:
    """The two comparisons, by name."""
    made = {"tagging": (tagging(), 5), "pronunciation": (pronunciation(), 4)}
    return {
        name: Panel(arms={arm: tuned.experiment for arm, tuned in arms.items()}, seeds=range(seeds))
        for name, (arms, seeds) in made.items()
    }
