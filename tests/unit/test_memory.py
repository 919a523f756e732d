"""A worker's memory by shape, what fits into it, and a machine's memory within a container's limits."""

from pathlib import Path

import pytest

from bootstrap.compute import MAX_LOGITS, MUON_COPIES, MUON_PORTION
from bootstrap.machine import num_killed, usable_memory
from bootstrap.memory import Device, MemoryLimits, Shortage, Sizes, Work, sizes_of
from bootstrap.stages.limits import recorded

QWEN = {
    "hidden_size": 1536,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "intermediate_size": 8960,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
GIB = 2**30


def work(*, sizes: Sizes | None = None, **changes: object) -> Work:
    found = sizes or sizes_of(QWEN)
    assert found is not None
    return Work(sizes=found, **changes)


def test_numbers_of_a_published_shape() -> None:
    sizes = sizes_of(QWEN)
    assert sizes is not None
    # Qwen2.5-1.5B has 1.31 billion parameters outside its embedding of 233 million; biases and norms are left out.
    assert (sizes.matrices, sizes.outer) == (28 * (2 * 1536 * (1536 + 256) + 3 * 1536 * 8960), 233_373_696)
    assert round(sizes.matrices / 1e9, 2) == 1.31


def test_keys_and_values_are_counted_by_grouped_heads() -> None:
    small = {**QWEN, "vocab_size": 16}
    grouped, full = sizes_of(small), sizes_of({**small, "num_key_value_heads": 12})
    assert grouped is not None and full is not None

    def cache(sizes: Sizes) -> int:
        few, many = (work(sizes=sizes).sampling(rows=n, prompts=1, prompt_length=500, new_tokens=500) for n in (64, 65))
        return many - few

    # A row more: keys and values of 1,000 tokens in float32, once more in one layer while it is copied.
    assert cache(grouped) == 2 * 28 * 2 * 128 * 4 * 1000 * 29 // 28
    assert cache(full) == 6 * cache(grouped)


def test_sizes_are_read_from_a_nested_configuration_and_none_from_another_family() -> None:
    assert sizes_of({"text_config": QWEN}) == sizes_of(QWEN)
    assert sizes_of({"n_embd": 8, "vocab_size": 8}) is None
    own = sizes_of({**QWEN, "head_dim": 256})
    assert own is not None and (own.heads, own.kv) == (12 * 256, 2 * 256)


def test_a_frozen_base_in_bf16_has_no_gradients_and_no_moments() -> None:
    adapted = work(adapter_rank=16, bf16=True)
    sizes = adapted.sizes
    assert adapted.trained == sizes.of_adapter(16) < 0.02 * sizes.matrices
    assert adapted.weights == 2 * sizes.matrices + 4 * sizes.outer + 4 * adapted.trained
    assert adapted.state - adapted.weights == 4 * 4 * adapted.trained
    whole = work()
    assert whole.state == 4 * (1 + 2 + 2) * (sizes.matrices + sizes.outer) > 7 * adapted.state


def test_checkpointing_keeps_inputs_of_blocks_alone() -> None:
    assert work(recomputes=True).per_token < 0.15 * work().per_token


def test_muons_step_copies_a_portion_of_the_matrices() -> None:
    sizes = Sizes(num_layers=2, hidden=1024, intermediate=4096, heads=1024, kv=1024, vocabulary=16, tied=False)
    muon = work(sizes=sizes, moments=1, copies_matrices=True)
    assert muon.step - muon.state - 4 * muon.trained == 4 * MUON_COPIES * MUON_PORTION


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("room", [0.5 * GIB, 2 * GIB, 9 * GIB, 90 * GIB])
def test_the_tokens_that_fit_are_the_most_that_do(room: float, taught: bool) -> None:
    found = work(adapter_rank=16, bf16=True)
    tokens = found.tokens_within(room, taught=taught)

    def taken(count: int) -> int:
        logits = found.training(tokens=count, targets=count) - found.training(tokens=count, targets=0)
        return found.training(tokens=count, targets=0) + logits * (2 if taught else 1)

    assert taken(tokens) <= room * 1.001 and room < taken(tokens + 1) * 1.001


def test_a_pass_has_no_more_logits_than_its_device_may() -> None:
    few, many = (work().training(tokens=9999, targets=n * MAX_LOGITS["cpu"] // 151936) for n in (1, 5))
    assert many <= few * 1.001


def test_one_token_fits_into_no_room() -> None:
    assert work().tokens_within(-1.0) == 1


def test_a_limit_is_halved_to_half_of_what_was_tried_and_never_rises() -> None:
    limits = MemoryLimits(rollout_rows=100).halve(Shortage("rollout_rows", 64))
    assert (limits.most("rollout_rows"), limits.most("train_tokens")) == (32, None)
    assert limits.halve(Shortage("rollout_rows", 90)).most("rollout_rows") == 32
    both = limits.halve(Shortage("train_tokens", 9)).halve(Shortage("train_tokens", 20))
    assert both.halved == {"rollout_rows": 32, "train_tokens": 4}
    assert MemoryLimits(rollout_rows=8, halved={"rollout_rows": 32}).most("rollout_rows") == 8
    assert recorded(MemoryLimits(memory=5, halved={"train_tokens": 7})) == {"memory": "5", "train_tokens": "7"}


def test_a_few_long_sequences_do_not_bound_many_short_ones() -> None:
    limits = MemoryLimits(rollout_rows=20).halve(Shortage("rollout_rows", 3, 4000))
    assert limits.admits(1, length=4000) and not limits.admits(2, length=4000)
    assert limits.admits(8, length=100) and not limits.admits(21, length=1)
    lower = limits.halve(Shortage("rollout_rows", 12, 100))
    # A sixth of the tokens, although of more sequences.
    assert lower.length == 100 and lower.admits(6, length=100) and not lower.admits(7, length=100)
    assert lower.lowest(limits) == lower and limits.lowest(lower) == lower


@pytest.mark.parametrize(
    "changes",
    [
        {"head_dim": 0},
        {"head_dim": True},
        {"num_key_value_heads": "8"},
        {"num_key_value_heads": -8},
        {"num_key_value_heads": [8]},
        {"hidden_size": 1.5},
        {"num_experts": 64},
        {"num_local_experts": 8},
        {"text_config": {"n_routed_experts": 64}},
    ],
)
def test_sizes_that_no_dense_model_has_are_not_guessed(changes: dict[str, object]) -> None:
    assert sizes_of({**QWEN, **changes}) is None
    assert sizes_of({**QWEN, "text_config": "x", "head_dim": None, "num_experts": 1}) == sizes_of(QWEN)


def test_processes_that_the_kernel_ended_are_counted(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    assert num_killed(vmstat=tmp_path / "vmstat") == 3 and num_killed(vmstat=tmp_path / "none") == 0


def test_devices_are_alike_within_a_tenth() -> None:
    one = Device(kind="cpu", memory=24 * GIB)
    assert one.is_like(Device(kind="cpu", memory=23 * GIB)) and not one.is_like(Device(kind="cpu", memory=16 * GIB))
    assert not one.is_like(Device(kind="NVIDIA H200", memory=24 * GIB))


def test_a_shortage_names_worker_and_setting() -> None:
    line = Shortage("train_tokens", 512).told(3)
    assert line.startswith("worker 3 ran out of memory training 512 tokens")
    assert line.endswith("at most 256 (resources.train_tokens)")


def machine(folder: Path, *, total: int, available: int) -> Path:
    path = folder / "meminfo"
    rows = (f"MemTotal: {total // 1024} kB", "MemFree: 5 kB", f"MemAvailable: {available // 1024} kB", "HugePages: 0")
    path.write_text("\n".join(rows))
    return path


def test_the_memory_of_an_idle_machine_depends_on_the_machine_alone(tmp_path: Path) -> None:
    def found(available: float) -> int:
        meminfo = machine(tmp_path, total=24 * GIB, available=int(available * GIB))
        return usable_memory(0.75, meminfo=meminfo, cgroup=tmp_path)

    assert found(23) == found(19) == 18 * GIB
    assert found(9) == 9 * GIB and found(9.9) == 9 * GIB


def test_a_containers_limit_counts_without_the_files_that_it_can_drop(tmp_path: Path) -> None:
    meminfo = machine(tmp_path, total=64 * GIB, available=60 * GIB)
    (tmp_path / "memory.max").write_text(f"{8 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{4 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon {GIB}\ninactive_file {3 * GIB}\n")
    assert usable_memory(0.75, meminfo=meminfo, cgroup=tmp_path) == 6 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_memory(0.75, meminfo=meminfo, cgroup=tmp_path) == 48 * GIB


def test_a_machine_that_tells_nothing_has_some_memory(tmp_path: Path) -> None:
    assert usable_memory(0.75, meminfo=tmp_path / "none", cgroup=tmp_path) > 0
