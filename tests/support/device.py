"""A device that is none: its tensors hold numbers in main memory, and every crossing between the two is seen."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")  # what its tensors say they are on; PyTorch itself computes nothing there
HERE = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]

aten = torch.ops.aten
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default}
"""What the device must be waited for: a number that Python wants, or a shape that depends on numbers."""
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

    Raises:
        AssertionError: a tensor in main memory meets one on the device.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waited: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        target = kwargs.get("device")
        there = any(isinstance(each, There) for each in tensors)
        if there:
            _refuse_what_was_left_behind(function, tensors)
            if function in WAITS or target == HERE or (function in INDEXING and _by_mask(args[1])):
                self.waited.append(_who())
        if target is not None:
            kwargs["device"] = HERE
        numbers, options = tree_map_only(There, lambda each: each.numbers, (args, kwargs))
        result = function(*numbers, **options)
        if target == HERE or not (there or target == DEVICE):
            return result
        if function._schema.name.endswith("_") and isinstance(args[0], Tensor):  # changed in place
            return args[0]
        return tree_map_only(Tensor, There, result)


def _by_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(each is not None and each.dtype == torch.bool for each in indices)


def _refuse_what_was_left_behind(function: Any, tensors: Sequence[Tensor]) -> None:
    """Single numbers, copies and indices may be in main memory, as they may with a real device."""
    left = [each for each in tensors if not isinstance(each, There) and each.ndim]
    allowed = function in COPIES or function in INDEXING
    assert allowed or not left, f"{function}: a tensor in main memory meets the device in {_who()}"


def _who() -> str:
    """The innermost function of the project on the stack."""
    frame: Any = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and not {"tests", ".venv"} & set(path.parts):
            return f"{path.relative_to(ROOT)}: {frame.f_code.co_name}"
        frame = frame.f_back
    return "PyTorch"


def move(module: nn.Module) -> None:
    """The parameters and buffers of a module to the device; what is shared stays shared."""
    moved: dict[int, Any] = {}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, moved.setdefault(id(parameter), nn.Parameter(There(parameter.detach()))))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, moved.setdefault(id(buffer), There(buffer)))
