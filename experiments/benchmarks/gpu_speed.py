"""The parts of the benchmark `gpu` that time the claims of speed: a chain, draws, and training on captions."""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from structpred.distributions import fused_chain
from structpred.distributions.forward_backward import ScaledMessages
from structpred.distributions.next_symbol import inverse_cdf
from structpred.distributions.search import decode_loop
from structpred.experiments.benchmarks.captions import MODEL, captions
from structpred.experiments.benchmarks.linear_chain import Problem, step
from structpred.experiments.benchmarks.measuring import seconds
from structpred.experiments.benchmarks.on_device import (
    captured,
    finish,
    finished,
    in_turns,
    milliseconds,
    products_per_second,
    utilisation,
)
from structpred.experiments.benchmarks.sampling import by_multinomial
from structpred.experiments.benchmarks.transformer import MODEL as TRANSFORMER
from structpred.experiments.benchmarks.translation import stepper
from structpred.models import Model
from structpred.objectives import MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.returned import waiting
from structpred.rewards import EditDistance
from structpred.sequences import Sequences
from structpred.task import Example, Sizes, Splits
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.distributed import Precision, cpu_has_bf16
from structpred.training.step import Stepper

Figures = dict[str, object]

CHAINS = ((64, 100, 50), (4096, 100, 50))
"""Batch, length and labels."""
EAGER_MS, GRAPH_MS, TIMES_PEER = 2.0, 0.4, 20.0
"""Aims for the first chain: the most that forward and backward may take, and how many times as long torchcrf takes."""
DRAWS_PER_SECOND = 1e9
"""Aim for Hamming draws, in symbols."""

TRANSLATORS: Mapping[str, Model] = {"": MODEL, "transformer_": TRANSFORMER}
"""What is trained on captions, by what the names of its figures begin with."""


def on(problem: Problem, device: torch.device) -> Problem:
    """The problem on a device, with every output as long as there are positions."""
    batch, time, labels = problem.unary.shape
    outputs = torch.randint(labels, (batch, time), generator=torch.Generator().manual_seed(1))
    targets = Sequences(outputs, torch.full((batch,), time))
    unary = problem.unary.detach().to(device).requires_grad_()
    return Problem(problem.crf.to(device), unary, targets.to(device))


class FixedChain:
    """The likelihood of one batch and its gradient, with everything decided beforehand that would wait for the device.

    What training decides in every step, the layout and the precision, is fixed; so the rest can be captured.

    Args:
        problem: scores, parameters and labels.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.packing = problem, problem.chain().packing
        crf = problem.crf
        self.leaves = (problem.unary, crf.transitions, crf.start_transitions, crf.end_transitions)
        self.gradients: tuple[Tensor, ...] = ()

    def __call__(self) -> None:
        """Leave the gradient in ``gradients``."""
        p = self.problem.chain()
        fused = fused_chain.fits(p.unary, p.transitions)
        log_z = p.log_partition() if fused else ScaledMessages(p.unary, p.transitions, self.packing).log_partition()
        loss = (log_z - p.score(self.problem.targets.candidates()).squeeze(1)).sum()
        self.gradients = torch.autograd.grad(loss, self.leaves)


def chain(device: torch.device, shapes: tuple[tuple[int, int, int], ...] = CHAINS, repeats: int = 15) -> Figures:
    """Forward and backward of a chain's likelihood: as training does it, as a CUDA graph, and by torchcrf."""
    figures: Figures = {"aim_eager_ms": EAGER_MS, "aim_graph_ms": GRAPH_MS, "aim_times_torchcrf": TIMES_PEER}
    for shape in shapes:
        name, problem = "x".join(map(str, shape)), on(Problem.random(*shape), device)
        with torch.no_grad():
            apart = (problem.log_probs() - problem.their_log_probs()).abs() / problem.their_log_probs().abs()
            figures[f"largest_difference_from_torchcrf_{name}"] = float(apart.max())
        ours, theirs = (partial(step, each) for each in (problem.log_probs, problem.their_log_probs))
        figures[f"eager_ms_{name}"] = milliseconds(ours, device, repeats)
        turns = in_turns(ours, theirs, device, repeats)
        if turns is None:
            figures[f"torchcrf_ms_{name}"] = "does not fit into memory"
        else:
            figures |= {f"torchcrf_ms_{name}": 1000 * turns.second, f"times_torchcrf_{name}": turns.ratio}
        figures |= {f"{key}_{name}": value for key, value in _as_graph(problem, device, repeats).items()}
    return figures


