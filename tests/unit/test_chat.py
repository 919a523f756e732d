"""Prompts in a chat template: framed alike by driver and workers, and as transformers does."""

import json

import pytest
from support.pretrained import CHARACTERS, CHAT, small_folder, write
from support.tiny import EVALUATION, grow
from transformers import AutoTokenizer

from bootstrap.config.base_model import PretrainedModel
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.records import Checkpoint, Example, Finish, Prompt, Request, Sampling, Split
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.tables import Tables
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.chat import TEMPLATE, framed, framing_of
from bootstrap.training.choices import PROMPTING
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch


def asked(text: str) -> Request:
    prompt = Prompt(id=text, task="t", level=1, text=text, split=Split.TRAIN)
    return Request(id="g0.s0.u0.p0.k0", prompt=prompt, seed=3)


def sampled(files, text="abc="):
    found = Worker(batch_rows=8, device="cpu")
    found.load(files, None)
    (rollout,) = found.generate([asked(text)], Sampling(temperature=1.0, max_new_tokens=6))
    return rollout


@pytest.mark.parametrize("system", [None, "abc 123"])
def test_driver_worker_and_transformers_frame_a_prompt_alike(system, tmp_path):
    files = framed(small_folder(chat=True), chat=True, system=system)
    theirs = AutoTokenizer.from_pretrained(write(files, tmp_path / "m"))
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": "abc="}]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    rollout = sampled(files)
    assert list(rollout.prompt_tokens) == expected
    assert rollout.prompt_text == "abc=", "the record keeps the task's own text"
    example = Example(source="s", prompt_text="abc=", completion_text="cba", ce_weight=1.0)
    (encoded,) = Encoder(Checkpoint(fingerprint="f", files=files)).encode([example])
    assert list(encoded.tokens[: encoded.num_prompt_tokens]) == expected
    assert theirs.decode(encoded.tokens[encoded.num_prompt_tokens :]) == "cba<eos>"


def test_plain_prompts_pass_by_the_template():
    files = framed(small_folder(chat=True), chat=False, system=None)
    assert sampled(files).prompt_tokens == sampled(small_folder()).prompt_tokens


def test_a_template_in_the_tokenizers_settings_is_found_too():
    files = small_folder()
    settings = json.loads(files["tokenizer_config.json"])
    for template in (CHAT, [{"name": "tool", "template": "x"}, {"name": "default", "template": CHAT}]):
        changed = {**files, "tokenizer_config.json": json.dumps(settings | {"chat_template": template}).encode()}
        assert framing_of(changed).text("abc=") == "U:abc=\nA:"


def test_an_exported_model_carries_how_its_prompts_are_framed():
    files = framed(small_folder(chat=True), chat=True, system="abc")
    found = Worker(batch_rows=8, device="cpu")
    found.load(files, None)
    assert sampled(found.export().files).prompt_tokens == sampled(files).prompt_tokens
    # A recipe that starts from it chooses anew.
    assert json.loads(framed(files, chat=True, system=None)[PROMPTING])["system"] is None


def test_a_template_knows_no_clock_and_cannot_reach_python():
    files = small_folder(chat=True)
    today = b"{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}undated{% endif %}"
    assert framing_of({**files, TEMPLATE: today}).text("x") == "undated"
    escape = b"{{ messages.__class__.__mro__[-1].__subclasses__() }}"
    with pytest.raises(RecipeError, match="template refuses"):
        framing_of({**files, TEMPLATE: escape}).text("x")


def test_templates_that_cannot_serve_are_refused_with_a_remedy():
    files = small_folder(chat=True)
    with pytest.raises(RecipeError, match=r"base\.model\.chat: plain"):
        framing_of({**files, TEMPLATE: b"{% for %}"})
    with pytest.raises(RecipeError, match=r"no system here.*leave out base\.model\.system"):
        framing_of({**files, TEMPLATE: b"{{ raise_exception('no system here') }}"}).text("x")
    with pytest.raises(RecipeError, match="no chat template to hold it"):
        framed(small_folder(), chat=True, system="abc")
    with pytest.raises(ValueError, match="no effect with chat plain"):
        PretrainedModel(path="m", chat="plain", system="abc")


