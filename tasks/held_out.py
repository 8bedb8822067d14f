"""What is wrong between training and held-out data: inputs in both, and labels that training never shows."""

import warnings
from collections.abc import Sequence
from typing import Literal

from structpred.task import Example, Splits


class SharedInputWarning(UserWarning):
    """Inputs are in the training data and in held-out data."""


class NewLabelWarning(UserWarning):
    """Held-out data have labels that the training data lack."""


def warn_of_shared(splits: Splits, what: Literal["sources", "sentences"] = "sources") -> None:
    """One warning where inputs of the training data are also in dev or test, with their number."""
    sources = {example.source for example in splits.train}
    dev, test = ([e for e in split if e.source in sources] for split in (splits.dev, splits.test))
    if found := dev + test:
        warnings.warn(
            f"{len(dev)} of {len(splits.dev)} dev {what} and {len(test)} of {len(splits.test)} test {what} are also in "
            f"the training data, such as that of {found[0].where}; scores on them flatter, so remove them from one "
            "side",
            SharedInputWarning,
            stacklevel=2,
        )


def warn_of_new_labels(splits: Splits) -> None:
    """One warning where dev or test have labels that are in no training output, with their number and examples."""
    known = _labels(splits.train)
    dev, test = (sorted(label for label in _labels(split) if label not in known) for split in (splits.dev, splits.test))
    first = _places((*splits.dev, *splits.test), {*dev, *test})
    if not first:
        return
    shown = ", ".join(f"{label!r} ({where})" for label, where in list(first.items())[:3])
    warnings.warn(
        f"{len(dev)} labels of dev and {len(test)} of test are in no training output, so that no model can give them: "
        f"{shown}{', …' if len(first) > 3 else ''}; check how they are written, or move examples of them to the "
        "training data",
        NewLabelWarning,
        stacklevel=2,
    )


def _labels(examples: Sequence[Example]) -> dict[str, None]:
    return dict.fromkeys(label for example in examples for reference in example.references for label in reference)


def _places(examples: Sequence[Example], labels: set[str]) -> dict[str, str]:
    """Where each label stands first, in that order."""
    found: dict[str, str] = {}
    for example in examples if labels else ():
        for label in _labels([example]):
            if label in labels:
                found.setdefault(label, example.where)
    return found
