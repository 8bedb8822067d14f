"""What ``reset(options=...)`` may say."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from structpred.errors import ConfigError
from structpred.registry import nearest


def check_names(options: Mapping[str, Any], known: list[str]) -> None:
    """Refuse an option that would do nothing.

    Raises:
        ConfigError: there is no option of this name.
    """
    for name in options:
        if name not in known:
            raise ConfigError(f"reset has no option {name!r}; {nearest(str(name), known)}")


def chosen_examples(options: Mapping[str, Any], n: int, examples: int) -> Int[np.ndarray, " n"] | None:
    """The examples that ``options["example"]`` names, one index for all episodes or one for each; None for none.

    Raises:
        ConfigError: they are no indices of the split.
    """
    chosen = options.get("example")
    if chosen is None:
        return None
    indices = np.asarray(chosen)
    whole = np.issubdtype(indices.dtype, np.integer) and indices.shape in ((), (n,))
    if not whole or (indices < 0).any() or (indices >= examples).any():
        expected = "a whole number" if n == 1 else f"a whole number, or {n} of them,"
        raise ConfigError(
            f"reset's options['example'] must be {expected} from 0 to {examples - 1}, the examples of the split, but "
            f"got {chosen!r}"
        )
    return np.broadcast_to(indices.astype(np.int64), (n,))


def reset_mask(options: Mapping[str, Any], n: int) -> Bool[np.ndarray, " n"]:
    """Which episodes ``options["reset_mask"]`` means: all where it is not given.

    Raises:
        ConfigError: it is not an array of n truth values with a True among them.
    """
    mask = options.get("reset_mask")
    if mask is None:
        return np.ones(n, bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,) or not mask.any():
        raise ConfigError(
            f"reset's options['reset_mask'] must be a NumPy array of {n} truth values with at least one True, but got "
            f"{mask!r}"
        )
    return mask
