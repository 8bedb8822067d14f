"""What a run may spend and how careful it is, and what a recipe for training is made of."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from structpred.config import Config, Count, Fraction, Positive
from structpred.metrics import Metric
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.protocols import Checkable
from structpred.task import Task
from structpred.training.optimisers import Optimiser


@dataclass(frozen=True, kw_only=True)
class Trainer(Config):
    """The training budget, the same for every objective.

    The loss of a step is the sum of its examples' losses divided by the target tokens of the whole batch, however the
    batch is split over pieces and processes. So all examples of a batch weigh the same, and from batch to batch the
    weight of an example varies as the batches' tokens do, which `structpred.training.batching.token_batches` keeps
    as even as their budget allows.

    After each epoch the dev set is predicted greedily, and the weights with the best first metric are kept. Where it
    ties, the task's later metrics decide in their order; where all tie, the later epoch is kept.

    The share of training done, which learning rates and some objectives follow, is that of the epochs or of the
    steps, whichever is larger; it never depends on the clock, so that the same steps lead to the same weights.

    Attributes:
        epochs: passes over the training examples.
        batch_tokens: target tokens a step, ends and padding included.
        clip: largest norm of the gradient.
        patience: stop after so many epochs in which no metric decided for the newer weights; None trains to the end.
        precision: ``"fp32"``, or ``"bf16"`` for autocast; probabilities are in float32 either way.
        accumulate: pieces in which the batch of a step is worked off, to save memory. The gradient stays the same,
            but for rounding, where nothing is drawn within the step and the loss of an example depends on that
            example only. Draws within the step, those of dropout included, are as many and of the same law, but come
            out differently; what a baseline has learnt is then brought up to date after every piece.
        max_steps: end after so many steps of the optimiser at the latest.
        max_seconds: end after so many seconds of training at the latest, dev scores included.
        average: decay of an exponential moving average of the weights, which then are what is scored and kept; None
            keeps the weights themselves.
        tolerate: so many steps in a row may have a loss or gradient that is not finite. They are skipped and
            counted; training ends at that many.
        compile: compile the step by ``torch.compile``. It needs a compiler, takes half a minute at the start, and made
            steps slower on the processors it was measured on; a GPU may gain.
    """

    version: ClassVar[int] = 2  # 2: ties on dev are broken, and batches are even
    additions: ClassVar[tuple[str, ...]] = (
        "accumulate", "max_steps", "max_seconds", "average", "tolerate", "compile",
    )  # fmt: skip

    epochs: Count = 30
    batch_tokens: Count = 256
    clip: Positive = 1.0
    patience: Count | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: Count = 1
    max_steps: Count | None = None
    max_seconds: Positive | None = None
    average: Fraction | None = None
    tolerate: Count = 10
    compile: bool = False

    def share(self, epochs: float, steps: int) -> float:
        """Share of the training done, 0 to 1, after so many epochs and steps."""
        by_steps = steps / self.max_steps if self.max_steps else 0.0
        return min(max(epochs / self.epochs, by_steps), 1.0)


@runtime_checkable
class Recipe(Checkable, Protocol):
    """The parts of an experiment that training uses; see `structpred.Experiment`."""

    @property
    def task(self) -> Task: ...  # noqa: D102 - the fields of Experiment, read-only because it is frozen

    @property
    def model(self) -> Model: ...  # noqa: D102

    @property
    def objective(self) -> Objective: ...  # noqa: D102

    @property
    def optimiser(self) -> Optimiser: ...  # noqa: D102

    @property
    def trainer(self) -> Trainer: ...  # noqa: D102

    @property
    def scored(self) -> tuple[Metric, ...]: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102