def _as_graph(problem: Problem, device: torch.device, repeats: int) -> Figures:
    """What a graph takes, and how far its gradient is from that in float64, which takes no kernel of ours."""
    fixed = FixedChain(problem)
    replay = captured(fixed, device)
    figures: Figures = {"graph_ms": "none: a processor has no graphs"}
    if replay is None:
        fixed()
    else:
        figures = {"graph_ms": milliseconds(replay, device, repeats)}
    found = [each.clone() for each in fixed.gradients]
    expected = torch.autograd.grad(-problem.log_probs(torch.float64).sum(), fixed.leaves)
    off = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)]
    return figures | {"graph_gradient_error": max(off)}


def draws(
    device: torch.device,
    batch: int = 2**20,
    edited: int = 2**15,
    labels: int = 7856,
    sentences: int = 64,
    repeats: int = 10,
) -> Figures:
    """Draws by Hamming and by edit distance, and symbols drawn by a decoder: 320 outputs over 7,856 labels.

    Args:
        device: where.
        batch: references of the draws by Hamming, of 25 symbols.
        edited: references of the draws by edit distance, of 10 symbols.
        labels: of the decoder.
        sentences: that it gives five outputs each.
        repeats: calls that are timed.
    """
    return {
        "aim_hamming_symbols_per_second": DRAWS_PER_SECOND,
        **_hamming(device, batch, repeats),
        **_edited(device, edited, repeats),
        **_symbols(device, labels, sentences, repeats),
    }


def _hamming(device: torch.device, batch: int, repeats: int, *, labels: int = 10_000, time: int = 25) -> Figures:
    """Draws beside how many symbols are changed, which is known."""
    source = torch.Generator(device).manual_seed(0)
    references = Sequences(torch.randint(labels, (batch, time)), torch.full((batch,), time)).to(device)
    q = HammingPayoff(temperature=Temperature(rescaled=0.85)).distribution(references, labels)
    taken = milliseconds(lambda: q.sample(1, source), device, repeats) / 1000
    changed = (q.sample(1, source).labels.squeeze(1) != references.labels).double().mean()
    return {
        "hamming_symbols_per_second": batch * time / taken,
        "hamming_sequences_per_second": batch / taken,
        "hamming_share_changed": float(changed),
        "hamming_share_expected": q.change,
    }


def _edited(device: torch.device, batch: int, repeats: int, *, labels: int = 40, time: int = 10) -> Figures:
    """Draws on the device and in main memory, where training makes them, and their mean number of edits."""
    payoff = EditDistancePayoff(temperature=Temperature(rescaled=0.8))
    figures: Figures = {}
    outputs = torch.randint(labels, (batch, time), generator=torch.Generator().manual_seed(0))
    for where, place in (("", device), ("_on_processor", torch.device("cpu"))):
        references, source = Sequences(outputs, torch.full((batch,), time)).to(place), torch.Generator(place)
        q = payoff.distribution(references, labels)
        taken = milliseconds(partial(q.sample, 1, source), place, repeats) / 1000
        figures[f"edit_distance_sequences_per_second{where}"] = batch / taken
        edits = -EditDistance().score(q.sample(1, source), references).double().mean()
        figures[f"edit_distance_mean_edits{where}"] = float(edits)
    return figures


def _symbols(device: torch.device, labels: int, sentences: int, repeats: int, *, k: int = 5) -> Figures:
    """Outputs of 25 words from an untrained decoder, and what drawing costs by itself."""
    torch.manual_seed(0)
    sizes = Sizes(num_inputs=100, num_labels=labels, label_counts=(1,) * labels, references=labels)
    network, source = MODEL.build(sizes).to(device).eval(), torch.Generator(device).manual_seed(0)
    inputs = Sequences(torch.randint(100, (sentences, 12)), torch.full((sentences,), 12)).to(device)
    with torch.no_grad():
        decoder = network(inputs).decoder
        decoder = replace(decoder, limits=torch.full((sentences,), 24, device=device))
        grown = decode_loop(decoder, k, lambda logits: inverse_cdf(logits, source))
        taken = milliseconds(lambda: decode_loop(decoder, k, lambda each: inverse_cdf(each, source)), device, repeats)
        logits, _ = decoder.step(torch.full((sentences, k), labels, device=device), decoder.start(k))
        ours = milliseconds(lambda: inverse_cdf(logits, source), device, repeats)
        theirs = milliseconds(lambda: by_multinomial(logits, source), device, repeats)
    return {
        "sampling_outputs": sentences * k,
        "sampling_labels": labels,
        "sampling_symbols_per_second": sentences * k * grown.labels.shape[-1] / (taken / 1000),
        "sampling_draw_ms": ours,
        "sampling_multinomial_ms": theirs,
    }


