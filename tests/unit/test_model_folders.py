"""Folders of pretrained models as people find them: imported or named by a recipe, each samples, learns, is exported.

What `bootstrap import` says of them stands beside.
"""

import json
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.pretrained import small_folder, small_llama, write
from support.templates import FAMILIES, speaking
from transformers import AutoModelForCausalLM, AutoTokenizer

from bootstrap.cli.main import main
from bootstrap.config.base_model import PretrainedModel
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import RecipeError
from bootstrap.records import Batch, Checkpoint, Example, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.weights import read_model_folder
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.shards import joined
from bootstrap.training.chat import TEMPLATE, framed_by
from bootstrap.training.sources import read_source
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

BASE = small_folder(chat=True)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TEXTS = [("a=", "1"), ("a=1+22", "abc")]


def changed(files, **settings):
    """Return a folder with settings by file: `config`, `generation_config`, `tokenizer_config`; `...` removes one."""
    found = dict(files)
    for stem, values in settings.items():
        data = {**json.loads(files[f"{stem}.json"]), **values}
        found[f"{stem}.json"] = json.dumps({key: value for key, value in data.items() if value is not ...}).encode()
    return found


def without(files, *names):
    return {name: data for name, data in files.items() if name not in names}


def sharded():
    """Return a folder as transformers saves a large model."""
    with tempfile.TemporaryDirectory() as place:
        small_llama().save_pretrained(place, max_shard_size="8KB")
        shards = {path.name: path.read_bytes() for path in Path(place).iterdir() if path.name.startswith("model")}
    assert len(shards) > 3 and INDEX in shards
    return {**without(BASE, WEIGHTS), **shards}


def untied():
    tensors = safetensors.torch.load(BASE[WEIGHTS])
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0).contiguous()
    weights = safetensors.torch.save(tensors, metadata={"format": "pt"})
    return {**changed(BASE, config={"tie_word_embeddings": False}), WEIGHTS: weights}


