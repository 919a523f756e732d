"""Model folders of strangers, stored or named, end every command in one sentence before anything is built of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lineage_factory
from support.commands import called
from support.lineage_factory import SETTINGS
from support.pretrained import small_folder, write

from bootstrap.cli.remembered import remember_recipe
from bootstrap.config.model_texts import check_texts
from bootstrap.errors import ModelFault, StoreCorrupt
from bootstrap.records import Checkpoint
from bootstrap.stages.encoding import Encoder
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.model_folder import check_folder, of_store
from bootstrap.training import model as models
from bootstrap.training.chat import TEMPLATE, framing_of
from bootstrap.training.data_text import prompt_encoder

pytestmark = pytest.mark.torch

SOUND = small_folder()
Files = dict[str, bytes]
Change = Callable[[Files], Files]


def setting(file: str, **values: Any) -> Change:
    return lambda files: {**files, file: json.dumps(json.loads(files[file]) | values).encode()}


def content(file: str, data: bytes) -> Change:
    return lambda files: {**files, file: data}


def without_model(files: Files) -> Files:
    tokenizer = json.loads(files["tokenizer.json"])
    del tokenizer["model"]
    return {**files, "tokenizer.json": json.dumps(tokenizer).encode()}


DOUBLING = {"type": "Replace", "pattern": {"String": "1"}, "content": "11"}

BROKEN: dict[str, tuple[Change, str]] = {
    "config.json is a list": (content("config.json", b"[]"), "config.json is no JSON object"),
    "tokenizer.json is a list": (content("tokenizer.json", b"[]"), "tokenizer.json is no JSON object"),
    "no tokenizer_config.json": (
        lambda files: {name: data for name, data in files.items() if name != "tokenizer_config.json"},
        "tokenizer_config.json is missing",
    ),
    "tokenizer.json without model": (without_model, "tokenizer.json holds no vocabulary"),
    "a template of numbers": (setting("tokenizer_config.json", chat_template=[1, 2]), "a list as chat_template"),
    "a size in letters": (setting("config.json", hidden_size="x"), "config.json has 'x' as hidden_size"),
    "a size below zero": (setting("config.json", num_attention_heads=-4), "config.json has -4 as num_attention_heads"),
    "a size with a point": (setting("config.json", intermediate_size=48.0), "config.json has 48.0 as intermediate"),
    "a vocabulary of a tebi": (setting("config.json", vocab_size=2**40), "config.json has 1099511627776 as vocab_size"),
    "a vocabulary beyond its weights": (setting("config.json", vocab_size=2**30), "no dimension of the tensors"),
    "layers beyond its weights": (setting("config.json", num_hidden_layers=2**30), "holds 20 tensors"),
    "labels without end": (setting("config.json", num_labels=2**30), "holds 20 tensors"),
    "code of a repository": (setting("config.json", attn_implementation="evil/kernel"), "'evil/kernel' as attn_impl"),
    "an end of another type": (setting("config.json", eos_token_id={}), "config.json has a dict as eos_token_id"),
    "a token that is a number": (setting("tokenizer_config.json", eos_token=7), "tokenizer_config.json has 7 as eos"),
    "padding without end": (
        setting("tokenizer.json", padding={"strategy": {"Fixed": 2**40}}),
        "tokenizer.json has 1099511627776 as padding.strategy",
    ),
    "texts that double again and again": (
        setting("tokenizer.json", normalizer={"type": "Sequence", "normalizers": [DOUBLING] * 12}),
        "the rules of normalizer in tokenizer.json may make a text more than 1000 times as long",
    ),
    "thousands of tokens around a text": (
        setting("tokenizer.json", post_processor={"type": "TemplateProcessing", "single": [{}] * 2000, "pair": []}),
        "the rules of post_processor in tokenizer.json may",
    ),
    "weights cut short": (lambda files: files | {"model.safetensors": b"x" * 9}, "model.safetensors cannot be read"),
}
"""What a stranger's folder has -> how it is made of a sound one, and what the error says of it."""
STORED = ("a template of numbers", "tokenizer.json without model", "a size in letters", "config.json is a list")


