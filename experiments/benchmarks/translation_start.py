"""How long until the first training step on captions is taken, and how much memory does training them need at most?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``. A fresh process imports everything, reads
the 29,000 pairs and takes a step; it continues for some hundred more, scores dev and test, and reports its largest
resident set. It is run several times, the first of them to warm the file caches.
"""

import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection

from structpred.errors import StructpredError
from structpred.experiments.benchmarks.measuring import Figures, standalone, training_threads

TURNS, STEPS = 2, 300


def child(ready: Connection, started: float, objective: str, threads: int) -> None:
    """Train, and send seconds to the first step and the largest memory in bytes; or the error."""
    try:
        ready.send(measured(started, objective, threads))
    except StructpredError as error:
        ready.send(error)


def measured(started: float, objective: str, threads: int) -> tuple[float, int]:
    """Seconds to the first step and the largest memory in bytes; all imports are inside, for they count."""
    import torch

    from structpred import Experiment, Trainer, train
    from structpred.experiments.benchmarks.captions import MODEL
    from structpred.objectives import RML, MaximumLikelihood
    from structpred.payoffs import EditDistancePayoff, Temperature
    from structpred.tasks import Multi30k
    from structpred.training import Adam

    torch.set_num_threads(threads)
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
    steps: list[float] = []

    def note() -> bool:
        steps.append(time.time())
        return False

    with tempfile.TemporaryDirectory() as root:
        train(
            Experiment(
                task=Multi30k(source="en", target="de"),
                model=MODEL,
                objective=RML(payoff=payoff) if objective == "rml" else MaximumLikelihood(),
                optimiser=Adam(),
                trainer=Trainer(batch_tokens=1024, max_steps=STEPS),
            ),
            root=root,
            device="cpu",
            stopping=note,
        )
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kibibytes on Linux
    return steps[0] - started, largest


def turn(objective: str, threads: int) -> tuple[float, int]:
    """Seconds and bytes of one fresh process.

    Raises:
        StructpredError: it refused, as where data are missing.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs, time.time(), objective, threads))
    process.start()
    theirs.close()  # a child that dies leaves an end of file, and one whose parent dies ends with its work
    found: tuple[float, int] | StructpredError = ours.recv()
    process.join()
    if isinstance(found, StructpredError):
        raise found
    return found


def main() -> Figures:
    """Start several times under two objectives."""
    threads, figures = training_threads(), Figures(steps=STEPS)
    for objective in ("ml", "rml"):
        seconds, sizes = zip(*[turn(objective, threads) for _ in range(TURNS + 1)][1:], strict=True)
        figures[f"{objective}_seconds_to_first_step"] = max(seconds)
        figures[f"{objective}_gigabytes"] = max(sizes) / 1e9
    return figures


if __name__ == "__main__":
    standalone(main)
