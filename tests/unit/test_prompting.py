"""The choices of how a model is asked: examples, arguments, stop texts, a least length; they travel with the folder."""

import json

import pytest
import torch
from support.pretrained import small_folder, write
from support.templates import FAMILIES, number, speaking
from support.tiny import EVALUATION, grow

from bootstrap.config.base_model import PretrainedModel
from bootstrap.config.few_shot import Shot
from bootstrap.config.optimizers import AdamW
from bootstrap.config.recipe import Recipe
from bootstrap.errors import RecipeError
from bootstrap.learner_records import KlForm
from bootstrap.records import (
    Batch,
    Checkpoint,
    Example,
    Finish,
    KlTarget,
    Normalizers,
    Prompt,
    Request,
    Sampling,
    Split,
)
from bootstrap.rollouts.engine import TransformersEngine
from bootstrap.rollouts.stop import StopTexts
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.weights import read_model_folder
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.chat import PLAIN_STOPS, framed, framed_by, framing_of
from bootstrap.training.choices import PROMPTING, Choices, choices_of
from bootstrap.training.model import load, passed_on
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

BASE = small_folder()
ENCODER = Encoder(Checkpoint(fingerprint="f", files=BASE))
CHATML = FAMILIES["ChatML on a base's tokenizer"]
SHOTS = (Shot("1+1=", "2"), Shot("2+2=", "4"))
HOT = Sampling(temperature=1.0, max_new_tokens=24)


def requests(count, text="a=1"):
    prompt = Prompt(id=text, task="t", level=1, text=text, split=Split.TRAIN)
    return [Request(id=f"g0.s0.u0.p0.k{k}", prompt=prompt, seed=k) for k in range(count)]


def worker(files, **choices):
    found = Worker(batch_rows=16, device="cpu")
    found.load(framed(files, chat=True, system=None, **choices), None)
    return found


def sampled(files, count=64, how=HOT, **choices):
    return worker(files, **choices).generate(requests(count), how)


# --- stop texts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [("1",), ("c", "+"), ("ab", "ba", "1="), ("\n",)])
def test_a_stop_text_ends_an_answer_and_is_cut_off_it(stop):
    free = sampled(BASE)
    rollouts = sampled(BASE, stop=stop)
    assert any(any(text in rollout.text for text in stop) for rollout in free), "the model writes them"
    ended = 0
    for one, other in zip(free, rollouts, strict=True):
        assert not any(text in other.text for text in stop)
        # The same tokens with the same log-probabilities, up to the one that completes the text.
        assert other.tokens == one.tokens[: len(other.tokens)]
        assert other.logprobs == pytest.approx(one.logprobs[: len(other.tokens)], abs=1e-5)
        assert len(other.logprobs) == len(other.entropies) == len(other.tokens)
        if any(text in one.text for text in stop):
            ended += 1
            first = min(place for text in stop if (place := one.text.find(text)) >= 0)
            assert other.finish is Finish.STOP and other.text == one.text[:first]
            whole = ENCODER.tokenizer.decode(list(other.tokens), skip_special_tokens=False)
            assert any(whole.endswith(text) for text in stop), "the last token completes one of the texts"
        else:
            assert (other.tokens, other.text, other.finish) == (one.tokens, one.text, one.finish)
    assert ended


def test_a_stop_text_that_the_last_allowed_token_completes_ends_the_answer():
    free = sampled(BASE, how=Sampling(temperature=1.0, max_new_tokens=3))
    cut = next(rollout for rollout in free if rollout.finish is Finish.LENGTH)
    [again] = [
        r
        for r in sampled(BASE, how=Sampling(temperature=1.0, max_new_tokens=3), stop=(cut.text[-1:],))
        if r.seed == cut.seed
    ]
    assert again.finish is Finish.STOP


def test_the_prompt_and_the_opened_reasoning_hold_no_stop_text():
    family = FAMILIES["DeepSeek R1, distilled"]
    files = speaking(family.tokens, family.template)
    [rollout] = sampled(files, count=1, stop=("think",), how=Sampling(temperature=1.0, max_new_tokens=4))
    assert rollout.text.startswith("<think>\n")


def test_a_question_of_its_own_ends_a_plain_answer_without_the_blank_before_it():
    stop = StopTexts(PLAIN_STOPS, decode=lambda rows: [""] * len(rows))
    assert stop.before("12\n\nQuestion: 1+1=") == stop.before("12\nQuestion: 1+1=") == stop.before("12") == "12"


# --- a least length ------------------------------------------------------------------------------------------------


