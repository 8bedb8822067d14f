"""A run's folder, and what a finished run is good for: predictions and scores."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from structpred.decoding import Decoding
from structpred.errors import ConfigError, DataError, RunError
from structpred.experiment import Experiment
from structpred.imports import way_back
from structpred.recordings import Source, spelt
from structpred.results import Epoch, RunResult
from structpred.task import Example, Sizes
from structpred.training import checkpoint
from structpred.training.data import Codec
from structpred.training.evaluation import Hypothesis, n_best, predict, score_counts, scores
from structpred.vocabulary import Vocabularies, Vocabulary


@dataclass(frozen=True)
class Folder:
    """The files of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def experiment(self) -> Path:
        """The experiment's canonical JSON."""
        return self.path / "experiment.json"

    @property
    def data(self) -> Path:
        """Vocabularies and sizes."""
        return self.path / "data.json"

    @property
    def record(self) -> Path:
        """Identity, environment and commit."""
        return self.path / "record.json"

    @property
    def progress(self) -> Path:
        """Where the run stands, for whoever watches from another process."""
        return self.path / "progress.json"

    @property
    def checkpoint(self) -> Path:
        """Everything needed to go on, with the one before it beside it; both are gone once the run is finished."""
        return self.path / "checkpoint.pt"

    @property
    def log(self) -> Path:
        """Numbers of training as lines of JSON."""
        return self.path / "log.jsonl"

    @property
    def not_finite(self) -> Path:
        """The examples of a batch that ended training, because its loss or gradient was not finite."""
        return self.path / "not_finite.json"

    @property
    def weights(self) -> Path:
        """The weights that scored best on dev."""
        return self.path / "weights.pt"

    @property
    def counts(self) -> Path:
        """Per-example counts of every metric, as ``split/metric`` arrays."""
        return self.path / "counts.npz"

    def predictions(self, split: str) -> Path:
        """The outputs predicted for a split, with sources and references."""
        return self.path / f"{split}.predictions.tsv"

    @property
    def result(self) -> Path:
        """The scores; written last, so that its presence means the run is finished."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        """True once everything is written."""
        return self.result.exists()


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: its files.
        experiment: what was run.
        result: what came out.
    """

    folder: Folder
    experiment: Experiment
    result: RunResult

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """A finished run from its folder.

        Raises:
            RunError: the folder holds no run, or one that is not finished.
            ConfigError: the experiment uses a component that is not installed here.
        """
        folder = Folder(Path(path))
        if not folder.experiment.exists():
            raise RunError(f"{path}: expected the folder of a run, but there is no experiment.json in it")
        if not folder.finished:
            raise RunError(f"{path}: this run is not finished; start it again with the command that began it")
        experiment = _experiment(folder)
        return cls(folder, experiment, _result(json.loads(folder.result.read_text(encoding="utf-8"))))

    def predict(
        self,
        texts: Sequence[str],
        *,
        decoding: Decoding | None = None,
        keep_unknown: bool = False,
        where: Sequence[str] | None = None,
    ) -> list[str]:
        """The output for each line of text, read and written the way the task's files are.

        Args:
            texts: one input each.
            decoding: how to search; None for the experiment's own way.
            keep_unknown: read symbols unknown from training as unknown instead of refusing them.
            where: where each input stands, for messages; ``"input 1"``, ``"input 2"``, … by default.

        Raises:
            DataError: an input is empty, or holds a symbol unknown from training; the message says where.
        """
        sources = self._parse(texts, keep_unknown, where)
        outputs = predict(self.model, self.codec, sources, decoding or self.experiment.decoding)
        return [self.experiment.task.render(output) for output in outputs]

    def n_best(
        self, texts: Sequence[str], k: int, *, keep_unknown: bool = False, where: Sequence[str] | None = None
    ) -> list[tuple[Hypothesis, ...]]:
        """The ``k`` best outputs of each input with log-probabilities in nats, the best first; see `predict`."""
        return n_best(self.model, self.codec, self._parse(texts, keep_unknown, where), k)

    def read(self, text: str, *, keep_unknown: bool = False, where: str = "the input") -> Source:
        """What the model predicts from, given a line of text; see `predict`.

        Raises:
            DataError: it is empty, is not what the model's inputs are, or holds a symbol unknown from training.
        """
        encoder = self.codec.encoder
        try:
            source = self.experiment.task.parse(text)
            if not encoder.symbolic:
                self.codec.read([source])
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        strange = (
            () if keep_unknown or encoder.open_vocabulary else self.codec.vocabularies.inputs.unknown(spelt(source))
        )
        if strange:
            raise DataError(
                f"{where}: the symbol {strange[0]!r} never occurs in the training data, which knows "
                f"{len(self.codec.vocabularies.inputs)} symbols; give --keep-unknown, or keep_unknown=True in Python, "
                "to have it read as unknown"
            )
        return source

    def evaluate(self, examples: Sequence[Example], *, decoding: Decoding | None = None) -> dict[str, float]:
        """Every metric of the task on other examples, in percent."""
        sources = [example.source for example in examples]
        outputs = predict(self.model, self.codec, sources, decoding or self.experiment.decoding)
        metrics = self.experiment.task.metrics
        return scores(metrics, score_counts(metrics, examples, outputs))

    @cached_property
    def codec(self) -> Codec:
        """From symbols to tensors and back."""
        return Codec(read_data(self.folder)[0], self.experiment.model.encoder())

    @cached_property
    def sizes(self) -> Sizes:
        """What the network was built for."""
        return read_data(self.folder)[1]

    @cached_property
    def model(self) -> nn.Module:
        """The trained network, on the CPU and in evaluation mode; called on `Sequences` it returns p(·|x)."""
        model = self.experiment.model.build(self.sizes)
        model.load_state_dict(checkpoint.load(self.folder.weights))
        return model.eval()

    def _parse(self, texts: Sequence[str], keep_unknown: bool, where: Sequence[str] | None) -> list[Source]:
        places = where or [f"input {number}" for number in range(1, len(texts) + 1)]
        return [
            self.read(text, keep_unknown=keep_unknown, where=place) for text, place in zip(texts, places, strict=True)
        ]


def write_data(vocabularies: Vocabularies, sizes: Sizes) -> str:
    """The text of `Folder.data`."""
    sides = {field.name: getattr(vocabularies, field.name).symbols for field in fields(vocabularies)}
    return json.dumps({**sides, "sizes": asdict(sizes)}, ensure_ascii=False)


def read_data(folder: Folder) -> tuple[Vocabularies, Sizes]:
    """What `write_data` wrote."""
    node = json.loads(folder.data.read_text(encoding="utf-8"))
    sizes = node["sizes"] | {"label_counts": tuple(node["sizes"]["label_counts"])}
    sides = [Vocabulary(tuple(node.get(field.name, ()))) for field in fields(Vocabularies)]
    return Vocabularies(*sides), Sizes(**sizes)


def _experiment(folder: Folder) -> Experiment:
    try:
        return Experiment.from_json(folder.experiment.read_text(encoding="utf-8"))
    except ConfigError as error:
        how = way_back(json.loads(folder.record.read_text(encoding="utf-8")))
        if not how:
            raise
        raise ConfigError(f"{folder.path}: {error}; {how}") from None


def _result(node: dict[str, Any]) -> RunResult:
    return RunResult(**node | {"history": tuple(Epoch(**epoch) for epoch in node["history"])})
