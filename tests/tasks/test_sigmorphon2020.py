"""Every file of the SIGMORPHON 2020 shared task that is at hand: reading real data in ten scripts."""

import os
from pathlib import Path

import pytest

from structpred.sequences import spelt
from structpred.tasks import Tsv

FOLDER = Path(os.environ.get("STRUCTPRED_DATA", "")) / "sigmorphon2020"
LANGUAGES = (
    sorted(path.name[:3] for path in FOLDER.glob("train/*_train.tsv")) if "STRUCTPRED_DATA" in os.environ else []
)

if not LANGUAGES:
    pytest.skip("needs the data set: $STRUCTPRED_DATA/sigmorphon2020 is absent", allow_module_level=True)

# most languages have rare phones in one part only
pytestmark = pytest.mark.filterwarnings("ignore::structpred.tasks.published.NewLabelWarning")


def task(language: str) -> Tsv:
    train, dev, test = (f"$STRUCTPRED_DATA/sigmorphon2020/{s}/{language}_{s}.tsv" for s in ("train", "dev", "test"))
    return Tsv(train=train, dev=dev, test=test)


@pytest.mark.parametrize("language", LANGUAGES)
def test_counts(language: str) -> None:
    splits = task(language).load()
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [3600, 450, 450]
    assert splits.dev[449].where == f"{language}_dev.tsv line 450"


@pytest.mark.parametrize("language", LANGUAGES)
def test_reading_loses_nothing(language: str) -> None:
    reader = task(language)
    splits = reader.load()
    for split, examples in (("train", splits.train), ("dev", splits.dev), ("test", splits.test)):
        lines = [f"{''.join(spelt(example.source))}\t{reader.render(example.references[0])}" for example in examples]
        content = (FOLDER / split / f"{language}_{split}.tsv").read_bytes()
        assert "".join(f"{line}\n" for line in lines).encode() == content
        assert all(reader.parse("".join(spelt(example.source))) == spelt(example.source) for example in examples)
