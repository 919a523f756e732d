"""This project beside TRL's `GRPOTrainer`: the same work, the same base, one process with one torch thread, on the CPU.

    python -m benchmarks.trl step                        # samples per second of one GRPO step, three rounds
    python -m benchmarks.trl level                       # seconds to the next level of addition, three seeds
    python -m benchmarks.trl level --levels 4 --seeds 5  # and to four levels on

step    64 prompts x 8 completions of at most 8 tokens, exact match as the reward, the same loss (DAPO's clips and
        token mean, no division by a deviation), AdamW with the same settings. Ours is the round of an `rl` step
        without replay; TRL has the fastest of a few settings, which are tried first and printed.
level   From a base that knows addition up to level 4 to 95 % of held-out sums at the next level, then on from there.
        Held-out sums are answered greedily every few updates by the same code on both sides, outside the clock. Ours
        is the quickstart's `rl` step, its replay included; TRL's learning rate and batch are chosen by a grid on a
        seed that is not among the others. Afterwards both answer held-out sums of the levels below.

Each measurement is a process of its own, and the sides take turns. Bases are made once and kept in build/trl.

Left out: checkpoints and tables of a run, the gate, several workers, a GPU, vLLM.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootstrap.prompts.task import Task
    from bootstrap.records import Batch, Prompt
    from bootstrap.rollouts.engine import TransformersEngine
    from bootstrap.stages.context import Context, Meter, Plan
    from bootstrap.stages.reinforcement import RlTrainer

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "pipelines" / "quickstart.yaml"
BASES = {
    "level": (),
    # Answers about half of six-digit sums, so that hardly a group has equal rewards.
    "step": ("task.base_level=6", "base.steps[0].updates=600"),
}
"""Part -> what its base's recipe has other than the quickstart's."""
STEP_LEVEL, STEP_PROMPTS, GROUP, STEP_TOKENS = 6, 64, 8, 8
STEP_LR = 1e-6
"""Too small to change what is answered: every step has the same work."""
WARM_UP = 2
"""Steps before the clock starts."""
TARGET = 0.95
WINDOW = 512
"""Latest samples whose pass rate counts."""
HELD_OUT = 200
"""Held-out sums of a level."""
GRID_SEED = 100
STEP_FORMS: dict[str, dict[str, Any]] = {
    "512 in one pass": {"batch": 512},
    "128 a pass": {"batch": 128},
    "64 a pass": {"batch": 64},
    "512, static cache": {"batch": 512, "cache_implementation": "static"},
    "512, fused AdamW": {"batch": 512, "optim": "adamw_torch_fused"},
}
LEVEL_START: dict[str, Any] = {"lr": 1e-3, "group": 8, "completions": 192, "scale": "none"}
LEVEL_GRID: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"lr": 3e-4}, {"lr": 1e-3}, {"lr": 2e-3}, {"lr": 4e-3}),
    ({"scale": "none"}, {"scale": "group"}),
    (
        {"group": 8, "completions": 192},
        {"group": 16, "completions": 192},
        {"group": 8, "completions": 512},
        {"group": 16, "completions": 512},
    ),
)
"""What TRL may have, one coordinate after the other, the best so far for the rest."""


# --- both sides ----------------------------------------------------------------------------------------------------


def now() -> tuple[float, float]:
    """Return seconds by the clock on the wall and of this process's CPU time."""
    return time.perf_counter(), time.process_time()