def test_a_lineage_on_a_chat_model_asks_and_imitates_through_the_template(tmp_path):
    folder = write(small_folder(chat=True), tmp_path / "model")
    adamw = {"type": "adamw", "lr": 0.01}
    sft = {"type": "sft", "updates": 2, "batch_size": 8, "optimizer": adamw}
    rl = {"type": "rl", "rounds": 2, "prompts_per_update": 2, "group_size": 2, "optimizer": adamw}
    settings = Recipe.model_validate(
        {
            "name": "tiny",
            "task": {"type": "copy", "alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5},
            "base": {"model": {"type": "folder", "path": str(folder), "system": "12"}, "steps": [sft]},
            "generations": {"count": 1, "steps": [rl]},
            "evaluation": EVALUATION,
            "gate": {"min_prompts": 10},
        }
    )
    entries = grow(settings, tmp_path / "tiny")
    store = LineageStore(tmp_path / "tiny")
    rollouts = Tables.read(store.artifact(entries[1].generation.artifacts["step-0"])).rollouts
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert rollouts
    for rollout in rollouts:
        assert tokenizer.decode(rollout.prompt_tokens) == f"S:12\nU:{rollout.prompt_text}\nA:"


THINKS = CHAT.replace("A:{%", "A: <think>\n{%")
SHOWN = f"{CHARACTERS}<>/think"


@pytest.fixture(scope="module")
def thinking() -> dict[str, bytes]:
    """A folder whose template ends each prompt with an open reasoning tag."""
    return {**small_folder(chat=True, characters="".join(dict.fromkeys(SHOWN))), TEMPLATE: THINKS.encode()}


@pytest.mark.parametrize(
    ("end", "opening"),
    [
        ("A:", ""),
        ("A:<think>", "<think>"),
        ("A: <think> ", "<think> "),
        (r"A:\n<reasoning>\n\n", "<reasoning>\n\n"),
        ("<assistant>", ""),
        (r"<think>\n\n</think>\n\n", ""),
        ("<think>so", ""),
    ],
)
def test_what_a_prompt_ends_with_opens_the_reasoning_or_nothing(end: str, opening: str):
    template = "{{ messages[0]['content'] }}{{ '" + end + "' }}"
    assert framing_of({TEMPLATE: template.encode()}).opening("why <think>") == opening
    # Without a template the prompt itself may end so.
    assert framing_of({}).opening("why <think>") == "<think>"


def test_a_completion_begins_with_the_tag_that_its_prompt_ended_with(thinking):
    rollout = sampled(thinking)
    assert rollout.text.startswith("<think>\n")
    encoder = Encoder(Checkpoint(fingerprint="f", files=thinking))
    shown = encoder.tokenizer.decode(list(rollout.prompt_tokens), skip_special_tokens=False)
    assert shown.count("<think>") == 1
    ended = rollout.tokens[:-1] if rollout.finish is Finish.STOP else rollout.tokens
    assert rollout.text == "<think>\n" + encoder.tokenizer.decode(list(ended), skip_special_tokens=False)


@pytest.mark.parametrize("written", ["<think>\nabc</think>1", "<think>abc</think>1", "abc</think>1"])
def test_an_imitated_completion_never_doubles_the_tag(thinking, written: str):
    encoder = Encoder(Checkpoint(fingerprint="f", files=thinking))
    [(prompt, completion)] = encoder.pairs([("abc=", written)])
    text = encoder.tokenizer.decode([*prompt, *completion], skip_special_tokens=False)
    assert text.endswith("A: <think>\nabc</think>1<eos>")
    assert text.count("<think>") == 1


def test_where_the_prompt_opens_nothing_an_imitated_completion_keeps_its_tag(thinking):
    encoder = Encoder(Checkpoint(fingerprint="f", files={**thinking, TEMPLATE: CHAT.encode()}))
    [(_, completion)] = encoder.pairs([("abc=", "<think>\nabc</think>1")])
    assert encoder.tokenizer.decode(list(completion)).startswith("<think>\nabc")