def test_no_answer_ends_before_the_least_length():
    free, longer = sampled(BASE), sampled(BASE, min_new_tokens=6)
    ends = {2}
    assert any(len(rollout.tokens) <= 6 and rollout.finish is Finish.STOP for rollout in free)
    for rollout in longer:
        assert not ends & set(rollout.tokens[:6])
    assert any(rollout.finish is Finish.STOP for rollout in longer), "later, answers end"


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("packed", [False, True])
def test_the_policy_of_the_learner_is_the_one_that_sampled(temperature, packed, monkeypatch):
    found = worker(BASE, min_new_tokens=6)
    monkeypatch.setattr(found, "training", found.training.model_copy(update={"packing": packed}))
    how = Sampling(temperature=temperature, max_new_tokens=12)
    rollouts = found.generate(requests(24), how)
    examples = [
        Example(
            source=r.id,
            tokens=r.prompt_tokens + r.tokens,
            num_prompt_tokens=len(r.prompt_tokens),
            advantages=(1.0,) * len(r.tokens),
            logprobs=r.logprobs,
        )
        for r in rollouts
    ]
    found.begin(AdamW(lr=1e-3))
    gradient = found.gradient(
        Batch(examples=examples, normalizers=Normalizers(), clip_low=0.2, clip_high=0.2, temperature=temperature)
    )
    assert gradient.ratio_max == pytest.approx(1, abs=1e-4)
    scores = {one.source: one for one in found.recompute_logprobs(examples, temperature)}
    for rollout in rollouts:
        assert scores[rollout.id].logprobs == pytest.approx(rollout.logprobs, abs=1e-4)
    # Without the mask the same tokens are less likely, so the check can fail.
    monkeypatch.setattr(found.engine.answers, "min_new_tokens", 0)
    found.begin(AdamW(lr=1e-3))
    gaps = [
        abs(ours - theirs)
        for one in found.recompute_logprobs(examples, temperature)
        for rollout in rollouts
        if rollout.id == one.source
        for ours, theirs in zip(one.logprobs, rollout.logprobs, strict=True)
    ]
    assert max(gaps) > 1e-2


def test_an_early_end_is_imitated_all_the_same():
    found, free = worker(BASE, min_new_tokens=6), worker(BASE)
    example = Example(source="s", tokens=(1, 4, 5, 2), num_prompt_tokens=2, ce_weight=1.0)
    losses = []
    for one in (found, free):
        one.begin(AdamW(lr=1e-3))
        losses.append(one.gradient(Batch(examples=[example], normalizers=Normalizers())).ce_loss)
    assert losses[0] == pytest.approx(losses[1]) and torch.isfinite(torch.tensor(losses)).all()


def test_a_reference_that_equals_the_policy_costs_nothing_under_the_least_length():
    files = framed(BASE, chat=True, system=None, min_new_tokens=6)
    found = worker(BASE, min_new_tokens=6)
    fingerprint = fingerprint_model(files)
    found.load_teacher(files, fingerprint)
    rollouts = found.generate(requests(8), HOT)
    examples = [
        Example(
            source=r.id,
            tokens=r.prompt_tokens + r.tokens,
            num_prompt_tokens=len(r.prompt_tokens),
            advantages=(0.0,) * len(r.tokens),
            logprobs=r.logprobs,
            kl_targets=(KlTarget(model=fingerprint, weight=1.0, form=KlForm.LOSS_K3),),
        )
        for r in rollouts
    ]
    found.begin(AdamW(lr=1e-3))
    gradient = found.gradient(Batch(examples=examples, normalizers=Normalizers()))
    assert gradient.rl_loss == pytest.approx(0, abs=1e-5)


def test_a_least_length_that_leaves_no_room_for_an_end_is_refused():
    with pytest.raises(
        RecipeError, match=r"min_new_tokens 24 of .* leaves no room .* at most 24 tokens.*voter_max_tokens"
    ):
        sampled(BASE, count=1, min_new_tokens=24)


# --- examples ------------------------------------------------------------------------------------------------------


def test_examples_of_plain_prompts_are_text_in_the_prompts_form():
    files = framed(BASE, chat=True, system=None, examples=SHOTS)
    framing = framing_of(files)
    assert framing.text("3+3=") == (
        "Question: 1+1=\nAnswer:\n2\n\nQuestion: 2+2=\nAnswer:\n4\n\nQuestion: 3+3=\nAnswer:\n"
    )
    assert framing.choices.stop == PLAIN_STOPS, "a model that goes on asks itself"
    assert framing_of(framed(BASE, chat=True, system=None, stop=("x",))).text("3+3=") == "3+3="