def pairs_of_sentences(pairs: int) -> tuple[Splits, str]:
    """Captions where they lie ready, and otherwise invented pairs of about their lengths and numbers of words."""
    folder = os.environ.get("STRUCTPRED_DATA")
    if folder is not None and (Path(folder) / "multi30k" / "tok").is_dir():
        found = captions()
        return replace(found, train=found.train[:pairs]), "Multi30k, English into German"
    source = np.random.default_rng(0)
    train = tuple(
        Example(_invented(source, 5900), (_invented(source, 7850),), f"invented pair {i}") for i in range(pairs)
    )
    return Splits(train, train[:2], train[:2], f"invented {pairs}"), "invented"


def _invented(source: np.random.Generator, words: int) -> tuple[str, ...]:
    """About 12 words, which are distributed as Zipf's law has it."""
    length = int(np.clip(source.normal(12, 4), 3, 40))
    ranks = np.exp(source.uniform(0, np.log(words), length)).astype(int)
    return tuple(f"w{rank}" for rank in ranks.tolist())


def translation(
    device: torch.device,
    pairs: int = 29_000,
    models: Mapping[str, Model] = TRANSLATORS,
    budgets: tuple[int, ...] = (1024, 4096, 16384),
    steps: int = 40,
    product: int = 8192,
) -> Figures:
    """Target tokens a second of training by likelihood in bf16, and how far that is from what matrix products reach."""
    splits, data = pairs_of_sentences(pairs)
    precision: Precision = "bf16" if device.type == "cuda" or cpu_has_bf16() else "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    peak = products_per_second(device, dtype, product)
    figures: Figures = {"data": data, "precision": precision, "peak_operations_per_second": peak}
    for name, model in models.items():
        prepared = EncodedData.of(splits, model)
        figures["labels"] = prepared.training.sizes.num_labels
        each = figures[f"{name}operations_per_token"] = operations_per_token(prepared, model)
        for budget in budgets:
            rate, busy = _trained(prepared, model, device, precision, budget, steps)
            figures |= {
                f"{name}tokens_per_second_{budget}": rate,
                f"{name}share_of_peak_{budget}": rate * each / peak,
                f"{name}utilisation_{budget}": busy,
            }
    return figures


def _trained(
    prepared: EncodedData, model: Model, device: torch.device, precision: Precision, budget: int, steps: int
) -> tuple[float, float | str]:
    """Target tokens a second over some steps, and the share of time that the device computes in ten more."""
    ours = stepper(prepared, precision, model, device.type)
    data = prepared.training
    walk = _steps(ours, EpochPlan(data, data.to(device), MaximumLikelihood(), budget=budget, seed=0, epoch=0))
    for _ in range(5):
        next(walk)
    finish(device)
    tokens: list[int] = []
    taken = seconds(finished(lambda: tokens.extend(next(walk) for _ in range(steps)), device))
    return sum(tokens) / taken, utilisation(lambda: [next(walk) for _ in range(10)], device)


def _steps(ours: Stepper, plan: EpochPlan) -> Iterator[int]:
    """Steps over the batches, again and again; yields the target tokens of each."""
    taken = 0
    while True:
        position = taken % len(plan)
        with waiting(False):
            ours.train_step(plan, position, taken, 0.0)
        taken += 1
        yield plan.tokens(position)


def operations_per_token(prepared: EncodedData, model: Model, budget: int = 512) -> float:
    """Floating-point operations of a step's matrix products per target token, counted on the CPU in one batch.

    A fused LSTM is not looked into, nor is fused attention, so they are computed unfused here.

    Args:
        prepared: the data.
        model: the network.
        budget: target tokens of the batch.
    """
    data = prepared.training
    plan = EpochPlan(data, data, MaximumLikelihood(), budget=budget, seed=0, epoch=0)
    ours = stepper(prepared, "fp32", model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration on top of oneDNN")  # TF32 is off
        unfused = torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH)
        with unfused[0], unfused[1], FlopCounterMode(display=False) as counter:
            ours.train_step(plan, 0, 0, 0.0)
    return float(counter.get_total_flops()) / plan.tokens(0)