@dataclass
class Climb:
    """The curriculum of both sides: when a level is reached, and what the clock has counted by then."""

    task: "Task"
    level: int
    last: int
    every: int
    limit: float
    greedy: "Callable[[], TransformersEngine]"
    spent: float = 0.0
    """CPU seconds so far."""
    wall: float = 0.0
    """The same by the clock on the wall."""
    updates: int = 0
    samples: int = 0
    reached: list[dict[str, float]] = field(default_factory=list)
    passed_at: float | None = None
    """Seconds after which the pass rate of the last level's latest samples was high enough."""
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    began: tuple[float, float] = (0.0, 0.0)

    @property
    def is_over(self) -> bool:
        return self.spent > self.limit or (self.level > self.last and self.passed_at is not None)

    @property
    def drawn_level(self) -> int:
        return min(self.level, self.last)

    def start(self) -> None:
        self.began = now()

    def stop(self) -> None:
        wall, spent = now()
        self.wall += wall - self.began[0]
        self.spent += spent - self.began[1]

    def after_update(self, right: Sequence[bool]) -> bool:
        """Take up an update's answers, with the clock stopped; return whether the level has been reached."""
        self.updates += 1
        self.samples += len(right)
        self.recent.extend(right)
        rate = sum(self.recent) / len(self.recent)
        if self.drawn_level == self.last and self.passed_at is None and len(self.recent) == WINDOW and rate >= TARGET:
            self.passed_at = self.spent
        if self.level > self.last or self.updates % self.every or self.heldout(self.level) < TARGET:
            return False
        self.reached.append({"level": self.level, "seconds": self.spent, "wall": self.wall, "updates": self.updates})
        self.level += 1
        if self.level <= self.last:
            self.recent.clear()
        return True

    def heldout(self, level: int) -> float:
        """Return the share of a level's held-out sums that greedy decoding gets right."""
        from bootstrap.records import Finish, Request, Sampling

        prompts = self.task.heldout(level, HELD_OUT)
        asked = [Request(id=f"g0.s0.u0.p{i}.k0", prompt=prompt, seed=0) for i, prompt in enumerate(prompts)]
        how = Sampling(temperature=0.0, max_new_tokens=self.task.max_answer_tokens(level))
        answers = self.greedy().generate(asked, how, policy="")
        return sum(
            answer.finish is Finish.STOP and answer.text == self.task.reference(prompt)
            for answer, prompt in zip(answers, prompts, strict=True)
        ) / len(prompts)

    def result(self, first: int) -> dict[str, Any]:
        return {
            "reached": self.reached,
            "passed_at": self.passed_at,
            "spent": self.spent,
            "wall": self.wall,
            "updates": self.updates,
            "samples": self.samples,
            "old": {level: self.heldout(level) for level in range(1, first)},
        }


def base_of(part: str) -> tuple[Path, str]:
    """Return the folder and fingerprint of a part's base, which is made if there is none."""
    from bootstrap.config.load import load_recipe
    from bootstrap.loop import run
    from bootstrap.pool import LocalPool
    from bootstrap.roles import colocated
    from bootstrap.store.lineage_store import LineageStore

    recipe = load_recipe(QUICKSTART, [*BASES[part], "generations.count=0"])
    store = LineageStore(ROOT / "build" / "trl" / part)
    store.open(recipe.name, identity=recipe.identity())
    entries = store.ledger.read()
    if not entries:
        print(f"making the base of {part} ...", file=sys.stderr, flush=True)
        entries = run(
            recipe,
            lineage=recipe.name,
            store=store,
            roles=colocated(LocalPool(1, batch_rows=recipe.resources.batch_rows)),
            publish=lambda: None,
            observe=lambda event: None,
            environment={},
        )
    generation = entries[0].generation
    return store.root / generation.artifacts["weights"].path, generation.fingerprint


def recipe_of(part: str, seed: int, overrides: Sequence[str] = ()) -> Any:
    from bootstrap.config.load import load_recipe

    return load_recipe(QUICKSTART, [*BASES[part], f"seed={seed}", *overrides])


def step_overrides() -> list[str]:
    """Return what makes the quickstart's `rl` step the one that is compared step by step."""
    optimizer = f"{{type: adamw, lr: {STEP_LR}}}"
    return [
        f"generations.steps[0].prompts_per_update={STEP_PROMPTS}",
        f"generations.steps[0].group_size={GROUP}",
        f"generations.steps[0].optimizer={optimizer}",
        "generations.steps[0].distillation=null",
    ]


# --- ours ----------------------------------------------------------------------------------------------------------


@contextmanager
def opened(recipe: Any, folder: Path) -> "Iterator[Context]":
    """Yield the context of a run with one worker in this process, as `loop.run` makes it."""
    from bootstrap.pool import LocalPool
    from bootstrap.prompts.build import build_task
    from bootstrap.roles import colocated
    from bootstrap.scoring.verifier import Tools
    from bootstrap.stages.context import Context
    from bootstrap.stages.limits import settle
    from bootstrap.stages.models import LineageModels
    from bootstrap.stages.verifiers import open_verifiers
    from bootstrap.store.lineage_store import LineageStore

    roles = colocated(LocalPool(1, batch_rows=recipe.resources.batch_rows))
    task, store = build_task(recipe.task), LineageStore(folder / "lineage")
    store.open("beside", identity=recipe.identity())
    training = roles.configure(recipe.training)
    observe = settle(recipe, store, roles, generation=0, observe=lambda event: None)
    models = LineageModels(roles.samplers)
    with open_verifiers(recipe, task, Tools(models=models)) as (verifiers, eval_verifier, panel):
        yield Context(
            recipe=recipe,
            training=training,
            task=task,
            verifiers=verifiers,
            verifier=verifiers[("verifier",)],
            eval_verifier=eval_verifier,
            panel=panel,
            models=models,
            store=store,
            roles=roles,
            observe=observe,
        )


