import copy
import pickle

import pytest

from structpred.rewards.reading import Memory


def asked_of(memory: Memory, keys: str) -> str:
    """The keys whose values were computed when all of them were asked for, in order."""
    computed = []

    def compute(key: str) -> float:
        computed.append(key)
        return float(ord(key))

    for key in keys:
        assert memory.value(key, lambda key=key: compute(key)) == ord(key)  # type: ignore[misc]  # a lambda's default
    return "".join(computed)


@pytest.mark.parametrize(
    ("size", "keys", "computed"),
    [(0, "aab", "aab"), (1, "aabba", "aba"), (2, "abab", "ab"), (2, "abcab", "abcab"), (2, "abacab", "abcb")],
)
def test_what_was_used_longest_ago_is_forgotten(size: int, keys: str, computed: str) -> None:
    memory = Memory(size)
    assert asked_of(memory, keys) == computed
    assert len(memory) <= size


def test_an_error_is_not_remembered() -> None:
    memory = Memory(3)
    with pytest.raises(ZeroDivisionError):
        memory.value("a", lambda: 1 / 0)
    assert memory.value("a", lambda: 2.0) == 2.0


def test_a_copy_is_empty() -> None:
    memory = Memory(2)
    asked_of(memory, "ab")
    for other in (copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):
        assert (other.size, len(other)) == (2, 0)
