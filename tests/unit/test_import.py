"""`bootstrap import`: pretrained models from GGUF files and folders, and what is refused."""

import errno
import hashlib
import json
import os
from types import FunctionType

import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from support import tiny
from support.pretrained import CHAT, small_folder, small_llama, write
from transformers import AutoModelForCausalLM, AutoTokenizer

from bootstrap.cli.main import main
from bootstrap.config.model_files import missing_files
from bootstrap.errors import RecipeError, StoreError
from bootstrap.stages.weights import read_model_folder
from bootstrap.store import durable
from bootstrap.store.fingerprint import fingerprint_model, fingerprint_safetensors
from bootstrap.training import fidelity
from bootstrap.training import model as models
from bootstrap.training.model import load, weights_bytes
from bootstrap.training.sources import read_source

pytestmark = pytest.mark.torch

BYTES = [chr(b) if 33 <= b <= 126 else chr(256 + b) for b in range(33, 127)]
TOKENS = ["<pad>", "<bos>", "<eos>", "<unk>", *BYTES, "Ġ", "Ġ1", "12", "ab"]
MERGES = ["Ġ 1", "1 2", "a b"]


def gguf_file(path, *, pre="smollm", licence="apache-2.0"):
    """Write a small Llama as llama.cpp's converter does, and return the model it holds."""
    config = small_llama().config
    config.vocab_size = len(TOKENS)
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(config)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_license(licence)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_merges(MERGES)
    writer.add_token_types([3] * 4 + [1] * (len(TOKENS) - 4))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(3)
    writer.add_chat_template(CHAT)
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "post_attention_layernorm": "ffn_norm",
        "input_layernorm": "attn_norm",
        "model.layers": "blk",
    }
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        data = tensor.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, count in heads.items():
            if part in name:
                # llama.cpp pairs neighbouring rows for its rotation, transformers pairs the halves.
                data = data.reshape(count, 2, -1, data.shape[-1]).swapaxes(1, 2).reshape(data.shape)
        for theirs, short in names.items():
            name = name.replace(theirs, short)
        writer.add_tensor(name, np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def test_a_gguf_file_becomes_a_folder_with_its_weights_tokenizer_template_and_licence(tmp_path, capsys):
    path = tmp_path / "small.gguf"
    model = gguf_file(path)
    assert main(["import", str(path), str(tmp_path / "m")]) == 0
    folder = tmp_path / "m"
    assert missing_files(folder) is None
    facts = json.loads((folder / "import.json").read_text())
    files = read_model_folder(folder)
    assert facts == {
        "fingerprint": fingerprint_model(files),
        "licence": "apache-2.0",
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "source": {"type": "gguf", "name": "small.gguf", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
    }
    assert facts["fingerprint"][:16] in capsys.readouterr().out
    assert weights_bytes(load(files)[0]) == weights_bytes(model)
    assert (folder / "chat_template.jinja").read_text() == CHAT
    assert "quantization_config" not in json.loads(files["config.json"])
    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert torch.equal(theirs.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<eos>", "<pad>")


def test_importing_the_same_file_twice_gives_the_same_bytes(tmp_path):
    gguf_file(tmp_path / "small.gguf")
    one, other = (read_source(str(tmp_path / "small.gguf")) for _ in range(2))
    assert one == other


def test_digits_stand_alone_where_the_vocabulary_was_learned_so(tmp_path):
    for pre, expected in (("smollm", ["ab", "Ġ", "1", "2"]), ("gpt-2", ["ab", "Ġ1", "2"])):
        gguf_file(tmp_path / f"{pre}.gguf", pre=pre)
        _, tokenizer = load(read_source(str(tmp_path / f"{pre}.gguf")).files)
        assert tokenizer.tokenize("ab 12") == expected


def test_a_gguf_tokenizer_that_cannot_be_rebuilt_is_refused(tmp_path):
    gguf_file(tmp_path / "odd.gguf", pre="unheard-of")
    with pytest.raises(RecipeError, match=r"'unheard-of'.*Hugging Face folder"):
        read_source(str(tmp_path / "odd.gguf"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(10))
    with pytest.raises(RecipeError, match="cannot be read as GGUF"):
        read_source(str(tmp_path / "broken.gguf"))


def test_a_folder_keeps_its_weights_bit_by_bit_and_loses_its_authors_code(tmp_path):
    files = small_folder(chat=True)
    config = json.loads(files["config.json"]) | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    card = b"---\nlicense: mit\ntags: [x]\n---\n# A model\n"
    extra = {"config.json": json.dumps(config).encode(), "evil.py": b"boom", "README.md": card, "old.bin": b"\x80\x04"}
    found = read_source(str(write({**files, **extra}, tmp_path / "source")))
    assert found.files["model.safetensors"] == files["model.safetensors"]
    assert found.licence == "mit"
    assert found.source == {"type": "folder", "name": "source"}
    assert "auto_map" not in json.loads(found.files["config.json"])
    assert not {"evil.py", "old.bin", "README.md"} & found.files.keys()


def test_weights_in_several_files_become_one(tmp_path):
    files = small_folder()
    whole = safetensors.torch.load(files.pop("model.safetensors"))
    parts = {"a.safetensors": sorted(whole)[::2], "b.safetensors": sorted(whole)[1::2]}
    index = {"weight_map": {name: part for part, names in parts.items() for name in names}}
    shards = {part: safetensors.torch.save({n: whole[n] for n in names}) for part, names in parts.items()}
    index_file = {"model.safetensors.index.json": json.dumps(index).encode()}
    folder = write({**files, **shards, **index_file}, tmp_path / "source")
    found = read_source(str(folder))
    assert fingerprint_safetensors(found.files["model.safetensors"]) == fingerprint_model(small_folder())
    (folder / "b.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"lacks b\.safetensors"):
        read_source(str(folder))


def test_pickled_and_quantised_weights_are_refused_with_a_remedy(tmp_path):
    files = small_folder()
    pickled = {n: d for n, d in files.items() if n != "model.safetensors"} | {"pytorch_model.bin": b"\x80\x04"}
    with pytest.raises(RecipeError, match=r"pickled weights \(pytorch_model\.bin\).*safetensors"):
        read_source(str(write(pickled, tmp_path / "pickled")))
    config = json.loads(files["config.json"]) | {"quantization_config": {"quant_method": "gptq"}}
    quantised = {**files, "config.json": json.dumps(config).encode()}
    with pytest.raises(RecipeError, match="quantised by gptq"):
        read_source(str(write(quantised, tmp_path / "quantised")))
    slow = {n: d for n, d in files.items() if n != "tokenizer.json"}
    with pytest.raises(RecipeError, match=r"lacks tokenizer\.json"):
        read_source(str(write(slow, tmp_path / "slow")))


def test_what_is_neither_file_nor_folder_nor_hub_id_is_refused(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"\x80\x04")
    with pytest.raises(RecipeError, match="is no GGUF file"):
        read_source(str(tmp_path / "weights.pt"))
    for source in ("nowhere", "./a/b", "/a/b"):
        with pytest.raises(RecipeError, match="no file or folder"):
            read_source(source)


def test_a_hub_that_cannot_be_reached_is_told_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RecipeError, match=r"cannot fetch someone/something.*import it from there"):
        read_source("someone/something")


def test_a_licence_is_stated_where_the_source_names_none_and_never_contradicted(tmp_path, capsys):
    source = write(small_folder(), tmp_path / "source")
    assert main(["import", str(source), str(tmp_path / "a")]) == 0
    assert "not named by the source" in capsys.readouterr().out
    assert main(["import", str(source), str(tmp_path / "b"), "--licence", "mit"]) == 0
    assert json.loads((tmp_path / "b" / "import.json").read_text())["licence"] == "mit"
    assert read_source(str(tmp_path / "b")).licence == "mit", "an imported folder names its licence"
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert main(["import", str(source), str(tmp_path / "c"), "--licence", "mit"]) == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: other\nlicense_name: llama3", "llama3"),
        ("license: other", "other"),
        ("license: mit\nlicense_name: llama3", "mit"),
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("license: [mit, other]\nlicense_name: llama3", "mit, llama3"),
        ("license: []", None),
        ("license: 3", None),
    ],
)
def test_a_cards_licence_is_told_by_its_own_name_and_several_together(tmp_path, front, expected):
    source = write(small_folder(), tmp_path / "source")
    (source / "README.md").write_text(f"---\n{front}\n---\n")
    assert read_source(str(source)).licence == expected


def test_weights_that_replace_imported_ones_are_refused_as_long_as_import_json_tells_of_others(tmp_path):
    source, folder = write(small_folder(), tmp_path / "source"), tmp_path / "m"
    assert main(["import", str(source), str(folder), "--licence", "mit"]) == 0
    assert read_model_folder(folder).keys() >= small_folder().keys()
    for weights in (small_folder(seed=1)["model.safetensors"], b"cut"):
        (folder / "model.safetensors").write_bytes(weights)
        with pytest.raises(RecipeError, match=r"`bootstrap import` the model again.* or remove import\.json"):
            read_model_folder(folder)
    (folder / "model.safetensors").write_bytes(small_folder(seed=1)["model.safetensors"])
    (folder / "import.json").unlink()
    assert fingerprint_model(read_model_folder(folder)) == fingerprint_model(small_folder(seed=1))


def test_a_recipe_refuses_weights_that_are_not_the_imported_ones(tmp_path):
    source, folder = write(small_folder(), tmp_path / "source"), tmp_path / "m"
    assert main(["import", str(source), str(folder)]) == 0
    (folder / "model.safetensors").write_bytes(small_folder(seed=1)["model.safetensors"])
    settings = tiny.recipe(count=0, base={"model": {"type": "folder", "path": str(folder)}})
    with pytest.raises(RecipeError, match=r"import\.json is about another model"):
        tiny.grow(settings, tmp_path / "runs" / "tiny")


def test_imported_weights_of_another_precision_are_the_imported_ones(tmp_path):
    files = small_folder()
    halves = {name: tensor.bfloat16() for name, tensor in safetensors.torch.load(files["model.safetensors"]).items()}
    files["model.safetensors"] = safetensors.torch.save(halves, metadata={"format": "pt"})
    folder = tmp_path / "m"
    assert main(["import", str(write(files, tmp_path / "source")), str(folder)]) == 0
    model, _ = load(read_model_folder(folder))
    assert model.dtype == torch.float32


def test_a_folder_in_use_is_left_alone(tmp_path, capsys):
    source = write(small_folder(), tmp_path / "source")
    target = write({"notes.txt": b"mine"}, tmp_path / "target")
    assert main(["import", str(source), str(target)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


def refusal(source, target, capsys) -> str:
    """Return the one error of an import that leaves nothing behind."""
    assert main(["import", str(source), str(target)]) == 2
    assert not target.exists()
    return " ".join(capsys.readouterr().err.split())


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def with_setting(name, value):
    return lambda data: json.dumps(json.loads(data) | {name: value}).encode()


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("model.safetensors", lambda data: data[: len(data) // 2], "model.safetensors cannot be read"),
        ("model.safetensors", lambda data: b"", "model.safetensors cannot be read"),
        ("tokenizer.json", lambda data: data[:-20], "tokenizer.json is not valid JSON"),
        ("tokenizer.json", lambda data: b'{"model": {"type": "Sorcery"}}', "tokenizer.json holds no vocabulary"),
        ("tokenizer_config.json", lambda data: b"[]", "tokenizer_config.json is no JSON object"),
        ("config.json", lambda data: 100_000 * b"[", "config.json is not valid JSON"),
        ("config.json", lambda data: data.replace(b'"llama"', b'"sorcery"'), "config.json makes no model here"),
        ("config.json", lambda data: data.replace(b'"hidden_size": 32', b'"hidden_size": -1'), "has -1 as hidden_size"),
        ("config.json", lambda data: data.replace(b'"hidden_size": 32', b'"hidden_size": 64'), "cannot be opened"),
        *(
            ("config.json", with_setting(name, value), "config.json ")
            for name, value in {
                "dtype": "float99",
                "hidden_act": "sorcery",
                "hidden_size": "wide",
                "id2label": 4,
                "num_key_value_heads": 0,
                "vocab_size": 2**40,
            }.items()
        ),
    ],
)
def test_a_broken_file_is_one_error_with_its_name_and_a_remedy(tmp_path, capsys, name, change, expected):
    files = small_folder()
    changed = change(files[name])
    assert changed != files[name]
    source = write({**files, name: changed}, tmp_path / "source")
    message = refusal(source, tmp_path / "m", capsys)
    assert expected in message and str(source) in message
    assert "fetch" in message or "choose" in message
    assert "Traceback" not in message and len(message) < 700


def test_defects_of_our_own_are_not_told_as_a_broken_file(tmp_path, monkeypatch):
    source = write(small_folder(), tmp_path / "source")

    def broken(files):
        raise AssertionError("none of the file's doing")

    # Where it is defined says whose it is.
    broken = FunctionType(broken.__code__, vars(models), closure=broken.__closure__)
    monkeypatch.setattr(models, "load", broken)
    with pytest.raises(AssertionError):
        read_source(str(source))


ALLOCATION = (
    "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough memory: you tried to allocate {} bytes."
)


@pytest.mark.parametrize(
    "lack",
    [
        MemoryError(),
        RuntimeError(ALLOCATION.format(4096)),
        torch.OutOfMemoryError("CUDA out of memory."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
@pytest.mark.parametrize("where", [(models, "load"), (fidelity, "_from_pretrained"), (fidelity, "logits")])
def test_too_little_memory_is_not_told_as_a_broken_file(tmp_path, monkeypatch, capsys, where, lack):
    source = write(small_folder(), tmp_path / "source")
    monkeypatch.setattr(*where, failing(lack))
    message = refusal(source, tmp_path / "m", capsys)
    assert f"{source} cannot be opened: the memory does not suffice" in message and "with more memory" in message
    assert "config.json" not in message


def test_a_size_that_no_weights_have_is_told_as_a_broken_configuration(tmp_path, monkeypatch, capsys):
    source = write(small_folder(), tmp_path / "source")
    monkeypatch.setattr(models, "load", failing(RuntimeError(ALLOCATION.format(2**45))))
    assert "config.json of" in refusal(source, tmp_path / "m", capsys)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_folder_for_temporary_files_is_not_told_as_a_broken_file(tmp_path, monkeypatch, capsys, number):
    source = write(small_folder(), tmp_path / "source")
    monkeypatch.setattr(durable.OS, "write", failing(OSError(number, os.strerror(number))))
    assert main(["import", str(source), str(tmp_path / "m")]) == 3
    message = capsys.readouterr().err
    assert "folder for temporary files" in message and os.strerror(number) in message and "TMPDIR" in message
    assert "config.json" not in message and "--store" not in message


def test_a_folder_for_temporary_files_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    source = write(small_folder(), tmp_path / "source")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert main(["import", str(source), str(tmp_path / "m")]) == 3
    message = capsys.readouterr().err
    assert "folder for temporary files" in message and "TMPDIR" in message and "config.json" not in message


def test_a_full_disk_while_a_model_is_fetched_is_not_told_as_a_wrong_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.snapshot_download", failing(OSError(errno.ENOSPC, "No space left on device")))
    assert main(["import", "someone/something", str(tmp_path / "m")]) == 3
    message = capsys.readouterr().err
    assert "No space left on device" in message and "HF_HOME" in message and "check the name" not in message


def test_an_index_of_another_form_is_refused(tmp_path, capsys):
    files = {n: d for n, d in small_folder().items() if n != "model.safetensors"}
    source = write({**files, "model.safetensors.index.json": b'{"weight_map": ["a"]}'}, tmp_path / "source")
    assert "does not say which file holds which weights" in refusal(source, tmp_path / "m", capsys)


@pytest.mark.parametrize("reachable", [True, False])
def test_a_repository_of_pickled_weights_alone_is_refused_by_name_as_a_folder_is(
    tmp_path, capsys, monkeypatch, reachable
):
    snapshot = write({n: d for n, d in small_folder().items() if n != "model.safetensors"}, tmp_path / "0123abc")

    def listed(name, *, revision):
        assert (name, revision) == ("someone/old", "0123abc")
        if not reachable:
            raise ConnectionError("away")
        return ["config.json", "pytorch_model.bin"]

    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **asked: str(snapshot))
    monkeypatch.setattr("huggingface_hub.list_repo_files", listed)
    message = refusal("someone/old", tmp_path / "m", capsys)
    expected = "holds pickled weights (pytorch_model.bin)" if reachable else "holds no model.safetensors"
    assert f"someone/old on the hub {expected}" in message
    assert str(snapshot) not in message


def test_files_beside_a_gguf_file_are_not_opened(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "n")
    gguf_file(tmp_path / "small.gguf")
    alone = read_source(str(tmp_path / "small.gguf"))
    code = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(code))
    (tmp_path / "evil.py").write_text("raise SystemExit('the code ran')")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "other")}))
    assert read_source(str(tmp_path / "small.gguf")).files == alone.files
    assert not asked


def test_a_tokenizers_other_files_are_bounded(tmp_path):
    write(small_folder(), tmp_path / "big")
    settings = json.loads((tmp_path / "big/tokenizer_config.json").read_text())
    settings.pop("eos_token", None)
    (tmp_path / "big/tokenizer_config.json").write_text(json.dumps(settings))
    with (tmp_path / "big/special_tokens_map.json").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(StoreError, match=r"special_tokens_map\.json has 3,221,225,472 bytes"):
        read_source(str(tmp_path / "big"))