CHATML, PHI, R1 = (FAMILIES[name] for name in ("ChatML on a base's tokenizer", "Phi", "DeepSeek R1, distilled"))
QWEN = FAMILIES["Qwen3, thinking"]
FORMS = {
    "nothing to tell of": (untied(), ["answers end with '<eos>' (2); sampling stops at '<eos>' (2)"]),
    "padding is the end": (
        changed(BASE, tokenizer_config={"pad_token": "<eos>"}, config={"pad_token_id": 2}),
        ["padding: pad_token is also the end token '<eos>' (2); padding is never read"],
    ),
    "padding of -1": (
        changed(BASE, config={"pad_token_id": -1}),
        ["padding: config.json pads with token -1, outside the embedding's 25 rows; it is stored as null"],
    ),
    "padding beyond the embedding": (
        changed(BASE, config={"pad_token_id": 25}),
        ["padding: config.json pads with token 25, outside the embedding's 25 rows; it is stored as null"],
    ),
    "padding that is no token": (
        changed(BASE, tokenizer_config={"pad_token": "[PAD]"}),
        ["padding: the tokenizer's pad_token '[PAD]' is no token of the model; '<eos>' (2) fills gaps"],
    ),
    "no padding": (
        changed(BASE, tokenizer_config={"pad_token": None}, config={"pad_token_id": None}),
        ["padding: none is named; '<eos>' (2) fills gaps"],
    ),
    "no chat template": (
        without(BASE, TEMPLATE),
        ["chat template: none, so the model reads prompts as plain text", "base.model.examples"],
    ),
    "tied weights": (BASE, ["weights: the output matrix is the embedding (tied); it is stored once"]),
    "weights in shards": (sharded(), [f"files, as {INDEX} names them; they are stored as one {WEIGHTS}"]),
    "several ends": (
        changed(BASE, generation_config={"eos_token_id": [2, 5]}),
        [
            "end tokens: config.json names '<eos>' (2), generation_config.json names '<eos>' (2) and 'b' (5)",
            "answers end with '<eos>' (2); sampling stops at '<eos>' (2) and 'b' (5)",
        ],
    ),
    "an end in generation_config.json alone": (
        changed(BASE, config={"eos_token_id": ...}, generation_config={"eos_token_id": 5}),
        [
            "end tokens: config.json names none, generation_config.json names 'b' (5); sampling stops at all of them",
            "end tokens: the tokenizer's eos_token is '<eos>' (2), which neither configuration names",
            "answers end with '<eos>' (2); sampling stops at 'b' (5) and '<eos>' (2)",
        ],
    ),
    "an end beyond the embedding": (
        changed(BASE, generation_config={"eos_token_id": [2, 99]}),
        ["end tokens: token 99 is beyond the embedding's 25 rows; left out"],
    ),
    "an end of turn in the template alone": (
        speaking(CHATML.tokens, CHATML.template),
        [
            "end tokens: the chat template ends an answer with '<|im_end|>' (102), the tokenizer's eos_token is "
            "'<|endoftext|>' (100); training teaches the template's",
            "answers end with '<|im_end|>' (102); sampling stops at '<|endoftext|>' (100) and '<|im_end|>' (102)",
        ],
    ),
    "a template that opens the reasoning": (
        speaking(R1.tokens, R1.template),
        ["chat template: a prompt ends with '<think>\\n', so answers are judged with that before them"],
    ),
    "a template with arguments": (
        speaking(QWEN.tokens, QWEN.template),
        ["chat template: it reads the arguments enable_thinking (base.model.template_arguments)"],
    ),
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def asked(text):
    prompt = Prompt(id=text, task="t", level=1, text=text, split=Split.TRAIN)
    return Request(id="g0.s0.u0.p0.k0", prompt=prompt, seed=3)


def works(folder):
    """Prove that a recipe's folder samples, learns its end, and is exported for transformers."""
    files = framed_by(read_model_folder(folder), PretrainedModel(path=str(folder)))
    worker = Worker(batch_rows=8, device="cpu")
    worker.load(files, None)
    encoder = Encoder(Checkpoint(fingerprint="f", files=files))
    ends = worker.engine.eos.tolist()
    assert encoder.eos in ends
    for rollout in worker.generate([asked(text) for text, _ in TEXTS], Sampling(temperature=1.0, max_new_tokens=8)):
        assert set(rollout.tokens[:-1]).isdisjoint(ends)
    pairs = encoder.pairs(TEXTS)
    examples = [
        Example(source=str(n), tokens=(*prompt, *completion), num_prompt_tokens=len(prompt), ce_weight=1.0)
        for n, (prompt, completion) in enumerate(pairs)
    ]
    exported = write(dict(worker.export().files), Path(tempfile.mkdtemp()) / "m")
    theirs = AutoModelForCausalLM.from_pretrained(exported)
    with torch.inference_mode():
        logprobs = [theirs(torch.tensor([e.tokens])).logits.log_softmax(-1)[0] for e in examples]
    expected = sum(
        -logprobs[n][place - 1, e.tokens[place]]
        for n, e in enumerate(examples)
        for place in range(e.num_prompt_tokens, len(e.tokens))
    )
    worker.begin(AdamW(lr=1e-3))
    batch = Batch(examples=examples, normalizers=Normalizers())
    gradient = worker.gradient(batch)
    assert gradient.ce_loss == pytest.approx(float(expected), rel=1e-4), "the end counts, padding does not"
    assert worker.step(batch, 1.0, 1.0).grad_norm > 0
    again = Worker(batch_rows=8, device="cpu")
    again.load(read_model_folder(exported), None)
    assert again.engine.eos.tolist() == ends
    named = theirs.generation_config.eos_token_id
    assert set(named if isinstance(named, list) else [named]) == set(ends)
    assert AutoTokenizer.from_pretrained(exported).encode("a") == encoder.tokenizer.encode("a").ids


def test_a_folder_is_imported_with_a_word_on_its_forms_and_works(form, tmp_path, capsys):
    files, told = form
    source = write(files, tmp_path / "source")
    assert main(["import", str(source), str(tmp_path / "m"), "--licence", "mit"]) == 0
    said = capsys.readouterr().out
    assert [text for text in told if text not in said] == []
    assert all(len(line) < 400 for line in said.splitlines())
    works(tmp_path / "m")


def test_a_folder_works_as_it_is_when_a_recipe_names_it(form, tmp_path):
    works(write(form[0], tmp_path / "m"))


def test_what_agrees_is_told_in_one_line():
    template = b"{% for m in messages %}{{ m.content }}<eos>{% endfor %}"
    assert read_lines({**untied(), TEMPLATE: template}) == [
        "answers end with '<eos>' (2); sampling stops at '<eos>' (2)"
    ]


def read_lines(files):
    with tempfile.TemporaryDirectory() as place:
        return read_source(str(write(files, Path(place) / "m"))).findings


def test_control_characters_of_a_folder_are_told_escaped():
    files = speaking(("<eos>", "\x1b[31m"), "{% for m in messages %}{{ m.content }}\x1b[31m{% endfor %}")
    lines = read_lines(files)
    assert any(r"'\x1b[31m'" in line for line in lines)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no \x1b[31m\n' * 500) }}", r"refuses the prompt: no \x1b[31m\nno "),
        ("{% " + 500 * "x" + " %}", "cannot be read: Encountered unknown tag 'xxx"),
    ],
)
def test_a_templates_own_words_are_told_in_one_bounded_line(template, reason):
    [line] = [line for line in read_lines({**BASE, TEMPLATE: template.encode()}) if line.startswith("chat template")]
    assert reason in line and line.isprintable() and len(line) < 500


