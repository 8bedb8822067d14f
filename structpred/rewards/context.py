"""What rewards may know of the data besides label ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from structpred.errors import ConfigError
from structpred.foreign import modules_of
from structpred.returned import described, refuse
from structpred.task import Example, Task, loaded
from structpred.vocabulary import Symbols, Vocabulary


@dataclass(frozen=True, eq=False)
class Context:
    """The data that ids come from. Training and environments make one of theirs; elsewhere `of` does.

    Attributes:
        task: renders symbols as text.
        labels: the symbols of outputs, in the order of their ids.
        examples: what `Sequences.examples` are indices of.
    """

    task: Task
    labels: Vocabulary
    examples: tuple[Example, ...]

    @classmethod
    def of(cls, task: Task) -> "Context":
        """The context of a task's training examples, which is also the one that training has.

        Raises:
            DataError: the data cannot be read.
        """
        train = loaded(task).train
        return cls(task, Vocabulary.of(reference for example in train for reference in example.references), train)

    @cached_property
    def modules(self) -> set[str]:
        """Where a task from outside the package is defined, whose errors become sentences (`structpred.blame`)."""
        return modules_of([type(self.task)])

    def symbols(self, ids: Sequence[int]) -> Symbols:
        """The symbols of an output.

        Raises:
            ConfigError: an id is not that of a label of these data.
        """
        strange = [each for each in ids if not 0 <= each < len(self.labels)]
        if strange:
            raise ConfigError(
                f"the reward is bound to data with the labels 0 to {len(self.labels) - 1}, but is asked about the "
                f"label {strange[0]}; bind it to the data that the label comes from"
            )
        return self.labels.decode(ids)

    def text(self, ids: Sequence[int]) -> str:
        """An output as the task renders it.

        Raises:
            ConfigError: an id is not that of a label of these data, or the task renders no text.
        """
        found: object = self.task.render(self.symbols(ids))
        if not isinstance(found, str):
            refuse(f"{type(self.task).__name__}.render", "text", described(found), "join the symbols")
        assert isinstance(found, str)
        return found
