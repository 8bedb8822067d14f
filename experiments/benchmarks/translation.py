"""Does our encoder-decoder learn and translate captions as fast as JoeyNMT's?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``, where JoeyNMT 2.3.0 is installed::

    python -m structpred.experiments.benchmarks.translation --threads 2

Both have the same sizes and see the same batches of 64 English sentences: words that occur twice, embeddings of 256, a
bidirectional LSTM of 512, a decoder of 512 without input feeding, attention after it, no dropout. They take turns at
every batch. Batches are drawn at random, as JoeyNMT makes them, and once more of like length, as we do. We take the
steps of our trainer, from gathering the batch on; JoeyNMT computes the loss of its model, clips its gradient and steps
with PyTorch's Adam, on batches that are made beforehand. Both search with a beam of 5 for 25 steps, in which no output
may end. Ratios are medians over batches, with a 95 % interval.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.experiments.benchmarks.captions import MODEL, captions
from structpred.experiments.benchmarks.measuring import (
    Figures,
    Median,
    MissingPeer,
    seconds,
    standalone,
    training_threads,
)
from structpred.models import Model, Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.tasks import Multi30k
from structpred.training import Adam, Trainer
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.distributed import DistributedContext, Precision, cpu_has_bf16
from structpred.training.step import Stepper

SENTENCES, WARM_UP, BATCHES, BEAM, STEPS, SEARCHES = 64, 2, 24, 5, 25, 20

SPECIALS = 4
"""Ids that JoeyNMT keeps for unknown, padding, beginning and end."""
PADDING, BEGINNING, END = 1, 2, 3

Rows = Sequence[Sequence[int]]


def require_joeynmt() -> None:
    """Make sure that the peer is there.

    Raises:
        MissingPeer: it is not installed.
    """
    needed = ("joeynmt", "sentencepiece", "sacremoses", "subword_nmt")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise MissingPeer(
            f"this benchmark measures JoeyNMT beside ours, but {', '.join(missing)} cannot be imported; "
            "pip install --no-deps joeynmt==2.3.0 sentencepiece sacremoses subword-nmt joblib"
        )
    logging.getLogger("joeynmt").setLevel(logging.ERROR)


def peer_model(model: Seq2Seq, sizes: Sizes) -> Any:
    """JoeyNMT's model of the sizes of ours: attention after the recurrent pass, no input feeding, no dropout."""
    assert model.dropout == 0
    shared = {"type": "recurrent", "rnn_type": "lstm", "num_layers": 1, "dropout": 0.0}
    embeddings = {"embeddings": {"embedding_dim": model.embedding}}
    encoder = {**shared, **embeddings, "hidden_size": model.hidden // 2, "bidirectional": True}
    decoder = {**shared, **embeddings, "hidden_size": model.hidden, "attention": "luong", "input_feeding": False}
    return peer_of({"encoder": encoder, "decoder": decoder, "init_hidden": "bridge"}, sizes)


def peer_of(settings: dict[str, Any], sizes: Sizes) -> Any:
    """JoeyNMT's model by its own settings, with its cross-entropy."""
    from joeynmt.model import build_model

    built = build_model(
        settings,
        src_vocab=_vocabulary(sizes.num_inputs + 1),
        trg_vocab=_vocabulary(sizes.num_labels),
    )
    built.loss_function = ("crossentropy", 0.0)
    return built


def peer_batch(inputs: Sequences, targets: Sequences | None = None) -> Any:
    """A batch as JoeyNMT has it, with the longest sentences first."""
    from joeynmt.batch import Batch

    order = inputs.lengths.argsort(descending=True, stable=True)
    sources = [[*row, END] for row in _shifted(inputs.select(order))]
    wanted = None if targets is None else [[BEGINNING, *row, END] for row in _shifted(targets.select(order))]
    return Batch(
        src=_padded(sources),
        src_length=torch.tensor([len(row) for row in sources]),
        src_prompt_mask=None,
        trg=None if wanted is None else _padded(wanted),
        trg_prompt_mask=None,
        indices=order,
        device=torch.device("cpu"),
        pad_index=PADDING,
        eos_index=END,
    )


def _vocabulary(symbols: int) -> Any:
    from joeynmt.vocabulary import Vocabulary

    specials = SimpleNamespace(
        unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", sep_token=None, lang_tags=[],
        unk_id=0, pad_id=PADDING, bos_id=BEGINNING, eos_id=END, sep_id=None,
    )  # fmt: skip
    return Vocabulary([str(symbol) for symbol in range(symbols)], specials)


def _shifted(sequences: Sequences) -> Rows:
    return [[symbol + SPECIALS for symbol in row] for row in sequences.tolist()]


def _padded(rows: Rows) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PADDING] * (longest - len(row))] for row in rows])


