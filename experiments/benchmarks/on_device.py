"""How benchmarks time a device. What only a GPU can do is asked of it here and nowhere else in `benchmarks`."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from structpred.experiments.benchmarks.measuring import Medians, MissingPeer, paired, seconds

WARM_UP = 3
"""Calls before a CUDA graph is captured: libraries make plans and allocate memory in the first ones."""


def require_cuda(parts: list[str]) -> None:
    """Say in one sentence which parts are skipped here.

    Raises:
        MissingPeer: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise MissingPeer(
            f"the parts {', '.join(parts)} need a CUDA device, but PyTorch sees none here; --device cpu rehearses them "
            "in small sizes, whose figures say nothing of a GPU"
        )


def card(device: torch.device) -> dict[str, float | int | str]:
    """What a record must say of the device that made it."""
    if device.type != "cuda":
        return {"card": "none: a rehearsal on the processor", "torch": torch.__version__}
    properties = torch.cuda.get_device_properties(device)
    return {
        "card": properties.name,
        "memory_gib": properties.total_memory / 2**30,
        "multiprocessors": properties.multi_processor_count,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
    }


def finish(device: torch.device) -> None:
    """Wait until the device has finished everything queued; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def finished(function: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The function, which returns only when the device has done what it queued."""

    def called() -> None:
        function()
        finish(device)

    return called


def milliseconds(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median of some calls after some that are thrown away."""
    complete = finished(function, device)
    for _ in range(WARM_UP):
        complete()
    return 1000 * sorted(seconds(complete) for _ in range(repeats))[repeats // 2]


def in_turns(
    first: Callable[[], object], second: Callable[[], object], device: torch.device, repeats: int
) -> Medians | None:
    """`measuring.paired`, synchronised with the device; None where its memory does not hold one of the two."""
    try:
        return paired(finished(first, device), finished(second, device), repeats)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def captured(function: Callable[[], object], device: torch.device) -> Callable[[], None] | None:
    """The function as a CUDA graph, which is replayed without Python; None on a CPU, which has no graphs."""
    if device.type != "cuda":
        return None
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # PyTorch annotates little of this
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


@contextmanager
def waits_counted(device: torch.device) -> Iterator[list[str]]:
    """Collects a line for each time that PyTorch synchronises with the device in a block; none on a CPU."""
    found: list[str] = []
    if device.type != "cuda":
        yield found
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found += [
        f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchronizing CUDA" in str(each.message)
    ]


def utilisation(function: Callable[[], object], device: torch.device) -> float | str:
    """The share of the time of a call in which the device computes.

    On a GPU that is the sum over its kernels, which run one after another in training; the profiler that counts them
    slows Python down, so the true share is a little higher, and where it may not count them a sentence says so. On a
    CPU it is CPU-seconds per second, and may exceed 1 with several threads.
    """
    finish(device)
    if device.type != "cuda":
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        return (time.process_time() - cpu) / (time.perf_counter() - wall)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        wall = seconds(finished(function, device))
    kernels = [
        event
        for event in profiler.key_averages()
        if event.device_type.name == "CUDA" and not event.is_user_annotation  # which spans kernels counted already
    ]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6
    return busy / wall if busy else "not measured: the profiler saw no kernel"


def products_per_second(device: torch.device, dtype: torch.dtype, size: int, repeats: int = 10) -> float:
    """Floating-point operations per second of square matrix products: what could be had at best."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return 2 * size**3 / (milliseconds(lambda: torch.mm(left, right, out=out), device, repeats) / 1000)
