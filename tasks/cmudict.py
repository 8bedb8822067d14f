"""English pronunciation on the split of CMUdict that the literature reports."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import DataError
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.registry import tasks
from structpred.task import Example, Splits
from structpred.tasks.held_out import warn_of_new_labels
from structpred.tasks.published import Place, PublishedTask, files, github
from structpred.tasks.reading import in_hashed_order, splits_of
from structpred.tasks.tsv import Tsv

TRAIN, TEST = "g014b2b.train", "g014b2b.test"


@tasks.register("cmudict")
@dataclass(frozen=True, kw_only=True)
class Cmudict(PublishedTask):
    """Letters to phones without stress, on the training part g014b2b of CMUdict: 106,837 words, 39 phones.

    A twentieth of these words (5,341) is dev: the first, or where the test words are held out too the second, in the
    order of their SHA-256. A word with several pronunciations is scored against the closest.

    Attributes:
        test: ``"published"``, the 12,000 words of g014b2b's own test file, which must be at hand; or ``"held-out"``,
            another twentieth of the training words, for work where that file is missing. Numbers on the two are not
            the same benchmark.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())
    origin: ClassVar[DataSet] = DataSet(
        title="CMUdict, split g014b2b",
        folder="cmudict_g2p",
        licence="CMUdict's own, in the manner of BSD with two clauses: free for any use with its notice",
        citation=(
            "The CMU Pronouncing Dictionary, Carnegie Mellon University; split distributed with Phonetisaurus: Novak, "
            "Minematsu, Hirose: WFST-Based Grapheme-to-Phoneme Conversion. FSMNLP 2012"
        ),
        files=files(
            "cmudict_g2p",
            {
                name: github("steveash/jg2p", "9ef9110", f"jg2p-core/src/test/resources/{name}")
                for name in (TRAIN, TEST)
            },
        ),
    )

    test: Literal["published", "held-out"] = "published"

    def reader(self, place: Place) -> Tsv:
        """Pairs of a word and its phones."""
        return Tsv(train=place(TRAIN))

    def load(self) -> Splits:
        """Find the files, read them and hold words out.

        Raises:
            DataError: a file cannot be found, downloaded or read.
        """
        reader = self.reader(self.place)
        published = reader.examples(self.place(TEST)) if self.test == "published" else None
        examples = reader.examples(reader.train)
        if len(examples) < 20:
            raise DataError(f"{reader.train} must have at least 20 words, so that some can be held out; fetch it again")
        of = {example.source: example for example in examples}
        order, part = [of[source] for source in in_hashed_order(of)], len(of) // 20
        test: list[Example] = order[:part] if published is None else published
        start = part if published is None else 0
        dev = order[start : start + part]
        splits = splits_of(train=order[start + part :], dev=dev, test=test)
        warn_of_new_labels(splits)
        return splits
