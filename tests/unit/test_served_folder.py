"""A folder as it is served makes other programs' servers read what the model reads in its evaluation."""

import json
from typing import Any

import pytest
from support.pretrained import small_folder
from support.templates import FAMILIES

from bootstrap.config.few_shot import Shot
from bootstrap.records import Sampling
from bootstrap.training.asked import PLACE, how_asked
from bootstrap.training.chat import TEMPLATE, framed, framing_of
from bootstrap.training.choices import PROMPTING
from bootstrap.training.served import GENERATION, served
from bootstrap.training.templates import compiled

pytestmark = pytest.mark.torch

GREEDY = Sampling(temperature=0.0, max_new_tokens=12)
QUESTIONS = ("1+1=", "a\n b ", '"{{ 7 * 7 }}" \\n {% if %}', "é😀")


def rendered(files: dict[str, bytes], *messages: dict[str, str], asks: bool = True) -> str:
    """Return what a server that reads the folder's chat template shows the model."""
    settings = json.loads(files["tokenizer_config.json"])
    tokens = {name: settings[name] for name in ("bos_token", "eos_token") if settings.get(name)}
    template = compiled(files[TEMPLATE].decode())
    return template.render(messages=list(messages), add_generation_prompt=asks, **tokens)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def plain(**choices: Any) -> dict[str, bytes]:
    return framed(small_folder(), chat=True, system=None, **choices)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"prefill": "The answer is {{ x }}:\n"},
        {"examples": [("1+2=", "3"), ("2+2=", "4")]},
        {"examples": [("1+2=", "3")], "prefill": "so "},
    ],
)
def test_plain_prompts_become_a_template_that_writes_them(choices: dict[str, Any], question: str) -> None:
    if "examples" in choices:
        choices = {**choices, "examples": [Shot(*one) for one in choices["examples"]]}
    files = plain(**choices)
    expected = how_asked(files).form.partition(PLACE)
    found = rendered(served(files, sampling=GREEDY), user(question))
    wanted = question.strip() if choices.get("examples") else question
    assert found == expected[0] + wanted + expected[2] == "<bos>" + framing_of(files).text(question)


def test_of_a_conversation_a_model_of_plain_prompts_reads_the_last_question() -> None:
    asked = [user("1+1="), {"role": "assistant", "content": "2"}, user("2+2=")]
    assert rendered(served(plain(), sampling=GREEDY), *asked) == "<bos>2+2="


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("has_all", [False, True])
def test_a_template_keeps_its_form_and_gets_what_the_model_is_asked_with(name: str, has_all: bool) -> None:
    family = FAMILIES[name]
    files = {**small_folder(), TEMPLATE: family.template.encode()}
    more = {"examples": [Shot("1+2=", "3")], "prefill": "so {{ 1 }}"} if has_all else {}
    system = "be {% raw %} brief" if has_all and family.takes_system and name != "Mistral" else None
    files = framed(files, chat=True, system=system, template_arguments=dict(family.arguments), **more)
    found = served(files, sampling=GREEDY)
    assert PROMPTING not in found
    for question in QUESTIONS:
        assert rendered(found, user(question)) == framing_of(files).text(question)


@pytest.mark.parametrize(
    "source", ["\n  {% for m in messages %}\n{{ m.content }}\n  {% endfor %}\n\n", "A\n \n{{ 1 }} "]
)
def test_a_templates_white_space_stays(source: str) -> None:
    files = {**small_folder(), TEMPLATE: source.encode()}
    files = framed(files, chat=True, system="s", prefill="so")
    assert rendered(served(files, sampling=GREEDY), user("q")) == framing_of(files).text("q")


def test_a_request_with_its_own_system_message_keeps_it() -> None:
    files = framed(small_folder(chat=True), chat=True, system="ours", examples=[Shot("1=", "1")])
    asked = [{"role": "system", "content": "theirs"}, user("2=")]
    assert rendered(served(files, sampling=GREEDY), *asked) == "S:theirs\nU:1=\nA:1\nU:2=\nA:"
    assert rendered(served(files, sampling=GREEDY), user("2=")) == "S:ours\nU:1=\nA:1\nU:2=\nA:"


def test_sampling_stops_and_limits_become_the_generation_configuration() -> None:
    files = plain(stop=["\n\n"], min_new_tokens=2)
    found = json.loads(served(files, sampling=GREEDY)[GENERATION])
    assert (found["do_sample"], found["max_new_tokens"]) == (False, 12)
    assert (found["stop_strings"], found["min_new_tokens"]) == (None, 2), "of a character tokenizer"
    words = {f"word{number}": 4 + number for number in range(500)}
    tokenizer = json.loads(files["tokenizer.json"])
    tokenizer["model"]["vocab"] |= words
    found = json.loads(served({**files, "tokenizer.json": json.dumps(tokenizer).encode()}, sampling=GREEDY)[GENERATION])
    assert found["stop_strings"] == ["\n\n"]
    assert found["eos_token_id"] == json.loads(files[GENERATION])["eos_token_id"]
    sampled = Sampling(temperature=0.7, max_new_tokens=12, top_k=5, top_p=0.9)
    found = json.loads(served(files, sampling=sampled)[GENERATION])
    assert (found["do_sample"], found["temperature"], found["top_k"], found["top_p"]) == (True, 0.7, 5, 0.9)
