"""A user's own function as a reward."""

import importlib
import inspect
import math
import numbers
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.blame import blaming
from structpred.errors import ConfigError
from structpred.registry import rewards
from structpred.returned import LARGEST, refuse, shortened
from structpred.rewards.base import Reward
from structpred.sequences import Sequences

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@rewards.register("function")
@dataclass(frozen=True, kw_only=True)
class FunctionReward(Reward):
    """r(y, y*) = f(y, y*), for an importable function ``f(output: list[int], reference: list[int]) -> float``.

    Higher is better. The function is called once per candidate and reference, and its source text is part of a run's
    identity; the source of what it calls is not.

    Attributes:
        function: where to import it from, as ``package.module:name``.
    """

    function: str

    def check(self) -> None:
        """Refuse what cannot be the name of a function; whether it can be imported shows at use."""
        if NAME.fullmatch(self.function) is None:
            raise ConfigError(
                f'FunctionReward.function must be "module:name", as in "my_rewards:overlap", but got {self.function!r}'
            )

    def sources(self) -> tuple[str, ...]:
        """The function's source text.

        Raises:
            ConfigError: it cannot be imported, or is not written in Python.
        """
        function = self.resolve()
        try:
            return (inspect.getsource(function),)
        except (OSError, TypeError):
            raise ConfigError(
                f"the reward function {self.function!r} has no Python source that could identify a run; "
                "call it from a function of your own, in a file"
            ) from None

    def resolve(self) -> Callable[[list[int], list[int]], float]:
        """The function itself.

        Raises:
            ConfigError: the module or the name does not exist, or is nothing that can be called.
        """
        module, _, name = self.function.partition(":")
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"the reward function {self.function!r} cannot be imported ({error}); "
                "put its module on the Python path, name its file with --import on the command line, or mend the name"
            ) from error
        if not callable(found):
            raise ConfigError(f"the reward function {self.function!r} must be callable, but is {found!r}")
        return found

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The best value over an example's references.

        Raises:
            ConfigError: the function cannot be imported, or returns something other than a number.
        """
        function = self.resolve()
        several = references if references.lengths.ndim == 2 else references.candidates()
        rows, count = outputs.lengths.shape[1], several.lengths.shape[1]
        hypotheses, targets = outputs.flatten().tolist(), several.flatten().tolist()
        with blaming({getattr(function, "__module__", ""), self.function.partition(":")[0]}):
            values = [
                max(
                    self._number(function(list(output), list(target)))
                    for target in targets[i * count : i * count + count]
                )
                for i, output in ((index // rows, output) for index, output in enumerate(hypotheses))
            ]
        return torch.tensor(values, dtype=torch.float32, device=outputs.device).reshape(outputs.lengths.shape)

    def _number(self, value: object) -> float:
        what, advice = f"the reward function {self.function!r}", "mend it, or give such outputs a low reward"
        if not isinstance(value, numbers.Real):
            refuse(what, "a number", shortened(repr(value)), advice)
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond double precision
            number = math.inf
        if not abs(number) <= LARGEST:  # in this order NaN is refused as well
            refuse(what, "a number that is finite in single precision", shortened(repr(value)), advice)
        return number
