"""What is taught as the end of an answer and what sampling awaits, in templates of many families, beside transformers'
own rendering."""

import json

import pytest
import torch
from support.pretrained import write
from support.templates import FAMILIES, number, speaking
from transformers import AutoTokenizer

from bootstrap.config.few_shot import Shot
from bootstrap.errors import RecipeError
from bootstrap.records import Checkpoint, Finish, Prompt, Request, Sampling, Split
from bootstrap.stages.encoding import Encoder
from bootstrap.training.chat import TEMPLATE, framed, framing_of, taught_end
from bootstrap.training.choices import PROMPTING
from bootstrap.training.model import load
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

SHOTS = (Shot("1 + 1 = ?", "It is 2."), Shot("3 * 3 = ?", "It is 9."))
ASKED = "2 + 2 = ?"
KINDS = pytest.mark.parametrize("kind", FAMILIES)


def encoder(files):
    return Encoder(Checkpoint(fingerprint="f", files=files))


def request(text=ASKED):
    return Request(id="g0.s0.u0.p0.k0", prompt=Prompt(id="p", task="t", level=1, text=text, split=Split.TRAIN), seed=3)


def chosen(kind, **choices):
    """Return a family's folder with its arguments and these choices in it."""
    family = FAMILIES[kind]
    files = speaking(family.tokens, family.template)
    return framed(files, **{"chat": True, "system": None, "template_arguments": family.arguments, **choices})


def always(monkeypatch, engine, token):
    """Let an engine's model write one token alone."""

    def head(hidden_BD):
        logits_BV = torch.full((len(hidden_BD), engine.rows), -20.0)
        logits_BV[:, token] = 20.0
        return logits_BV

    monkeypatch.setattr(engine, "head", head)


@pytest.mark.parametrize("examples", [(), SHOTS], ids=["zero-shot", "few-shot"])
@pytest.mark.parametrize("system", [None, "Be brief."])
@KINDS
def test_a_prompt_is_shown_in_the_tokens_of_transformers(kind, system, examples, tmp_path):
    family = FAMILIES[kind]
    if system is not None and not family.takes_system:
        with pytest.raises(RecipeError, match=r"leave out base\.model\.system"):
            framing_of(chosen(kind, system=system)).text(ASKED)
        return
    files = chosen(kind, system=system, examples=examples)
    turns = [turn for shot in examples for turn in (("user", shot.prompt), ("assistant", shot.answer))]
    turns = [*([("system", system)] if system else []), *turns, ("user", ASKED)]
    theirs = AutoTokenizer.from_pretrained(write(files, tmp_path / "m")).apply_chat_template(
        [{"role": role, "content": text} for role, text in turns],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
        **family.arguments,
    )
    [(ours, _)] = encoder(files).pairs([(ASKED, "4")])
    assert list(ours) == theirs
    worker = Worker(batch_rows=4, device="cpu")
    worker.load(files, None)
    [rollout] = worker.generate([request()], Sampling(temperature=1.0, max_new_tokens=2))
    assert list(rollout.prompt_tokens) == theirs and rollout.text.startswith(family.opening)


@KINDS
def test_an_imitated_answer_ends_as_transformers_ends_it(kind, tmp_path):
    family = FAMILIES[kind]
    files = chosen(kind)
    [(prompt, completion)] = encoder(files).pairs([(ASKED, "It is 4.")])
    assert completion[-1] == number(files, family.end or family.tokens[0])
    if not family.begins_alike:
        return
    theirs = AutoTokenizer.from_pretrained(write(files, tmp_path / "m")).apply_chat_template(
        [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "It is 4."}],
        return_dict=False,
        **family.arguments,
    )
    assert theirs[: len(prompt) + len(completion)] == [*prompt, *completion]


@KINDS
def test_sampling_stops_at_the_templates_end_and_at_the_tokenizers(kind, monkeypatch):
    family = FAMILIES[kind]
    files = chosen(kind)
    worker = Worker(batch_rows=4, device="cpu")
    worker.load(files, None)
    assert encoder(files).eos in worker.engine.eos
    for token in {family.end or family.tokens[0], family.tokens[0]}:
        always(monkeypatch, worker.engine, number(files, token))
        [rollout] = worker.generate([request()], Sampling(temperature=1.0, max_new_tokens=4))
        assert rollout.finish is Finish.STOP and len(rollout.tokens) == 1
        assert rollout.text == family.opening
    # Any server of the exported folder awaits them too.
    ends = json.loads(worker.export().files["generation_config.json"])["eos_token_id"]
    assert set(ends if isinstance(ends, list) else [ends]) == set(worker.engine.eos.tolist())