def plan_of(context: "Context", start: Any, *, number: int, level: int, pool: Any) -> "Plan":
    """Return the plan of a generation that aims at one level; the workers hold its start then."""
    from bootstrap.selection.curriculum import replay_levels
    from bootstrap.stages.context import Plan

    context.learners.hold(start)
    return Plan(
        number=number,
        champion=number - 1,
        init=number - 1,
        parents=(number - 1,),
        start=start,
        shape=context.learners.shape(),
        target_levels=(level,),
        replay_levels=replay_levels((level,), held=pool.levels),
        pool=pool,
    )


class Rounds:
    """Rounds of an `rl` step, each with its updates, as `stages/step.py` runs them between checkpoints."""

    def __init__(self, trainer: "RlTrainer", meter: "Meter") -> None:
        from bootstrap.stages.tables import Tables
        from bootstrap.training.bounds import UpdateWatch

        self.trainer, self.meter, self.tables, self.number = trainer, meter, Tables(), 0
        self.watch = UpdateWatch(trainer.context.training.bounds)
        trainer.context.learners.begin(trainer.step.optimizer, trainer.step.critic)

    def round(self) -> "tuple[list[bool], Batch]":
        """Take one round; return whether each answer was right, and the batch of the one update."""
        from bootstrap.records import Status
        from bootstrap.stages.compared import compare_samplers
        from bootstrap.training.schedule import schedule_factor

        trainer, step, context = self.trainer, self.trainer.step, self.trainer.context
        context.samplers.take(context.learners.publish())
        before = len(self.tables.rollouts)
        drawn = trainer.round(self.number, self.tables, self.meter)
        compare_samplers(trainer, self.number, self.tables.rollouts[before:], drawn, self.meter, watch=self.watch)
        [batch] = drawn.batches
        factor = schedule_factor(step.schedule, update=self.number, total=step.rounds)
        with self.meter.clock("train"):
            metrics = context.learners.metrics(
                context.learners.update(batch, lr_factor=factor, grad_clip=step.grad_clip)
            )
        self.watch.check(self.number, metrics, difference=metrics.logprob_difference)
        self.number += 1
        return [verdict.status is Status.PASS for verdict in self.tables.verdicts[before:]], batch


def our_start(part: str) -> Any:
    from dataclasses import replace

    from bootstrap.stages.weights import weights_in_folder

    folder, fingerprint = base_of(part)
    found = weights_in_folder(folder)
    assert found.fingerprint == fingerprint, "the base in build/trl has changed; remove that folder"
    return replace(found, stored="")


