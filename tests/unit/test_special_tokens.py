"""End tokens and padding of folders whose files disagree: what is taught as the end stops the sampler."""

import json

import numpy as np
import pytest
from support.pretrained import padded, small_folder
from transformers import AutoConfig, AutoModelForCausalLM

from bootstrap.config.optimizers import AdamW
from bootstrap.errors import RecipeError
from bootstrap.records import Batch, Checkpoint, Example, Finish, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.rollouts.engine import TransformersEngine
from bootstrap.stages.encoding import Encoder
from bootstrap.training.model import export, load, passed_on, weights_bytes
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

BASE = small_folder()
EOS, OTHER = 2, 5
TEXTS = ("a=1", "a=1+22")


def with_setting(files, name, **settings):
    return {**files, name: json.dumps({**json.loads(files[name]), **settings}).encode()}


def generation(**settings):
    return with_setting(BASE, "generation_config.json", **settings)


def without_generation(**settings):
    files = with_setting(BASE, "config.json", **settings)
    return {name: data for name, data in files.items() if name != "generation_config.json"}


def tokenizer(files=BASE, **settings):
    return with_setting(files, "tokenizer_config.json", **settings)


def added(token, *, special=True):
    """Return a folder whose tokenizer has one token more than the model has rows."""
    found = json.loads(BASE["tokenizer.json"])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    found["added_tokens"].append({"id": 25, "content": token, **plain})
    return {**BASE, "tokenizer.json": json.dumps(found).encode()}


def opened(files):
    model, tokens = load(files)
    return TransformersEngine(model, tokens, batch_rows=64)


def encoder(files):
    return Encoder(Checkpoint(fingerprint="0" * 64, files=files))


def asked(count):
    prompts = [Prompt(id=text, task="t", level=1, text=text, split=Split.TRAIN) for text in TEXTS]
    return [
        Request(id=f"g0.s0.u0.p{at}.k{k}", prompt=prompt, seed=1000 * at + k)
        for at, prompt in enumerate(prompts)
        for k in range(count)
    ]


ENDS = {
    "all agree": (BASE, EOS, {EOS}),
    "generation_config.json names another": (generation(eos_token_id=OTHER), EOS, {EOS, OTHER}),
    "generation_config.json lists others": (generation(eos_token_id=[OTHER, 6]), EOS, {EOS, OTHER, 6}),
    "generation_config.json lists both": (generation(eos_token_id=[OTHER, EOS]), EOS, {EOS, OTHER}),
    "generation_config.json names none": (generation(eos_token_id=None), EOS, {EOS}),
    "config.json alone names another": (without_generation(eos_token_id=OTHER), EOS, {EOS, OTHER}),
    "config.json alone lists others": (without_generation(eos_token_id=[OTHER, 6]), EOS, {EOS, OTHER, 6}),
    "all three differ": (with_setting(generation(eos_token_id=OTHER), "config.json", eos_token_id=6), EOS, {2, 5, 6}),
    "a chat fine-tune's tokenizer names another": (tokenizer(eos_token="a"), 4, {EOS, 4}),
    "a token beyond the vocabulary": (generation(eos_token_id=[EOS, 99]), EOS, {EOS}),
}


@pytest.mark.parametrize("form", ENDS)
def test_what_is_taught_as_the_end_is_among_all_that_stop_the_sampler(form):
    files, taught, stopping = ENDS[form]
    assert set(opened(files).eos.tolist()) == stopping
    (pair,) = encoder(files).pairs([("a=", "1")])
    assert pair[1][-1] == taught and pair[1].count(taught) == 1
    assert taught in stopping


def test_the_end_that_a_models_class_supposes_is_none_of_a_folder_that_does_not_name_it():
    # A Llama's configuration says 2 unless told otherwise, which is some word of this tokenizer.
    files = tokenizer(without_generation(), eos_token="a")
    config = {name: value for name, value in json.loads(files["config.json"]).items() if name != "eos_token_id"}
    assert opened({**files, "config.json": json.dumps(config).encode()}).eos.tolist() == [4]


def test_the_ends_of_a_model_within_a_larger_one_are_its_own():
    inner = {
        **dict.fromkeys(("hidden_size", "intermediate_size"), 32),
        **dict.fromkeys(("num_attention_heads", "linear_num_value_heads"), 4),
        **dict.fromkeys(("num_key_value_heads", "linear_num_key_heads"), 2),
        **dict.fromkeys(("head_dim", "linear_key_head_dim", "linear_value_head_dim"), 8),
        **{"vocab_size": 25, "num_hidden_layers": 4, "eos_token_id": OTHER, "pad_token_id": -1},
    }
    config = AutoConfig.for_model("qwen3_5", text_config=inner)
    weights = weights_bytes(AutoModelForCausalLM.from_config(config))
    files = {**without_generation(), "config.json": config.to_json_string().encode(), "model.safetensors": weights}
    model, _ = load(files)
    assert model.generation_config.eos_token_id == [OTHER, EOS]
    assert model.config.pad_token_id is None


