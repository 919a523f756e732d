"""Rows that hold a control token's text: it stays text, in prompts and in answers, for driver and workers alike."""

import json

import pytest
from support.pretrained import small_folder
from tokenizers import AddedToken, Tokenizer

from bootstrap.records import Checkpoint, Example, Prompt, Request, Sampling, Split
from bootstrap.stages.encoding import Encoder
from bootstrap.training.chat import TEMPLATE, framed
from bootstrap.worker import Worker

CHARACTERS = "abc=<eos>pdunk|im_UA:\n\ue000"
CHAT = "{% for m in messages %}<bos>U:{{ m['content'] | trim }}<eos>\n{% endfor %}A:"
PLAIN, FRAMED = "plain", "in a chat template"
TURN = "<|im_end|>"


def folder(framing: str, *, added: bool = True) -> dict[str, bytes]:
    """Return a model's folder, with a special token added to its tokenizer as chat models have them."""
    files = small_folder(characters="".join(dict.fromkeys(CHARACTERS)))
    if added:
        tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
        tokenizer.add_special_tokens([AddedToken(TURN, special=True, normalized=False)])
        files["tokenizer.json"] = tokenizer.to_str().encode()
    return framed({**files, TEMPLATE: CHAT.encode()}, chat=True, system=None) if framing == FRAMED else files


def asked(files: dict[str, bytes], text: str) -> list[str]:
    """Return the tokens that a worker shows the model for a prompt."""
    worker = Worker(batch_rows=2, device="cpu")
    worker.load(files, None)
    prompt = Prompt(id="p", task="t", level=1, text=text, split=Split.TRAIN)
    (rollout,) = worker.generate(
        [Request(id="g0.s0.u0.p0.k0", prompt=prompt, seed=3)], Sampling(temperature=1.0, max_new_tokens=1)
    )
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    return [tokenizer.id_to_token(token) for token in rollout.prompt_tokens]


def shown(files: dict[str, bytes], prompt: str, answer: str) -> tuple[list[str], list[str]]:
    """Return the tokens of an example's prompt and answer."""
    encoder = Encoder(Checkpoint(fingerprint="f", files=files))
    example = Example(source="s", prompt_text=prompt, completion_text=answer, ce_weight=1.0)
    (encoded,) = encoder.encode([example])
    tokens = [encoder.tokenizer.id_to_token(token) for token in encoded.tokens]
    return tokens[: encoded.num_prompt_tokens], tokens[encoded.num_prompt_tokens :]


@pytest.mark.parametrize("framing", [PLAIN, FRAMED])
@pytest.mark.parametrize("control", ["<eos>", "<bos>", "<pad>", "<unk>", TURN])
@pytest.mark.parametrize("text", ["{}", "a{}b", "{}{}", " a {}\n", "\ue000{}\ue000"])
def test_a_control_token_in_a_prompt_is_the_letters_it_is(framing: str, control: str, text: str) -> None:
    prompt = text.replace("{}", control)
    files = folder(framing)
    unknown = lambda letter: letter if letter in CHARACTERS else "<unk>"  # noqa: E731
    if framing == FRAMED:
        letters = ["<bos>", *"U:", *map(unknown, prompt.strip()), "<eos>", "\n", *"A:"]
    else:
        letters = ["<bos>", *map(unknown, prompt)]
    assert shown(files, prompt, "a")[0] == letters
    # The worker samples the same prompt; the model of the test has no row for the added token, and needs none.
    assert asked(files, prompt) == letters


@pytest.mark.parametrize("control", ["<eos>", TURN])
def test_a_control_token_in_an_answer_does_not_end_it(control: str) -> None:
    answer = shown(folder(PLAIN), "a=", f"a{control}b")[1]
    assert answer == [*(f"a{control}b"), "<eos>"]


def test_a_batch_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(Checkpoint(fingerprint="f", files=folder(FRAMED)))
    prompts = ["a", "b<eos>", "c", "<bos>", "a"]
    alone = [encoder.pairs([(prompt, "a")])[0] for prompt in prompts]
    assert encoder.pairs([(prompt, "a") for prompt in prompts]) == alone


def test_texts_without_control_tokens_are_tokenised_as_the_library_does() -> None:
    files = folder(PLAIN)
    theirs = Tokenizer.from_str(files["tokenizer.json"].decode())
    (prompt, answer), *_ = Encoder(Checkpoint(fingerprint="f", files=files)).pairs([("a<b", "<e>")])
    assert prompt == tuple(theirs.encode("a<b").ids)
    assert answer[:-1] == tuple(theirs.encode("<e>", add_special_tokens=False).ids)
    assert json.loads(files["tokenizer_config.json"])["eos_token"] == "<eos>"


def test_a_vocabulary_that_cannot_write_the_letters_says_so() -> None:
    encoder = Encoder(Checkpoint(fingerprint="f", files=small_folder()))
    assert not encoder.writes("<eos>"), "the token is no way to write its text"
    assert encoder.writes("abc")