def our_steps(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from bootstrap.records import Sampling
    from bootstrap.selection.replay import ReplayPool
    from bootstrap.stages.reinforcement import RlTrainer

    recipe = recipe_of("step", settings["seed"], step_overrides())
    with opened(recipe, folder) as context:
        plan = plan_of(context, our_start("step"), number=1, level=STEP_LEVEL, pool=ReplayPool())
        trainer = RlTrainer(context, plan, _own_step(recipe), index=0)
        trainer.how = Sampling(temperature=1.0, max_new_tokens=STEP_TOKENS)
        rounds = Rounds(trainer, context.meter())
        for _ in range(WARM_UP):
            rounds.round()
        rounds.meter, seen = context.meter(), len(rounds.tables.rollouts)
        began, learned = time.perf_counter(), 0
        for _ in range(settings["updates"]):
            _, batch = rounds.round()
            learned += len(batch.examples)
        seconds = time.perf_counter() - began
        rollouts, verdicts = rounds.tables.rollouts[seen:], rounds.tables.verdicts[seen:]
        return {
            "seconds": seconds,
            "samples": len(rollouts),
            "sampling": rounds.meter.seconds["generate"] + rounds.meter.seconds["score"],
            "tokens": sum(len(one.tokens) for one in rollouts) / len(rollouts),
            "right": sum(one.reward or 0.0 for one in verdicts) / len(verdicts),
            "learned": learned / len(rollouts),
        }


def our_climb(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from bootstrap.selection.replay import PoolEntry, ReplayPool
    from bootstrap.stages.reinforcement import RlTrainer

    recipe = recipe_of("level", settings["seed"], settings["overrides"])
    first = recipe.task.base_level + 1
    with opened(recipe, folder) as context:
        climb = Climb(
            context.task,
            first,
            first + settings["levels"] - 1,
            settings["every"],
            settings["limit"],
            lambda: context.learners.workers[0].engine,  # pyright: ignore[reportAttributeAccessIssue]
        )
        start, pool, number = our_start("level"), ReplayPool(), 0
        context.learners.hold(start)
        while not climb.is_over:
            # A generation a level: a fresh optimizer, and answers of those before it among what is replayed.
            climb.start()
            number, level = number + 1, climb.drawn_level
            plan = plan_of(context, start, number=number, level=level, pool=pool)
            rounds = Rounds(RlTrainer(context, plan, _own_step(recipe), index=0), context.meter())
            while rounds.number < rounds.trainer.step.rounds and climb.drawn_level == level and not climb.is_over:
                right, _ = rounds.round()
                climb.stop()
                climb.after_update(right)
                climb.start()
            kept = {selection.rollout_id for selection in rounds.tables.selections if selection.replay}
            pool.add(
                PoolEntry(
                    rollout_id=rollout.id,
                    generation=number,
                    level=rollout.level,
                    prompt_text=rollout.imitated_prompt,
                    completion_text=rollout.text,
                    task=rollout.task,
                )
                for rollout in rounds.tables.rollouts
                if rollout.id in kept
            )
            start = context.learners.export()
            context.learners.holding = start.fingerprint  # pyright: ignore[reportAttributeAccessIssue]
            climb.stop()
        return climb.result(first)


def _own_step(recipe: Any) -> Any:
    """Return the recipe's `rl` step without its early end, since held-out sums end it here."""
    [step] = recipe.steps_of(1)
    return step.model_copy(update={"until": None})


# --- TRL -----------------------------------------------------------------------------------------------------------


def trl_trainer(
    settings: dict[str, Any],
    folder: Path,
    *,
    part: str,
    draw: "Callable[[int], list[Prompt]]",
    task: "Task",
    heard: Callable[[list[bool], list[int]], None],
) -> Any:
    """Return a `GRPOTrainer` that draws its prompts when it samples, so that a new level acts at once.

    `draw`: a count -> as many prompts; `heard`: called with what was right and the answers' lengths.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    source, _ = base_of(part)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    batch, completions, group = settings["batch"], settings["completions"], settings["group"]

    class Drawing(GRPOTrainer):
        sampling = 0.0

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
            began = time.perf_counter()
            prompts = draw(len(inputs) // group)
            rows = [{"prompt": p.text, "answer": task.reference(p)} for p in prompts for _ in range(group)]
            found = super()._generate_and_score_completions(rows)
            self.sampling += time.perf_counter() - began
            return found

    def exact(completions: list[str], answer: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        right = [
            text == expected and ids[-1] == tokenizer.eos_token_id
            for text, expected, ids in zip(completions, answer, completion_ids, strict=True)
        ]
        heard(right, [len(ids) for ids in completion_ids])
        return [float(one) for one in right]

    more = {name: settings[name] for name in ("cache_implementation", "optim", "torch_compile") if name in settings}
    arguments = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=completions // batch,
        num_generations=group,
        max_completion_length=settings["tokens"],
        max_steps=settings["steps"],
        learning_rate=settings["lr"],
        lr_scheduler_type="constant",
        adam_beta1=0.9,
        adam_beta2=0.98,
        weight_decay=0.0,
        max_grad_norm=1.0,
        loss_type="dapo",
        epsilon=0.2,
        epsilon_high=0.28,
        scale_rewards=settings["scale"],
        beta=0.0,
        temperature=1.0,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
        dataloader_pin_memory=False,
        seed=settings["seed"],
        **more,
    )
    rows = Dataset.from_dict({"prompt": [""] * (completions // group), "answer": [""] * (completions // group)})
    return Drawing(model=model, reward_funcs=exact, args=arguments, train_dataset=rows, processing_class=tokenizer)


def trl_steps(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from transformers import TrainerCallback

    from bootstrap.prompts.build import build_task
    from bootstrap.seeds import derive_seed

    task = build_task(recipe_of("step", settings["seed"]).task)
    right: list[bool] = []
    lengths: list[int] = []
    drawn, began = 0, 0.0

    def draw(count: int) -> "list[Prompt]":
        nonlocal drawn
        drawn += 1
        return task.draw(STEP_LEVEL, count, seed=derive_seed(settings["seed"], "step", drawn))

    def heard(new: list[bool], their_lengths: list[int]) -> None:
        right.extend(new)
        lengths.extend(their_lengths)

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            nonlocal began
            if state.global_step == WARM_UP:
                right.clear()
                lengths.clear()
                trainer.sampling = 0.0
                began = time.perf_counter()

    completions = STEP_PROMPTS * GROUP
    trainer = trl_trainer(
        settings
        | {"completions": completions, "group": GROUP, "tokens": STEP_TOKENS, "lr": STEP_LR, "scale": "none"}
        | {"steps": WARM_UP + settings["updates"]},
        folder,
        part="step",
        draw=draw,
        task=task,
        heard=heard,
    )
    trainer.add_callback(Clock())
    ended = []

    class End(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # What follows the last step is no part of it.
            ended[:] = [time.perf_counter()]

    trainer.add_callback(End())
    trainer.train()
    return {
        "seconds": ended[0] - began,
        "samples": len(right),
        "sampling": trainer.sampling,
        "tokens": sum(lengths) / len(lengths),
        "right": sum(right) / len(right),
        "learned": 1.0,
    }


def trl_climb(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from transformers import TrainerCallback

    from bootstrap.prompts.build import build_task
    from bootstrap.rollouts.engine import TransformersEngine
    from bootstrap.seeds import derive_seed

    recipe = recipe_of("level", settings["seed"])
    task, first = build_task(recipe.task), recipe.task.base_level + 1
    latest: list[bool] = []
    climb = Climb(
        task,
        first,
        first + settings["levels"] - 1,
        settings["every"],
        settings["limit"],
        lambda: TransformersEngine(trainer.model, trainer.processing_class, batch_rows=512),
    )

    def draw(count: int) -> "list[Prompt]":
        return task.draw(climb.drawn_level, count, seed=derive_seed(settings["seed"], "trl", climb.updates))

    def length() -> None:
        trainer.generation_config.max_new_tokens = task.max_answer_tokens(climb.drawn_level)
        trainer.generation_kwargs["max_new_tokens"] = trainer.generation_config.max_new_tokens

    class Curriculum(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            length()
            climb.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            climb.stop()
            climb.after_update(latest)
            length()
            control.should_training_stop = climb.is_over
            climb.start()

    def heard(right: list[bool], lengths: list[int]) -> None:
        latest[:] = right

    trainer = trl_trainer(
        settings | {"batch": settings["completions"], "steps": 10**6, "tokens": task.max_answer_tokens(climb.last)},
        folder,
        part="level",
        draw=draw,
        task=task,
        heard=heard,
    )
    trainer.add_callback(Curriculum())
    trainer.train()
    return climb.result(first)


# --- what is asked and printed -------------------------------------------------------------------------------------

WORK = {
    ("step", "ours"): our_steps,
    ("step", "TRL"): trl_steps,
    ("level", "ours"): our_climb,
    ("level", "TRL"): trl_climb,
}


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
    forms = {}
    print(f"TRL, {given.updates} steps each: samples a second")
    for name, form in STEP_FORMS.items():
        found = measure("step", "TRL", seed=GRID_SEED, updates=given.updates, **form)
        forms[name] = found["samples"] / found["seconds"]
        print(f"  {name:24}{forms[name]:8.0f}", flush=True)
    best = max(forms, key=lambda name: forms[name])
    print(f"chosen: {best}\n")
    print(f"{'round':>5} {'side':5}{'samples/s':>10}{'s/step':>8}{'sampling':>10}{'update':>8}{'tokens':>8}", end="")
    print(f"{'right':>7}{'trained on':>12}")
    found = []
    for number in range(given.rounds):
        rates = {}
        for side in ("ours", "TRL"):
            form = STEP_FORMS[best] if side == "TRL" else {}
            one = measure("step", side, seed=number, updates=given.updates, **form)
            rates[side] = one["samples"] / one["seconds"]
            each, sampling = one["seconds"] / given.updates, one["sampling"] / given.updates
            print(f"{number:5} {side:5}{rates[side]:10.0f}{each:8.3f}{sampling:10.3f}{each - sampling:8.3f}", end="")
            print(f"{one['tokens']:8.2f}{one['right']:7.2f}{one['learned']:12.2f}", flush=True)
        found.append(rates["ours"] / rates["TRL"])
    print(f"samples/s, ours over TRL: {ratios(found)}")


def seconds_of(found: dict[str, Any], limit: float) -> float:
    """Return the seconds to the last level; the limit where it was not reached."""
    return found["reached"][-1]["seconds"] if found["reached"] and found["complete"] else limit


def choose(given: argparse.Namespace) -> dict[str, Any]:
    """Print the grid of TRL's settings and return the best: the fewest seconds to the next level."""
    best, known = LEVEL_START, dict[str, float]()
    print(f"TRL, seed {GRID_SEED}: seconds to held-out {TARGET} at the next level, at most {given.grid_limit:.0f}")
    for coordinate in LEVEL_GRID:
        for change in coordinate:
            one = best | change
            key = json.dumps(one, sort_keys=True)
            if key not in known:
                found = climb_of("TRL", GRID_SEED, given, levels=1, limit=given.grid_limit, **one)
                known[key] = seconds_of(found, given.grid_limit)
                shown = ", ".join(f"{name} {value}" for name, value in one.items())
                reached = f"{known[key]:8.1f}" if found["complete"] else f"   > {known[key]:.0f}"
                print(f"  {shown:55}{reached}{found['updates']:8} updates", flush=True)
        best = min((best | change for change in coordinate), key=lambda one: known[json.dumps(one, sort_keys=True)])
    print("chosen: " + ", ".join(f"{name} {value}" for name, value in best.items()) + "\n")
    return best


def climb_of(
    side: str, seed: int, given: argparse.Namespace, *, levels: int, limit: float, **form: Any
) -> dict[str, Any]:
    found = measure("level", side, seed=seed, levels=levels, limit=limit, every=given.every, **form)
    return found | {"complete": len(found["reached"]) == levels}


def compare_levels(given: argparse.Namespace) -> None:
    form = json.loads(given.trl) if given.trl else choose(given)
    print(f"seconds to held-out {TARGET} at each level, updates in brackets; then old levels' held-out accuracy")
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "TRL": []}
    for seed in range(given.seeds):
        for side in found:
            own = form if side == "TRL" else {"overrides": given.overrides}
            one = climb_of(side, seed, given, levels=given.levels, limit=given.limit, **own)
            found[side].append(one)
            reached = "  ".join(f"{r['level']:.0f}: {r['seconds']:.1f} ({r['updates']:.0f})" for r in one["reached"])
            passing = "never" if one["passed_at"] is None else f"{one['passed_at']:.1f}"
            old = " ".join(f"{level}: {share:.3f}" for level, share in one["old"].items())
            print(f"seed {seed} {side:5}{reached}; pass rate {TARGET} at the last: {passing}; old {old}", flush=True)
    for level in sorted({1, given.levels}):
        pairs = [
            [one["reached"][level - 1]["seconds"] if len(one["reached"]) >= level else given.limit for one in sides]
            for sides in zip(*found.values(), strict=True)
        ]
        each = [theirs / ours for ours, theirs in pairs]
        shown = " ".join(f"{ratio:.2f}" for ratio in each)
        print(f"{level} level(s) on, TRL's seconds over ours: {shown}; {ratios(each)}")
    passing = [
        [given.limit if one["passed_at"] is None else one["passed_at"] for one in sides]
        for sides in zip(*found.values(), strict=True)
    ]
    each = [theirs / ours for ours, theirs in passing]
    print(f"pass rate {TARGET} of the last {WINDOW} samples at the last level: {ratios(each)}")
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
    parser.add_argument("--limit", type=float, default=900.0, help="level: seconds after which a side gives up")
    parser.add_argument("--grid-limit", type=float, default=120.0, help="level: the same in the grid")
    parser.add_argument("--trl", help="level: TRL's settings as JSON, in place of the grid")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(WORK[given.part, given.side](json.loads(given.given), Path(folder))))
        return
    base_of(given.part)
    print(f"python -m benchmarks.trl {' '.join(sys.argv[1:])}")
    print(machine() + "\n")
    {"step": compare_steps, "level": compare_levels}[given.part](given)


if __name__ == "__main__":
    main()
