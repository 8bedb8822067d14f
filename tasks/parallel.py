"""Any task of two texts with as many lines: line by line the source in one file, the target in another."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from structpred.errors import DataError
from structpred.metrics import Bleu, Chrf, Metric
from structpred.reading import read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.pairs import Pairs, Separation
from structpred.tasks.reading import place_of


@tasks.register("parallel")
@dataclass(frozen=True, kw_only=True)
class Parallel(Pairs):
    """Sentence pairs from line-parallel files, such as ``train.de`` and ``train.en``, plain or packed by gzip.

    Scores are sacrebleu's, for text in words. Every line is an example of its own; one that is empty is refused. A
    split without files of its own is held out of ``train``, as `Pairs` describes. Where only ``train.de.gz`` exists,
    it is read for ``train.de``.

    Attributes:
        train, dev, test: paths without the suffix, such as ``$STRUCTPRED_DATA/multi30k/tok/train.lc.norm.tok``.
        source_suffix, target_suffix: what to put behind them for either side, such as ``.de`` and ``.en``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())
    prose: ClassVar[bool] = True

    source_suffix: str
    target_suffix: str
    source: Separation = "spaces"

    def examples(self, path: str) -> list[Example]:
        """The pairs of two files.

        Raises:
            DataError: one cannot be read or has an empty line, or they have different numbers of lines.
        """
        places = [_packed_or_not(place_of(f"{path}{suffix}")) for suffix in (self.source_suffix, self.target_suffix)]
        sources, targets = (read_lines(place, self.encoding) for place in places)
        if len(sources) != len(targets):
            raise DataError(
                f"{places[0].name} and {places[1].name} must have as many lines, but they have {len(sources)} and "
                f"{len(targets)}; pair them anew"
            )
        return [
            Example(
                self.symbols(source, self.source, where),
                (self.labels(target, other),),
                where,
            )
            for (source, where), (target, other) in zip(sources, targets, strict=True)
        ]


def _packed_or_not(place: Path) -> Path:
    packed = place.with_name(f"{place.name}.gz")
    return packed if not place.exists() and packed.exists() else place
