"""TensorBoard event files in addition to a run's own log."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from structpred.errors import ConfigError


class TensorBoard:
    """A logger that writes into ``tensorboard/`` of a run folder; use it as ``train(loggers=[TensorBoard])``.

    When a run resumes, entries after the resumed step are marked as purged, because they are logged again.

    Args:
        folder: the run folder.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "the logger tensorboard needs a package that is not installed: pip install structpred[tensorboard]"
            )
        self.folder = folder
        self._inner: TensorBoardLogger | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the numbers for the given step."""
        if self._inner is None:
            self._inner = TensorBoardLogger(self.folder, name="tensorboard", version="", purge_step=step)
        self._inner.log_metrics(dict(metrics), step)

    def finalize(self, status: str) -> None:
        """Flush the log."""
        if self._inner is not None:
            self._inner.finalize(status)
