"""Pretrained models on disk: found by path, package or hub name, digested, and read without running their code."""

import contextlib
import hashlib
import json
import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from structpred.errors import AbsentError, ConfigError, DataError, StructpredError
from structpred.models.sources import WeightSource
from structpred.pretrained.library import optional, quiet
from structpred.pretrained.places import CONFIG, PACKAGE, SETTINGS, TOKENIZER, downloaded, file_named, is_a_name, sha256
from structpred.returned import shortened
from structpred.text import plain

WEIGHTS, PICKLES = "model.safetensors", "pytorch_model.bin"
ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class ModelFolder:
    """A folder as ``save_pretrained`` of transformers writes it.

    Only configs, tokenizers and weights are read; code in the folder is never imported. Weights are safetensors unless
    pickles are asked for, and those are read with ``weights_only``.

    Attributes:
        name: what messages call it, as the user gave it.
        path: the folder.
        pickles: read ``pytorch_model.bin`` where there are no safetensors.
    """

    name: str
    path: Path
    pickles: bool = False

    @classmethod
    def of(cls, path_or_name: str, revision: str | None = None, *, pickles: bool = False) -> "ModelFolder":
        """Find a folder, or download it into the hub's cache.

        Args:
            path_or_name: a folder, a folder of an installed package (``package:NAME/FOLDER``), or a name on the hub.
            revision: branch, tag or commit on the hub; None takes its main branch.
            pickles: read ``pytorch_model.bin`` where there are no safetensors.

        Raises:
            AbsentError: it is not found and cannot be downloaded.
            DataError: it holds no config or no weights of the kind asked for, or needs code of its own.
            ConfigError: a revision is given for a folder.
        """
        if not path_or_name:
            raise ConfigError("path_or_name must name a folder or a model on the hub, but it is empty")
        path = file_named(path_or_name)
        if path.is_dir():
            if revision is not None:
                raise ConfigError(
                    f"revision must be None for the folder {path_or_name}, because only a hub name has revisions, but "
                    f"got {revision!r}"
                )
        elif path.exists():
            raise DataError(
                f"{path_or_name} must be the folder of a pretrained model, but it is a file; name its folder"
            )
        elif path_or_name.startswith(PACKAGE) or not is_a_name(path_or_name):
            raise AbsentError(
                f"{path_or_name} must be the folder of a pretrained model, but there is no such folder; check the path"
            )
        else:
            pickled = ("pytorch_model*",) if pickles else ()
            path = downloaded(path_or_name, revision, (*SETTINGS, "model*.safetensors*", *pickled))
        found = cls(path_or_name, path, pickles)
        found.check()
        return found

    def check(self) -> None:
        """Refuse a folder that lacks something, or that would run code.

        Raises:
            DataError: as said.
        """
        if not (self.path / CONFIG).is_file():
            raise DataError(f"{self.name} must hold a {CONFIG}, but it has none; name the folder of a saved model")
        for file in (CONFIG, "tokenizer_config.json"):
            if "auto_map" in self.json(file):
                raise DataError(
                    f"{self.name}/{file} asks for code of its own (auto_map), which is never run; take a model that "
                    "transformers itself knows"
                )
        elsewhere = self.json(CONFIG).get("transformers_weights")
        if elsewhere is not None:
            raise DataError(
                f"{self.name}/{CONFIG} must not name its weights, but its transformers_weights is "
                f"{plain(str(elsewhere))[:40]!r}; call that file {WEIGHTS}, and remove the entry"
            )
        if (self.path / ADAPTER).is_file():
            raise DataError(
                f"{self.name} must hold a whole model, but it holds an adapter ({ADAPTER}); merge it into its model "
                "(merge_and_unload of peft), and save that"
            )
        if not self.weight_files:
            raise DataError(f"{self.name} must hold {WEIGHTS}, but {self._instead()}")

    def _instead(self) -> str:
        """What is in place of the weights, for a message."""
        if any(self.path.glob("pytorch_model*.bin")):
            return (
                f"its weights are pickles ({PICKLES}), which can run code; convert them with save_pretrained of "
                "transformers, or ask for pickles if you trust their source"
            )
        others = sorted(each.name for each in self.path.glob("*.safetensors"))
        return f"it has {', '.join(others) or 'no weights'}; save the whole model there"

    def json(self, file: str) -> Mapping[str, Any]:
        """One of its JSON files; empty if it has none of that name.

        Raises:
            DataError: it is no JSON object.
        """
        place = self.path / file
        if not place.is_file():
            return {}
        try:
            node = json.loads(place.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise DataError(f"{self.name}/{file} must be JSON, but it cannot be read: {error}") from None
        if not isinstance(node, dict):
            raise DataError(f"{self.name}/{file} must hold a JSON object, but it holds {type(node).__name__}")
        return node

    @cached_property
    def weight_files(self) -> tuple[str, ...]:
        """The files that weights are read from: one, or an index and its parts; empty if there are none."""
        for single in (WEIGHTS, *([PICKLES] if self.pickles else [])):
            index = f"{single}.index.json"
            if (self.path / single).is_file():
                return (single,)
            if (self.path / index).is_file():
                return (index, *self._parts(index))
        return ()

    def _parts(self, index: str) -> list[str]:
        node = self.json(index)
        places = node.get("weight_map")
        parts = sorted({str(part) for part in places.values()}) if isinstance(places, dict) else []
        absent = [part for part in parts if Path(part).name != part or not (self.path / part).is_file()]
        wrong = f"{absent[0]} is not there" if absent else "it names none" if not parts else ""
        wrong = wrong or ("" if isinstance(node.get("metadata"), dict) else "it has no metadata")
        if wrong:
            raise DataError(
                f"{self.name}/{index} must have metadata, and a weight_map that names files beside it, but {wrong}; "
                "fetch the model again"
            )
        return parts

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of every file that is read, by name, in hexadecimal."""
        settings = [name for name in SETTINGS if (self.path / name).is_file()]
        return {name: sha256(self.path / name) for name in (*settings, *self.weight_files)}

    @property
    def digest(self) -> str:
        """SHA-256 of names and digests of all `files`: equal for equal models, wherever they are."""
        lines = (f"{name} {digest}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def number(self, *names: str) -> int:
        """The first of these settings in its config, such as the size of a state, without importing transformers.

        Raises:
            DataError: it has none of them.
        """
        node = self.json(CONFIG)
        found = next((node[name] for name in names if isinstance(node.get(name), int)), None)
        if found is None:
            found = next((value for name in names if isinstance(value := getattr(self.config, name, None), int)), None)
        if found is None and node.get("model_type") == "encoder-decoder":
            raise DataError(
                f"{self.name} must hold one network, but it holds an encoder and a decoder put together; save the "
                "encoder by itself, by model.encoder.save_pretrained(folder), with its tokenizer"
            )
        if found is None:
            raise DataError(f"{self.name}/{CONFIG} must say {' or '.join(names)}, but it does not; take another model")
        return found

    @cached_property
    def config(self) -> Any:
        """Its configuration, of transformers' class.

        Raises:
            DataError: transformers does not know the kind of model.
            ConfigError: transformers is not installed.
        """
        with self._reading("a config"):
            return optional("transformers").AutoConfig.from_pretrained(self.path, **_ONLY_HERE)

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer, of transformers' class.

        Raises:
            DataError: there is none, it cannot be read, or it has ids beyond the model's embeddings.
            ConfigError: transformers is not installed.
        """
        return self.tokenizer_with()

    def tokenizer_with(self, **options: Any) -> Any:
        """As `tokenizer`, with options of ``from_pretrained``."""
        if not any((self.path / name).is_file() for name in TOKENIZER):
            raise DataError(
                f"{self.name} must hold a tokenizer, such as tokenizer.json, but it has none; save it there"
            )
        with self._reading("a tokenizer"):
            made = optional("transformers").AutoTokenizer
            tokenizer = made.from_pretrained(self.path, config=self.config, **_ONLY_HERE, **options)
        self.check_ids(tokenizer)
        return tokenizer

    def check_ids(self, tokenizer: Any) -> None:
        """Refuse a tokenizer with ids that the model has no embedding for.

        Raises:
            DataError: its highest id is too high.
        """
        known = getattr(self.config, "vocab_size", None)
        piece, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
        if isinstance(known, int) and highest >= known:
            raise DataError(
                f"the tokenizer of {self.name} must have ids below {known}, the number of the model's embeddings, but "
                f"{piece!r} has the id {highest}; save the tokenizer that the model was trained with"
            )

    def mark(self, network: nn.Module, new: Collection[nn.Parameter] = ()) -> None:
        """Record that a network's weights come from here, so that a run does not store those that it never trains.

        Args:
            network: what `network` returned, or a part of it.
            new: parameters that do not come from here.
        """
        made = {id(each) for each in new}
        every = network.named_parameters(remove_duplicate=False)
        names = frozenset(name for name, each in every if id(each) not in made)
        source: Any = WeightSource(self.name, self.digest, names)
        network.weight_source = source

    def network(self, kind: str = "AutoModel", *, spare: Sequence[str] = (), **options: Any) -> nn.Module:
        """The network with its weights in single precision, in evaluation mode; torch's random state is left alone.

        Args:
            kind: a class of transformers with ``from_pretrained``, such as ``"AutoModelForSeq2SeqLM"``.
            spare: prefixes of unused weights, which the folder may lack, such as ``"pooler."``.
            options: further options of ``from_pretrained``.

        Raises:
            DataError: the weights cannot be read, some that the network needs are not among them, or are not finite.
            ConfigError: transformers is not installed.
        """
        made = getattr(optional("transformers"), kind)
        safe = self.weight_files[0].startswith(WEIGHTS)
        with self._reading("weights"), torch.random.fork_rng(devices=[]):
            network, found = made.from_pretrained(
                self.path,
                config=self.config,
                dtype=torch.float32,
                use_safetensors=safe,
                weights_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by name
                **_ONLY_HERE,
                **options,
            )
        self._refuse_whole_numbers()
        absent = sorted(name for name in found["missing_keys"] if not name.startswith(tuple(spare)))
        other = sorted(str(each[0]) for each in found["mismatched_keys"])
        if absent or other:
            state = f"absent, such as {absent[0]}" if absent else f"of another size, such as {other[0]}"
            needed = f"all weights of {type(network).__name__}"
            raise DataError(
                f"{self.name} must hold {needed}, but {len(absent or other)} are {state}; save the whole model there"
            )
        module: nn.Module = network.eval()
        for name, weight in module.named_parameters():
            if not bool(weight.isfinite().all()):
                raise DataError(
                    f"{self.name} must hold finite weights, but {name} has one that is not a number, or infinite; "
                    "fetch the model again"
                )
        return module

    def _refuse_whole_numbers(self) -> None:
        """Refuse quantised weights, which transformers would read as if they were not, where no config says so."""
        if not self.weight_files[0].startswith(WEIGHTS):
            return
        for file in self.weight_files:
            if not file.endswith(".safetensors"):
                continue
            with self._reading("weights"), optional("safetensors").safe_open(self.path / file, framework="pt") as held:
                for name in held.keys():  # noqa: SIM118 - no dict
                    kind = held.get_slice(name).get_dtype()
                    if name.endswith((".weight", ".bias")) and kind.startswith(("I", "U")):
                        raise DataError(
                            f"{self.name} must hold weights of real numbers, but {name} in {file} holds whole ones "
                            f"({kind}), as of a quantised model; save the model before it is quantised"
                        )

    @contextlib.contextmanager
    def _reading(self, part: str) -> Iterator[None]:
        """Quietly, with errors that name the folder."""
        try:
            with quiet():
                yield
        except StructpredError:
            raise
        except pickle.UnpicklingError as error:
            raise DataError(
                f"{self.name} must hold {part} that can be read without running code, but its pickles hold more than "
                "tensors; save the model as safetensors"
            ) from error
        except Exception as error:
            reason = shortened(plain(str(error)), 200)
            if not reason or isinstance(error, KeyError):  # whose text is a name alone
                reason = f"{type(error).__name__} {reason}".strip()
            raise DataError(
                f"{self.name} must hold {part} that transformers can read, but it says: {reason}"
            ) from error


_ONLY_HERE = {"trust_remote_code": False, "local_files_only": True}
