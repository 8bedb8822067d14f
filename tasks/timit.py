"""Phone recognition: read speech of 630 Americans."""

import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, get_args

from structpred.config import Interval
from structpred.downloads import DataSet
from structpred.errors import DataError
from structpred.metrics import Metric
from structpred.recordings import Recording
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.phones import PhoneErrorRate, PhoneSet, folded
from structpred.tasks.reading import place_of, splits_of
from structpred.tasks.speech import RATE, Samples, log_mel, normalised, read_audio, require_speech, with_derivatives
from structpred.tasks.timit_corpus import Split, Utterance, root_of, utterances
from structpred.vocabulary import Symbols

COMPLETE = (3_696, 400, 192)
"""Utterances that people train on, choose by and test on."""


class IncompleteWarning(UserWarning):
    """A corpus lacks some of what is published."""


@tasks.register("timit")
@dataclass(frozen=True, kw_only=True)
class Timit(Task):
    """Speech to phones: TIMIT by the split of Kaldi's recipe, 3,696 utterances, 400 for dev, 192 of the core test set.

    The input is a recording for models whose inputs are `frames`: mel filterbank energies every 10 milliseconds and
    their derivatives, each normalised over the utterance. The two sentences that everybody reads are left out. Files
    are NIST SPHERE or RIFF in folders ``TRAIN/DR1/FCJF0``, in capitals or not; the packages of the extra ``speech``
    read them.

    Attributes:
        folder: has ``TRAIN`` and ``TEST`` in it, or in its ``TIMIT`` or ``data``; variables are expanded.
        phones: those that a model writes, 61 of the transcripts or 48 or 39 of Lee and Hon; scores are of 39.
        filters: mel filters; a frame has ``filters`` · (1 + ``derivatives``) numbers.
        derivatives: how many of them stand beside the energies.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (PhoneErrorRate(),)
    origin: ClassVar[DataSet] = DataSet(
        title="TIMIT",
        folder="timit",
        licence="sold by the Linguistic Data Consortium as LDC93S1, for what your agreement with it allows",
        citation=(
            "Garofolo, Lamel, Fisher, Fiscus, Pallett, Dahlgren, Zue: TIMIT Acoustic-Phonetic Continuous Speech "
            "Corpus. LDC93S1, Linguistic Data Consortium 1993"
        ),
        restricted=True,
        files={},
    )

    folder: str = "$STRUCTPRED_DATA/timit"
    phones: PhoneSet = 61
    filters: Annotated[int, Interval(least=3, most=80)] = 40
    derivatives: Annotated[int, Interval(least=0, most=2)] = 2

    def load(self) -> Splits:
        """Read the corpus; where some of it is missing, a warning says how much there is.

        Raises:
            ConfigError: the packages of the extra ``speech`` are not installed.
            DataError: the corpus is not there, or a file is missing or damaged.
        """
        require_speech("the task timit")
        self.origin.warn()
        root = self._root()
        of: dict[Split | None, list[Utterance]] = defaultdict(list)
        for utterance in utterances(root):
            of[utterance.split].append(utterance)
        train, dev, test = ([self._example(each) for each in sorted(of[split])] for split in get_args(Split))
        _refuse_or_warn(root, (len(train), len(dev), len(test)))
        return splits_of(train=train, dev=dev, test=test)

    def parse(self, text: str) -> Recording:
        """The recording in an audio file, named by its path.

        Raises:
            ConfigError: the packages of the extra ``speech`` are not installed.
            DataError: it cannot be read.
        """
        require_speech("reading audio")
        path = place_of(text.strip())
        return self._recording(path.name, read_audio(path))

    def render(self, output: Symbols) -> str:
        """Phones separated by spaces."""
        return " ".join(output)

    def _root(self) -> Path:
        advice = "order LDC93S1 from the Linguistic Data Consortium and name its folder by Timit.folder"
        try:
            place = place_of(self.folder)
        except DataError as error:
            raise DataError(f"{error}; or {advice}") from None
        if (root := root_of(place)) is None:
            raise DataError(f"{place} must hold the folders TRAIN and TEST of TIMIT, but it does not; {advice}")
        return root

    def _example(self, utterance: Utterance) -> Example:
        phones, end = utterance.phones()
        samples = read_audio(utterance.audio())
        if end > len(samples) + RATE // 10:
            raise DataError(
                f"{utterance.name} must end where its recording does, but that has {len(samples):,} samples, and the "
                f"last phone ends at {end:,}; fetch both again"
            )
        recording = self._recording(utterance.name.rpartition(".")[0], samples)
        return Example(recording, (folded(phones, self.phones),), utterance.name)

    def _recording(self, name: str, samples: Samples) -> Recording:
        spectrum = with_derivatives(log_mel(samples, filters=self.filters), orders=self.derivatives)
        return Recording(name, normalised(spectrum))


def _refuse_or_warn(root: Path, found: tuple[int, int, int]) -> None:
    if not all(found):
        raise DataError(
            f"{root} must hold utterances of training speakers, of Kaldi's dev speakers and of core test speakers, but "
            f"it has {found[0]}, {found[1]} and {found[2]}; fetch it again"
        )
    if found != COMPLETE:
        warnings.warn(
            f"{root} has {found[0]:,} utterances to train on, {found[1]:,} to choose by and {found[2]:,} to test on, "
            f"not {COMPLETE[0]:,}, {COMPLETE[1]} and {COMPLETE[2]}: scores cannot be compared with published ones",
            IncompleteWarning,
            stacklevel=3,
        )
