"""A device that is none: its tensors hold numbers in main memory, and every crossing between the two is seen."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")  # what its tensors say they are on; PyTorch itself computes nothing there
HERE = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]

aten = torch.ops.aten
WAITS = {
    getattr(aten, name)
    for name in (
        # numbers that Python wants
        "_local_scalar_dense", "item", "is_nonzero", "equal", "allclose",
        # shapes that depend on numbers
        "nonzero", "nonzero_numpy", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive",
        "unique_dim_consecutive", "bincount", "histc",
        # answers of a solver, which are looked at for errors
        "_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_lstsq", "linalg_pinv",
    )
}  # fmt: skip
"""What the device must be waited for, whatever it is called on."""
REPEATING = {aten.repeat_interleave.Tensor, aten.repeat_interleave.self_Tensor}
"""A shape that depends on numbers, unless ``output_size`` says it."""
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
COPIES = {aten.copy_.default, aten._to_copy.default}


class There(torch.Tensor):
    """A tensor on the device.

    Attributes:
        numbers: what it holds, in main memory.
    """

    numbers: Tensor

    @staticmethod
    def __new__(cls: type["There"], numbers: Tensor) -> "There":
        there: There = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        there.numbers = numbers.detach()
        return there

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # its own signature is not the one it is called with
        cls, function: Any, types: Any, args: Any, kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{function} is called outside of Watch")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as PyTorch's docs say


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch annotates little of this
    """Computes in main memory, and writes down who waited for the device, by file and function.

    Copies in either direction wait as well, unless they go to the device and are told not to block.

    Raises:
        AssertionError: a tensor in main memory meets one on the device.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waited: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = list(_tensors((*args, *kwargs.values())))
        target = kwargs.get("device")
        there = any(isinstance(each, There) for each in tensors)
        if there:
            _refuse_what_was_left_behind(function, tensors)
        if _waits(function, args, kwargs, there, target):
            self.waited.append(_who())
        if target is not None:
            kwargs["device"] = HERE
        options = {name: _changed(value, There, _numbers) for name, value in kwargs.items()}
        result = function(*_changed(args, There, _numbers), **options)
        if target == HERE or not (there or target == DEVICE):
            return result
        if function._schema.name.endswith("_") and isinstance(args[0], Tensor):  # changed in place
            return args[0]
        return _changed(result, Tensor, There)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among what an operation of PyTorch takes, which are alone or in tuples and lists."""
    for each in values:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, tuple | list):
            yield from _tensors(each)


def _changed(value: Any, kind: type[Tensor], change: Callable[[Any], Any]) -> Any:
    """The same with all tensors of a kind changed, alone or in tuples and lists; several times as fast as a pytree."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_changed(each, kind, change) for each in value)
    return value


def _numbers(there: There) -> Tensor:
    return there.numbers


def _waits(function: Any, args: Any, kwargs: Any, there: bool, target: torch.device | None) -> bool:
    """Whether a call on a device that computes would wait for it."""
    if function in COPIES:
        return _blocks(args, kwargs, target)
    if not there:
        return False
    if function in REPEATING:
        return kwargs.get("output_size") is None
    if function in INDEXING:
        return any(each is not None and (each.dtype == torch.bool or _left(each)) for each in args[1])
    return function.overloadpacket in WAITS or target == HERE


def _blocks(args: Any, kwargs: Any, target: torch.device | None) -> bool:
    """Whether a copy crosses to main memory, or to the device without being told not to block."""
    if len(args) > 1:  # copy_(into, from, non_blocking)
        into, source = isinstance(args[0], There), isinstance(args[1], There)
        free = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
    else:  # _to_copy(from)
        source, free = isinstance(args[0], There), kwargs.get("non_blocking", False)
        into = source if target is None else target == DEVICE
    return source != into and (source or not free)


def _left(tensor: Tensor) -> bool:
    return not isinstance(tensor, There) and bool(tensor.ndim)


def _refuse_what_was_left_behind(function: Any, tensors: Sequence[Tensor]) -> None:
    """Single numbers, copies and indices may be in main memory, as they may with a real device."""
    left = [each for each in tensors if _left(each)]
    allowed = function in COPIES or function in INDEXING
    assert allowed or not left, f"{function}: a tensor in main memory meets the device in {_who()}"


def _who() -> str:
    """The innermost function of the project on the stack."""
    frame: Any = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and not {"tests", "site-packages"} & set(path.relative_to(ROOT).parts):
            return f"{path.relative_to(ROOT)}: {frame.f_code.co_name}"
        frame = frame.f_back
    return "PyTorch"


def move(module: nn.Module) -> None:
    """The parameters and buffers of a module to the device; what is shared stays shared."""
    moved: dict[int, Any] = {}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            there = nn.Parameter(There(parameter.detach()), requires_grad=parameter.requires_grad)
            setattr(part, name, moved.setdefault(id(parameter), there))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, moved.setdefault(id(buffer), There(buffer)))
