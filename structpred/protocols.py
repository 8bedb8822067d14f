"""Protocols that objects are checked against at run time, with the same answer on every Python."""

from abc import ABCMeta
from typing import TYPE_CHECKING, Protocol

from typing_extensions import get_protocol_members, is_protocol

if TYPE_CHECKING:  # what type checkers take the metaclass of a protocol for
    ProtocolMeta = ABCMeta
else:
    ProtocolMeta = type(Protocol)


class CheckableMeta(ProtocolMeta):
    """``isinstance`` that sees what an object answers through its ``__getattr__``.

    From Python 3.12 on, the check of `typing.runtime_checkable` looks members up statically. To it, an object that
    stands for another one and passes every other name on offers nothing: a distribution that differs from p in its
    draws alone, a decoder that counts its calls, a logger around a logger.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        """True where the object has every member, however it comes by them."""
        if super().__instancecheck__(instance):
            return True
        if not is_protocol(cls) or not hasattr(type(instance), "__getattr__"):
            return False
        return all(hasattr(instance, name) for name in get_protocol_members(cls))


class Checkable(Protocol, metaclass=CheckableMeta):
    """The base of every protocol here that is `typing.runtime_checkable`."""
