"""TensorBoard's event files beside a run's own log."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from structpred.errors import ConfigError


class TensorBoard:
    """A logger that writes into ``tensorboard/`` of a run's folder; ``train(loggers=[TensorBoard])`` makes one.

    What an interrupted run had logged after the step it goes on from is marked as gone, as it is logged again.

    Args:
        folder: the run's folder.

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
        """Write the numbers down as those after so many steps."""
        if self._inner is None:
            self._inner = TensorBoardLogger(self.folder, name="tensorboard", version="", purge_step=step)
        self._inner.log_metrics(dict(metrics), step)

    def finalize(self, status: str) -> None:
        """Write what is not written yet."""
        if self._inner is not None:
            self._inner.finalize(status)