Pair = tuple[float, float]
"""Seconds of ours and of JoeyNMT's for the same work."""


def stepper(prepared: EncodedData, precision: Precision, model: Model = MODEL, device: str = "cpu") -> Stepper:
    """Our network and everything that a step of it takes."""
    experiment = Experiment(
        task=Multi30k(source="en", target="de"),
        model=model,
        objective=MaximumLikelihood(),
        optimiser=Adam(),
        trainer=Trainer(precision=precision),
    )
    return Stepper(experiment, prepared, DistributedContext(device))


def plan_of(prepared: EncodedData, *, sort: bool, sentences: int = SENTENCES) -> EpochPlan:
    """Batches in random order, each of 64 sentences: any, or some of like length."""
    data, generator = prepared.training, torch.Generator().manual_seed(0)
    plan = EpochPlan(data, data, MaximumLikelihood(), budget=1, seed=0, epoch=0)
    order = torch.randperm(len(data), generator=generator)
    if sort:
        order = order[plan.target_lengths[order].argsort(stable=True)]
    batches = order[: len(data) // sentences * sentences].view(-1, sentences)
    plan.rows = list(batches[torch.randperm(len(batches), generator=generator)])
    return plan


def training(ours: Stepper, theirs: nn.Module, plan: EpochPlan, batches: int = BATCHES) -> list[Pair]:
    """Seconds of a step on each batch, after some that are thrown away."""
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def step(batch: object) -> None:
        loss = theirs(return_type="loss", **vars(batch))[0]
        (loss / SENTENCES).backward()
        clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    found = []
    for position in range(WARM_UP + batches):
        batch = plan[position]
        their_step = partial(step, peer_batch(batch.inputs, batch.targets))
        found.append(in_turn(partial(ours.train_step, plan, position, position, 0.0), their_step, position))
    return found[WARM_UP:]


def searching(ours: nn.Module, theirs: nn.Module, plan: EpochPlan, searches: int = SEARCHES) -> list[Pair]:
    """Seconds of a beam search over each batch, after one that is thrown away."""
    from joeynmt.search import search

    def search_ours(inputs: Sequences) -> None:
        ours(inputs).decode(Decoding(beam=BEAM))

    found = []
    for position in range(searches + 1):
        inputs = plan[position].inputs
        search_theirs = partial(search, theirs, peer_batch(inputs), STEPS, BEAM, 0.0, min_output_length=STEPS)
        found.append(in_turn(partial(search_ours, inputs), search_theirs, position))
    return found[1:]


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], position: int) -> Pair:
    """Seconds of both, the other one first every other time."""
    if position % 2:
        return seconds(ours), seconds(theirs)
    second = seconds(theirs)
    return seconds(ours), second


def figures_of(name: str, pairs: list[Pair], work: list[int], unit: str) -> Figures:
    """Rates of both, and how many times faster ours is."""
    rates = [Median.of([amount / pair[side] for amount, pair in zip(work, pairs, strict=True)]) for side in (0, 1)]
    figures: Figures = {
        f"{name}_{unit}_per_second": rates[0].value,
        f"{name}_joeynmt_{unit}_per_second": rates[1].value,
    }
    return figures | Median.of([theirs / ours for ours, theirs in pairs]).figures(f"{name}_faster")


def main() -> Figures:
    """Time training and search."""
    training_threads()
    require_joeynmt()
    prepared = EncodedData.of(captions(), MODEL)
    sizes = prepared.training.sizes
    figures: Figures = {"inputs": sizes.num_inputs, "labels": sizes.num_labels}
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if cpu_has_bf16() else ("fp32",)
    for precision, sort in product(precisions, (False, True)):
        plan = plan_of(prepared, sort=sort)
        tokens = [plan.tokens(position) for position in range(WARM_UP, WARM_UP + BATCHES)]
        pairs = training(stepper(prepared, precision), peer_model(MODEL, sizes), plan)
        name = f"training_{precision}{'_like_length' * sort}"
        figures |= figures_of(name, pairs, tokens, "tokens")
    searched = replace(MODEL, length_ratio=1e-6, length_extra=STEPS - 1).build(sizes).eval()
    with torch.no_grad():
        searched.output.bias[sizes.num_labels] = -1e4  # the end
        pairs = searching(searched, peer_model(MODEL, sizes).eval(), plan_of(prepared, sort=True))
    return figures | figures_of("beam", pairs, [SENTENCES] * SEARCHES, "sentences")


if __name__ == "__main__":
    standalone(main)