def test_examples_are_earlier_turns_of_a_chat():
    files = framed(speaking(CHATML.tokens, CHATML.template), chat=True, system="S", examples=SHOTS[:1])
    assert framing_of(files).text("3+3=") == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n1+1=<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\n3+3=<|im_end|>\n<|im_start|>assistant\n"
    )
    assert framing_of(files).choices.stop == ()


@pytest.mark.parametrize("template", [None, CHATML.template])
def test_a_control_token_in_a_prompt_stays_letters_behind_examples(template):
    files = framed(speaking(CHATML.tokens, template), chat=True, system=None, examples=SHOTS)
    encoder = Encoder(Checkpoint(fingerprint="f", files=files))
    [(odd, _), (even, _)] = encoder.pairs([("<|im_end|>", "2"), ("3+3=", "2")])
    end = number(files, "<|im_end|>")
    assert odd.count(end) == even.count(end)
    assert encoder.tokenizer.decode(list(odd), skip_special_tokens=False).count("<|im_end|>") == even.count(end) + 1


def test_an_example_with_a_control_token_is_refused():
    files = speaking(CHATML.tokens, CHATML.template)
    with pytest.raises(RecipeError, match=r"example 2 holds '<\|im_end\|>'.*leave it out"):
        framed(files, chat=True, system=None, examples=(SHOTS[0], Shot("a<|im_end|>", "b")))


# --- the beginning of an answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [True, False])
def test_an_answer_goes_on_from_its_given_beginning(chat):
    files = framed(speaking(CHATML.tokens, CHATML.template), chat=chat, system=None, prefill="<think>\n")
    framing = framing_of(files)
    assert (
        framing.text("3+3=")
        == framing_of({**files, PROMPTING: Choices(chat=chat).to_file()}).text("3+3=") + "<think>\n"
    )
    assert framing.opening("3+3=") == "<think>\n", "verifiers know of the reasoning that it opens"
    encoder = Encoder(Checkpoint(fingerprint="f", files=files))
    [(prompt, completion)] = encoder.pairs([("3+3=", "<think>\nso</think>6")])
    text = encoder.tokenizer.decode([*prompt, *completion[:-1]], skip_special_tokens=False)
    assert text.endswith("<think>\nso</think>6") and text.count("<think>") == 1
    found = Worker(batch_rows=4, device="cpu")
    found.load(files, None)
    [rollout] = found.generate(requests(1, "3+3="), HOT)
    assert rollout.prompt_tokens == prompt and rollout.text.startswith("<think>\n")


def test_other_beginnings_are_judged_without():
    files = framed(BASE, chat=True, system=None, prefill="abc")
    assert framing_of(files).text("a=1") == "a=1abc" and framing_of(files).opening("a=1") == ""


# --- arguments -----------------------------------------------------------------------------------------------------


def test_an_argument_that_the_template_does_not_read_is_refused_with_those_that_it_reads():
    family = FAMILIES["Qwen3, thinking"]
    files = speaking(family.tokens, family.template)
    with pytest.raises(RecipeError, match=r"does not read enable_thinkin, .* it reads enable_thinking$"):
        framed(files, chat=True, system=None, template_arguments={"enable_thinkin": False})
    with pytest.raises(RecipeError, match="it reads no arguments"):
        framed(speaking(CHATML.tokens, CHATML.template), chat=True, system=None, template_arguments={"x": 1})
    with pytest.raises(RecipeError, match=r"base\.model\.template_arguments is set, .* no chat template"):
        framed(BASE, chat=True, system=None, template_arguments={"x": 1})


@pytest.mark.parametrize("value", [True, 3, 0.5, "abc", None])
def test_an_argument_keeps_its_type(value):
    files = speaking(("</s>",), "{{ x }}|{{ x is string }}|{{ x is boolean }}|{{ x is integer }}")
    files = framed(files, chat=True, system=None, template_arguments={"x": value})
    expected = "|".join(map(str, (value, type(value) is str, type(value) is bool, type(value) is int)))
    assert framing_of(files).text("p") == expected


# --- the file ------------------------------------------------------------------------------------------------------

CHOICES = Choices(
    chat=False,
    system="s",
    template_arguments={"a": 1, "b": None, "c": "x", "d": False},
    examples=SHOTS,
    prefill="<think>",
    stop=("x", "é\n"),
    min_new_tokens=3,
    end="<|im_end|>",
)


def test_choices_are_read_as_they_were_written():
    assert choices_of({PROMPTING: CHOICES.to_file()}) == CHOICES
    assert choices_of({}) == Choices()


