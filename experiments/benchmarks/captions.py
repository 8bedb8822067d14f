"""What benchmarks of translation share: English captions into German, and a model of the size peers are measured at."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from structpred.models import Seq2Seq, SymbolEmbedding
from structpred.task import Example, Splits
from structpred.tasks import Multi30k
from structpred.training.data import Tokenizer, TrainingData
from structpred.vocabulary import Symbols

MODEL = Seq2Seq(inputs=SymbolEmbedding(min_count=2), embedding=256, hidden=512, dropout=0.0)
"""Embeddings of 256, two directions of 256 each, a decoder of 512 and attention after it; one layer everywhere."""

RARE = "<unk>"


def captions() -> Splits:
    """Multi30k with the target words that occur once replaced by one symbol, as peers have it."""
    splits = Multi30k(source="en", target="de").load()
    counted = Counter(word for example in splits.train for word in example.references[0])
    known = {word for word, count in counted.items() if count > 1}
    return replace(splits, train=tuple(_with_rare(splits.train, known)))


def _with_rare(examples: tuple[Example, ...], known: set[str]) -> Iterator[Example]:
    for example in examples:
        target: Symbols = tuple(word if word in known else RARE for word in example.references[0])
        yield replace(example, references=(target,))


def some(splits: Splits, sentences: int) -> TrainingData:
    """The first training sentences, under the vocabulary of all of them."""
    codec = Tokenizer.of(splits.train, MODEL.encoder())
    return TrainingData.of(splits.train[:sentences], codec)
