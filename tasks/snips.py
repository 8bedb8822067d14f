"""Slots of spoken commands."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from structpred.downloads import DataSet
from structpred.metrics import Metric
from structpred.registry import tasks
from structpred.tasks.published import Place, PublishedTask, files, github
from structpred.tasks.slots import Slots

_PARTS = ("train", "valid", "test")


@tasks.register("snips")
@dataclass(frozen=True, kw_only=True)
class Snips(PublishedTask):
    """Words to 72 slot tags: 13,084, 700 and 700 commands to a voice assistant (Coucke et al. 2018).

    The split is that of Goo et al. (2018).
    """

    metrics: ClassVar[tuple[Metric, ...]] = Slots.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="Snips commands",
        folder="snips",
        licence="CC0 1.0",
        citation=(
            "Coucke et al.: Snips Voice Platform: an embedded Spoken Language Understanding system for "
            "private-by-design voice interfaces. arXiv 1805.10190; split: Goo et al.: Slot-Gated Modeling for Joint "
            "Slot Filling and Intent Prediction. NAACL 2018"
        ),
        files=files(
            "snips",
            {
                f"{part}/{name}": github("MiuLab/SlotGated-SLU", "61f0307", f"data/snips/{part}/{name}")
                for part in _PARTS
                for name in ("seq.in", "seq.out")
            },
        ),
    )

    def reader(self, place: Place) -> Slots:
        """Words and tags."""
        folders = [{str(Path(place(f"{part}/{name}")).parent) for name in ("seq.in", "seq.out")} for part in _PARTS]
        train, dev, test = (min(folder) for folder in folders)
        return Slots(train=train, dev=dev, test=test)
