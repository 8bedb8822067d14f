"""A task for rewards that read more than ids."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.metrics import Metric, SymbolErrorRate
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.vocabulary import Symbols


@tasks.register("test-words")
@dataclass(frozen=True, kw_only=True)
class Words(Task):
    """Sentences of words for their numbers; the number is known as metadata too."""

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(),)

    sentences: tuple[str, ...] = ()

    def load(self) -> Splits:
        examples = tuple(
            Example(tuple(str(i)), (tuple(sentence.split()),), f"sentence {i}", metadata={"weight": i})
            for i, sentence in enumerate(self.sentences, start=1)
        )
        return Splits(examples, examples, examples, "\n".join(self.sentences) or "no sentences")

    def parse(self, text: str) -> Symbols:
        return tuple(text)

    def render(self, output: Symbols) -> str:
        return " ".join(output)
