"""A user's own function as a reward."""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, MappingProxyType
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.blame import blaming
from structpred.errors import ConfigError
from structpred.imports import importable_name
from structpred.registry import rewards
from structpred.returned import number
from structpred.rewards.reading import Memory, Reading, rows_of
from structpred.sequences import Sequences
from structpred.task import Example
from structpred.values import Interval

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

ASKED = ("source", "metadata")
"""What a function may ask for by keyword."""

Seen = tuple[int, ...] | tuple[str, ...] | str
"""An output or a reference as a function sees it, but for lists."""


@rewards.register("function")
@dataclass(frozen=True, kw_only=True)
class FunctionReward(Reading):
    """r(y, y*) = f(y, y*), for an importable function ``f(output, reference) -> float``; higher is better.

    The function sees lists of label ids, lists of the task's symbols, or texts as the task renders them. A function
    with keyword-only parameters named ``source`` or ``metadata``, as in ``f(output, reference, *, source)``, is also
    given the example's source, a list of symbols or a `structpred.sequences.Recording`, and its `Example.metadata`.

    The function is called once per candidate and reference, of which the best counts. Its source text is part of a
    run's identity; the source of what it calls is not. It is imported and its parameters are checked where an identity
    is computed or training begins, never because a saved run names it.

    Attributes:
        function: the function, or where to import it from, as ``package.module:name``. One that has no such name, as a
            lambda or a closure, is refused.
        on: what it sees: ``"ids"``, ``"symbols"`` or ``"text"``.
        cache: how many of its latest values are remembered, by all that it was given. 0, the default, calls it every
            time, which is the only choice for a function that depends on anything else, such as a model that is being
            trained or a generator of random numbers.
    """

    identity_optional: ClassVar[tuple[str, ...]] = ("on", "cache")

    function: str  # a function that is given instead is replaced by its name
    on: Literal["ids", "symbols", "text"] = "ids"
    cache: Annotated[int, Interval(least=0)] = 0

    def __post_init__(self) -> None:
        given: object = self.function
        if callable(given):
            object.__setattr__(self, "function", importable_name(given, "a reward function"))
        super().__post_init__()

    def check(self) -> None:
        """Refuse what cannot be the name of a function; whether it can be imported shows at use."""
        if NAME.fullmatch(self.function) is None:
            raise ConfigError(
                f'FunctionReward.function must be "module:name", as in "my_rewards:overlap", but got {self.function!r}'
            )

    def fingerprint(self) -> tuple[str, ...]:
        """The function's source text.

        Raises:
            ConfigError: it cannot be imported, is not written in Python, or its file was edited since.
        """
        function = self.resolve()
        try:
            return (_source(function, self.function),)
        except (OSError, TypeError):
            raise ConfigError(
                f"the reward function {self.function!r} has no Python source that could identify a run; "
                "call it from a function of your own, in a file"
            ) from None

    def resolve(self) -> Callable[..., float]:
        """The function itself.

        Raises:
            ConfigError: the module or the name does not exist, or is nothing that can be called with what it is given.
        """
        module, _, name = self.function.partition(":")
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"the reward function {self.function!r} cannot be imported ({error}); "
                "put its module on the Python path, name its file with --import on the command line, or correct it"
            ) from error
        if not callable(found):
            raise ConfigError(f"the reward function {self.function!r} must be callable, but is {found!r}")
        self._parameters.check(self.function, found)
        return found

    @property
    def asks_for_examples(self) -> bool:
        """True where the function asks for the source or the metadata.

        Raises:
            ConfigError: it cannot be imported or called.
        """
        self.resolve()
        return bool(self._parameters.asked)

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The best value over an example's references.

        Raises:
            ConfigError: the function cannot be imported or returns no finite number, or it is to see more than ids and
                nothing says which data they come from.
            CodeError: it raised an exception.
        """
        function, wanted = self.resolve(), self._parameters.asked
        who, what = f"the reward function {self.function!r}", "the source or the metadata"
        indices = self.indices(references, who, what) if wanted else [None] * len(outputs)
        see = self._seen()
        values = []
        with blaming(self._modules(function)):
            for (candidates, targets), index in zip(rows_of(outputs, references), indices, strict=True):
                call = self._calling(function, None if index is None else self.context.examples[index], wanted)
                right = [see(each) for each in targets]
                for output in map(see, candidates):
                    values.append(max([self._value(call, output, each, index) for each in right]))
        return (
            torch.tensor(values, dtype=torch.float64)
            .reshape(outputs.lengths.shape)
            .to(outputs.device, non_blocking=True)
        )

    def _seen(self) -> Callable[[list[int]], Seen]:
        """What becomes of ids."""
        if self.on == "ids":
            return tuple
        return self.context.symbols if self.on == "symbols" else self.context.text

    def _calling(
        self, function: Callable[..., object], example: Example | None, wanted: tuple[str, ...]
    ) -> Callable[[Seen, Seen], float]:
        """The function on lists of its own, which it may change, or on texts, and with what it asks for."""
        own: Callable[[Seen], object] = str if self.on == "text" else list
        if example is None:
            return lambda output, right: self._number(function(own(output), own(right)))
        return lambda output, right: self._number(
            function(own(output), own(right), **{name: _given(name, example) for name in wanted})
        )

    def _value(self, call: Callable[[Seen, Seen], float], output: Seen, right: Seen, index: int | None) -> float:
        """A value, remembered by what the function sees; of the example its index tells."""
        if not self.cache:
            return call(output, right)
        return self._memory.value((output, right, index), lambda: call(output, right))

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self.cache)

    @cached_property
    def _parameters(self) -> "_Parameters":
        return _Parameters()

    def _modules(self, function: object) -> set[str]:
        own = {getattr(function, "__module__", ""), self.function.partition(":")[0]}
        return own if self._context is None else own | self._context.modules

    def _number(self, value: object) -> float:
        return number(value, f"the reward function {self.function!r}")


class _Parameters:
    """What a function asks for, looked up once: inspecting a signature takes longer than most calls.

    Attributes:
        function: the last function that was checked.
        asked: what it asks for, of `ASKED`.
    """

    def __init__(self) -> None:
        self.function: object = None
        self.asked: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[type["_Parameters"], tuple[()]]:
        return _Parameters, ()  # another process imports the function by itself

    def check(self, name: str, function: Callable[..., object]) -> None:
        """Refuse a function that cannot be called with an output, a reference and what it asks for.

        Raises:
            ConfigError: its parameters are others.
        """
        if function is not self.function:
            self.asked = _asked(name, function)
            self.function = function


@cache
def _source(function: Callable[..., object], name: str) -> str:
    """The text of a function that was imported, or of the module of another callable, whose settings count as well.

    It is kept from the first time on: the file may be edited while the function stays.

    Raises:
        ConfigError: the file was edited between the import and now, so that its text is not what runs.
        OSError, TypeError: there is no text.
    """
    plain = inspect.unwrap(function)
    if not inspect.isroutine(plain) and not inspect.isclass(plain):
        return inspect.getsource(sys.modules[name.partition(":")[0]])
    if not _is_what_runs(plain):
        raise ConfigError(
            f"the file of the reward function {name!r} was edited after it was imported, so that its text is not what "
            "runs and cannot identify a run; start the program again"
        )
    return inspect.getsource(function)


def _is_what_runs(function: Callable[..., object]) -> bool:
    """True unless a function's file, compiled now, has no such code; a file that is rewritten on import is trusted."""
    code = getattr(function, "__code__", None)
    module = sys.modules.get(function.__module__)
    if code is None or type(getattr(module, "__loader__", None)) is not SourceFileLoader:
        return True
    try:
        whole = compile(Path(code.co_filename).read_bytes(), code.co_filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return any(each == code for each in _codes(whole))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those within it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _asked(name: str, function: Callable[..., object]) -> tuple[str, ...]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions that are not written in Python do not tell
        return ()
    by_keyword = {each.name for each in signature.parameters.values() if each.kind is inspect.Parameter.KEYWORD_ONLY}
    found = tuple(name for name in ASKED if name in by_keyword)
    if unheard := [name for name in ASKED if name in signature.parameters and name not in by_keyword]:
        raise ConfigError(
            f"the reward function {name!r} has a parameter {unheard[0]!r} that would never be given; put a * before "
            f"it, as in f(output, reference, *, {unheard[0]}), to be given the example's"
        )
    try:
        signature.bind(None, None, **dict.fromkeys(found))
    except TypeError as error:
        raise ConfigError(
            f"the reward function {name!r} must take an output and a reference, and may ask for {' and '.join(ASKED)} "
            f"by keyword-only parameters of these names, but its parameters are {signature} ({error}); correct them"
        ) from None
    return found


def _given(name: str, example: Example) -> object:
    """The source, a list unless it is a recording, or the metadata, which cannot be written to."""
    if name == "metadata":
        return MappingProxyType(dict(example.metadata))
    return list(example.source) if isinstance(example.source, tuple) else example.source