def store_of(files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store with a lineage of one generation, which holds these files, under right hashes."""
    monkeypatch.setattr(lineage_factory, "_model_files", lambda *_, **__: files)
    lineage_factory.build(folder / "a", plan=(), name="a")
    remember_recipe(LineageStore(folder / "a"), SETTINGS, folder=folder)
    return folder


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_refused_by_file_and_key_before_anything_is_built(kind: str) -> None:
    change, told = BROKEN[kind]
    with pytest.raises(ModelFault) as fault:
        check_folder(change(SOUND))
    assert told in str(fault.value) and len(str(fault.value)) < 300


@pytest.mark.parametrize("kind", STORED)
def test_no_command_stumbles_over_a_stored_folder(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, said = BROKEN[kind]
    store = store_of(change(SOUND), tmp_path / "store", monkeypatch)
    one = ("--store", str(store), "--lineage", "a")
    for command, *words in (
        ("chat", "gen-0", "--prompt", "1+1=", *one),
        ("serve", "gen-0", *one),
        ("export", "gen-0", str(tmp_path / "out"), *one),
        ("fork", "a@gen-0", "again", "--store", str(store)),
    ):
        code, told = called(command, words)
        shown = " ".join(told.split())
        assert code == 3 and said in shown and "restore it from a copy" in shown, (command, told)
        assert "Traceback" not in told


def test_weights_of_other_shapes_than_the_configuration_are_refused_before_they_take_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 40 GiB of projections, had they been made.
    files = setting("config.json", head_dim=2**28)(SOUND)
    check_folder(files)
    with pytest.raises(ModelFault, match="wrong shape by config"):
        models.load(files)


def test_what_a_library_stumbles_over_is_one_sentence_that_names_the_file() -> None:
    with pytest.raises(ModelFault, match=r"^config\.json makes no model here: KeyError: 'sorcery'; choose"):
        models.load(setting("config.json", hidden_act="sorcery")(SOUND))
    tokenizer = json.loads(SOUND["tokenizer.json"])
    tokenizer["model"]["type"] = "Sorcery"
    with pytest.raises(ModelFault, match=r"^tokenizer\.json cannot be opened: .*; fetch it again"):
        models.load({**SOUND, "tokenizer.json": json.dumps(tokenizer).encode()})
    with pytest.raises(StoreCorrupt, match=r"^here holds no model .*sorcery.*restore it"), of_store("here"):
        models.load(setting("config.json", hidden_act="sorcery")(SOUND))


def test_a_rule_that_is_tried_without_end_is_one_error_in_the_driver_and_in_a_worker() -> None:
    rule = {"type": "Split", "pattern": {"Regex": "(1+)+$"}, "behavior": "Isolated", "invert": False}
    files = setting("tokenizer.json", pre_tokenizer=rule)(SOUND)
    check_folder(files)
    text = "1" * 40 + "+"
    with pytest.raises(ModelFault, match=r"^the rules in tokenizer\.json fail on a text: .*retry-limit.*; leave that"):
        Encoder(Checkpoint(fingerprint="", files=files)).pairs([(text, text)])
    _, tokenizer = models.load(files)
    with pytest.raises(ModelFault, match="retry-limit"):
        prompt_encoder(framing_of(files), tokenizer)(text)


def test_a_folder_that_a_person_names_is_no_store(tmp_path: Path) -> None:
    source = write(setting("config.json", hidden_size="x")(SOUND), tmp_path / "source")
    code, told = called("import", (str(source), str(tmp_path / "m")))
    assert code == 2 and "config.json has 'x' as hidden_size" in " ".join(told.split())


def test_what_published_folders_hold_passes() -> None:
    check_folder(SOUND)
    check_texts(
        {
            "config.json": json.dumps(
                {
                    "text_config": {"vocab_size": 4, "intermediate_size": [8, 8], "eos_token_id": [1, 2]},
                    "pad_token_id": -1,
                    "tie_word_embeddings": True,
                    "n_inner": None,
                    "attn_implementation": "sdpa",
                    "num_local_experts": 0,
                    "rope_theta": 10**11,
                }
            ).encode(),
            "tokenizer.json": b'{"model": {"type": "Unigram", "vocab": [["a", -1.5], ["b", 0]]}, "added_tokens": null}',
            "tokenizer_config.json": json.dumps(
                {"eos_token": {"content": "a"}, "pad_token": None, "model_max_length": int(1e30), "chat_template": "x"}
            ).encode(),
            "chat_template.jinja": b"{{ messages }}",
        }
    )


HOSTILE = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a text of ten thousand million": "{{ messages[0].role * 10**10 }}",
    "a constant of as many": "{{ 'x' * 10**10 }}",
    "a wide number": "{{ '%1000000000d' | format(1) }}",
    "texts that double": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "macros that call themselves": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a text too long to keep": "{{ messages[0].role * 2**23 }}",
    "parts nested without end": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_template_ends_in_one_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.training.rendering.CPU_SECONDS", 0.5)
    files = {**SOUND, TEMPLATE: HOSTILE[kind].encode()}
    with pytest.raises(ValueError, match=r"base\.model\.chat: plain") as fault:
        framing_of(files).text("1+1=")
    assert len(str(fault.value)) < 500
    # The next template finds the renderer sound.
    assert framing_of({**SOUND, TEMPLATE: b"{{ messages[-1].content }}"}).text("1+1=") == "1+1="


def test_a_stored_template_that_never_ends_ends_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.training.rendering.CPU_SECONDS", 0.5)
    files = {**SOUND, TEMPLATE: HOSTILE["nested loops"].encode()}
    store = store_of(files, tmp_path / "store", monkeypatch)
    one = ("--store", str(store), "--lineage", "a")
    for command, *words in (("export", "gen-0", str(tmp_path / "out"), *one), ("serve", "gen-0", *one)):
        code, told = called(command, words)
        assert code == 2 and "does not end within" in told and "Traceback" not in told, told


def test_code_named_for_a_type_without_a_language_model_is_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "n")
    named = {"AutoModelForCausalLM": "evil--code.Model"}
    files = setting("config.json", model_type="vit", auto_map=named)(SOUND)
    with pytest.raises(ModelFault):
        models.load_outline(files)
    assert not asked
