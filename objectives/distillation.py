"""Distillation: learning from the distribution of a trained model."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.distributions.protocols import Distribution, Steps, StepScores
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, Requirement, StepContext
from structpred.objectives.estimators import Estimator, Exact, Sampled
from structpred.registry import objectives
from structpred.runs import Ensemble, Run
from structpred.sequences import Content, Sequences
from structpred.task import Sizes
from structpred.values import Positive


@dataclass(frozen=True)
class PerPosition:
    """A comparison of two models' next-symbol distributions along the same outputs, in nats, summed over steps.

    Attributes:
        cross_entropy: T² Σ_t H(q_t, p_t), ``[batch, candidates]``.
        divergence: T² Σ_t KL(q_t‖p_t), detached, ``[batch, candidates]``.
    """

    cross_entropy: Float[Tensor, "batch candidates"]
    divergence: Float[Tensor, "batch candidates"]


def per_position(teacher: Steps, student: Steps, temperature: float = 1.0) -> PerPosition:
    """Compare q_t and p_t at every step, both softened: ∝ q^(1/T) and ∝ p^(1/T).

    The factor T² keeps the size of gradients constant as T rises (Hinton et al. 2015, section 2.1).

    Args:
        teacher: log q_t(v) along the outputs; no gradient passes to it.
        student: log p_t(v) along the same outputs.
        temperature: T.

    Examples:
        >>> def coin(of_first: float) -> Steps:
        ...     log_probs = torch.tensor([[[[of_first, 1 - of_first]]]]).log()
        ...     return Steps(log_probs, torch.tensor([[[0]]]), torch.tensor([[[True]]]))
        >>> found = per_position(coin(0.5), coin(0.8))
        >>> round(found.cross_entropy.item(), 4), round(found.divergence.item(), 4)
        (0.9163, 0.2231)
    """
    log_q = (teacher.log_probs.detach() / temperature).log_softmax(-1)
    log_p = (student.log_probs / temperature).log_softmax(-1)
    q = log_q.exp()

    def expected(values: Tensor) -> Float[Tensor, "batch candidates"]:
        """Σ_t E_q[values], with 0 · (−inf) = 0, in the gradient too."""
        each = (q * torch.where(q > 0, values, 0.0)).sum(-1)
        return temperature**2 * torch.where(student.mask, each, 0.0).sum(-1)

    return PerPosition(-expected(log_p), expected(log_q) - expected(log_p.detach()))


class Teacher(nn.Module):
    """A trained network with fixed weights and no dropout. Called on inputs, it returns q(·|x).

    Args:
        network: returns q when called on inputs.
        reads: the kind of its inputs, such as symbols.
        name: where it comes from, for messages.
    """

    def __init__(self, network: nn.Module, reads: Content, name: str) -> None:
        super().__init__()
        self.name, self.reads = name, reads
        self.network = network.requires_grad_(False)
        self.train()

    @classmethod
    def of(cls, run: Run | Ensemble) -> "Teacher":
        """The network of a finished run, or those of several as one."""
        return cls(run.model, run.codec.read(()).content, run.name)

    def train(self, mode: bool = True) -> "Teacher":
        """Ignore the mode: a teacher stays in evaluation mode."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, inputs: Sequences) -> Distribution:
        """q(·|x).

        Raises:
            ConfigError: the inputs were encoded for another kind of model.
        """
        if inputs.content != self.reads:
            raise ConfigError(
                f"the teacher {self.name} reads {self.reads}, but the student's inputs are {inputs.content}; give both "
                "models the same kind of inputs"
            )
        q: Distribution = self.network(inputs)
        return q


def loaded_teacher(
    folder: str, sizes: Sizes, verbs: tuple[type, ...], purpose: str, instead: str, others: tuple[str, ...] = ()
) -> Teacher:
    """The network of a finished run, or of an ensemble of several, checked against the task.

    Args:
        folder: the run.
        sizes: those of the task.
        verbs: what its distribution must offer.
        purpose: what asks for it, for the message.
        instead: what to use where it does not.
        others: further runs of the ensemble.

    Raises:
        RunError: the folder holds no finished run.
        ConfigError: it was trained on other symbols, or lacks a verb; or the runs cannot be averaged.
    """
    run = Ensemble([folder, *others])
    if run.sizes.symbols != sizes.symbols:
        raise ConfigError(
            f"the teacher {folder} was trained on other symbols than those of this task, or their order differs; train "
            "it on the same training examples, with the same kind of inputs"
        )
    for verb in verbs:
        if not issubclass(run.experiment.model.distribution, verb):
            raise ConfigError(
                f"{purpose} asks the teacher for {verb.__name__}, which {type(run.experiment.model).__name__} of "
                f"{folder} does not offer; use {instead}"
            )
    return Teacher.of(run)


