"""A bounded memory of values that take long to compute."""

from collections import OrderedDict
from collections.abc import Callable, Hashable


class Memory:
    """Values by what they were computed from; of more than ``size`` those used longest ago are forgotten.

    It belongs to one process: a copy or a pickled one is empty.

    Args:
        size: how many values are kept; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: OrderedDict[Hashable, float] = OrderedDict()

    def __reduce__(self) -> tuple[type["Memory"], tuple[int]]:
        return Memory, (self.size,)

    def __len__(self) -> int:
        return len(self.values)

    def value(self, key: Hashable, compute: Callable[[], float]) -> float:
        """The value of a key, computed where it is not known."""
        if not self.size:
            return compute()
        if key in self.values:
            self.values.move_to_end(key)
            return self.values[key]
        found = self.values[key] = compute()
        if len(self.values) > self.size:
            self.values.popitem(last=False)
        return found
