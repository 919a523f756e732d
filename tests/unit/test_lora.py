"""Adapters: what they change, what is stored of them, and that sampler, trainer, peft and merged weights agree."""

import json

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from support.pretrained import small_folder, write
from support.tiny import DISTILL, EVALUATION, REJECTION, RL, grow, recipe
from transformers import AutoModelForCausalLM

from bootstrap.cli.export import export_generation
from bootstrap.config.optimizers import AdamW, MuonAdamW
from bootstrap.config.recipe import Recipe
from bootstrap.config.training import LoraAdapter, Training
from bootstrap.errors import FingerprintMismatch, RecipeError, StoreCorrupt
from bootstrap.records import Batch, Example, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.store.fingerprint import ADAPTER_BASE, ADAPTER_CONFIG, ADAPTER_WEIGHTS, fingerprint_model
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify
from bootstrap.training import lora, model
from bootstrap.training.group import together
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

ADAMW = {"type": "adamw", "lr": 0.01}
TEXTS = ("abc=", "12+3=", "cab=")
REQUESTS = [
    Request(
        id=f"g0.s0.u0.p{place}.k{k}",
        prompt=Prompt(id=f"p{place}", task="t", level=1, text=text, split=Split.TRAIN),
        seed=100 * place + k,
    )
    for place, text in enumerate(TEXTS)
    for k in range(4)
]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=12)
VARIANTS = pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])


def worker(files, *, seed=1, **changes) -> Worker:
    found = Worker(batch_rows=64, device="cpu")
    adapter = LoraAdapter(rank=4, alpha=8, dora=changes.pop("dora", False), **changes)
    found.configure(Training(adapter=adapter))
    found.provide(files, fingerprint_model(files))
    found.adapt(fingerprint_model(files), seed)
    return found


def imitate(tokens=(1, 4, 5, 6, 7, 8, 9, 2)) -> Batch:
    return Batch(
        examples=[Example(source="s", tokens=tokens, num_prompt_tokens=2, ce_weight=1.0)],
        normalizers=Normalizers(ce=float(len(tokens) - 2)),
    )


def train(found: Worker, updates=3) -> list[float]:
    found.begin(AdamW(lr=0.01))
    return [found.step(imitate(), 1.0, 1.0).loss for _ in range(updates)]


def logits(found, tokens=(1, 4, 5, 6)) -> torch.Tensor:
    with torch.no_grad():
        return found(input_ids=torch.tensor([tokens])).logits


@VARIANTS
def test_a_fresh_adapter_changes_nothing(dora):
    files = small_folder()
    adapted = worker(files, dora=dora).model
    assert torch.allclose(logits(adapted), logits(model.load(files)[0]), atol=1e-5)