def given_teacher(objective: Objective, folder: str, p: Distribution, context: StepContext) -> Any:
    """q for the inputs that p is conditioned on.

    Raises:
        ConfigError: the objective's state is not a teacher, or one of a model of another kind.
    """
    name = type(objective).__name__
    if not isinstance(context.state, Teacher) or context.inputs is None:
        raise ConfigError(
            f"{name} needs its teacher and the inputs of p: pass state=objective.state(sizes) and inputs="
        )
    q = context.state(context.inputs)
    if q.fixed_length != p.fixed_length:
        decides = {True: "leaves the length to the input", False: "decides the length itself"}
        raise ConfigError(
            f"the teacher {folder} {decides[q.fixed_length]}, but the student {decides[p.fixed_length]}; use two "
            "models of the same kind"
        )
    return q


@objectives.register("distillation")
@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """E_q[−log p(y|x)] with q(y|x) the distribution of a trained model, the teacher: RML with a model as its payoff.

    ``per="position"`` compares the next symbols along the reference, Σ_t H(q_t, p_t) (Hinton et al. 2015, arXiv
    1503.02531; word-level in Kim and Rush 2016, arXiv 1606.07947). ``per="sequence"`` compares whole outputs, and does
    not use the reference: in closed form if both models allow it, from samples of q drawn in the step, or with
    ``Best()`` on the outputs that the teacher predicts (sequence-level in Kim and Rush). Use `WeightedSum` to mix it
    with likelihood.

    Attributes:
        teacher: the folder of a finished run with the same symbols; as written, it is part of a run's identity, beside
            the identity of the teacher's run.
        per: the unit of comparison.
        estimator: how the expectation over whole outputs is computed.
        temperature: T, which softens both distributions of a next symbol.
        ensemble_with: the folders of further runs; the teacher is then the `structpred.runs.Ensemble` of all.
    """

    identity_optional = ("ensemble_with",)
    requires = ()  # `per` and the estimator decide what p must offer
    draws_in_step = True
    learns_from = "teacher"

    teacher: str
    per: Literal["position", "sequence"] = "position"
    estimator: Estimator = Exact()
    temperature: Positive = 1.0
    ensemble_with: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse settings that apply only to the other kind of comparison."""
        if self.per == "position" and self.estimator != Exact():
            raise ConfigError(
                f"Distillation(per='position') is a sum over symbols and needs no {type(self.estimator).__name__}(); "
                "leave the estimator out, or use per='sequence'"
            )
        if self.per == "sequence" and self.temperature != 1:
            raise ConfigError(
                f"Distillation(per='sequence') has no temperature, but got {self.temperature:g}; leave it out, or use "
                "per='position'"
            )

    @classmethod
    def examples(cls) -> tuple["Distillation", ...]:
        """Both comparisons, the second with both estimators; the teacher is not loaded until a run begins."""
        return (
            cls(teacher="runs/teacher"),
            cls(teacher="runs/teacher", per="sequence"),
            cls(teacher="runs/teacher", per="sequence", estimator=Sampled()),
        )

    @property
    def exact(self) -> bool:
        """True if nothing is sampled or searched."""
        return self.estimator.exact

    def fingerprint(self) -> tuple[str, ...]:
        """The identity of the teacher's run, or of the ensemble."""
        return (Ensemble([self.teacher, *self.ensemble_with]).identity,)

    def requirements(self) -> tuple[Requirement, ...]:
        """``steps``, or what the estimator requires."""
        if self.per == "position":
            return (Requirement(StepScores, "Distillation(per='position')", "per='sequence'"),)
        return super().requirements()

    def state(self, sizes: Sizes) -> Teacher:
        """The teacher.

        Raises:
            RunError: its folder holds no finished run.
            ConfigError: it was trained on other symbols, or lacks a verb.
        """
        verb = StepScores if self.per == "position" else self.estimator.requires_of_payoff
        purpose = f"Distillation(per={self.per!r}) with {type(self.estimator).__name__}()"
        instead = "per='sequence' with Sampled(k=1)"
        return loaded_teacher(self.teacher, sizes, (verb,), purpose, instead, self.ensemble_with)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The cross-entropy of each example; per position the divergence is a diagnostic."""
        q = given_teacher(self, self.teacher, p, context)
        if self.per == "sequence":
            draws = self.estimator.draw(q, context.generator)
            return Losses(self.estimator.cross_entropy(q, p, draws))
        outputs = targets.candidates()
        found = per_position(q.steps(outputs), p.steps(outputs), self.temperature)
        return Losses(found.cross_entropy.squeeze(1), {"divergence": found.divergence.squeeze(1)})