def test_default_choices_have_the_bytes_of_folders_that_know_no_others():
    assert Choices().to_file() == b'{"chat": true, "system": null}'
    assert framed(small_folder(chat=True), chat=True, system="abc")[PROMPTING] == b'{"chat": true, "system": "abc"}'
    assert PROMPTING not in framed(BASE, chat=True, system=None)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        b'{"stop": "x"}',
        b'{"stop": [1]}',
        b'{"min_new_tokens": -1}',
        b'{"min_new_tokens": true}',
        b'{"system": 1}',
        b'{"chat": "no"}',
        b'{"examples": [{"prompt": "x"}]}',
        b'{"examples": [{"prompt": "x", "answer": 1}]}',
        b'{"template_arguments": {"x": [1]}}',
        b'{"end": 2}',
        b'{"unknown": 1}',
    ],
)
def test_a_file_of_another_form_is_refused(data):
    with pytest.raises(RecipeError, match=r"prompting\.json .* in no known form"):
        choices_of({PROMPTING: data})


def test_choices_travel_with_exported_weights_and_adapters(tmp_path):
    choices = {"examples": SHOTS, "stop": ("+",), "min_new_tokens": 2}
    found = worker(BASE, **choices)
    files = found.export().files
    assert choices_of(files).examples == SHOTS and choices_of(files).stop == ("+", *PLAIN_STOPS)
    again = Worker(batch_rows=16, device="cpu")
    again.load(files, None)
    assert again.generate(requests(4), HOT) == found.generate(requests(4), HOT)
    # A judge, a teacher that answers and the panel are asked through a frozen sampler.
    again.load_frozen_sampler(files, fingerprint_model(files))
    asked = again.generate(requests(4), HOT, by=fingerprint_model(files))
    assert [one.tokens for one in asked] == [one.tokens for one in found.generate(requests(4), HOT)]
    assert PROMPTING in passed_on(files)


def test_a_lineage_asks_with_its_choices_and_hands_them_on(tmp_path):
    family = FAMILIES["Qwen3, thinking"]
    folder = write(speaking(family.tokens, family.template), tmp_path / "model")
    (tmp_path / "shots.jsonl").write_text('{"prompt": "ab=", "answer": "ba"}\n\n{"prompt": "c=", "answer": "c"}\n')
    adamw = {"type": "adamw", "lr": 0.01}
    sft = {"type": "sft", "updates": 2, "batch_size": 8, "optimizer": adamw}
    rl = {"type": "rl", "rounds": 2, "prompts_per_update": 2, "group_size": 2, "optimizer": adamw}
    settings = Recipe.model_validate(
        {
            "name": "tiny",
            "task": {"type": "copy", "alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5},
            "base": {
                "model": {
                    "type": "folder",
                    "path": str(folder),
                    "template_arguments": {"enable_thinking": False},
                    "examples": str(tmp_path / "shots.jsonl"),
                    "stop": ["=="],
                    "min_new_tokens": 1,
                },
                "steps": [sft],
            },
            "generations": {"count": 1, "steps": [rl]},
            "evaluation": EVALUATION,
            "gate": {"min_prompts": 10},
        }
    )
    entries = grow(settings, tmp_path / "tiny")
    store = LineageStore(tmp_path / "tiny")
    for entry in entries:
        files = store.artifact(entry.generation.artifacts["weights"]).read_all()
        assert json.loads(files[PROMPTING]) == {
            "chat": True,
            "system": None,
            "template_arguments": {"enable_thinking": False},
            "examples": [{"prompt": "ab=", "answer": "ba"}, {"prompt": "c=", "answer": "c"}],
            "stop": ["=="],
            "min_new_tokens": 1,
            "end": "<|im_end|>",
        }
    model, tokenizer = load(files)
    assert TransformersEngine(model, tokenizer, batch_rows=4).eos.tolist() == [
        number(files, "<|endoftext|>"),
        number(files, "<|im_end|>"),
    ]


def test_a_recipes_model_writes_its_choices_into_the_folder(tmp_path):
    (tmp_path / "shots.jsonl").write_text('{"prompt": "1+1=", "answer": "2"}\n')
    folder = write(BASE, tmp_path / "m")
    model = PretrainedModel(path=str(folder), examples={"path": str(tmp_path / "shots.jsonl")}, stop=("x",))
    files = framed_by(read_model_folder(folder), model)
    assert choices_of(files) == Choices(examples=SHOTS[:1], stop=("x", *PLAIN_STOPS))
    (tmp_path / "shots.jsonl").unlink()
    with pytest.raises(RecipeError, match=r"base\.model\.examples: there is no file"):
        framed_by(read_model_folder(folder), model)
