"""bf16 in the blocks, float32 elsewhere; fewer stored activations; a cache written in place: the same function each."""

import pytest
import torch
from support import tiny
from support.pretrained import small_folder
from transformers import DynamicCache

from bootstrap import processor
from bootstrap.config.optimizers import AdamW
from bootstrap.config.training import LoraAdapter, Training
from bootstrap.pool import LocalPool
from bootstrap.records import Batch, Example, Normalizers, Prompt, Request, Sampling, Split
from bootstrap.rollouts import engine as engines
from bootstrap.rollouts.cache import ReservedLayer, key_value_cache
from bootstrap.stages.prepare import training_of
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.training.batch import micro_batches
from bootstrap.worker import Worker

pytestmark = pytest.mark.torch

REQUESTS = [
    Request(
        id=f"g0.s0.u0.p{place}.k{k}",
        prompt=Prompt(id=f"p{place}", task="t", level=1, text=text, split=Split.TRAIN),
        seed=100 * place + k,
    )
    for place, text in enumerate(("abc=", "12+3=", "cab="))
    for k in range(4)
]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=12)


def worker(precision="bf16", *, adapter=False, **changes) -> Worker:
    files = small_folder()
    found = Worker(batch_rows=64, device="cpu")
    found.configure(Training(precision=precision, adapter=LoraAdapter(rank=4, alpha=8) if adapter else None, **changes))
    if adapter:
        found.provide(files, fingerprint_model(files))
        found.adapt(fingerprint_model(files), 1)
    else:
        found.load(files, fingerprint_model(files))
    return found


def batch(rollouts=None) -> Batch:
    if rollouts is None:
        examples = [
            Example(source=f"{n}", tokens=tuple(range(1, n)), num_prompt_tokens=2, ce_weight=1.0) for n in range(5, 20)
        ]
        return Batch(examples=examples, normalizers=Normalizers(ce=100.0))
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
    return Batch(examples=examples, normalizers=Normalizers(rl=float(sum(len(r.tokens) for r in rollouts))))


ADAPTER = pytest.mark.parametrize("adapter", [False, True], ids=["whole", "adapter"])


@ADAPTER
def test_bf16_agrees_with_fp32_within_its_rounding_and_is_not_fp32(adapter):
    rollouts = worker("fp32", adapter=adapter).generate(REQUESTS, SAMPLED)
    exact, rounded = (worker(p, adapter=adapter) for p in ("fp32", "bf16"))
    losses = []
    for found in (exact, rounded):
        found.begin(AdamW())
        losses.append(found.gradient(batch()).ce_loss)
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.01)
    rounded.begin(AdamW())
    assert rounded.gradient(batch(rollouts)).ratio_max == pytest.approx(1.0, abs=0.2)


@ADAPTER
def test_sampler_and_trainer_agree_in_bf16_also_after_updates(adapter):
    found = worker(adapter=adapter)
    found.begin(AdamW(lr=0.01))
    for _ in range(3):
        found.step(batch(), 1.0, 1.0)
    rollouts = found.generate(REQUESTS, SAMPLED)
    gradient = found.gradient(batch(rollouts))
    assert gradient.ratio_max == pytest.approx(1.0, abs=0.05)
    assert gradient.rl_loss == pytest.approx(-1.0, abs=0.005)


def test_what_is_trained_stays_in_float32():
    for adapter in (False, True):
        found = worker(adapter=adapter)
        assert {p.dtype for p in found.model.parameters() if p.requires_grad} == {torch.float32}
        before = found.fingerprint()
        found.begin(AdamW(lr=1e-6))
        found.step(batch(), 1.0, 1.0)
        assert found.fingerprint() != before, "an update this small would be lost in bf16"


def test_bf16_stays_inside_the_blocks():
    found = worker(adapter=True)
    low = {name for name, parameter in found.model.named_parameters() if parameter.dtype == torch.bfloat16}
    assert low and all(".layers." in name and "proj" in name for name in low)
    seen = []
    handle = found.model.lm_head.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    found.generate(REQUESTS, SAMPLED)
    handle.remove()
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_fresh_adapter_changes_nothing_in_bf16_either(dora):
    files = small_folder()
    found = Worker(batch_rows=64, device="cpu")
    found.configure(Training(precision="bf16", adapter=LoraAdapter(rank=4, dora=dora)))
    found.provide(files, fingerprint_model(files))
    found.adapt(fingerprint_model(files), 1)
    answers = found.generate(REQUESTS, SAMPLED)
    plain = worker("bf16").generate(REQUESTS, SAMPLED)
    assert [r.tokens for r in answers] == [r.tokens for r in plain]
    for one, other in zip(answers, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=0.02)


def test_the_fingerprint_does_not_depend_on_the_precision():
    for adapter in (False, True):
        assert worker("bf16", adapter=adapter).fingerprint() == worker("fp32", adapter=adapter).fingerprint()


