"""Small files of data, and words of a command that trains on them in a moment."""

import itertools
from pathlib import Path

SMALL = ("model.hidden=8", "model.embedding=4", "trainer.epochs=1", "trainer.batch_tokens=400")
FILES = ("task=tsv", "task.train=train.tsv", "task.dev=dev.tsv", "task.test=test.tsv")


def write_data(folder: Path) -> None:
    """Words over three letters and their capitals."""
    words = ["".join(word) for n in range(1, 5) for word in itertools.product("abc", repeat=n)]
    for name, part in {"train": words[30:], "dev": words[:15], "test": words[15:30]}.items():
        text = "".join(f"{word}\t{' '.join(word.upper())}\n" for word in part)
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")


def absolute(folder: Path) -> list[str]:
    """Words that name the files of another folder."""
    return ["task=tsv", *(f"task.{split}={folder / split}.tsv" for split in ("train", "dev", "test"))]


def tree(folder: Path) -> set[str]:
    """Everything in a folder."""
    return {str(path) for path in folder.rglob("*")}
