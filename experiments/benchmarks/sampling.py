"""How should a decoder draw its symbols: by inverting the cumulative distribution, by Gumbel noise or by multinomial?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``. Each of 64 English captions gets 5 German
outputs of 25 words from an untrained model, end to end: the decoder's steps are counted in and are the same for all.
What drawing costs by itself stands beside it.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from structpred.distributions.next_symbol import inverse_cdf
from structpred.distributions.search import decode_loop
from structpred.experiments.benchmarks.captions import MODEL, captions, some
from structpred.experiments.benchmarks.measuring import Figures, Medians, paired, standalone, training_threads

SENTENCES, CANDIDATES, TIME, TURNS = 64, 5, 25, 3

Drawing = Callable[[Tensor, torch.Generator], Tensor]


def by_multinomial(logits: Tensor, generator: torch.Generator) -> Tensor:
    """PyTorch's own sampler."""
    rows = logits.flatten(0, -2).softmax(-1)
    return torch.multinomial(rows, 1, generator=generator).view(logits.shape[:-1])


def by_gumbel(logits: Tensor, generator: torch.Generator) -> Tensor:
    """The largest score after Gumbel noise."""
    noise = torch.empty_like(logits).exponential_(generator=generator)
    return (logits - noise.log()).argmax(-1)


def main() -> Figures:
    """Time all three, each beside ours."""
    training_threads()
    torch.manual_seed(0)
    data = some(captions(), SENTENCES)
    network, generator = MODEL.build(data.sizes).eval(), torch.Generator().manual_seed(0)

    def drawing(draw: Drawing) -> Callable[[], object]:
        return lambda: decode_loop(decoder, CANDIDATES, lambda logits: draw(logits, generator))

    with torch.no_grad():
        decoder = network(data.inputs.gather(torch.arange(SENTENCES))).decoder
        decoder = replace(decoder, limits=torch.full((SENTENCES,), TIME))
        ours = drawing(inverse_cdf)
        multinomial: Medians = paired(ours, drawing(by_multinomial), repeats=TURNS)
        gumbel: Medians = paired(ours, drawing(by_gumbel), repeats=TURNS)
        logits, _ = decoder.step(torch.full((SENTENCES, CANDIDATES), data.sizes.num_labels), decoder.start(CANDIDATES))
        alone: Medians = paired(lambda: inverse_cdf(logits, generator), lambda: by_multinomial(logits, generator))
    return {
        "labels": data.sizes.num_labels,
        "outputs": SENTENCES * CANDIDATES,
        "length": TIME,
        "tokens_per_second": SENTENCES * CANDIDATES * TIME / multinomial.first,
        "faster_than_multinomial": multinomial.ratio,
        "faster_than_gumbel": gumbel.ratio,
        "milliseconds_of_a_draw": 1000 * alone.first,
        "drawing_alone_faster_than_multinomial": alone.ratio,
    }


if __name__ == "__main__":
    standalone(main)