def test_an_exported_configuration_says_nothing_of_how_it_was_computed():
    files = worker("bf16").export().files
    assert files["config.json"] == worker("fp32").export().files["config.json"]


@pytest.mark.parametrize("adapter", [False, True], ids=["whole", "adapter"])
def test_recomputed_blocks_give_the_same_gradient_from_fewer_stored_activations(adapter):
    gradients, stored = [], []
    for recompute in (False, True):
        found = worker("fp32", adapter=adapter, gradient_checkpointing=recompute)
        found.begin(AdamW())
        sizes = []

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            gradients.append(found.gradient(batch()))
        stored.append(sum(sizes))
    assert torch.allclose(torch.from_numpy(gradients[0].flat), torch.from_numpy(gradients[1].flat), atol=1e-6)
    assert stored[1] < stored[0]


def test_recomputing_turns_no_dropout_on():
    found = worker("fp32", gradient_checkpointing=True)
    found.begin(AdamW())
    found.model.config.attention_dropout = 0.5
    for layer in found.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    first, second = (found.gradient(batch()).ce_loss for _ in range(2))
    assert first == second


def test_a_cache_written_in_place_answers_as_transformers_own_does(monkeypatch):
    found = worker("fp32")
    in_place = found.generate(REQUESTS, SAMPLED)
    assert isinstance(key_value_cache(found.model.config, max_length=4).layers[0], ReservedLayer)
    monkeypatch.setattr(engines, "key_value_cache", lambda config, max_length: DynamicCache(config=config))
    assert found.generate(REQUESTS, SAMPLED) == in_place
    assert len({len(r.tokens) for r in in_place}) > 1, "rows must leave the batch for this test to mean anything"


def test_a_forward_pass_takes_no_more_targets_than_allowed():
    examples = batch().examples
    passes = list(micro_batches(examples, pad=0, max_rows=64, max_targets=20))
    assert sum(len(part) for part, _ in passes) == len(examples)
    assert all(len(micro.targets_N) <= 20 or len(part) == 1 for part, micro in passes)
    assert max(len(part) for part, _ in passes) > 1
    assert len(list(micro_batches(examples, pad=0, max_rows=64))) < len(passes)


def test_the_machines_bound_is_measured_in_the_recipes_precision(monkeypatch) -> None:
    seen, multiply = set(), torch.mm
    monkeypatch.setattr(torch, "mm", lambda left, right: (seen.add(left.dtype), multiply(left, right))[1])
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        seen.clear()
        worker = Worker(batch_rows=1, device="cpu")
        worker.configure(Training(precision=precision))
        assert worker.benchmark(0.02)["matmul_flops"] > 0
        assert seen == {dtype}


@pytest.mark.parametrize(("has_bf16", "expected"), [((True, True), "bf16"), ((True, False), "fp32")])
def test_auto_is_bf16_where_every_worker_has_instructions_for_it(has_bf16, expected, monkeypatch):
    pool = LocalPool(2, batch_rows=8)
    for one, has in zip(pool.workers, has_bf16, strict=True):
        monkeypatch.setattr(one, "has_bf16", lambda has=has: has)
    assert pool.configure(Training(precision="auto", packing=True)) == Training(precision=expected, packing=True)
    assert [one.training.precision for one in pool.workers] == [expected, expected]


def test_a_precision_that_is_asked_for_is_taken_whatever_the_processor(monkeypatch):
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    assert LocalPool(1, batch_rows=8).configure(Training(precision="bf16")).precision == "bf16"


def test_what_auto_came_to_is_recorded_and_tells_results_apart_within_one_recipe(tmp_path, monkeypatch):
    model = {"type": "scratch", "hidden_size": 16, "intermediate_size": 16, "num_layers": 1, "num_heads": 1}
    base = {"model": model, "steps": [{"type": "sft", "updates": 1, "batch_size": 4}]}
    settings = tiny.recipe(count=0, base=base, training={"precision": "auto"})
    found = {}
    for has_bf16, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(processor, "has_bf16", lambda has=has_bf16: has)
        (found[precision],) = tiny.grow(settings, tmp_path / precision)
        assert found[precision].annotations.environment["precision"] == precision
    one, other = (entry.generation for entry in found.values())
    assert one.recipe_digest == other.recipe_digest
    assert one.artifacts["step-0"].path != other.artifacts["step-0"].path


def test_a_lineage_keeps_the_precision_that_auto_came_to(tmp_path, monkeypatch):
    """On a machine that would choose another, so that no generation is compared across precisions."""
    for count, has_bf16 in ((0, True), (1, False)):
        monkeypatch.setattr(processor, "has_bf16", lambda has=has_bf16: has)
        entries = tiny.grow(tiny.recipe(count=count, training={"precision": "auto"}), tmp_path)
    assert [entry.annotations.environment["precision"] for entry in entries] == ["bf16", "bf16"]
    asked = tiny.recipe(count=2, training={"precision": "fp32"})
    assert training_of(asked, entries).precision == "fp32"