@KINDS
def test_the_folder_records_an_end_that_is_not_the_tokenizers(kind):
    family = FAMILIES[kind]
    differs = family.end not in (None, family.tokens[0])
    recorded = json.loads(chosen(kind)[PROMPTING])
    assert recorded.get("end") == (family.end if differs else None)
    further = (("template_arguments", bool(family.arguments)), ("end", differs))
    assert recorded.keys() == {"chat", "system", *(key for key, there in further if there)}


def test_a_folder_that_recorded_no_end_keeps_the_tokenizers():
    files = chosen("ChatML on a base's tokenizer")
    old = {**files, PROMPTING: b'{"chat": true, "system": null}'}
    assert taught_end(old) == "<|endoftext|>" and taught_end(files) == "<|im_end|>"
    for folder, ends in ((old, ["<|endoftext|>"]), (files, ["<|endoftext|>", "<|im_end|>"])):
        assert load(folder)[0].generation_config.eos_token_id == (
            number(folder, ends[0]) if len(ends) == 1 else [number(folder, end) for end in ends]
        )
        assert encoder(folder).eos == number(folder, ends[-1])


def test_a_folder_without_choices_is_asked_and_ends_by_its_template():
    family = FAMILIES["Phi"]
    files = speaking(family.tokens, family.template)
    assert PROMPTING not in files and taught_end(files) == "<|end|>"
    assert number(files, "<|end|>") in load(files)[0].generation_config.eos_token_id


def test_plain_prompts_end_as_the_tokenizer_says():
    family = FAMILIES["Phi"]
    files = framed(speaking(family.tokens, family.template), chat=False, system=None)
    assert taught_end(files) == "<|endoftext|>"
    assert json.loads(files[PROMPTING]) == {"chat": False, "system": None}


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[1].content }}<|im_end|>",
        "{{ messages[1].content }}  \n<|im_end|>!",
        "{{ messages[1].content }}x{{ messages[1].content }}<|im_end|>",
    ],
)
def test_the_token_right_after_the_last_answer_is_the_end(template):
    files = speaking(("<|endoftext|>", "<|im_end|>"), template)
    assert taught_end(files) == "<|im_end|>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[1].content }}.<|im_end|>",
        "{{ messages[1].content | upper }}<|im_end|>",
        "{{ messages[0].content }}<|im_end|>",
        "{{ raise_exception('no conversations') }}",
        "{% for %}",
        "{{ messages[1].content }}<|not_a_token|>",
    ],
)
def test_a_template_that_writes_no_token_there_leaves_the_tokenizers_end(template):
    files = speaking(("<|endoftext|>", "<|im_end|>"), template)
    assert taught_end(files) == "<|endoftext|>"


def test_an_end_without_a_row_of_the_embedding_is_not_taught():
    files = speaking(("<|endoftext|>",), "{{ messages[-1].content }}<|im_end|>")
    tokenizer = json.loads(files["tokenizer.json"])
    rows = json.loads(files["config.json"])["vocab_size"]
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": rows, "content": "<|im_end|>"})
    files["tokenizer.json"] = json.dumps(tokenizer).encode()
    assert taught_end(files) == "<|endoftext|>"
    assert "end" not in json.loads(framed(files, chat=True, system=None)[PROMPTING])


def test_a_tokenizer_without_an_end_of_sequence_has_the_templates():
    family = FAMILIES["Phi"]
    files = speaking(family.tokens, family.template)
    settings = json.loads(files["tokenizer_config.json"])
    del settings["eos_token"]
    files = framed({**files, "tokenizer_config.json": json.dumps(settings).encode()}, chat=True, system=None)
    assert encoder(files).eos == number(files, "<|end|>") == load(files)[0].generation_config.eos_token_id
    with pytest.raises(RecipeError, match="names no eos_token"):
        encoder({name: data for name, data in files.items() if name not in (TEMPLATE, PROMPTING)})
