"""Which training objective should a structured-prediction model use, and at which temperature?"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structpred.comparison.report import Report
    from structpred.comparison.runner import compare
    from structpred.distributions.protocols import Decoding
    from structpred.experiment import Experiment
    from structpred.runs import Run, train
    from structpred.training.settings import Adam, Trainer
    from structpred.tuning.tuner import Tuning, tune

__all__ = ["Adam", "Decoding", "Experiment", "Report", "Run", "Trainer", "Tuning", "compare", "train", "tune"]

_HOMES = {
    "Adam": "structpred.training.settings",
    "Decoding": "structpred.distributions.protocols",
    "Experiment": "structpred.experiment",
    "Report": "structpred.comparison.report",
    "Run": "structpred.runs",
    "Trainer": "structpred.training.settings",
    "Tuning": "structpred.tuning.tuner",
    "compare": "structpred.comparison.runner",
    "train": "structpred.runs",
    "tune": "structpred.tuning.tuner",
}

if not TYPE_CHECKING:  # a type checker would take it for the home of any name

    def __getattr__(name: str) -> object:
        """Import a name when it is first asked for: PyTorch takes seconds, and help needs none of it."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(importlib.import_module(_HOMES[name]), name))

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
