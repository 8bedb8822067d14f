"""Weights that a network reads from a file and never trains: a run keeps the file's digest instead of a copy."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from structpred.errors import ConfigError, RunError
from structpred.protocols import Checkable

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightSource:
    """Where the weights of a module came from.

    Attributes:
        place: the file or folder, for messages.
        digest: SHA-256 of the weights as read, 64 hexadecimal digits.
        names: the parameters that were read from there and not changed since, by their names in the module.

    Raises:
        ConfigError: the digest is not one of SHA-256.
    """

    place: str
    digest: str
    names: frozenset[str] = field(repr=False)

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ConfigError(
                f"WeightSource.digest must be 64 hexadecimal digits of SHA-256, but got {self.digest!r} for "
                f"{self.place}; hash the content of the file"
            )


@runtime_checkable
class Sourced(Checkable, Protocol):
    """A module that says where its weights came from, at any depth of a network.

    Building the network again must read them again. Those of ``weight_source.names`` that have no ``requires_grad``
    when training begins, or that the optimiser freezes for the whole run, never change, and a run does not keep them.
    """

    @property
    def weight_source(self) -> WeightSource:
        """Where they came from."""


@dataclass(frozen=True)
class LeftOut:
    """Weights of a network that a run does not keep.

    Attributes:
        owners: the dotted name of the module that has read a weight, by its key in the network's state; a weight that
            has several names is under all of them.
        sources: the sources of these modules.
    """

    owners: Mapping[str, str]
    sources: Mapping[str, WeightSource]

    @classmethod
    def of(cls, network: nn.Module, *, trained: bool = False) -> "LeftOut":
        """The weights that come from a source and are not trained.

        Args:
            network: the network, as built.
            trained: True for those that are trained as well.
        """
        readers: dict[int, str] = {}
        sources = sources_of(network)
        for path, source in sources.items():
            for name, each in network.get_submodule(path).named_parameters(remove_duplicate=False):
                if name in source.names and (trained or not each.requires_grad):
                    readers[id(each)] = path
        state = network.state_dict(keep_vars=True)
        return cls({name: readers[id(each)] for name, each in state.items() if id(each) in readers}, sources)

    def without(self, names: Collection[str]) -> "LeftOut":
        """All but these, which are kept."""
        owners = {name: path for name, path in self.owners.items() if name not in names}
        return LeftOut(owners, self.sources)

    def kept(self, state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
        """The rest of the state of a network, or of a module in which the network's names have a prefix."""
        return {name: each for name, each in state.items() if name.removeprefix(prefix) not in self.owners}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each source, by module."""
        return {path: self.sources[path].digest for path in dict.fromkeys(self.owners.values())}

    @property
    def places(self) -> dict[str, str]:
        """The file or folder of each source, by module."""
        return {path: self.sources[path].place for path in dict.fromkeys(self.owners.values())}


def sources_of(network: nn.Module) -> dict[str, WeightSource]:
    """The sources of a network's weights, by the dotted name of the module that has read them."""
    found = {path: each.weight_source for path, each in network.named_modules() if isinstance(each, Sourced)}
    return {path: source for path, source in found.items() if isinstance(source, WeightSource)}


def may_lack(network: nn.Module, digests: Mapping[str, str]) -> set[str]:
    """The keys of the network's state that a run may have left out, because the network has read them again.

    Args:
        network: the network, as built.
        digests: `LeftOut.digests` of the run.

    Raises:
        RunError: a source has changed.
        RuntimeError: the network reads none at that place.
    """
    if not digests:
        return set()
    every = LeftOut.of(network, trained=True)
    for path, digest in digests.items():
        if path not in every.sources:
            raise RuntimeError(f"expected {path} to read weights from a file, but it reads none")
        now = every.sources[path]
        if now.digest != digest:
            raise RunError(
                f"the weights of {path or 'the network'} were not trained and so not kept; they came from {now.place} "
                f"with SHA-256 {digest[:12]}…, but its weights now have {now.digest[:12]}…; put the earlier ones back"
            )
    return {name for name, path in every.owners.items() if path in digests}


def load_kept(module: nn.Module, state: Mapping[str, Tensor], absent: Collection[str] = ()) -> None:
    """Load a state of which some keys may be absent.

    Raises:
        RuntimeError: others are absent, or the state does not fit the module.
    """
    missing, unexpected = module.load_state_dict(state, strict=False)
    wrong = [*(name for name in missing if name not in absent), *unexpected]
    if wrong:
        raise RuntimeError(f"expected a state with the module's own names, but {wrong[0]} is only in one of them")
