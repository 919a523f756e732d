"""The Ray pool is the local pool in other processes: the same numbers, and failures that name who failed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import safetensors.numpy

from bootstrap.cluster import connection
from bootstrap.cluster.connection import available_workers
from bootstrap.cluster.pool import RayPool
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.optimizers import AdamW
from bootstrap.errors import ClusterError, FingerprintMismatch, LineageLocked, RecipeError, WaitTimeout, WorkerError
from bootstrap.learner_records import UpdateMetrics
from bootstrap.pool import OPTIMIZER_STATE, LocalPool, Pool
from bootstrap.records import Batch, Checkpoint, Example, Normalizers, Prompt, Request, Rollout, Sampling, Split
from bootstrap.stages.context import Meter

MODEL = ScratchModel(hidden_size=32, intermediate_size=64, num_layers=2, num_heads=2, max_length=32)
CHARACTERS = "0123456789+="
EOS = 2
BATCH_ROWS = 64
SAMPLING = Sampling(temperature=1.0, max_new_tokens=6)

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def two_workers(ray_cluster: None) -> Iterator[RayPool]:
    with RayPool(2, batch_rows=BATCH_ROWS, wait_seconds=120) as pool:
        yield pool


def _encode(text: str) -> tuple[int, ...]:
    """Return the ids of a scratch model's `<bos>` and of a text's characters."""
    return (1, *(4 + CHARACTERS.index(character) for character in text))


def _requests() -> list[Request]:
    prompts = [Prompt(id=f"p{i}", task="addition", level=2, text=f"{i}1+{i}2=", split=Split.TRAIN) for i in range(6)]
    return [
        Request(id=f"g1.s0.u0.p{i}.k{k}", prompt=prompt, seed=100 * i + k)
        for i, prompt in enumerate(prompts)
        for k in range(3)
    ]


def _batch(rollouts: list[Rollout]) -> Batch:
    """Policy gradient on the rollouts, cross-entropy on references: both streams over every worker."""
    examples = [
        Example(
            source=r.id,
            tokens=r.prompt_tokens + r.tokens,
            num_prompt_tokens=len(r.prompt_tokens),
            advantages=(0.5 if r.sample_index == 0 else -0.25,) * len(r.tokens),
            logprobs=r.logprobs,
        )
        for r in rollouts
    ]
    examples += [
        Example(source=f"r{i}", tokens=(*_encode(f"{i}1+{i}2=333"), EOS), num_prompt_tokens=7, ce_weight=1.0)
        for i in range(4)
    ]
    return Batch(
        examples=examples,
        normalizers=Normalizers(rl=float(sum(len(r.tokens) for r in rollouts)), ce=16.0),
        clip_low=0.2,
        clip_high=0.28,
    )


def _sample_and_learn(pool: Pool) -> tuple[list[Rollout], Checkpoint, float]:
    pool.build(MODEL, CHARACTERS, seed=7)
    rollouts = pool.generate(_requests(), SAMPLING)
    pool.broadcast("begin", AdamW(lr=0.01))
    metrics = pool.metrics(pool.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0))
    return rollouts, pool.export(), metrics.loss


def _largest_difference(one: Checkpoint, other: Checkpoint) -> float:
    left, right = (safetensors.numpy.load(c.files["model.safetensors"]) for c in (one, other))
    return max(float(np.abs(left[name] - right[name]).max()) for name in left)


def test_two_ray_workers_give_the_rollouts_and_weights_of_two_local_ones(two_workers: RayPool) -> None:
    rollouts, weights, loss = _sample_and_learn(two_workers)
    local_rollouts, local_weights, local_loss = _sample_and_learn(LocalPool(2, batch_rows=BATCH_ROWS))
    assert rollouts == local_rollouts
    assert weights.fingerprint == local_weights.fingerprint
    assert weights.files == local_weights.files
    assert loss == local_loss


def test_every_worker_holds_the_same_weights_after_an_update(two_workers: RayPool) -> None:
    _, weights, _ = _sample_and_learn(two_workers)
    assert two_workers.broadcast("fingerprint") == [weights.fingerprint] * 2


def test_one_and_two_workers_agree_within_float_tolerance(two_workers: RayPool) -> None:
    rollouts, weights, loss = _sample_and_learn(two_workers)
    single_rollouts, single_weights, single_loss = _sample_and_learn(LocalPool(1, batch_rows=BATCH_ROWS))
    assert [r.tokens for r in rollouts] == [r.tokens for r in single_rollouts]
    assert np.allclose([p for r in rollouts for p in r.logprobs], [p for r in single_rollouts for p in r.logprobs])
    assert abs(loss - single_loss) < 1e-5
    start = LocalPool(1, batch_rows=BATCH_ROWS)
    start.build(MODEL, CHARACTERS, seed=7)
    # The step itself is a thousand times larger than the disagreement, so the tolerance can fail.
    assert _largest_difference(weights, start.export()) > 5e-3
    assert _largest_difference(weights, single_weights) < 5e-6


def test_calls_behind_an_update_see_its_weights_without_a_wait_between(two_workers: RayPool) -> None:
    two_workers.build(MODEL, CHARACTERS, seed=7)
    rollouts = two_workers.generate(_requests(), SAMPLING)
    two_workers.broadcast("begin", AdamW(lr=0.01))
    update = two_workers.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0)
    later = two_workers.generate(_requests(), SAMPLING)
    two_workers.metrics(update)
    assert {r.policy for r in later} == {two_workers.export().fingerprint}
    assert {r.policy for r in later} != {r.policy for r in rollouts}


def test_a_step_gives_the_driver_its_metrics_alone_and_each_worker_a_share_of_the_optimizer_s_state(
    two_workers: RayPool,
) -> None:
    rollouts, _, _ = _sample_and_learn(two_workers)
    answers = two_workers.wait(two_workers.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0), what="update")
    assert [type(answer) for answer in answers] == [UpdateMetrics] * 2 and answers[0] == answers[1]
    held = [set(safetensors.numpy.load(state)) for state in two_workers.broadcast("optimizer_state")]
    _, state = two_workers.training_state()
    assert held[0] and held[1] and not held[0] & held[1]
    assert set(safetensors.numpy.load(state[OPTIMIZER_STATE])) == held[0] | held[1]


def test_a_worker_that_dies_in_a_step_is_named_and_those_that_wait_for_it_are_not(ray_cluster: None) -> None:
    with RayPool(2, batch_rows=BATCH_ROWS, wait_seconds=120) as pool:
        rollouts, _, _ = _sample_and_learn(pool)
        process, _ = pool.places[1]
        # Worker 1 is busy before its step, so worker 0 waits for its gradient when it dies.
        busy = pool.start(1, "benchmark", 600.0)
        update = pool.update(_batch(rollouts), lr_factor=1.0, grad_clip=1.0)
        while ray.wait([busy.ref], timeout=0.2)[0]:
            pytest.fail("worker 1 has ended its long call")
        os.kill(process, signal.SIGKILL)
        with pytest.raises(WorkerError, match=rf"worker 1 \(process {process} .* died during update"):
            pool.metrics(update)


def test_a_checkpoint_moves_between_kinds_of_pool(two_workers: RayPool) -> None:
    local = LocalPool(1, batch_rows=BATCH_ROWS)
    local.build(MODEL, CHARACTERS, seed=8)
    two_workers.hold(local.export())
    assert two_workers.export() == local.export()


def test_an_error_of_ours_in_a_worker_surfaces_as_itself(two_workers: RayPool) -> None:
    two_workers.build(MODEL, CHARACTERS, seed=7)
    checkpoint = two_workers.export()
    with pytest.raises(FingerprintMismatch, match="the plan names 0000"):
        two_workers.hold(Checkpoint(fingerprint="0" * 64, files=checkpoint.files))
    broken = {
        **checkpoint.files,
        "config.json": checkpoint.files["config.json"].replace(b'"vocab_size": 16', b'"vocab_size": 9'),
    }
    with pytest.raises(RecipeError, match="wrong shape"):
        two_workers.load_unverified(broken)
    two_workers.hold(checkpoint)


def test_an_error_in_one_gradient_surfaces_as_itself_through_the_update(two_workers: RayPool) -> None:
    rollouts, before, _ = _sample_and_learn(two_workers)
    batch = _batch(rollouts)
    endless = Batch(examples=batch.examples, normalizers=Normalizers(rl=1e-45, ce=1e-45), clip_low=0.2, clip_high=0.28)
    with pytest.raises(WorkerError, match="not finite"):
        two_workers.metrics(two_workers.update(endless, lr_factor=1.0, grad_clip=1.0))
    assert two_workers.export().fingerprint == before.fingerprint


def test_a_defect_in_a_worker_keeps_its_type(two_workers: RayPool) -> None:
    two_workers.build(MODEL, CHARACTERS, seed=7)
    with pytest.raises(AssertionError, match=r"begin\(\) comes before"):
        two_workers.broadcast("optimizer_state")


def test_a_killed_worker_is_named_and_the_remedy_given(ray_cluster: None) -> None:
    with RayPool(2, batch_rows=BATCH_ROWS, wait_seconds=120) as pool:
        calls = [pool.start(worker, "benchmark", 600.0) for worker in range(2)]
        process, node = pool.places[1]
        os.kill(process, signal.SIGKILL)
        with pytest.raises(WorkerError) as caught:
            pool.wait(calls, what="benchmark")
        assert not ray.wait([calls[0].ref], timeout=0)[0], "the death of one worker waited for the other's answer"
        message = str(caught.value)
        assert f"worker 1 (process {process} on node {node}) died during benchmark" in message
        assert "Run the same command again" in message
        assert "\n" not in message
        with pytest.raises(WorkerError, match="worker 1"):
            pool.wait([pool.start(1, "fingerprint")], what="fingerprint")


def test_an_answer_that_is_late_is_named_with_worker_call_and_time(
    two_workers: RayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = two_workers.start(1, "benchmark", 3.0)
    with monkeypatch.context() as patch:
        patch.setattr(two_workers, "wait_seconds", 1.0)
        with pytest.raises(WaitTimeout) as caught:
            two_workers.wait([slow], what="update")
    message = str(caught.value)
    assert message.startswith("waited 1 s for update without a sign of progress: worker 1 (process ")
    assert "`benchmark`, asked at 20" in message
    assert "worker 0" not in message
    assert "resources.wait_seconds" in message
    two_workers.wait([slow], what="benchmark")


def test_workers_that_cannot_be_placed_say_what_is_missing(ray_cluster: None) -> None:
    with pytest.raises(WaitTimeout) as caught:
        RayPool(2, batch_rows=BATCH_ROWS, cpus_per_worker=64, wait_seconds=2)
    message = str(caught.value)
    assert "worker(s) 0, 1 of 2 are not placed after 2 s: they ask for 128 CPU (" in message
    assert "free of 4)" in message


def test_a_second_driver_of_a_lineage_is_refused_by_the_cluster(tmp_path: Path, ray_cluster: None) -> None:
    lineage = str(tmp_path / "addition")
    with RayPool(1, batch_rows=BATCH_ROWS, wait_seconds=120, lineage=lineage):
        with pytest.raises(LineageLocked) as caught:
            RayPool(1, batch_rows=BATCH_ROWS, wait_seconds=120, lineage=lineage)
        assert lineage in str(caught.value)
        assert f"process {os.getpid()}" in str(caught.value)
    # Freed with the first pool: the next driver gets as far as asking for its workers.
    with pytest.raises(WaitTimeout):
        RayPool(1, batch_rows=BATCH_ROWS, cpus_per_worker=64, wait_seconds=1, lineage=lineage)


def test_workers_are_named_after_lineage_and_number_and_several_pools_of_one_lineage_live_together(
    tmp_path: Path, ray_cluster: None
) -> None:
    lineages = [tmp_path / store / "addition" for store in ("one", "other")]
    with ExitStack() as stack:
        for lineage in lineages:
            stack.enter_context(RayPool(1, batch_rows=BATCH_ROWS, cpus_per_worker=0, lineage=str(lineage)))
        # What is dying keeps its names for a while; they are not in the way.
        stack.enter_context(RayPool(2, batch_rows=BATCH_ROWS, cpus_per_worker=0))
        found = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
        ours = sorted(name for name in found if "worker" in name)
        assert ours.count("addition worker 0") == 2
        assert {"worker 0", "worker 1"} <= set(ours)
        assert {f"lineage {lineage}" for lineage in lineages} <= set(found)


def test_a_call_is_named_after_its_stage_and_method_while_it_runs(two_workers: RayPool) -> None:
    title = psutil.Process(two_workers.places[0][0]).cmdline

    def named(expected: str) -> bool:
        deadline, seen = time.monotonic() + 60, False
        while not seen and time.monotonic() < deadline:
            call = two_workers.start(0, "benchmark", 0.5)
            while not seen and not ray.wait([call.ref], timeout=0)[0]:
                seen = title()[0] == expected
            two_workers.wait([call], what="benchmark")
        return seen

    assert named("ray::benchmark")
    with Meter().clock("train"), Meter().clock("evaluate"):
        assert named("ray::evaluate: benchmark")
    with Meter().clock("benchmark"):
        assert named("ray::benchmark")


def test_an_address_where_nobody_listens_is_refused_by_the_systems_own_word(tmp_path: Path) -> None:
    # In a process of its own: this one is already a driver.
    result = _run("RayPool(1, batch_rows=8, address='127.0.0.1:9')", home=tmp_path)
    assert result.stdout.startswith("ClusterError no Ray answers at 127.0.0.1:9 (Connection refused)")
    assert result.stdout.count("\n") == 1


def test_a_pool_without_a_cluster_starts_its_own_and_leaves_no_trace(tmp_path: Path) -> None:
    result = _run(
        """
