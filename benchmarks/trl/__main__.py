"""This project beside TRL's `GRPOTrainer`: the same work, the same base, one process with one torch thread, on the CPU.

    python -m benchmarks.trl step                        # samples per second of one GRPO step, three rounds
    python -m benchmarks.trl level                       # seconds to the next level of addition, three seeds
    python -m benchmarks.trl level --levels 4 --seeds 5  # and to four levels on

step    64 prompts x 8 completions of at most 8 tokens, exact match as the reward, the same loss (DAPO's clips and
        token mean, no division by a deviation), AdamW with the same settings; about half of the answers are right.
        Ours is the round of an `rl` step without replay. `ours` leaves out groups of equal rewards, whose gradient is
        0: the update is the same. `ours, all` trains on every answer, as TRL does. TRL has the fastest of a few
        settings, which are tried first and printed.
level   From a base that knows addition up to level 4 to 95 % of held-out sums at the next level, then on from there.
        Held-out sums are answered greedily every few updates by the same code on both sides, outside the clock. Ours
        is the quickstart's `rl` step, its replay included; TRL's learning rate and batch are chosen by a grid on
        seeds that are not among the others. Afterwards both answer held-out sums of the levels below.

Each measurement is a process of its own with one thread, and the sides take turns. Its seconds are CPU seconds, which
other work on the machine stretches less than those of the wall. Bases are made once and kept in build/trl.

Left out: checkpoints and tables of a run, the gate, several workers, a GPU, vLLM.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from benchmarks.trl.shared import ROOT, TARGET

GRID_SEEDS = (100, 101)
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "ours": ("ours", {"every_answer": False}),
    "ours, all": ("ours", {"every_answer": True}),
}
"""How ours takes a step: without groups of equal rewards, whose gradient is 0, and with every answer in the update."""
STEP_FORMS: dict[str, dict[str, Any]] = {
    "512 in one pass": {"batch": 512},
    "128 a pass": {"batch": 128},
    "512, static cache": {"batch": 512, "cache_implementation": "static"},
    "512, fused AdamW": {"batch": 512, "optim": "adamw_torch_fused"},
    "512, both": {"batch": 512, "cache_implementation": "static", "optim": "adamw_torch_fused"},
    "128, both": {"batch": 128, "cache_implementation": "static", "optim": "adamw_torch_fused"},
}
"""What TRL may have."""
LEVEL_START: dict[str, Any] = {"lr": 3e-4, "group": 8, "completions": 192, "scale": "none"}
LEVEL_GRID: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"lr": 1e-4}, {"lr": 3e-4}, {"lr": 6e-4}),
    ({"scale": "none"}, {"scale": "group"}),
    (
        {"group": 8, "completions": 192},
        {"group": 8, "completions": 96},
        {"group": 16, "completions": 192},
        {"group": 8, "completions": 512},
    ),
)
"""What TRL may have, one coordinate after the other, the best so far for the rest."""


WORK = {
    ("step", "ours"): "benchmarks.trl.ours:our_steps",
    ("step", "TRL"): "benchmarks.trl.theirs:trl_steps",
    ("level", "ours"): "benchmarks.trl.ours:our_climb",
    ("level", "TRL"): "benchmarks.trl.theirs:trl_climb",
}
"""What measures; each side loads its own libraries alone."""


def measure(part: str, side: str, **settings: Any) -> dict[str, Any]:
    """Return what a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.trl", part, "--side", side, "--given", json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, env=environment, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{side} has failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(values: Sequence[float]) -> str:
    """Return median, least and most."""
    return f"median {statistics.median(values):.2f}, least {min(values):.2f}, most {max(values):.2f}"


def compare_steps(given: argparse.Namespace) -> None:
    forms = dict[str, float]()
    print(f"TRL, {given.updates} steps each: samples per CPU second")
    for name, form in STEP_FORMS.items():
        one = measure("step", "TRL", seed=GRID_SEEDS[0], updates=given.updates, **form)
        forms[name] = one["samples"] / one["seconds"]
        print(f"  {name:24}{forms[name]:8.0f}", flush=True)
    best = max(forms, key=lambda name: forms[name])
    print(f"chosen: {best}\n")
    columns = {"samples/s": 11, "s/step": 8, "sampling": 10, "the rest": 10, "wall": 8, "tokens": 8, "right": 7}
    print("round side     " + "".join(f"{name:>{width}}" for name, width in (columns | {"trained on": 12}).items()))
    found = list[dict[str, dict[str, Any]]]()
    for number in range(given.rounds):
        sides = dict[str, dict[str, Any]]()
        for side in (*SIDES, "TRL"):
            name, form = SIDES.get(side, ("TRL", STEP_FORMS[best]))
            one = sides[side] = measure("step", name, seed=number, updates=given.updates, **form)
            spent, sampling, waited = (one[name] / given.updates for name in ("seconds", "sampling", "wall"))
            print(f"{number:5} {side:9}{one['samples'] / one['seconds']:11.0f}{spent:8.3f}{sampling:10.3f}", end="")
            print(f"{spent - sampling:10.3f}{waited:8.3f}{one['tokens']:8.2f}{one['right']:7.2f}", end="")
            print(f"{one['learned']:12.2f}", flush=True)
        found.append(sides)
    for side in SIDES:
        for clock, told in (("seconds", "CPU second"), ("wall", "second of the wall")):
            each = [sides["TRL"][clock] / sides[side][clock] for sides in found]
            print(f"samples per {told}, {side} over TRL: {ratios(each)}")


