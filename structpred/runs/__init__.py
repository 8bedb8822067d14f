"""One run: its folder, its lock, how it is trained, and how its result is loaded and used."""

from structpred.results import Epoch, RunResult
from structpred.runs.ensemble import Ensemble
from structpred.runs.folder import Folder, named
from structpred.runs.lock import run_lock, tidy
from structpred.runs.reranked import Reranked
from structpred.runs.run import OtherCodeWarning, Run
from structpred.runs.session import train, when_free

__all__ = [
    "Ensemble",
    "Epoch",
    "Folder",
    "OtherCodeWarning",
    "Reranked",
    "Run",
    "RunResult",
    "named",
    "run_lock",
    "tidy",
    "train",
    "when_free",
]
