"""Any sentence pairs, in pieces of words that are learnt from the training side."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, cast

from structpred.errors import ConfigError, DataError
from structpred.metrics import Bleu, Chrf, Metric
from structpred.registry import tasks
from structpred.sequences import Recording, Source
from structpred.task import Example, Splits, Task
from structpred.tasks.pairs import Pairs
from structpred.tasks.pieces import Kind, Learning, Normalisation, PieceModel, learnt
from structpred.tasks.published import loaded_for_pieces
from structpred.tasks.reading import in_pieces, splits_of
from structpred.values import Interval
from structpred.vocabulary import Symbols

SOURCE, TARGET = "source.pieces", "target.pieces"
"""The names of learnt models in `Splits.kept`; there is no second one where both sides share it."""


@tasks.register("subwords")
@dataclass(frozen=True, kw_only=True)
class Subwords(Task):
    """The sentence pairs of another task, in subwords of sentencepiece (Kudo and Richardson 2018, D18-2012).

    Pieces are learnt from the sources and references of the training side and from nothing else, by the unigram model
    (Kudo 2018, P18-1007) or by byte-pair encoding (Sennrich et al. 2016, P16-1162). Models read and write pieces.
    Metrics compare text: they put the pieces of an output together, and take references as the other task has them, in
    words between spaces and not normalised. So if that task's text is raw, BLEU is sacrebleu's of detokenised text.
    Predictions are text too. Rewards of text (`TextBleu`, `SentenceChrf`, ``function`` with ``on="text"``) see pieces
    put together; rewards of labels (`SentenceBleu`, `EditDistance`) count pieces.

    The learnt model depends on the texts, the fields and the version of sentencepiece. The cache keeps it, and so does
    every run, which predicts without the training data. The digest of the data is taken from all pieces and texts: if
    another version of sentencepiece cuts the data alike, runs keep their identity; if not, they get a new one.

    Attributes:
        text: a task whose symbols are words, such as ``Parallel(…)``, ``Tsv(…, source="spaces", sentences=True)``,
            `Multi30kRaw` or ``Tatoeba(cut="spaces")``. Its metrics are used if BLEU is among them, else BLEU and chrF.
        kind: ``"unigram"`` or ``"bpe"``.
        size: pieces of a model, among them three with a meaning of their own (unknown, start, end), and the 256 bytes
            where ``byte_fallback`` is set.
        joint: one model for both sides; otherwise each has one of that size.
        byte_fallback: spell characters that have no piece in bytes; otherwise such a character is a piece that
            training has not seen.
        normalisation: sentencepiece's rule: ``"nmt_nfkc"``, ``"nfkc"``, the same with ``_cf`` for lower case, or
            ``"identity"``. References are normalised for learning, not for scoring.
        coverage: the share of characters that have pieces of their own, at least 0.98.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())

    text: Task
    kind: Kind = "unigram"
    size: Annotated[int, Interval(least=4, most=500_000)] = 8000
    joint: bool = True
    byte_fallback: bool = True
    normalisation: Normalisation = "nmt_nfkc"
    coverage: Annotated[float, Interval(least=0.98, most=1)] = 1.0

    def check(self) -> None:
        """Refuse a task that has no words; take its metrics if BLEU is one of them."""
        if isinstance(self.text, Subwords):
            raise ConfigError("Subwords.text must be a task in words, but got Subwords; name the task within")
        if isinstance(self.text, Pairs) and "characters" in (self.text.source, self.text.target):
            raise ConfigError(
                f"Subwords.text must be a task in words, but the symbols of its {type(self.text).__name__} are "
                "characters; set its source=spaces and target=spaces"
            )
        if any(isinstance(metric, Bleu) for metric in self.text.metrics):
            object.__setattr__(self, "metrics", self.text.metrics)

    @property
    def terms(self) -> str:
        """Those of the other task."""
        return self.text.terms

    def load(self) -> Splits:
        """Read the other task, learn pieces from its training side, and cut everything into them.

        The task of a finished run has learnt already, and cuts other data as those of its training.

        Raises:
            DataError: the other task cannot be read, its inputs are no words, or a sentence has no pieces.
            ConfigError: sentencepiece is not installed, or the training texts do not allow the size.
        """
        words = loaded_for_pieces(self.text)
        models = self.models if "_kept" in vars(self) else self._learn(words.train)
        object.__setattr__(self, "_models", models)
        train, dev, test = (_cut(examples, models) for examples in (words.train, words.dev, words.test))
        kept = {SOURCE: models[0].model} | ({} if self.joint else {TARGET: models[1].model})
        return replace(splits_of(train=train, dev=dev, test=test), kept=kept)

    def parse(self, text: str) -> Symbols:
        """The pieces of a sentence.

        Raises:
            DataError: it is empty, the other task refuses it, or there is nothing to learn from.
        """
        (pieces,) = _pieces(self.models[0], [_words(self.text.parse(text), "the input")], ["the input"])
        return pieces

    def render(self, output: Symbols) -> str:
        """The text of pieces."""
        return self.models[1].decode(output)

    def show(self, source: Source) -> str:
        """The text of an input's pieces."""
        return self.models[0].decode(cast("Symbols", source))

    def with_kept(self, read: Callable[[str], bytes]) -> "Subwords":
        """The same task with the models that a run has kept, which are read when they are needed."""
        task = replace(self)
        object.__setattr__(task, "_kept", read)
        return task

    @property
    def models(self) -> tuple[PieceModel, PieceModel]:
        """What the pieces of sources and of targets are made by: kept by a run, or learnt by reading the data.

        Raises:
            DataError, ConfigError: as `load`.
        """
        known: tuple[PieceModel, PieceModel] | None = vars(self).get("_models")
        if known is None:
            read: Callable[[str], bytes] | None = vars(self).get("_kept")
            if read is None:
                known = self._learn(loaded_for_pieces(self.text).train)
            else:
                source = PieceModel(read(SOURCE))
                known = (source, source if self.joint else PieceModel(read(TARGET)))
            object.__setattr__(self, "_models", known)
        return known

    def _learn(self, train: Sequence[Example]) -> tuple[PieceModel, PieceModel]:
        how = Learning(self.kind, self.size, self.normalisation, self.coverage, self.byte_fallback)
        sources = [_words(example.source, example.where) for example in train]
        targets = [" ".join(reference) for example in train for reference in example.references]
        if self.joint:
            both = learnt([*sources, *targets], how)
            return both, both
        return learnt(sources, how), learnt(targets, how)


def _words(source: Source, where: str) -> str:
    """A source as text.

    Raises:
        DataError: it is no symbols.
    """
    if isinstance(source, Recording):
        raise DataError(f"{where}: Subwords reads sentences, but the input is a recording; choose a task of text")
    return " ".join(source)


def _cut(examples: Sequence[Example], models: tuple[PieceModel, PieceModel]) -> list[Example]:
    """The examples in pieces."""
    places = [example.where for example in examples]
    sources = _pieces(models[0], [_words(each.source, each.where) for each in examples], places)
    texts = [" ".join(reference) for example in examples for reference in example.references]
    targets = _pieces(models[1], texts, [each.where for each in examples for _ in each.references])
    return in_pieces(examples, sources, targets, models[1].words)


def _pieces(model: PieceModel, texts: Sequence[str], places: Iterable[str]) -> list[Symbols]:
    """The pieces of texts.

    Raises:
        DataError: one has none; the message names its place.
    """
    found = model.encode(texts)
    for text, pieces, where in zip(texts, found, places, strict=True):
        if not pieces:
            raise DataError(
                f"{where} must hold text, but normalisation leaves nothing of {text[:40]!r}; remove it, or set "
                "Subwords.normalisation=identity"
            )
    return found
