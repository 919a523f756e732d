"""Two hosts train one model: the ledger is that of one host, and a lost host is named and made up for.

Run by `make test-hosts`, as root.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hosts import DASHBOARD_PORT, SECONDS, Host, two_hosts, wait_for

from bootstrap.store.lineage_store import LineageStore

pytestmark = pytest.mark.hosts
RECIPE = """
name: hosts
task: {type: copy, alphabet: abc, base_level: 4, heldout_fraction: 0.5}
base:
  model: {type: scratch, hidden_size: 32, intermediate_size: 48, num_layers: 2, num_heads: 2}
  steps:
    - {type: sft, updates: 60, batch_size: 32, optimizer: {type: muon_adamw, muon_lr: 0.02, adamw_lr: 0.01}}
generations:
  count: 2
  steps:
    - {type: rl, rounds: 60, prompts_per_update: 4, group_size: 4, checkpoint_every: 5, distillation: {batch_size: 8}}
evaluation: {prompts_per_level: 40, lookahead: 1, sampled: null}
gate: {min_prompts: 10}
resources:
  workers: 2
  cpus_per_worker: 2
  samplers: {processes: 1, cpus: 1}
  batch_rows: 64
  # Else they follow from memory, of which a worker has more on a host of its own.
  rollout_rows: 64
  train_tokens: 4096
  wait_seconds: 300
"""
CPUS = (2, 3)
"""Of each host: one worker fits on each, and the sampler beside the second."""
BOUND = 60.0
"""The run's `wait_seconds` where a cable is pulled."""


class Job:
    """A submission of the recipe, from host a, into a store of its own."""

    def __init__(self, hosts: Sequence[Host], recipe: Path, name: str, *overrides: str) -> None:
        folder = hosts[0].root / "store" / name
        self.store = LineageStore(folder / "hosts")
        self.log = recipe.with_name(f"{name}.log")
        submit = ("submit", str(recipe), *overrides, "--address", dashboard(hosts[0]), "--store", str(folder))
        command = hosts[0].command(sys.executable, "-m", "bootstrap", *submit)
        self._told = len(self.text)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(hosts[0].environment()))

    @property
    def text(self) -> str:
        """What all submissions into this store have printed."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def error(self) -> str:
        """The line that says why this one ended."""
        found = [line for line in self.text[self._told :].splitlines() if line.startswith("error: ")]
        return found[0] if found else self.text

    def await_generation(self, number: int) -> None:
        """Wait until a generation is committed, so that the next one is in work."""

        def is_committed() -> bool:
            assert self.process.poll() is None, self.text
            return self.store.exists and len(self.store.ledger.read()) > number

        wait_for(is_committed, what=lambda: self.text)

    def code(self) -> int:
        return self.process.wait(SECONDS)

    def hashes(self) -> list[str]:
        return [entry.hash for entry in self.store.ledger.read()]


def dashboard(head: Host) -> str:
    return f"http://{head.address}:{DASHBOARD_PORT}"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "hosts.yaml"
    path.write_text(RECIPE)
    return path


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbs, of the same processes on this machine alone."""

    override: str
    """How many workers hold one copy of the model together."""
    hashes: list[str]
    """Of its ledger."""

    @property
    def name(self) -> str:
        return self.override.replace("=", "-")