import os, signal, sys
import psutil
signal.signal(signal.SIGTERM, lambda *_: None)
mine = signal.getsignal(signal.SIGTERM)
with RayPool(2, batch_rows=8, wait_seconds=120) as pool:
    print(len(pool.build(ScratchModel(hidden_size=8, num_heads=1), '01', seed=0)))
    print(signal.getsignal(signal.SIGTERM) is mine)
    driver, worker = psutil.Process(), psutil.Process(pool.places[0][0])
    all = [driver, *driver.children(recursive=True)]
    places = [c.laddr.ip for p in all for c in p.net_connections("inet") if c.status == "LISTEN"]
    print(len(places) > 5, *sorted({place.removeprefix("::ffff:") for place in places}))
    held = int(open(f"/proc/{worker.pid}/status").read().split("SigBlk:")[1].split()[0], 16)
    print(worker.nice() - driver.nice(), held >> signal.SIGHUP - 1 & 1, signal.pthread_sigmask(signal.SIG_BLOCK, []))
import ray
print(ray.is_initialized(), 'torch' in sys.modules, os.environ['RAY_AUTH_MODE'])
RayPool(1, batch_rows=8, gpus_per_worker=9)
""",
        home=tmp_path,
    )
    lines = result.stdout.splitlines()
    assert lines[:2] == ["64", "True"], result.stderr
    assert lines[2] == "True 127.0.0.1", "what listens, listens on loopback alone"
    assert lines[3] == "0 1 set()", "workers go before what is nice, and a closed terminal does not reach them"
    assert lines[4] == "False False token"
    assert lines[5].startswith("ClusterError 1 worker(s) with 9 GPU each do not fit on this machine")
    assert not (tmp_path / ".ray").exists()


def test_a_raylet_that_died_ends_the_run_with_its_own_error_and_exit_code(tmp_path: Path) -> None:
    # Ray itself ends a driver that shares data then, with exit code 1.
    result = _run(
        """