def test_an_answer_ends_with_the_first_end_token_and_holds_no_other():
    engine = opened(generation(eos_token_id=OTHER))
    found = engine.generate(asked(100), Sampling(temperature=1.0, max_new_tokens=12), policy="f")
    ends = {EOS, OTHER}
    for rollout in found:
        assert not ends & set(rollout.tokens[:-1])
        stopped = rollout.tokens[-1] in ends
        assert rollout.finish is (Finish.STOP if stopped else Finish.LENGTH)
        assert len(rollout.tokens) == len(rollout.logprobs) == len(rollout.entropies)
        shown = rollout.tokens[:-1] if stopped else rollout.tokens
        assert rollout.text == engine.answers.tokenizer.decode(shown, skip_special_tokens=False)
    assert {rollout.tokens[-1] for rollout in found if rollout.finish is Finish.STOP} == ends


def test_an_exported_model_tells_every_server_of_all_its_end_tokens():
    files = generation(eos_token_id=OTHER)
    model, tokens = load(files)
    again = export(model, tokens, passed_on=passed_on(files)).files
    assert sorted(json.loads(again["generation_config.json"])["eos_token_id"]) == [EOS, OTHER]
    assert opened(again).eos.tolist() == opened(files).eos.tolist()


def test_files_that_agree_on_the_end_are_exported_as_they_are():
    model, tokens = load(BASE)
    again = export(model, tokens, passed_on=passed_on(BASE)).files
    assert again["generation_config.json"] == BASE["generation_config.json"]
    assert again["config.json"] == BASE["config.json"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (tokenizer(eos_token="<|im_end|>"), "names the eos_token '<|im_end|>', which tokenizer.json has no token for"),
        (tokenizer(added("<|im_end|>"), eos_token="<|im_end|>"), "is token 25, and the model's embedding has 25 rows"),
    ],
)
def test_an_end_that_the_model_cannot_draw_is_refused_by_driver_and_worker(files, expected):
    for read in (load, encoder):
        with pytest.raises(RecipeError, match=expected.replace("|", r"\|")):
            read(files)


def test_a_model_that_no_answer_can_end_is_refused_with_a_remedy():
    files = tokenizer(without_generation(eos_token_id=None), eos_token=None)
    with pytest.raises(RecipeError, match=r"names a token of the model that ends an answer; set tokenizer\.eos_token"):
        opened(files)


PADS = {
    "as exported": BASE,
    "a token that the tokenizer lacks": tokenizer(pad_token="[PAD]"),
    "a token without a row": tokenizer(added("[PAD]"), pad_token="[PAD]"),
    "-1": with_setting(BASE, "config.json", pad_token_id=-1),
    "a number beyond the vocabulary": with_setting(BASE, "config.json", pad_token_id=99),
    "none": with_setting(tokenizer(pad_token=None), "config.json", pad_token_id=None),
    "the end token": tokenizer(pad_token="<eos>"),
    "none, and the first end token has no row": generation(eos_token_id=[99, EOS], pad_token_id=99),
}


@pytest.mark.parametrize("form", PADS)
def test_padding_of_any_kind_changes_nothing_that_is_sampled_or_learned(form):
    engine, plain = opened(PADS[form]), opened(BASE)
    how = Sampling(temperature=1.0, max_new_tokens=6)
    found, expected = (one.generate(asked(8), how, policy="f") for one in (engine, plain))
    assert [rollout.tokens for rollout in found] == [rollout.tokens for rollout in expected]
    learned, wanted = (gradient_of(files) for files in (PADS[form], BASE))
    assert np.allclose(learned, wanted, atol=1e-6) and np.abs(wanted).max() > 1e-3


def gradient_of(files):
    """Return the gradient of completions whose lengths differ."""
    worker = Worker(batch_rows=8, device="cpu")
    worker.load(files, None)
    worker.begin(AdamW())
    texts = [Example(source=str(n), prompt_text="a=1", completion_text="1" * n, ce_weight=1.0) for n in (1, 4, 9)]
    batch = Batch(
        examples=encoder(files).encode(texts), normalizers=Normalizers(rl=1, ce=17, kl=1), clip_low=0.2, clip_high=0.2
    )
    return worker.gradient(batch).flat


def test_text_that_becomes_a_token_without_a_row_is_refused_by_driver_and_worker():
    files = added("[NEW]", special=False)
    prompt = Prompt(id="p", task="t", level=1, text="a=[NEW]", split=Split.TRAIN)
    request, how = Request(id="g0.s0.u0.p0.k0", prompt=prompt, seed=1), Sampling(temperature=1.0, max_new_tokens=2)
    with pytest.raises(RecipeError, match=r"a prompt holds '\[NEW\]', token 25 .* 25 rows; leave the prompt out"):
        opened(files).generate([request], how, policy="f")
    example = Example(source="s", prompt_text="a=", completion_text="1[NEW]", ce_weight=1.0)
    with pytest.raises(RecipeError, match=r"an example holds '\[NEW\]', token 25 .* 25 rows; leave the example out"):
        encoder(files).encode([example])
    wide = padded(files, by=1)
    assert encoder(wide).encode([example])[0].tokens[-2:] == (25, EOS)
    assert opened(wide).generate([request], how, policy="f")[0].prompt_tokens[-1] == 25
