"""Rows that hold a control token's text: it stays text, in prompts and in answers, for driver and workers alike."""

import json
from collections.abc import Callable

import pytest
from support.pretrained import small_folder
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers import models as tokenizer_models

from bootstrap.records import Checkpoint, Example, Prompt, Request, Sampling, Split
from bootstrap.stages.encoding import Encoder
from bootstrap.training.chat import TEMPLATE, framed, framing_of
from bootstrap.training.data_text import Letters
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

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


LETTERS = "\u2581abceosdu<>/|im_n:UA\n"


def t5(eos: str, scheme: str) -> Tokenizer:
    """Return a tokenizer of T5's kind, whose vocabulary itself would rather write `eos` than its letters."""
    pieces = [("<pad>", 0.0), (eos, 0.0), ("<unk>", 0.0), *((letter, -3.0) for letter in LETTERS), ("\u2581a", -2.0)]
    found = Tokenizer(tokenizer_models.Unigram(pieces, unk_id=2))
    found.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    found.add_special_tokens(["<pad>", eos, "<unk>"])
    found.post_processor = processors.TemplateProcessing(single=f"$A {eos}", special_tokens=[(eos, 1)])
    return found


def llama2(eos: str) -> Tokenizer:
    """Return a tokenizer of Llama 2's kind: it writes a blank before each piece; merges make `<eos>` of letters."""
    vocabulary = ["<unk>", eos, *LETTERS, "\u2581a", "<e", "os", "<eos"]
    merges = [("\u2581", "a"), ("<", "e"), ("o", "s"), ("<e", "os"), *([("<eos", ">")] if eos == "<eos>" else [])]
    found = Tokenizer(tokenizer_models.BPE({text: n for n, text in enumerate(vocabulary)}, merges, unk_token="<unk>"))
    found.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    found.add_special_tokens(["<unk>", eos, TURN])
    found.post_processor = processors.TemplateProcessing(single=f"{eos} $A", special_tokens=[(eos, 1)])
    return found


KINDS: dict[str, Callable[[str], Tokenizer]] = {
    "a blank before every piece": lambda eos: t5(eos, "always"),
    "a blank before the first piece": lambda eos: t5(eos, "first"),
    "a blank by the normalizer": llama2,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [None, "<eos>U: {{ messages[-1].content }}<eos> A:"])
@pytest.mark.parametrize("text", ["a<eos>b", "<eos>", "<eos> a", "a <eos><eos>", "\ue000<eos>\ue001", "<unk>a<pad>"])
def test_a_text_gets_the_tokens_of_a_tokenizer_without_its_control_tokens(
    kind: str, template: str | None, text: str
) -> None:
    # The same tokenizer with control tokens that no text holds.
    told = KINDS[kind]("@1").to_str().replace('"<unk>"', '"@2"').replace('"<pad>"', '"@3"')
    shown = text if template is None else f"@1U: {text}@1 A:"
    expected = Tokenizer.from_str(told).encode(shown, add_special_tokens=template is None).ids
    files = {} if template is None else {TEMPLATE: template.encode()}
    assert list(Letters(KINDS[kind]("<eos>")).prompt(text, framing_of(files))) == expected


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