# --- shards --------------------------------------------------------------------------------------------------------


def test_shards_hold_the_weights_of_one_file(tmp_path):
    one, several = (read_model_folder(write(files, tmp_path / name)) for name, files in (("a", BASE), ("b", sharded())))
    assert fingerprint_model(one) == fingerprint_model(several)
    assert {name for name in several if "safetensors" in name} == {WEIGHTS}


def test_joined_shards_are_what_the_tensor_library_reads():
    parts = [{"b": torch.arange(6.0).reshape(2, 3)}, {"a": torch.ones(3, dtype=torch.bfloat16), "c": torch.tensor(2)}]
    data = joined([(str(n), safetensors.torch.save(part)) for n, part in enumerate(parts)])
    found = safetensors.torch.load(data)
    assert found.keys() == {"a", "b", "c"}
    for name, tensor in (parts[0] | parts[1]).items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype


def test_other_weights_beside_shards_are_left_alone(tmp_path):
    files = {**sharded(), "consolidated.safetensors": safetensors.torch.save({"x": torch.ones(1)})}
    assert fingerprint_model(read_model_folder(write(files, tmp_path / "m"))) == fingerprint_model(BASE)


@pytest.mark.parametrize("how", ["cut", "twice"])
def test_broken_shards_are_refused_by_name(how, tmp_path, capsys):
    files = sharded()
    first, second, *_ = sorted(name for name in files if name.startswith("model-"))
    files[first] = files[first][:-4] if how == "cut" else files[second]
    folder = write(files, tmp_path / "m")
    with pytest.raises(RecipeError, match=r"model-0000.-of"):
        read_model_folder(folder)
    assert main(["import", str(folder), str(tmp_path / "n")]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "model-0000" in message and "fetch the folder again" in message


def test_an_index_leads_to_no_file_outside_its_folder(tmp_path, capsys):
    outside = write({WEIGHTS: BASE[WEIGHTS]}, tmp_path / "elsewhere")
    for place in (f"../elsewhere/{WEIGHTS}", str(outside / WEIGHTS)):
        index = {"weight_map": dict.fromkeys(safetensors.torch.load(BASE[WEIGHTS]), place)}
        folder = tmp_path / f"m{len(place)}"
        write({**without(BASE, WEIGHTS), INDEX: json.dumps(index).encode()}, folder)
        with pytest.raises(RecipeError, match="does not say which file holds which weights"):
            read_model_folder(folder)
        assert main(["import", str(folder), str(tmp_path / "n")]) == 2
        assert "does not say which file holds which weights" in " ".join(capsys.readouterr().err.split())