import sys
import psutil
with RayPool(1, batch_rows=8, wait_seconds=120) as pool:
    call = pool.start(0, "benchmark", 600.0)
    [raylet] = [p for p in psutil.Process().children(recursive=True) if p.name() == "raylet"]
    raylet.kill()
    raylet.wait()
    for use in (lambda: pool.share(b"x" * 10**6), lambda: pool.wait([call], what="benchmark")):
        try:
            use()
        except ClusterError as error:
            print("told", error)
    try:
        pool.start(0, "fingerprint")
    except ClusterError as error:
        end = error.exit_code
sys.exit(end)
""",
        home=tmp_path,
    )
    assert result.returncode == 5, result.stdout + result.stderr
    share, wait = [line for line in result.stdout.splitlines() if line.startswith("told")]
    assert share.startswith("told the raylet, a process of Ray's that this run lives by, died during sharing data")
    assert "died during benchmark, and the workers with it" in wait
    assert wait.endswith("Run the same command again: it continues from the last checkpoint")


def test_a_ray_that_cannot_write_its_files_is_refused_in_one_line(tmp_path: Path) -> None:
    result = _run("RayPool(1, batch_rows=8)", home=tmp_path, RAY_TMPDIR="/dev/null/ray")
    assert result.stdout.startswith("ClusterError Ray did not start on this machine: "), result.stderr
    assert "RAY_TMPDIR" in result.stdout and result.stdout.count("\n") == 1


def test_a_ray_that_does_not_start_in_time_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**options: object) -> None:
        raise Exception("The current node timed out during startup. This could happen\nfor many reasons.")

    monkeypatch.setattr(connection.ray, "init", late)
    with pytest.raises(ClusterError, match=r"did not start on this machine: The current node timed out.*; .*--local"):
        connection.start("local")


def test_a_defect_of_ours_is_not_told_as_trouble_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(**options: object) -> None:
        raise TypeError("init() got an unexpected keyword argument")

    monkeypatch.setattr(connection.ray, "init", defect)
    with pytest.raises(TypeError, match="unexpected keyword"):
        connection.start("local")


def test_workers_are_counted_on_the_cluster_that_this_process_is_a_driver_of(ray_cluster: None) -> None:
    def count(cpus: float, gpus: float = 0) -> int | None:
        return available_workers(address=None, cpus_per_worker=cpus, gpus_per_worker=gpus)

    assert [count(cpus) for cpus in (1, 2, 3, 0.1, 0.01, 0)] == [4, 2, 1, 40, 64, 4]
    assert count(8) == 1, "a cluster may grow; one worker is the least to ask for"
    assert count(1, gpus=1) == 1


def test_without_a_cluster_no_workers_are_counted_and_no_ray_is_started(tmp_path: Path) -> None:
    result = _run(
        """