def choose(given: argparse.Namespace) -> dict[str, Any]:
    """Print the grid of TRL's settings and return the best: the fewest seconds in the mean of the grid's seeds."""
    best, known = LEVEL_START, dict[str, float]()
    print(
        f"TRL, seeds {' and '.join(map(str, GRID_SEEDS))}: CPU seconds until held-out accuracy and pass rate are "
        f"{TARGET}, {given.levels} level(s) on; {given.grid_limit:.0f} where they never were"
    )
    for coordinate in LEVEL_GRID:
        for change in coordinate:
            one = best | change
            key = json.dumps(one, sort_keys=True)
            if key not in known:
                found = [climb_of("TRL", seed, given, limit=given.grid_limit, **one) for seed in GRID_SEEDS]
                seconds = [each["spent"] if each["complete"] else given.grid_limit for each in found]
                known[key] = statistics.mean(seconds)
                shown = ", ".join(f"{name} {value}" for name, value in one.items())
                print(f"  {shown:55}" + "".join(f"{value:8.1f}" for value in seconds), flush=True)
        best = min((best | change for change in coordinate), key=lambda one: known[json.dumps(one, sort_keys=True)])
    print("chosen: " + ", ".join(f"{name} {value}" for name, value in best.items()) + "\n")
    return best


def climb_of(side: str, seed: int, given: argparse.Namespace, *, limit: float, **form: Any) -> dict[str, Any]:
    found = measure("level", side, seed=seed, levels=given.levels, limit=limit, every=given.every, **form)
    return found | {"complete": len(found["reached"]) == given.levels and found["passed_at"] is not None}


def compare_levels(given: argparse.Namespace) -> None:
    form = json.loads(given.trl) if given.trl else choose(given)
    print(f"level: CPU seconds to held-out {TARGET} (updates); then to pass rate {TARGET} at the last level")
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "TRL": []}
    for seed in range(given.seeds):
        for side in found:
            own = form if side == "TRL" else {"overrides": given.overrides}
            one = climb_of(side, seed, given, limit=given.limit, **own)
            found[side].append(one)
            reached = "  ".join(f"{r['level']}: {r['seconds']:.1f} ({r['updates']})" for r in one["reached"])
            passing = "never" if one["passed_at"] is None else f"{one['passed_at']:.1f}"
            old = " ".join(f"{share:.3f}" for share in one["old"].values())
            print(f"seed {seed} {side:5}{reached}; {passing}", end="")
            print(f" of {one['spent']:.1f} CPU, {one['wall']:.1f} wall; old levels {old}", flush=True)

    def told(what: str, seconds: Callable[[dict[str, Any]], float | None]) -> None:
        pairs = [[seconds(one) or given.limit for one in sides] for sides in zip(*found.values(), strict=True)]
        each = [theirs / ours for ours, theirs in pairs]
        print(f"TRL over ours, {what}: {' '.join(f'{ratio:.2f}' for ratio in each)}; {ratios(each)}")

    def reached(place: int) -> Callable[[dict[str, Any]], float | None]:
        return lambda one: one["reached"][place]["seconds"] if len(one["reached"]) > place else None

    for place in sorted({0, given.levels - 1}):
        told(f"held-out {TARGET}, {place + 1} level(s) on", reached(place))
    told(f"pass rate {TARGET}, {given.levels} level(s) on", lambda one: one["passed_at"])
    for side, ones in found.items():
        worst = min(share for one in ones for share in one["old"].values())
        print(f"least accuracy on an old level, {side}: {worst:.3f}")


def machine() -> str:
    cpu = next(
        (row.split(":")[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row),
        platform.machine(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))
    return f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("step", "level"))
    parser.add_argument("overrides", nargs="*", help="level: changes to our recipe, as of `bootstrap run`")
    parser.add_argument("--rounds", type=int, default=3, help="step: rounds of both sides")
    parser.add_argument("--updates", type=int, default=10, help="step: steps that are timed together")
    parser.add_argument("--levels", type=int, default=1, help="level: levels to climb")
    parser.add_argument("--seeds", type=int, default=3, help="level: seeds")
    parser.add_argument("--every", type=int, default=2, help="level: updates between held-out measurements")
    parser.add_argument("--limit", type=float, default=900.0, help="level: CPU seconds after which a side gives up")
    parser.add_argument("--grid-limit", type=float, default=60.0, help="level: the same in the grid")
    parser.add_argument("--trl", help="level: TRL's settings as JSON, in place of the grid")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side is not None:
        with tempfile.TemporaryDirectory() as folder:
            work = resolve_name(WORK[given.part, given.side])
            print(json.dumps(work(json.loads(given.given), Path(folder))))
        return
    resolve_name("benchmarks.trl.ours:make_bases")()
    print(f"python -m benchmarks.trl {shlex.join(sys.argv[1:])}")
    print(machine() + "\n")
    {"step": compare_steps, "level": compare_levels}[given.part](given)


if __name__ == "__main__":
    main()
