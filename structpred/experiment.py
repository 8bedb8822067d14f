"""An experiment: everything that decides what a run does."""

from dataclasses import dataclass

from structpred.config import Config, digest, encode
from structpred.decoding import Decoding
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.task import Task
from structpred.training.optimisers import Adam, Optimiser
from structpred.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Experiment(Config):
    """One task, one model, one objective and one budget. Vary it with ``dataclasses.replace`` and a ``for`` loop.

    Attributes:
        task: the data and its metrics.
        model: the network's specification.
        objective: what is minimised.
        optimiser: how gradients become steps.
        trainer: the budget.
        decoding: how outputs are predicted once training is over; during training the dev set is decoded greedily.
        seed: decides initial weights, data order, dropout and draws, each by a stream of its own.

    Raises:
        ConfigError: the objective needs what the model cannot give; the message names both.
    """

    task: Task
    model: Model
    objective: Objective
    optimiser: Optimiser = Adam()
    trainer: Trainer = Trainer()
    decoding: Decoding = Decoding()
    seed: int = 0

    def check(self) -> None:
        """Refuse an objective that the model cannot serve."""
        self.objective.check_model(self.model)

    def identity(self, data: str, parent: str | None = None) -> str:
        """What makes a run this run and no other: 64 hexadecimal digits.

        SHA-256 of the canonical JSON of all fields, the version and sources of every component, the data and the
        parent.

        Args:
            data: digest of the data actually read, `Splits.digest`.
            parent: identity of the run that training starts from, if any.
        """
        return digest({"experiment": encode(self, versions=True), "data": data, "parent": parent})
