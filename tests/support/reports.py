"""Small reports, made of made-up scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from structpred.comparison.report import Report
from structpred.config import Config
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.results import Epoch, RunResult


@dataclass(frozen=True, kw_only=True)
class Method(Config):
    temperature: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trial(Config):
    method: Method = Method()
    hidden: int = 8
    seed: int = 0


METRICS: tuple[Metric, ...] = (SymbolErrorRate(), WordErrorRate())


def a_run(error_rate: float, epochs: int = 3) -> RunResult:
    dev = {"PER": error_rate - 0.25, "WER": 3 * error_rate}
    history = tuple(
        Epoch(e, 1 / e, {n: s + 40.0 / e for n, s in dev.items()}, 2.0 * e, {}) for e in range(1, epochs + 1)
    )
    return RunResult(
        identity=f"{round(error_rate * 1e6):064x}",
        scores={"dev": dev, "test": {"PER": error_rate, "WER": 3 * error_rate + 1}},
        signatures={metric.name: metric.signature for metric in METRICS},
        best_epoch=epochs,
        steps=1200,
        seconds=20.0,
        cpu_seconds=40.0,
        tokens_per_second=1000.0,
        device="cpu",
        history=history,
    )


def a_report(metrics: tuple[Metric, ...] = METRICS[:1], /, **error_rates: Sequence[float]) -> Report:
    """Arms by name with one test PER a seed; the first is the baseline."""
    names = list(error_rates)
    arms = {name: Trial(method=Method(temperature=i / 10 if i else None)) for i, name in enumerate(names)}
    results = {name: tuple(a_run(float(rate)) for rate in rates) for name, rates in error_rates.items()}
    return Report(arms, tuple(range(len(results[names[0]]))), names[0], results, metrics)


ML = (12.0, 12.6, 11.9, 12.0, 12.5)
NEAR = (12.1, 12.4, 12.0, 11.7, 12.6)
RML = (11.0, 11.7, 11.1, 11.2, 11.4)
