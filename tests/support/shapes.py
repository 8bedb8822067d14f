"""Which modules have their shapes and types checked at every call while they are tested."""

from jaxtyping import install_import_hook

CHECKED = [
    "diagnosis",
    "distributions",
    "environments",
    "metrics",
    "models",
    "objective",
    "objectives",
    "payoffs",
    "pretrained",
    "rewards",
    "runs.reranked",
    "running",
    "sequences",
    "statistics",
    "tasks.speech",
    "tasks.synthetic",
    "testing",
    "training.certainty",
    "training.batching",
    "training.data",
]
"""Where signatures state shapes. A check takes several times as long as a short call, so mypy alone does the rest."""


def check_shapes() -> None:
    """Check what is imported from now on. The tower lets an int stand for a float, as mypy does."""
    checker = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    install_import_hook([f"structpred.{name}" for name in CHECKED], checker)
