"""Gradients of many objectives on one batch, at the weights that a run began with and at those that it ended with."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from structpred.blame import blaming
from structpred.config import components
from structpred.diagnosis.divergence import Divergences, divergences
from structpred.diagnosis.draws import Batch, Point, Wrt, gradients, has_scores
from structpred.diagnosis.expected_reward import How, Truth, expected_reward_gradient
from structpred.diagnosis.selection import EDIT_RATE, choices, usual_payoff, usual_reward
from structpred.diagnosis.signal import Measured, Quality, quality
from structpred.errors import ConfigError, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.foreign import modules_of
from structpred.objective import Objective
from structpred.payoffs import Payoff
from structpred.rewards import Context, Reward, bind
from structpred.rewards.reading import asks_for_examples
from structpred.runs import Run
from structpred.runs.folder import Folder
from structpred.seeds import generator, stream
from structpred.sequences import Sequences
from structpred.task import Example, Sizes, Splits, loaded
from structpred.training.data import EncodedData, Tokenizer
from structpred.training.trainer import users_modules

OWN = "this run's objective"
BEGAN, ENDED, FRESH = "first weights", "last weights", "fresh weights"

Watch = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, and what is being computed."""


@dataclass(frozen=True)
class Row:
    """One objective at one point.

    Attributes:
        point: the name of the point.
        objective: the objective's label.
        wrt: with respect to what the gradient is taken.
        draws: independent gradients; 1 for an objective that draws nothing.
        outputs: outputs of an example that one gradient draws or searches for; 0 for none.
        mean_known: True where E g is known exactly, so that only its variance is estimated.
        seconds: CPU-seconds of one gradient.
        quality: norm, signal-to-noise ratio, cosine and bias.
    """

    point: str
    objective: str
    wrt: Wrt
    draws: int
    outputs: int
    mean_known: bool
    seconds: float
    quality: Quality

    @property
    def random(self) -> bool:
        """False for an objective that draws nothing, whose ratio is infinite."""
        return self.draws > 1

    @property
    def per_output(self) -> Measured:
        """The ratio divided by the outputs that one gradient takes; NaN where it takes none."""
        return self.quality.snr.over(self.outputs) if self.outputs and self.random else Measured(math.nan)

    @property
    def per_second(self) -> Measured:
        """The ratio that gradients of one CPU-second have together; NaN where there is no noise."""
        return self.quality.snr.over(self.seconds) if self.random and self.seconds else Measured(math.nan)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` finds.

    Attributes:
        subject: the run's folder, or the name of the model.
        model: the registered class of the model.
        reward: of the expected reward, and of every objective but the run's own.
        payoff: of every objective but the run's own, and of the divergences.
        examples: size of the batch.
        length: mean length of its references.
        num_labels: V.
        draws: independent gradients of each objective.
        seed: of all draws and of the choice of the batch.
        rows: all objectives at all points.
        truths: how the gradient of the expected reward is known, by point.
        divergences: between the model and the payoff, by point.
        refused: objectives that were left out, and why.
        notes: further remarks for the reader.
    """

    subject: str
    model: str
    reward: Reward
    payoff: Payoff
    examples: int
    length: float
    num_labels: int
    draws: int
    seed: int
    rows: tuple[Row, ...]
    truths: Mapping[str, How]
    divergences: Mapping[str, Divergences]
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to diagnose.

    Attributes:
        objectives: registered names; every objective that the model supports by default.
        batch: examples of the training data.
        draws: independent gradients of each objective, at least 2.
        seed: seeds the choice of the batch and all draws.
        edit_rate: of the payoff.
    """

    objectives: tuple[str, ...] | None = None
    batch: int = 8
    draws: int = 24
    seed: int = 0
    edit_rate: float = EDIT_RATE

    def __post_init__(self) -> None:
        """Refuse too few draws or examples."""
        if self.draws < 2:
            raise ConfigError(f"draws must be at least 2, because a variance needs two, but got {self.draws}; raise it")
        if self.batch < 1:
            raise ConfigError(f"batch must be at least 1 example, but got {self.batch}; raise it")


def _silent(share: float, what: str) -> None:
    del share, what


def diagnose(
    subject: Run | Experiment | str | Path, settings: Settings | None = None, *, watch: Watch = _silent
) -> Diagnosis:
    """Diagnose a finished run, or the fresh model of an experiment.

    Of a run there are two points: the weights that its training began with and those that it ended with. A finished run
    keeps none in between. Nothing is written.

    Args:
        subject: a run, its folder, or an experiment.
        settings: what to compute.
        watch: called with the progress.

    Raises:
        RunError: there is no finished run, or its data have changed.
        ConfigError: an objective does not exist, or the model cannot serve it.
    """
    chosen = settings or Settings()
    if isinstance(subject, Experiment):
        splits = loaded(subject.task)
        prepared = EncodedData.of(splits, subject.model)
        sizes = prepared.training.sizes
        material = _Material(subject, splits, prepared.codec, sizes, chosen)
        fresh = Point(FRESH, _fresh(subject, sizes), embedder=subject.model.embedder)
        return material.diagnosis(f"{type(subject.model).__name__}, not trained", (fresh,), (), None, watch)
    run = subject if isinstance(subject, Run) else Run.load(subject)
    splits = loaded(run.experiment.task)
    if splits.digest != run.data:
        raise RunError(
            f"{run.folder.path}: gradients need the training data, and those of the task have changed since the run; "
            "put the files back, or train the run again"
        )
    material = _Material(run.experiment, splits, run.codec, run.sizes, chosen)
    points, notes = _points_of(run, splits)
    return material.diagnosis(str(run.folder.path), points, notes, run, watch)


def _points_of(run: Run, splits: Splits) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """The first and the last weights; only the last if the run that training started from has been removed."""
    ended = Point(ENDED, run.model, step=run.result.steps, share=1.0, embedder=run.experiment.model.embedder)
    network, start = _fresh(run.experiment, run.sizes), run.experiment.start
    if start is not None:
        folder = Folder(run.folder.path.parent / start.identity(splits.digest)[:16])
        if not folder.finished:
            return (ended,), (f"The first weights are left out: they are of {folder.path}, which is not there.",)
        Run.load(folder.path).start(network)
    return (Point(BEGAN, network, embedder=run.experiment.model.embedder), ended), ()


def _fresh(experiment: Experiment, sizes: Sizes) -> nn.Module:
    """The network with the weights that training begins with, if it does not start from another run."""
    with torch.random.fork_rng():
        torch.manual_seed(stream(experiment.seed, "initialisation"))
        return experiment.model.build(sizes).eval()


@dataclass(frozen=True)
class _Material:
    """What all points share."""

    experiment: Experiment
    splits: Splits
    codec: Tokenizer
    sizes: Sizes
    settings: Settings

    def diagnosis(
        self, subject: str, points: Sequence[Point], notes: tuple[str, ...], run: Run | None, watch: Watch
    ) -> Diagnosis:
        model, chosen = self.experiment.model, self.settings
        reward, payoff = usual_reward(model), usual_payoff(model, chosen.edit_rate)
        found = choices(model, names=chosen.objectives, reward=reward, payoff=payoff)
        context = Context(self.experiment.task, self.codec.vocabularies.labels, self.splits.train)
        able, refused = {name: bind(each, context) for name, each in found.able.items()}, dict(found.refused)
        shown = {type(part) for each in found.able.values() for part in components(each)}
        users = frozenset(users_modules(self.experiment) | modules_of(shown))
        if run is not None and chosen.objectives is None:
            try:
                with blaming(users):
                    able = {OWN: bind(run.experiment.objective, context)} | able
            except StructpredError as error:
                refused[OWN] = str(error)
        batch = self._batch(able)
        work = _Work(batch, reward, chosen, able, refused, users, watch, len(points))
        rows: list[Row] = []
        truths: dict[str, How] = {}
        apart: dict[str, Divergences] = {}
        for number, point in enumerate(points):
            apart[point.name] = _divergences(point, batch, payoff, chosen.seed)
            more, truths[point.name] = work.at(point, number)
            rows += more
        return Diagnosis(
            subject=subject,
            model=type(model).__name__,
            reward=reward,
            payoff=payoff,
            examples=chosen.batch,
            length=float(batch.targets.lengths.double().mean()),
            num_labels=self.sizes.num_labels,
            draws=chosen.draws,
            seed=chosen.seed,
            rows=tuple(rows),
            truths=truths,
            divergences=apart,
            refused=work.refused,
            notes=notes,
        )

    def _batch(self, able: Mapping[str, Objective]) -> Batch:
        """Some training examples, each with its first reference."""
        train, size = self.splits.train, self.settings.batch
        if size > len(train):
            raise ConfigError(f"batch must be at most {len(train)}, the number of training examples, but got {size}")
        rows = torch.randperm(len(train), generator=generator(self.settings.seed, "diagnosis", "batch"))[:size]
        examples: list[Example] = [train[int(i)] for i in rows]
        encode = self.codec.vocabularies.labels.encode
        targets = Sequences.of([encode(example.references[0]) for example in examples])
        if any(asks_for_examples(each) for each in able.values()):
            targets = replace(targets, examples=rows)
        inputs = self.codec.read([example.source for example in examples]).gather(torch.arange(size))
        return Batch(inputs, targets, self.sizes)


@dataclass(frozen=True)
class _Work:
    """All objectives at all points; ``refused`` says why some have no rows, as where a user's reward fails."""

    batch: Batch
    reward: Reward
    settings: Settings
    able: dict[str, Objective]
    refused: dict[str, str]
    users: frozenset[str]
    watch: Watch
    points: int

    def at(self, point: Point, number: int) -> tuple[list[Row], How]:
        """The rows of a point, and how the gradient of its expected reward is known."""
        with torch.no_grad():
            p = point.network(self.batch.inputs)
        wrts: tuple[Wrt, ...] = ("scores", "weights") if has_scores(p) else ("weights",)
        draws, seed = self.settings.draws, self.settings.seed
        self._tell(number, 0, "expected reward", point)
        truths = {
            wrt: expected_reward_gradient(self.reward, point, self.batch, draws=draws, seed=seed, wrt=wrt)
            for wrt in wrts
        }
        rows = []
        for i, (name, objective) in enumerate(self.able.items()):
            self._tell(number, i + 1, name, point)
            try:
                with blaming(self.users):
                    rows += [
                        self._row(name, objective, point, wrt, truths[wrt])
                        for wrt in wrts
                        if wrt == "weights" or not (objective.corrupts or objective.perturbs)
                    ]
            except StructpredError as error:
                if self.settings.objectives is not None:
                    raise
                self.refused[name] = f"at the {point.name}, {error}"
        return rows, truths["weights"].how

    def _tell(self, number: int, done: int, name: str, point: Point) -> None:
        self.watch((number + done / (len(self.able) + 1)) / self.points, f"{point.name}, {name}")

    def _row(self, name: str, objective: Objective, point: Point, wrt: Wrt, truth: Truth) -> Row:
        settings = self.settings
        found = gradients(objective, point, self.batch, draws=settings.draws, seed=settings.seed, wrt=wrt)
        exact = objective.in_expectation() if found.random else None
        mean = None if exact is None else gradients(exact, point, self.batch, draws=1, wrt=wrt).rows[0]
        return Row(
            point=point.name,
            objective=name,
            wrt=wrt,
            draws=len(found.rows),
            outputs=outputs_of(objective),
            mean_known=mean is not None or not found.random,
            seconds=found.seconds,
            quality=quality(found.rows, truth.mean, mean),
        )


def outputs_of(objective: Objective) -> int:
    """Outputs of an example that one gradient draws or searches for, from the payoff or from the model; 0 for none."""
    if objective.drawn or objective.exact or not objective.draws_in_step:
        return objective.drawn
    parts = [part for part in components(objective) if part is not objective]
    inner = [part for part in parts if isinstance(part, Objective)]
    counts = [getattr(part, name, 0) for part in (objective, *parts) for name in ("samples", "k")]
    most = max([each for each in counts if isinstance(each, int)] + [outputs_of(part) for part in inner], default=0)
    shifts = objective.perturbs and not any(part.perturbs for part in inner)  # it draws for the shifted inputs as well
    return 2 * most if shifts else most


def _divergences(point: Point, batch: Batch, payoff: Payoff, seed: int) -> Divergences:
    with torch.no_grad():
        p = point.network(batch.inputs)
        q = payoff.distribution(batch.targets, batch.sizes.num_labels)
        return divergences(p, q, batch.targets, generator=generator(seed, "diagnosis", "divergences"))
