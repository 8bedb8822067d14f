"""The arms of `objectives_table`: every elementary objective and what is tuned of it, and the pieces of the table."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from structpred.assignment import assigned
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments.five_objectives import K
from structpred.models import Model, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import (
    CPO,
    GRPO,
    REINFORCE,
    RML,
    CandidateHinge,
    DataNoising,
    Divergence,
    Exact,
    ExpectedReward,
    LabelSmoothing,
    MaximumLikelihood,
    MaxMargin,
    MinimumRisk,
    Mixer,
    NBest,
    OptimalCompletion,
    Perceptron,
    Sampled,
    Samples,
    ScheduledSampling,
    SoftmaxMargin,
    SwitchOut,
)
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.rewards import EditDistance, Hamming, Reward
from structpred.training import Adam
from structpred.tuning import Over, Range
from structpred.tuning.search import grid
from structpred.tuning.spaces import READY, Value

FACTORS = (0.25, 0.5, 1.0, 2.0)
"""Learning rates that are tried, over that of the base; the two in the middle where there is a setting of its own."""
AFTER = 1 / 8
"""Of an arm that goes on from likelihood, over its rates from random weights."""
BEFORE = 5 / 8
"""The share of the epochs that likelihood has then had."""
RATE, EDIT_RATE = "optimiser.lr", READY["edit-rate"].field

LEFT_OUT = {
    **dict.fromkeys(("adversarial", "anneal", "switch", "weighted-sum"), "is made of other objectives"),
    "distillation": "needs a finished run as its teacher",
    "dpo": "is measured from a finished run; `warm_start_objectives` has it",
    "kl-to-run": "needs a finished run to stay close to",
}
"""Registered objectives that no piece has, and why."""


@dataclass(frozen=True)
class Arm:
    """An objective and what is tuned of it.

    Attributes:
        objective: it, with the first value of its own setting.
        field: the dotted name of that setting within the experiment; empty for none.
        values: the two that are tried.
        warm: True if it goes on from likelihood.
    """

    objective: Objective
    field: str = ""
    values: tuple[Value, ...] = ()
    warm: bool = False

    def space(self, base: Experiment) -> Over:
        """What is searched, around the rate of an arm of likelihood."""
        began = replace(base, objective=self.objective)
        rates = rates_of(base, 1.0)
        if self.warm:
            before = round(BEFORE * base.trainer.epochs)
            start = replace(base, trainer=replace(base.trainer, epochs=before))
            left = replace(base.trainer, epochs=base.trainer.epochs - before)
            began, rates = replace(began, start=start, trainer=left), rates_of(base, AFTER)
        if not self.field:
            return Over(began, (Range(field=RATE, choices=rates),))
        return Over(began, (Range(field=RATE, choices=rates[1:3]), Range(field=self.field, choices=self.values)))

    def trials(self, base: Experiment) -> tuple[Experiment, ...]:
        """The four experiments, in their order."""
        space = self.space(base)
        return tuple(assigned(space.base, values) for values in grid(space, 1))


def rates_of(base: Experiment, times: float) -> tuple[float, ...]:
    """The four learning rates, rounded so that 0.3 · 0.1 is 0.03."""
    assert isinstance(base.optimiser, Adam)
    return tuple(float(f"{factor * times * base.optimiser.lr:.12g}") for factor in FACTORS)


def candidates(model: Model) -> dict[str, Arm]:
    """Every elementary objective, from random weights, whether or not the model takes it."""
    payoff: type[HammingPayoff | EditDistancePayoff]
    reward, payoff = (EditDistance(), EditDistancePayoff) if isinstance(model, Seq2Seq) else (Hamming(), HammingPayoff)
    exact = payoff is HammingPayoff
    return dict(_likelihood(payoff, exact)) | dict(_margins(reward)) | dict(_own_outputs(reward))


def _likelihood(payoff: type[HammingPayoff | EditDistancePayoff], exact: bool) -> Iterator[tuple[str, Arm]]:
    """Arms that raise the likelihood of the reference, or of outputs drawn around it."""
    drawn, near = Sampled(k=K), payoff(temperature=Temperature(edit_rate=0.02))
    estimator = Exact() if exact else drawn
    yield "ML", Arm(MaximumLikelihood())
    yield "smoothing", Arm(LabelSmoothing(), "objective.epsilon", (0.025, 0.1))
    yield "RML", Arm(RML(payoff=near, estimator=estimator), EDIT_RATE, (0.01, 0.04))
    yield "divergence", Arm(Divergence(payoff=near, estimator=estimator), "objective.alpha", (0.25, 0.75))
    noise = SwitchOut(source=Temperature(edit_rate=0.02), target=near, estimator=drawn)
    yield "switch-out", Arm(noise, "objective.source.edit_rate", (0.01, 0.04))
    yield "data noising", Arm(DataNoising(), "objective.rate", (0.025, 0.1))
    yield "scheduled sampling", Arm(ScheduledSampling(), "objective.reference.last", (0.25, 0.75))
    yield "optimal completion", Arm(OptimalCompletion(k=K), "objective.temperature", (0.0, 0.5))


def _margins(reward: Reward) -> Iterator[tuple[str, Arm]]:
    """Arms that hold the reference against other outputs."""
    scale, scales = "objective.scale", (0.5, 2.0)
    yield "max-margin", Arm(MaxMargin(reward=Hamming()), scale, scales)
    yield "softmax-margin", Arm(SoftmaxMargin(reward=Hamming()), scale, scales)
    yield "perceptron", Arm(Perceptron())
    yield "candidate hinge", Arm(CandidateHinge(reward=reward, candidates=NBest(k=K)), scale, scales)
    yield "CPO", Arm(CPO(reward=reward, candidates=Samples(k=K)), "objective.beta", (0.1, 0.4))
    yield "mixer", Arm(Mixer(reward=reward, k=K), "objective.end.share", (0.5, 1.0))


def _own_outputs(reward: Reward) -> Iterator[tuple[str, Arm]]:
    """Arms that learn from their own outputs alone."""
    drawn = Samples(k=K, reference="left out")
    yield "expected reward", Arm(ExpectedReward(reward=Hamming()), "objective.temperature", (0.0, 0.1))
    yield "minimum risk", Arm(MinimumRisk(reward=reward, candidates=drawn), "objective.sharpness", (0.25, 1.0))
    yield "REINFORCE", Arm(REINFORCE(reward=reward, samples=K), "objective.credit", ("sequence", "token"))
    yield "GRPO", Arm(GRPO(reward=reward, samples=K), "objective.scale", ("deviation", "none"))


OWN_OUTPUTS = tuple(name for name, _ in _own_outputs(Hamming()))


def sorted_out(model: Model) -> tuple[dict[str, Arm], dict[str, str]]:
    """The arms that a model takes, and by name why it refuses the others."""
    taken, refused = {}, {}
    for name, arm in candidates(model).items():
        try:
            arm.objective.check_model(model)
        except ConfigError as error:
            refused[name] = str(error)
        else:
            taken[name] = arm
    return taken, refused


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A task with a model.

    Attributes:
        bases: the arm of likelihood by task; tasks are averaged, and the first one is tuned on.
        seeds: how many are compared.
        cold: False if what learns from its own outputs alone is not trained from random weights.
        published: what others report: who, the score in percent, and on what terms.
        metric: of these scores.
        around_likelihood: False for pieces made by the first rule of tuning: every arm around the base rate.
    """

    bases: Mapping[str, Experiment]
    seeds: int = 5
    cold: bool = True
    published: tuple[tuple[str, float, str], ...] = ()
    metric: str = ""
    around_likelihood: bool = True

    @property
    def base(self) -> Experiment:
        """The one that is tuned on."""
        return next(iter(self.bases.values()))

    def bases_of(self, arms: Iterable[str], likelihood: Experiment) -> dict[str, Experiment]:
        """What each arm searches around: likelihood its base rate, every other arm the rate that likelihood has taken.

        Args:
            arms: their names.
            likelihood: the arm of that name as tuned.
        """
        around = replace(self.base, optimiser=likelihood.optimiser) if self.around_likelihood else self.base
        return {arm: self.base if arm == "ML" else around for arm in arms}

    def arms(self) -> dict[str, Arm]:
        """All of them, likelihood first."""
        taken, _ = sorted_out(self.base.model)
        own = [name for name in taken if name in OWN_OUTPUTS]
        cold = {name: arm for name, arm in taken.items() if self.cold or name not in own}
        warm = {f"ML then {name}": replace(taken[name], warm=True) for name in own}
        return {**cold, "ML trained on": replace(taken["ML"], warm=True), **warm}