@pytest.fixture(scope="module", params=[1, 2], ids=["each-holds-all", "shared"])
def undisturbed(request: pytest.FixtureRequest, recipe: Path) -> Undisturbed:
    override = f"resources.shard={request.param}"
    store = recipe.parent / override
    command = [sys.executable, "-m", "bootstrap", "run", str(recipe), override, "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Undisturbed(override, [entry.hash for entry in LineageStore(store / "hosts").ledger.read()])


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts(cpus=CPUS) as found:
        yield found


@pytest.mark.parametrize(
    "token", [{"RAY_AUTH_TOKEN": "0" * 64}, {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}], ids=["wrong", "none"]
)
def test_who_lacks_the_token_is_refused(hosts: tuple[Host, Host], recipe: Path, token: dict[str, str]) -> None:
    head, _ = hosts
    store = head.root / "store" / "refused"
    submit = ("submit", str(recipe), "--address", dashboard(head), "--store", str(store))
    environment = {**head.environment(), **token}
    command = head.command(sys.executable, "-m", "bootstrap", *submit)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "token" in done.stdout + done.stderr
    assert not store.exists()


def test_two_hosts_give_the_ledger_of_one_and_their_workers_listen_at_their_own_address(
    hosts: tuple[Host, Host], recipe: Path, undisturbed: Undisturbed
) -> None:
    job = Job(hosts, recipe, f"whole-{undisturbed.name}", undisturbed.override)
    wait_for(lambda: len(placed(hosts[0])) == 3 or job.process.poll() is not None, what=lambda: job.text)
    actors = placed(hosts[0])
    print(actors)
    on = {name.removeprefix("hosts "): next(host for host in hosts if pid in host.pids()) for pid, name in actors}
    assert {on["worker 0"].name, on["worker 1"].name} == {"a", "b"}, "gradients pass between hosts"
    assert on["sampler 0"] is not on["worker 0"], "weights pass between hosts"
    job.await_generation(0)
    for pid, name in actors:
        host = on[name.removeprefix("hosts ")]
        ours = listening(host, pid)
        print(host.address, name, *ours)
        # Each process of a cluster's Ray has one port at all addresses.
        ours.remove("*")
        assert set(ours) == (set() if "sampler" in name else {host.address})
    assert job.code() == 0, job.text
    print(job.text)
    assert job.hashes() == undisturbed.hashes


def test_a_host_that_dies_is_named_and_the_same_command_goes_on(
    hosts: tuple[Host, Host], recipe: Path, undisturbed: Undisturbed
) -> None:
    head, lost = hosts
    job = Job(hosts, recipe, f"killed-{undisturbed.name}", undisturbed.override)
    job.await_generation(1)
    lost.kill()
    began = time.monotonic()
    assert job.code() == 5, job.text
    print(f"after {time.monotonic() - began:.0f} s: {job.error}")
    assert re.search(rf"(worker|sampler) \d \(process \d+ on node {lost.address}\) died during", job.error), job.text
    lost.start_ray(head)
    again = Job(hosts, recipe, f"killed-{undisturbed.name}", undisturbed.override)
    assert again.code() == 0, again.text
    assert again.hashes() == undisturbed.hashes


def test_a_host_that_is_cut_off_is_named_within_the_bound_and_ends_by_itself(
    hosts: tuple[Host, Host], recipe: Path, undisturbed: Undisturbed
) -> None:
    head, lost = hosts
    job = Job(hosts, recipe, f"cut-{undisturbed.name}", undisturbed.override, f"resources.wait_seconds={BOUND}")
    job.await_generation(1)
    lost.pull_cable()
    began = time.monotonic()
    assert job.code() == 5, job.text
    print(f"after {time.monotonic() - began:.0f} s: {job.error}")
    assert re.search(rf"(worker|sampler) \d \(process \d+ on node {lost.address}\)", job.error), job.text
    wait_for(lambda: not lost.pids(), what=lambda: str(lost.pids()))
    print(f"the last process of the lost host ended after {time.monotonic() - began:.0f} s")
    lost.plug_cable()
    lost.start_ray(head)
    again = Job(hosts, recipe, f"cut-{undisturbed.name}", undisturbed.override)
    assert again.code() == 0, again.text
    assert again.hashes() == undisturbed.hashes


def placed(head: Host) -> list[tuple[int, str]]:
    """Return process ids and names of the run's actors."""
    asked = "from ray.util.state import list_actors as found\n"
    asked += f"for one in found({dashboard(head)!r}, filters=[('state', '=', 'ALIVE')]): print(one.pid, one.name)"
    rows = [line.split(maxsplit=1) for line in head.told(sys.executable, "-c", asked).splitlines()]
    return [(int(pid), name) for pid, name in rows if name.startswith("hosts ")]


def listening(host: Host, pid: int) -> list[str]:
    """Return the address of each port where a process of a host listens."""
    rows = [row.split() for row in host.told("ss", "-ltnpH").splitlines()]
    return [row[3].rpartition(":")[0] for row in rows if f"pid={pid}," in row[-1]]
