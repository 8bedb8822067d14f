"""An experiment: everything that determines a run."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from structpred.config import Config, components, digest, encode
from structpred.distributions.decoding import in_words
from structpred.distributions.protocols import Argmax, Decoding, Marginals, WithinLengths
from structpred.errors import ConfigError
from structpred.metrics import Metric
from structpred.models.base import Model
from structpred.objective import Objective, check_reward
from structpred.task import Task
from structpred.text import refuse_unseen
from structpred.training.settings import Adam, Optimiser, Trainer

MOST_STARTS = 20
"""The longest allowed chain of starts."""


@dataclass(frozen=True, kw_only=True)
class Experiment(Config):
    """One task, one model, one objective and one budget. Vary it with ``dataclasses.replace`` and a ``for`` loop.

    Attributes:
        task: the data and its metrics.
        model: the network's specification.
        objective: what is minimised.
        optimiser: how gradients become steps.
        trainer: the budget.
        decoding: how outputs are predicted after training; during training the dev set is decoded greedily.
        seed: seeds initial weights, data order, dropout and draws, each with a stream of its own.
        metrics: the metrics of reports, of which the first one decides; the task's own by default. They affect neither
            the run nor its identity: the task's own metrics choose the checkpoint, and missing scores are computed from
            the predictions that a finished run keeps.
        start: an experiment with the same task and model from whose final weights training starts. Everything else
            starts afresh. None starts from random weights.
        start_seed: the seed of the start, for several seeds that go on from one run; by default this seed, so that each
            seed has a start of its own. The seed that the start was given does not count.

    Raises:
        ConfigError: the objective needs a capability that the model lacks, or the start has another task or model, and
            the message names both; or there is a seed for a start and no start.
    """

    outside: ClassVar[tuple[str, ...]] = ("metrics",)
    identity_optional: ClassVar[tuple[str, ...]] = ("start_seed",)

    task: Task
    model: Model
    objective: Objective
    optimiser: Optimiser = Adam()
    trainer: Trainer = Trainer()
    decoding: Decoding = Decoding()
    seed: int = 0
    metrics: tuple[Metric, ...] = ()
    start: "Experiment | None" = None
    start_seed: int | None = None

    def check(self) -> None:
        """Refuse an objective or a decoding that cannot work here, and metrics or a start that do not fit."""
        _check_names(self.task, self.metrics)
        self.objective.check_model(self.model)
        if self.trainer.compile and self.objective.perturbs:
            raise ConfigError(
                f"{type(self.objective).__name__} needs gradients within a step, which a compiled step cannot give; "
                "set trainer.compile to false"
            )
        check_decoding(self.decoding, self.model)
        if self.start is None and self.start_seed is not None:
            raise ConfigError(
                f"Experiment.start_seed is the seed of what training starts from, but got {self.start_seed} without a "
                "start; give a start, or leave it out"
            )
        if self.start is not None:
            if len(list(self.start.ancestors())) >= MOST_STARTS:
                raise ConfigError(f"an experiment may start from at most {MOST_STARTS} others, one after the other")
            _check_start(self, self.start)
            seed = self.seed if self.start_seed is None else self.start_seed
            object.__setattr__(self, "start", replace(self.start, seed=seed))

    @property
    def reported(self) -> tuple[Metric, ...]:
        """The metrics of reports: the chosen ones, or the task's own."""
        return self.metrics or self.task.metrics

    @property
    def scored(self) -> tuple[Metric, ...]:
        """The metrics that score a run: the task's own, then the other chosen ones."""
        own = self.task.metrics
        return (*own, *(metric for metric in self.metrics if metric.name not in {each.name for each in own}))

    @property
    def search(self) -> str:
        """How the outputs that are scored after training are chosen, in words."""
        return in_words(self.decoding, exact=issubclass(self.model.distribution, Argmax))

    @property
    def epochs(self) -> int:
        """Total passes over the training examples, including those of the start."""
        return self.trainer.epochs + (0 if self.start is None else self.start.epochs)

    def ancestors(self) -> Iterator["Experiment"]:
        """What it starts from, what that starts from, and so on."""
        start = self.start
        while start is not None:
            yield start
            start = start.start

    def identity(self, data: str) -> str:
        """The identity of a run: 64 hexadecimal digits.

        SHA-256 of the canonical JSON of all fields, the version and fingerprint of every component, the digest of the
        data, and the identity of the run that training starts from, if any.

        Args:
            data: digest of the data as read, `Splits.digest`.
        """
        return self._identity(data, None, code=True)

    def past_identities(self, data: str, *, code: bool) -> Iterator[str]:
        """The identities of the experiment under all earlier and present versions of its components.

        Args:
            data: digest of the data.
            code: False for identities without digests of foreign code, as in runs older than checksums.
        """
        classes = list(dict.fromkeys(type(part) for part in components(self) if part.version > 1))
        for versions in itertools.product(*(range(cls.version, 0, -1) for cls in classes)):
            yield self._identity(data, dict(zip(classes, versions, strict=True)), code=code)

    def _identity(self, data: str, past: Mapping[type, int] | None, *, code: bool) -> str:
        parent = None if self.start is None else self.start._identity(data, past, code=code)
        experiment = encode(replace(self, start=None, start_seed=None), versions=True, past=past, code=code)
        assert isinstance(experiment, dict)
        del experiment["start"]  # the parent's identity says more
        return digest({"experiment": experiment, "data": data, "parent": parent})


