"""How fast is sentence BLEU as a reward, on label ids in a batch, against sacrebleu with an object that is kept?

640 outputs of about 25 symbols, half of them the reference's, in the same places.
Sacrebleu is given text that is ready, which leaves out the time of writing ids as text.
"""

import torch
from sacrebleu.metrics.bleu import BLEU

from structpred.experiments.benchmarks.measuring import Figures, paired, standalone, without_options
from structpred.rewards import SentenceBleu
from structpred.sequences import Sequences

LABELS, TIME, SENTENCES = 10_000, 25, 640


def main() -> Figures:
    """Measure."""
    without_options()
    generator = torch.Generator().manual_seed(0)
    references = torch.randint(LABELS, (SENTENCES, TIME), generator=generator)
    changed = torch.rand(SENTENCES, TIME, generator=generator) < 0.5
    outputs = torch.where(changed, torch.randint(LABELS, (SENTENCES, TIME), generator=generator), references)
    lengths = torch.randint(TIME - 5, TIME + 1, (2, SENTENCES), generator=generator)
    ours, right = Sequences(outputs.unsqueeze(1), lengths[0].unsqueeze(1)), Sequences(references, lengths[1])
    hypotheses, targets = ([" ".join(map(str, row)) for row in each.tolist()] for each in (ours.flatten(), right))
    metric, reward = BLEU(tokenize="none", effective_order=True, force=True), SentenceBleu()

    def by_sacrebleu() -> list[float]:
        return [
            metric.sentence_score(*pair).score for pair in zip(hypotheses, [[each] for each in targets], strict=True)
        ]

    difference = (reward.score(ours, right).squeeze(1) - torch.tensor(by_sacrebleu()) / 100).abs().max().item()
    times = paired(lambda: reward.score(ours, right), by_sacrebleu, repeats=15)
    return {
        "labels": LABELS,
        "longest": TIME,
        "sentences": SENTENCES,
        "largest_difference": difference,
        "sentences_per_second": SENTENCES / times.first,
        "sacrebleu_sentences_per_second": SENTENCES / times.second,
        "ratio": times.ratio,
    }


if __name__ == "__main__":
    standalone(main)
