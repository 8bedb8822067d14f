"""Does our Transformer draw outputs as fast as an encoder-decoder of transformers does by ``generate``?

Needs the extra ``pretrained``; nothing is downloaded, for all weights are random. Both sides have three layers each for
encoder and decoder, vectors of 256, 4 heads, 1,024 units between attentions and 7,856 labels, and draw 5 outputs of 25
symbols for each of 64 inputs of 16 symbols, encoding included, without gradient. The other side is a MarianMT, with
``do_sample=True``, no cut-off of improbable symbols, and its cache of keys and values. An end, which is as improbable
as any other symbol, may come on both sides. Sides take turns; time is counted in CPU-seconds, and the ratio has a 95 %
interval.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from structpred.experiments.benchmarks.measuring import (
    Figures,
    Median,
    MissingPeer,
    Stopwatch,
    standalone,
    without_options,
)
from structpred.models import Transformer
from structpred.sequences import Sequences
from structpred.task import Sizes

LABELS, SENTENCES, SOURCE, CANDIDATES, TIME, TURNS = 7856, 64, 16, 5, 25, 9
LAYERS, HIDDEN, HEADS, FEEDFORWARD = 3, 256, 4, 1024

Drawing = Callable[[], Tensor]
"""Draws all outputs; returns how many symbols each has."""


def ours(sources: Tensor) -> Drawing:
    """By `structpred.distributions.Autoregressive.sample`."""
    model = Transformer(
        hidden=HIDDEN,
        heads=HEADS,
        feedforward=FEEDFORWARD,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        length_ratio=1e-9,
        length_extra=TIME - 1,  # one symbol more shows that an output was cut
    )
    sizes = Sizes(num_inputs=LABELS, num_labels=LABELS, label_counts=(1,) * LABELS, references=1)
    network, generator = model.build(sizes).eval(), torch.Generator().manual_seed(0)
    inputs = Sequences(sources, torch.full((len(sources),), SOURCE))
    return lambda: network(inputs).sample(CANDIDATES, generator).lengths


def theirs(sources: Tensor) -> Drawing:
    """By ``generate`` of transformers.

    Raises:
        MissingPeer: it is not installed.
    """
    if find_spec("transformers") is None:
        raise MissingPeer(
            "this benchmark measures transformers beside ours, but it is not installed: pip install "
            "structpred[pretrained]"
        )
    from transformers import MarianConfig, MarianMTModel

    end, start = LABELS, LABELS + 1
    config = MarianConfig(
        vocab_size=LABELS + 2,
        d_model=HIDDEN,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=FEEDFORWARD,
        decoder_ffn_dim=FEEDFORWARD,
        max_position_embeddings=2 * TIME,
        pad_token_id=start,
        eos_token_id=end,
        bos_token_id=None,
        decoder_start_token_id=start,
        forced_eos_token_id=None,
    )
    made: Any = MarianMTModel
    network = made(config).eval()
    mask = torch.ones_like(sources)

    def draw() -> Tensor:
        found: Tensor = network.generate(
            input_ids=sources,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            num_beams=1,
            num_return_sequences=CANDIDATES,
            max_new_tokens=TIME,
        )
        return (found[:, 1:] < end).sum(1)

    return draw


@torch.no_grad()
def main() -> Figures:
    """Take turns after one that is thrown away, and compare how much was drawn."""
    without_options()
    torch.manual_seed(0)
    sources = torch.randint(0, LABELS, (SENTENCES, SOURCE))
    sides = {"ours": ours(sources), "generate": theirs(sources)}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    drawn = dict.fromkeys(sides, 0)
    for turn in range(TURNS + 1):
        for name in list(sides) if turn % 2 else list(sides)[::-1]:
            watch = Stopwatch()
            with watch.running():
                lengths = sides[name]()
            if turn:
                spent[name].append(watch.cpu)
                drawn[name] += int(lengths.sum())
    figures: Figures = {"labels": LABELS, "outputs": SENTENCES * CANDIDATES, "length": TIME, "turns": TURNS}
    for name, seconds in spent.items():
        figures[f"{name}_symbols_per_output"] = drawn[name] / (TURNS * SENTENCES * CANDIDATES)
        figures[f"{name}_symbols_per_cpu_second"] = drawn[name] / sum(seconds)
    pairs = zip(spent["generate"], spent["ours"], strict=True)
    return figures | Median.of([other / own for other, own in pairs]).figures("times_as_fast_as_generate")


if __name__ == "__main__":
    standalone(main)