def check_decoding(decoding: Decoding, model: Model) -> None:
    """Refuse settings that the model cannot serve.

    Raises:
        ConfigError: the model lacks a verb, or it decides the length and the reward needs equal ones.
    """
    whose = f"the {model.distribution.__name__} distribution of {type(model).__name__}"
    if decoding.rule == "hamming" and not issubclass(model.distribution, Marginals):
        raise ConfigError(
            f"Decoding(rule='hamming') needs `marginals`, which {whose} does not offer; use rule='argmax' or a model "
            "whose input decides the length"
        )
    if decoding.bounds_length and not issubclass(model.distribution, WithinLengths):
        raise ConfigError(
            f"Decoding with length ratios needs `within`, which {whose} does not offer; leave them out, or use a model "
            "that decides the length itself, such as seq2seq"
        )
    if decoding.coverage_penalty and not model.attends:
        raise ConfigError(
            "Decoding.coverage_penalty needs a model whose attention to the input is known, but that of "
            f"{type(model).__name__} is not; leave it out, or use seq2seq"
        )
    if decoding.reward is not None:
        check_reward(decoding.reward, model, "Decoding")


def _check_names(task: Task, chosen: tuple[Metric, ...]) -> None:
    """Refuse a task without metrics, and names of metrics that reports and run folders could not tell apart or show."""
    if not task.metrics:
        raise ConfigError(f"{type(task).__name__}.metrics must name at least one metric, but names none; add one")
    for metric in (*task.metrics, *chosen):
        refuse_unseen(getattr(metric, "name", None), f"{type(metric).__name__}.name")
    for number, metric in enumerate(chosen):
        twin = next((each for each in (*task.metrics, *chosen[:number]) if each.name == metric.name), None)
        if metric in chosen[:number]:
            raise ConfigError(f"Experiment.metrics must name each metric once, but {metric.name} occurs twice")
        if twin is not None and twin.signature != metric.signature:
            raise ConfigError(
                f"Experiment.metrics holds {metric}, but {metric.name} is already the name of {twin}, and reports know "
                "metrics by their names; leave it out, or use a subclass with another name"
            )


def _check_start(experiment: Experiment, start: Experiment) -> None:
    for field in ("task", "model"):
        own, its = getattr(experiment, field), getattr(start, field)
        if own != its:
            raise ConfigError(
                f"training can only start from weights of the same {field}, but Experiment.{field} is {own} and that "
                f"of its start is {its}; give both the same {field}"
            )
