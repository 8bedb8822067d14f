"""Does our Transformer learn and translate captions as fast as JoeyNMT's?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``, where JoeyNMT 2.3.0 is installed::

    python -m structpred.experiments.benchmarks.transformer --threads 1

It is the benchmark `translation` with another model on both sides: three layers each for encoder and decoder,
normalised before each part, vectors of 256, 4 heads, 1,024 units between attentions, sinusoids, no dropout. Ours has
one linear layer more, over the embedded input. Both see the same batches of 64 sentences, at random and of like length,
and search 16 at a time with a beam of 5 for 25 steps, in which no output may end; ours keeps keys and values between
steps. Where the CPU has bf16 instructions, steps in bf16 take turns with JoeyNMT's in fp32, because it trains in bf16
on a GPU only, and with our own in fp32. Ratios are medians over batches, with a 95 % interval.
"""

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch

from structpred.experiments.benchmarks.captions import captions
from structpred.experiments.benchmarks.measuring import Figures, Median, standalone, training_threads
from structpred.experiments.benchmarks.translation import (
    STEPS,
    WARM_UP,
    Pair,
    figures_of,
    in_turn,
    peer_of,
    plan_of,
    require_joeynmt,
    searching,
    stepper,
    training,
)
from structpred.models import SymbolEmbedding, Transformer
from structpred.task import Sizes
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.distributed import Precision, cpu_has_bf16

BATCHES, SEARCHES, SEARCHED = 12, 8, 16
"""Steps and searches that are timed, and sentences of a search: JoeyNMT keeps nothing between steps and takes long."""

MODEL = Transformer(inputs=SymbolEmbedding(min_count=2), dropout=0.0)
"""Vectors of 256, 4 heads, 1,024 units between attentions, and three layers on either side: the defaults."""


def peer_model(model: Transformer, sizes: Sizes) -> Any:
    """JoeyNMT's model of the sizes of ours, normalised before as well."""
    assert model.dropout == 0
    shared = {
        "type": "transformer",
        "hidden_size": model.hidden,
        "num_heads": model.heads,
        "ff_size": model.feedforward,
        "layer_norm": "pre",
        "activation": "relu",
        "dropout": 0.0,
        "embeddings": {"embedding_dim": model.hidden, "scale": True},
    }
    return peer_of(
        {
            "encoder": {**shared, "num_layers": model.encoder_layers},
            "decoder": {**shared, "num_layers": model.decoder_layers},
        },
        sizes,
    )


def by_precision(prepared: EncodedData, plan: EpochPlan) -> list[Pair]:
    """Seconds of a step in bf16 and of one in fp32, both ours."""
    narrow, wide = stepper(prepared, "bf16", MODEL), stepper(prepared, "fp32", MODEL)
    found = []
    for position in range(WARM_UP + BATCHES):
        step = (plan, position, position, 0.0)
        found.append(in_turn(partial(narrow.train_step, *step), partial(wide.train_step, *step), position))
    return found[WARM_UP:]


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
        pairs = training(stepper(prepared, precision, MODEL), peer_model(MODEL, sizes), plan, BATCHES)
        name = f"training_{precision}{'_like_length' * sort}"
        figures |= figures_of(name, pairs, tokens, "tokens")
        if precision == "bf16":
            ratios = [wide / narrow for narrow, wide in by_precision(prepared, plan)]
            figures |= Median.of(ratios).figures(f"{name}_faster_than_fp32")
    searched = replace(MODEL, length_ratio=1e-6, length_extra=STEPS - 1).build(sizes).eval()
    with torch.no_grad():
        searched.output.bias[sizes.num_labels] = -1e4  # the end
        plan = plan_of(prepared, sort=True, sentences=SEARCHED)
        pairs = searching(searched, peer_model(MODEL, sizes).eval(), plan, SEARCHES)
    return figures | figures_of("beam", pairs, [SEARCHED] * SEARCHES, "sentences")


if __name__ == "__main__":
    standalone(main)