import ray
from bootstrap.cluster.connection import available_workers
for address in (None, "local"):
    print(available_workers(address=address, cpus_per_worker=1, gpus_per_worker=0), ray.is_initialized())
""",
        home=tmp_path,
    )
    assert result.stdout.splitlines() == ["None False"] * 2, result.stderr


def test_counting_joins_the_cluster_and_the_pool_that_follows_uses_and_leaves_it(
    tmp_path: Path, ray_cluster: None
) -> None:
    result = _run(
        """
import signal
import ray
from bootstrap.cluster.connection import available_workers
signal.signal(signal.SIGTERM, lambda *_: None)
mine = signal.getsignal(signal.SIGTERM)
print(available_workers(address=None, cpus_per_worker=2, gpus_per_worker=0))
joined = ray.get_runtime_context().get_node_id()
with RayPool(1, batch_rows=8, wait_seconds=120) as pool:
    print(ray.get_runtime_context().get_node_id() == joined, signal.getsignal(signal.SIGTERM) is mine)
print(ray.is_initialized())
print(available_workers(address=None, cpus_per_worker=1, gpus_per_worker=0), ray.is_initialized())
""",
        home=tmp_path,
        RAY_ADDRESS=ray.get_runtime_context().gcs_address,
        RAY_AUTH_MODE="disabled",
    )
    assert result.stdout.splitlines() == ["2", "True True", "False", "4 True"], result.stderr
    assert ray.is_initialized(), "the cluster goes on"


def test_driver_addresses_of_another_kind_are_refused_with_the_remedy() -> None:
    with pytest.raises(ClusterError, match="bootstrap submit --address"):
        connection.require_reachable("ray://head:10001")


def _run(code: str, *, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh driver with an empty home and these variables; a ClusterError ends it with its message."""
    program = (
        "from bootstrap.cluster.pool import RayPool\n"
        "from bootstrap.config.base_model import ScratchModel\n"
        "from bootstrap.errors import ClusterError\n"
        "def main():\n"
        + "".join(f"    {line}\n" for line in code.strip().splitlines())
        + "try:\n    main()\nexcept ClusterError as error:\n    print('ClusterError', error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
