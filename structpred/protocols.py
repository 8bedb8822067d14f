"""Run-time protocols that give the same answer on every Python version."""

from abc import ABCMeta
from typing import TYPE_CHECKING, Protocol

from typing_extensions import get_protocol_members, is_protocol

if TYPE_CHECKING:  # type checkers believe that this is the metaclass of a protocol
    ProtocolMeta = ABCMeta
else:
    ProtocolMeta = type(Protocol)


class CheckableMeta(ProtocolMeta):
    """Makes ``isinstance`` see members that an object provides through ``__getattr__``.

    From Python 3.12 on, `typing.runtime_checkable` looks members up statically and so rejects a wrapper that delegates
    to another object: a distribution that only changes the draws of p, a decoder that counts its calls, a logger around
    a logger.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        """True if the object has every member, by whatever means."""
        if super().__instancecheck__(instance):
            return True
        if not is_protocol(cls) or not hasattr(type(instance), "__getattr__"):
            return False
        return all(hasattr(instance, name) for name in get_protocol_members(cls))


class Checkable(Protocol, metaclass=CheckableMeta):
    """Base of every `typing.runtime_checkable` protocol in this package."""
