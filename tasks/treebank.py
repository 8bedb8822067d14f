"""Part-of-speech tags of English web text."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.downloads import DataSet
from structpred.metrics import Metric
from structpred.registry import tasks
from structpred.tasks.conllu import Conllu, Tag
from structpred.tasks.published import Place, PublishedTask, files, github

_NAMES = tuple(f"en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test"))


@tasks.register("ud-english-ewt")
@dataclass(frozen=True, kw_only=True)
class EnglishWebTreebank(PublishedTask):
    """Words to part-of-speech tags: 12,544, 2,001 and 2,077 sentences of web text (UD English-EWT).

    Attributes:
        tag: ``"upos"``, the 17 universal tags, or ``"xpos"``, those of the Penn Treebank.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conllu.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="Universal Dependencies English-EWT",
        folder="ud_english_ewt",
        licence="CC BY-SA 4.0: name the source and share changes alike",
        citation="Silveira et al.: A Gold Standard Dependency Corpus for English. LREC 2014",
        files=files(
            "ud_english_ewt",
            {name: github("UniversalDependencies/UD_English-EWT", "15d613d", name) for name in _NAMES},
        ),
    )

    tag: Tag = "upos"

    def reader(self, place: Place) -> Conllu:
        """Words and tags."""
        train, dev, test = map(place, _NAMES)
        return Conllu(train=train, dev=dev, test=test, tag=self.tag)
