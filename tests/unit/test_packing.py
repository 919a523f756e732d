"""Packed rows: the numbers of a sequence are those of a row of its own, and no neighbour in the row changes a bit."""

from dataclasses import replace

import numpy as np
import pytest
from support.pretrained import CHARACTERS, small_folder, small_llama
from support.tiny import DISTILL, RL, grow, recipe
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from bootstrap.config.algorithms import ValueHead
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW
from bootstrap.config.training import Training
from bootstrap.errors import RecipeError
from bootstrap.learner_records import KlForm, RatioLevel
from bootstrap.pool import LocalPool
from bootstrap.records import Batch, Example, KlTarget, Normalizers
from bootstrap.training import packable
from bootstrap.training.batch import micro_batches

pytestmark = pytest.mark.torch

SMALL = ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2)
KINDS = ["scratch", "llama"]


def pool_of(kind: str, *, packed: bool, batch_rows: int = 64, **training) -> LocalPool:
    """One worker with a model and, as KL targets and teachers, two others of its kind."""
    pool = LocalPool(1, batch_rows=batch_rows)
    pool.configure(Training(packing=packed, **training))
    others = []
    for seed in (1, 2, 0):
        if kind == "scratch":
            pool.build(SMALL, CHARACTERS, seed=seed)
        else:
            pool.load_unverified(small_folder(seed=seed))
        others.append(pool.export())
    pool.broadcast("begin", AdamW(lr=0.01), ValueHead(trunk_weight=0.5))
    pool.workers[0].learner.critic.head.weight.data.fill_(0.05)
    for other in others[:2]:
        pool.broadcast("load_teacher", dict(other.files), other.fingerprint)
    pool.others = others
    return pool


def sequence(index: int) -> Example:
    rng = np.random.default_rng(index)
    prompt, size = int(rng.integers(1, 9)), int(rng.integers(1, 8))
    tokens = tuple(int(t) for t in rng.integers(4, 20, prompt + size))
    return Example(source=f"e{index}", tokens=tokens, num_prompt_tokens=prompt)


