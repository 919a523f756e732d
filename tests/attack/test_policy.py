"""Every single line of the policy is noticed: with it a probe meets a wall, without it the same probe does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.attack_policy import LIMITS, MARKER, NOBODY, POLICY, RULES, STEPS, absent_lines, marked
from support.bpf_simulator import simulate

from bootstrap.errors import SandboxUnavailable
from bootstrap.sandbox import bpf, linux
from bootstrap.sandbox.policy import (
    AUDIT_ARCH,
    FOREIGN_ARCHITECTURE,
    SYSCALLS,
    X32,
    Deny,
    DenyWhen,
    Kill,
    Policy,
    Right,
    Rlimit,
)

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).resolve().parents[2]
LINES = [line for line in POLICY.lines() if line.name not in absent_lines() and not isinstance(line, Kill)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """What each probe saw with its line and without it."""
    folder = tmp_path_factory.mktemp("policy") / "probes"
    done = subprocess.run(
        [sys.executable, "-m", "support.attack_policy", str(folder)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": os.environ["PATH"], "PLANTED": "planted"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names(*kinds: type) -> list[str]:
    return [line.name for line in LINES if isinstance(line, kinds)]


def test_every_line_has_a_name_of_its_own() -> None:
    everything = [line.name for line in POLICY.lines()]
    assert len(set(everything)) == len(everything)


def test_every_rule_on_an_argument_is_probed_at_each_of_its_values() -> None:
    rules = [line for line in POLICY.lines() if isinstance(line, DenyWhen)]
    assert {line.name for line in rules} == set(RULES)
    for line in rules:
        used = {case[line.argument] for case in RULES[line.name]}
        if line.test in ("is_one_of",):
            assert {value for value in used if isinstance(value, int)} == set(line.values), line.name
        if line.test == "any_bit":
            assert all(any(value & bit for value in used) for bit in bits(line.values[0])), line.name


def bits(mask: int) -> list[int]:
    return [1 << position for position in range(32) if mask >> position & 1]


@pytest.mark.parametrize("name", names(Deny, DenyWhen))
def test_a_system_call_is_denied_by_its_own_line(seen: dict[str, list[object]], name: str) -> None:
    with_line, without = seen[name]
    assert with_line == "denied"
    assert "denied" not in str(without)
    assert "not sealed" not in str(without)


@pytest.mark.parametrize("name", names(Right))
def test_a_right_is_withheld_by_its_own_line(seen: dict[str, list[object]], name: str) -> None:
    with_line, without = seen[name]
    assert "not sealed" not in f"{with_line} {without}"
    if name == "landlock: refer":
        # This one grants: only a ruleset that knows the right can give it for the working folder.
        assert (with_line, without) == ("went through", "Invalid cross-device link")
    else:
        assert with_line in ("Permission denied", "Operation not permitted")
        # The kernel's next check refuses a device node to a process without capabilities.
        assert without in ("went through", "exit status 0", "Connection refused") or (
            name in ("landlock: make_char", "landlock: make_block") and without == "Operation not permitted"
        )


@pytest.mark.parametrize("name", names(Rlimit))
def test_a_limit_holds_by_its_own_line(seen: dict[str, list[object]], name: str) -> None:
    line = next(line for line in POLICY.lines() if line.name == name)
    with_line, without = seen[name]
    if line.resource == "RLIMIT_CPU":
        assert with_line == "died of SIGKILL"
    else:
        asked, value, came_to = with_line
        assert asked
        assert value == POLICY.rlimits(LIMITS)[line.resource]
        if line.resource not in ("RLIMIT_CORE", "RLIMIT_STACK"):
            assert came_to != "went through"
    asked, value, came_to = without
    assert not asked
    # Where the machine allows no more than the policy anyway, the line is one that only asks.
    if line.resource not in ("RLIMIT_RTPRIO", "RLIMIT_NICE"):
        assert came_to == "went through"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_confinement_is_missed(seen: dict[str, list[object]], step: str) -> None:
    with_step, without = seen[f"step: {step}"]
    assert "not sealed" not in str(with_step)
    confined = {
        "new session": False,
        "die with the zygote": 9,
        "close descriptors": [],
        "empty environment": {},
        "drop capabilities": False,
        "no_new_privs": 1,
        "Landlock": "Permission denied",
    }
    if step in confined:
        assert with_step == confined[step]
    else:
        assert with_step not in ("went through", None)
    assert without != with_step


def verdict(program: bytes, number: int, audit_architecture: int, *arguments: int) -> int:
    """Return the filter's 32-bit answer to one system call."""
    return simulate(program, architecture=audit_architecture, number=number, arguments=arguments)


OWN = 4321
HARMLESS = {"x86_64": (0, 1, 3, 9, 39, 202, 231), "aarch64": (63, 64, 57, 222, 172, 98, 94)}
"""read, write, close, mmap, getpid, futex, exit_group."""


@pytest.mark.parametrize("architecture", SYSCALLS)
def test_the_filter_of_each_architecture_denies_what_its_lines_name(architecture: str) -> None:
    program = bytes(bpf.compile_policy(marked(POLICY), architecture).for_process(OWN))
    arch, table = AUDIT_ARCH[architecture], SYSCALLS[architecture]
    denied = bpf.ERRNO | MARKER
    for line in POLICY.lines():
        if isinstance(line, Deny) and line.syscall in table:
            assert verdict(program, table[line.syscall], arch) == denied, line.name
        elif isinstance(line, DenyWhen) and line.syscall in table:
            for case in RULES[line.name]:
                arguments = [OWN if value == "own" else value for value in case]
                assert verdict(program, table[line.syscall], arch, *arguments) == denied, (line.name, case)
    assert {verdict(program, number, arch) for number in HARMLESS[architecture]} == {bpf.ALLOW}
    assert verdict(program, table["kill"], arch, OWN, 15) == bpf.ALLOW
    assert verdict(program, table["kill"], arch, NOBODY, 15) == denied
    assert verdict(program, table["openat"], arch, -100, 0, os.O_RDONLY) == bpf.ALLOW
    assert {verdict(program, number, arch) for number in (451, 463, 2**30 - 1)} == {denied}


@pytest.mark.parametrize("architecture", SYSCALLS)
def test_a_foreign_entry_is_fatal_by_its_own_line(architecture: str) -> None:
    own, others = AUDIT_ARCH[architecture], (0x40000003, 0xC00000B7, 0xC000003E, 0x40000028, 0)

    def killed(policy: Policy, number: int, audit_architecture: int) -> bool:
        program = bytes(bpf.compile_policy(policy, architecture).for_process(OWN))
        return verdict(program, number, audit_architecture) == bpf.KILL_PROCESS

    for other in set(others) - {own}:
        assert killed(POLICY, HARMLESS[architecture][0], other)
        assert not killed(POLICY.without(FOREIGN_ARCHITECTURE), HARMLESS[architecture][0], other)
    if architecture == "x86_64":
        assert all(killed(POLICY, 0x40000000 | number, own) for number in (0, 39, 57, 512, 547))
        assert not killed(POLICY.without(X32), 0x40000000 | 39, own)


def test_a_foreign_entry_kills_the_sealed_process_itself(seen: dict[str, list[object]]) -> None:
    offered = [name for name in (FOREIGN_ARCHITECTURE, X32) if name in seen]
    assert offered or linux.architecture() != "x86_64"
    for name in offered:
        with_line, without = seen[name]
        assert with_line == "died of SIGSYS"
        assert "SIGSYS" not in str(without)


def test_an_architecture_without_a_table_has_no_seal() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        bpf.compile_policy(POLICY, "riscv64")
