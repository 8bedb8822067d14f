"""What training changes of its process, and gives back: signals, the treatment of subnormal numbers, and its turn."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import torch

turn = threading.RLock()
"""Held while a run is trained: runs in threads of a process take turns, because PyTorch's random state is global."""


@contextlib.contextmanager
def without_subnormals() -> Iterator[None]:
    """Flush subnormal numbers to zero within the block: early in training they cost up to a third of the time.

    The earlier setting is restored, because other code in the process may rely on it.
    """
    smallest = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    flushing = bool(smallest / 2 == 0)  # torch cannot be asked for it
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushing)


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag, so that a checkpoint is written; a second SIGINT stops at once.

    A second SIGTERM is ignored: from Python 3.13 on, a process pool sends two to each worker when one has died.
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return

    def receive(number: int, frame: FrameType | None) -> None:
        del frame
        if received.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.set()

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
