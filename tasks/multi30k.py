"""Translation of image captions."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import ConfigError
from structpred.metrics import Bleu, Chrf, Metric
from structpred.registry import tasks
from structpred.tasks.parallel import Parallel
from structpred.tasks.published import Place, PublishedTask, files, github

Language = Literal["de", "en", "fr"]

_STEMS = {kind: tuple(f"{kind}/{part}{ending}" for part in ("train", "val", "test_2016_flickr"))
          for kind, ending in (("tok", ".lc.norm.tok"), ("raw", ""))}  # fmt: skip

_ORIGIN = DataSet(
    title="Multi30k",
    folder="multi30k",
    licence="for non-commercial research and education only",
    citation=(
        "Elliott, Frank, Sima'an, Specia: Multi30K: Multilingual English-German Image Descriptions. Workshop on Vision "
        "and Language 2016; French: Elliott et al.: Findings of the Second Shared Task on Multimodal Machine "
        "Translation and Multilingual Image Description. WMT 2017"
    ),
    restricted=True,
    files=files(
        "multi30k",
        {
            f"{stem}.{language}": github(
                "multi30k/dataset", "a3d2e0d", f"data/task1/{stem}.{language}{'.gz' if kind == 'raw' else ''}"
            )
            for kind, stems in _STEMS.items()
            for stem in stems
            for language in ("de", "en", "fr")
        },
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Captions(PublishedTask):
    """What both forms of the text have in common."""

    origin: ClassVar[DataSet] = _ORIGIN
    kind: ClassVar[str]

    source: Language = "de"
    target: Language = "en"

    def check(self) -> None:
        """Refuse a language into itself."""
        if self.source == self.target:
            raise ConfigError(
                f"{type(self).__name__}.target must be another language than source={self.source!r}, but it is the same"
            )

    def reader(self, place: Place) -> Parallel:
        """Pairs of sentences."""
        train, dev, test = (self._stem(place, stem) for stem in _STEMS[self.kind])
        return Parallel(
            train=train, dev=dev, test=test, source_suffix=f".{self.source}", target_suffix=f".{self.target}"
        )

    def _stem(self, place: Place, stem: str) -> str:
        """The common beginning of two paths; both files are found first."""
        found = {place(f"{stem}.{language}").removesuffix(".gz").removesuffix(f".{language}") for language in
                 (self.source, self.target)}  # fmt: skip
        return min(found)


@tasks.register("multi30k")
@dataclass(frozen=True, kw_only=True)
class Multi30k(_Captions):
    """Captions from one language into another: 29,000, 1,014 and 1,000 sentences (Elliott et al. 2016).

    The text is the published one in lower case, normalised and cut into Moses's tokens, and BLEU is computed on these
    tokens, as in most of the literature. ``test`` is test_2016_flickr. No checksum is known of the French files; they
    must be at hand.

    Attributes:
        source, target: languages, ``"de"``, ``"en"`` or ``"fr"``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(tokenize="none"), Chrf())
    kind: ClassVar[str] = "tok"


@tasks.register("multi30k-raw")
@dataclass(frozen=True, kw_only=True)
class Multi30kRaw(_Captions):
    """The captions of `Multi30k` as they were written, in words between spaces; BLEU by sacrebleu's own tokens.

    Attributes:
        source, target: languages, ``"de"``, ``"en"`` or ``"fr"``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())
    kind: ClassVar[str] = "raw"