def batch(pool: LocalPool) -> Batch:
    """Sequences in every stream: policy gradient with KL targets and a critic, imitation, two teachers."""
    examples = []
    for index in range(24):
        rng, one = np.random.default_rng(100 + index), sequence(index)
        size = len(one.tokens) - one.num_prompt_tokens
        model = pool.others[index % 2].fingerprint
        if index % 3 == 0:
            kl_targets = tuple(KlTarget(model=model, weight=0.2, form=f) for f in (KlForm.REWARD_K1, KlForm.LOSS_K3))
            numbers = [tuple(map(float, row)) for row in rng.normal(size=(4, size))]
            named = dict(zip(("advantages", "logprobs", "values", "returns"), numbers, strict=True))
            examples.append(replace(one, kl_targets=kl_targets, **named))
        else:
            examples.append(
                replace(one, ce_weight=1.0) if index % 3 == 1 else replace(one, kl_weight=0.5, teacher=model)
            )
    normalizers = Normalizers(rl=30, ce=30, kl=30, value=30)
    return Batch(
        examples=examples, normalizers=normalizers, clip_low=0.2, clip_high=0.3, ratio_level=RatioLevel.SEQUENCE
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_rows", [2, 64])
def test_packed_losses_and_gradients_are_those_of_padded_rows(kind, batch_rows):
    pools = [pool_of(kind, packed=packed, batch_rows=batch_rows) for packed in (False, True)]
    padded, packed = (pool.workers[0].gradient(batch(pool)) for pool in pools)
    assert np.allclose(packed.flat, padded.flat, atol=2e-5) and np.abs(padded.flat).max() > 1e-2
    for name in ("rl_loss", "ce_loss", "kl_loss", "value_loss", "flops"):
        assert getattr(packed, name) == pytest.approx(getattr(padded, name), rel=1e-5), name
    assert (packed.num_tokens, packed.num_clipped) == (padded.num_tokens, padded.num_clipped)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_token_scores_are_those_of_padded_rows(kind):
    padded, packed = (
        pool.recompute_logprobs([*batch(pool).examples], temperature=0.7)
        for pool in (pool_of(kind, packed=False), pool_of(kind, packed=True))
    )
    for one, other in zip(padded, packed, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-4)
        assert other.values == pytest.approx(one.values, abs=1e-4) and other.source == one.source


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_changed_sequence_leaves_its_neighbours_in_the_row_bit_for_bit(kind, precision):
    pool = pool_of(kind, packed=True, precision=precision)
    examples = [sequence(index) for index in range(12)]
    passes = list(micro_batches(examples, pad=0, max_rows=64, packed=True))
    assert any((row.unique() >= 0).sum() > 1 for _, micro in passes for row in micro.sequence_BT), "rows are shared"
    before = pool.recompute_logprobs(examples, temperature=1.0)
    for changed in (0, 5, 11):
        rest = [e for place, e in enumerate(examples) if place != changed]
        other = replace(examples[changed], tokens=tuple(23 - token for token in examples[changed].tokens))
        after = pool.recompute_logprobs([*examples[:changed], other, *examples[changed + 1 :]], temperature=1.0)
        assert after[changed].logprobs != before[changed].logprobs
        same = [(a, b) for place, (a, b) in enumerate(zip(after, before, strict=True)) if place != changed]
        assert len(same) == len(rest) and all(a == b for a, b in same)


def test_rows_are_no_longer_than_the_longest_sequence_and_hold_every_sequence_once():
    examples = [sequence(index) for index in range(40)]
    longest = max(len(example.tokens) for example in examples) - 1
    seen = []
    for part, micro in micro_batches(examples, pad=0, max_rows=3, packed=True):
        seen += [example.source for example in part]
        assert micro.tokens_BT.shape[0] <= 3 and micro.tokens_BT.shape[1] <= longest
        for number, example in enumerate(part):
            row = micro.place_S[number]
            fed = micro.tokens_BT[row][micro.sequence_BT[row] == number]
            assert fed.tolist() == list(example.tokens[:-1])
            mine = micro.row_N == number
            assert micro.targets_N[mine].tolist() == list(example.tokens[example.num_prompt_tokens :])
            before = [micro.tokens_BT[row, column].item() for column in micro.position_N[mine]]
            assert before == list(example.tokens[example.num_prompt_tokens - 1 : -1])
    assert sorted(seen) == sorted(example.source for example in examples)
    fed = sum(len(example.tokens) - 1 for example in examples)
    size = sum(micro.tokens_BT.numel() for _, micro in micro_batches(examples, pad=0, max_rows=64, packed=True))
    padded = sum(micro.tokens_BT.numel() for _, micro in micro_batches(examples, pad=0, max_rows=64))
    assert fed <= size < padded


def test_without_packing_a_row_is_a_sequence():
    examples = [sequence(index) for index in range(9)]
    for part, micro in micro_batches(examples, pad=0, max_rows=4):
        assert micro.sequence_BT is None and micro.place_S.tolist() == list(range(len(part)))


def tiny_gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=24, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2)
    ).eval()


def sliding() -> MistralForCausalLM:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return MistralForCausalLM(MistralConfig(vocab_size=24, num_key_value_heads=1, sliding_window=2, **sizes)).eval()


def test_models_that_cannot_keep_sequences_apart_are_refused_with_the_remedy():
    packable.check(small_llama())
    packable.check(tiny_gpt2())
    eager = small_llama()
    eager.set_attn_implementation("eager")
    packable.check(eager)

    mixing = small_llama()
    forward = mixing.model.forward
    mixing.model.forward = lambda attention_mask=None, position_ids=None, **settings: forward(**settings)
    for model in (mixing, sliding()):
        with pytest.raises(RecipeError, match=r"set training\.packing: false"):
            packable.check(model)


def test_a_generation_grows_with_packing_and_says_so_in_its_identity(tmp_path):
    step = RL | {"rounds": 2}
    teaching = DISTILL | {"updates": 2}
    plain, packed = (
        grow(recipe(steps=[step, teaching], count=1, training={"packing": value}), tmp_path / str(value))
        for value in (False, True)
    )
    assert plain[1].generation.recipe_digest != packed[1].generation.recipe_digest
    flops = [entries[0].generation.compute.flops["train"] for entries in (plain, packed)]
    assert flops[0] == pytest.approx(flops[1], rel=1e-6), "useful work alone is counted"