@VARIANTS
def test_training_changes_the_adapter_and_leaves_the_base_as_it_was(dora):
    files = small_folder()
    found = worker(files, dora=dora)
    before, base = found.fingerprint(), found.bases[fingerprint_model(files)].model
    losses = train(found)
    assert losses[-1] < losses[0]
    assert found.fingerprint() != before
    assert fingerprint_model({"model.safetensors": model.weights_bytes(base)}) == fingerprint_model(files)
    trained = [name for name, parameter in found.model.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    assert any("magnitude" in name for name in trained) == dora


def test_targets_say_which_matrices_are_adapted():
    found = worker(small_folder(), targets=("q_proj", "v_proj"))
    names = {
        name.split(".lora_")[0].rpartition(".")[2] for name, _ in found.model.named_parameters() if "lora_" in name
    }
    assert names == {"q_proj", "v_proj"}
    with pytest.raises(RecipeError, match=r"w_proj.*matrices are .*q_proj"):
        worker(small_folder(), targets=("w_proj",))


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another():
    prints = [worker(small_folder(), seed=seed).fingerprint() for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


def test_an_adapters_folder_holds_no_weights_of_the_base():
    files = worker(small_folder()).export().files
    assert {ADAPTER_WEIGHTS, ADAPTER_CONFIG, ADAPTER_BASE, "tokenizer.json"} <= files.keys()
    assert "model.safetensors" not in files
    assert json.loads(files[ADAPTER_BASE])["fingerprint"] == fingerprint_model(small_folder())
    assert all("lora_" in name for name in safetensors.torch.load(files[ADAPTER_WEIGHTS]))


@VARIANTS
def test_muon_trains_an_adapter_that_has_matrices_alone_and_one_that_has_vectors_too(dora):
    found = worker(small_folder(), dora=dora)
    found.begin(MuonAdamW())
    assert set(found.learner.trainables.optimizers) == ({"muon", "adamw"} if dora else {"muon"})
    covered = [
        p for o in found.learner.trainables.optimizers.values() for group in o.param_groups for p in group["params"]
    ]
    assert {id(p) for p in covered} == {id(p) for p in found.learner.trainables.policy}
    losses = [found.step(imitate(), 1.0, 1.0).loss for _ in range(4)]
    assert losses[-1] < losses[0]


@VARIANTS
def test_a_stored_adapter_comes_back_as_it_was(dora):
    files = small_folder()
    found = worker(files, dora=dora)
    train(found)
    checkpoint = found.export()
    other = worker(files, dora=dora, seed=9)
    assert other.load(checkpoint.files, checkpoint.fingerprint) == checkpoint.fingerprint
    assert dict(other.export().files) == dict(checkpoint.files)
    assert torch.equal(logits(other.model), logits(found.model))


@VARIANTS
def test_plain_peft_opens_an_adapter_over_its_base(dora, tmp_path):
    files = small_folder()
    found = worker(files, dora=dora)
    train(found)
    base = AutoModelForCausalLM.from_pretrained(write(files, tmp_path / "base"))
    theirs = PeftModel.from_pretrained(base, write(dict(found.export().files), tmp_path / "adapter"))
    assert torch.allclose(logits(theirs), logits(found.model), atol=1e-5)


@VARIANTS
def test_merged_weights_answer_as_base_and_adapter_do(dora, tmp_path):
    files = small_folder()
    found = worker(files, dora=dora)
    train(found)
    merged = lora.merge(files, found.export().files)
    assert fingerprint_model(merged.files) == merged.fingerprint
    theirs = AutoModelForCausalLM.from_pretrained(write(dict(merged.files), tmp_path / "merged"))
    assert not any("lora" in name for name in theirs.state_dict())
    assert torch.allclose(logits(theirs), logits(found.model), atol=1e-4)
    assert not torch.allclose(logits(theirs), logits(model.load(files)[0]), atol=1e-2)


@VARIANTS
def test_sampled_logprobs_are_those_of_the_trainer(dora):
    found = worker(small_folder(), dora=dora)
    for _ in range(2):
        train(found, updates=2)
        rollouts = found.generate(REQUESTS, SAMPLED)
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
        gradient = found.gradient(Batch(examples=examples, normalizers=Normalizers(rl=1.0)))
        count = sum(len(r.tokens) for r in rollouts)
        assert gradient.ratio_max == pytest.approx(1.0, abs=1e-3)
        assert gradient.rl_loss == pytest.approx(-count, abs=1e-3 * count)


def test_doras_kept_lengths_do_not_outlive_an_update():
    found = worker(small_folder(), dora=True)
    found.begin(AdamW(lr=0.05))
    gradient = found.gradient(imitate())
    found.generate(REQUESTS, SAMPLED)
    # No forward pass of training comes between this update and the next sampling.
    together([found.apply(gradient, 1.0, 1.0)])
    fresh = worker(small_folder(), dora=True, seed=7)
    fresh.load(found.export().files, None)
    after, expected = (w.generate(REQUESTS, SAMPLED) for w in (found, fresh))
    assert [r.logprobs for r in after] == [r.logprobs for r in expected]


def test_a_teacher_and_a_frozen_sampler_may_be_adapters_over_the_same_base():
    files = small_folder()
    found = worker(files)
    before = found.export()
    alone = found.generate(REQUESTS, SAMPLED)
    train(found)
    shape = found.load_frozen_sampler(before.files, before.fingerprint)
    found.load_teacher(before.files, before.fingerprint)
    assert shape.num_frozen_matmul_parameters == shape.num_matmul_parameters
    answers = found.generate(REQUESTS, SAMPLED, before.fingerprint)
    assert [r.logprobs for r in answers] == [r.logprobs for r in alone]
    assert answers[0].policy == before.fingerprint != found.fingerprint()
    base = found.bases[fingerprint_model(files)].model.model.embed_tokens.weight
    for shared in (found.model, found.frozen_samplers[before.fingerprint].model, found.teachers[before.fingerprint]):
        assert shared.model.embed_tokens.weight is base


def test_the_fingerprint_covers_adapter_base_and_settings():
    found = worker(small_folder())
    files = dict(found.export().files)
    assert fingerprint_model(files) == found.fingerprint()
    other = worker(small_folder(seed=5))
    assert fingerprint_model({**files, ADAPTER_BASE: other.export().files[ADAPTER_BASE]}) != found.fingerprint()
    config = json.loads(files[ADAPTER_CONFIG]) | {"lora_alpha": 9.0}
    changed = {**files, ADAPTER_CONFIG: json.dumps(config).encode()}
    with pytest.raises(FingerprintMismatch):
        found.load(changed, found.fingerprint())
    with pytest.raises(FingerprintMismatch):
        found.load_teacher(changed, found.fingerprint())
    with pytest.raises(StoreCorrupt, match="names no fingerprint"):
        fingerprint_model({**files, ADAPTER_BASE: b"[]"})


def test_an_adapter_that_does_not_fit_is_refused():
    found = worker(small_folder())
    files = dict(found.export().files)
    tensors = safetensors.torch.load(files[ADAPTER_WEIGHTS])
    first = next(iter(tensors))
    for change, told in (
        ({first: None}, "missing"),
        ({"stranger": torch.zeros(1)}, "unknown"),
        ({first: torch.full_like(tensors[first], torch.nan)}, "not finite"),
        ({first: torch.zeros(2, 2)}, "wrong shape"),
    ):
        kept = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(RecipeError, match=told):
            found.load({**files, ADAPTER_WEIGHTS: safetensors.torch.save(kept)}, None)
    config = json.loads(files[ADAPTER_CONFIG]) | {"lora_dropout": 0.1}
    with pytest.raises(RecipeError, match="lora_dropout"):
        found.load({**files, ADAPTER_CONFIG: json.dumps(config).encode()}, None)


def test_training_an_adapter_costs_less_than_training_all_weights():
    found = worker(small_folder())
    whole = Worker(batch_rows=64, device="cpu")
    whole.load(small_folder(), None)
    spent = []
    for one in (found, whole):
        one.begin(AdamW())
        spent.append(one.gradient(imitate()).flops)
    assert 2 / 3 < spent[0] / spent[1] < 1


# --- a lineage of adapters ---------------------------------------------------------------------------------------


def adapted(folder, *, steps, count=2, **training) -> Recipe:
    settings = recipe(steps=steps, count=count).model_dump(mode="json", exclude={"base", "evaluation", "training"})
    for step in settings["generations"]["steps"]:
        step["optimizer"] = ADAMW
    base = {
        "model": {"type": "folder", "path": str(folder)},
        "steps": [{"type": "sft", "updates": 20, "batch_size": 16, "checkpoint_every": 10, "optimizer": ADAMW}],
    }
    settings |= {"base": base, "evaluation": EVALUATION}
    settings["training"] = {"adapter": {"type": "lora", "rank": 4, "alpha": 8}, **training}
    return Recipe.model_validate(settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(small_folder(chat=True), tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def lineage(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs") / "tiny"
    return root, grow(adapted(folder, steps=[RL, REJECTION, DISTILL]), root)


def test_a_lineage_of_adapters_stores_its_base_once(lineage, folder):
    root, entries = lineage
    store = LineageStore(root)
    whole = [path for path in store.artifact_folders() if (path / "model.safetensors").exists()]
    assert len(whole) == 1
    assert len({entry.generation.fingerprint for entry in entries}) == 3
    for entry in entries:
        refs = entry.generation.artifacts
        assert store.root / refs["base"].path == whole[0]
        assert ADAPTER_WEIGHTS in store.artifact(refs["weights"]).files
    assert verify(root).is_clean


def test_verify_finds_a_base_that_was_changed(lineage, folder, tmp_path):
    root, _ = lineage
    copy = tmp_path / "tiny"
    for path in root.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(root)).write_bytes(path.read_bytes())
    (weights,) = copy.rglob("model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert any("model.safetensors" in problem.message for problem in verify(copy).problems)


def test_an_adapted_generation_is_exported_as_a_whole_model(lineage, tmp_path):
    root, entries = lineage
    export_generation(LineageStore(root), "last", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "merged.json").read_text())
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert told["adapted"] == entries[-1].generation.fingerprint
    assert told["merged"] == fingerprint_model(files)
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_a_stopped_lineage_of_adapters_goes_on_to_the_same_weights(lineage, folder, tmp_path):
    _, entries = lineage
    settings = adapted(folder, steps=[RL, REJECTION, DISTILL])

    class Stop(Exception):
        pass

    seen = 0

    def stop(event):
        nonlocal seen
        seen += event.stage == "train" and event.generation == 1
        if seen == 3:
            raise Stop

    with pytest.raises(Stop):
        grow(settings, tmp_path / "tiny", observe=stop)
    again = grow(settings, tmp_path / "tiny")
    assert [e.generation.fingerprint for e in again] == [e.generation.fingerprint for e in entries]


def test_a_model_from_scratch_has_nothing_to_adapt():
    with pytest.raises(ValueError, match=r"training\.adapter.*nothing to adapt"):
        recipe(training={"adapter": {"type": "lora"}})
