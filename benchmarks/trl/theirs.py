"""TRL's side: `GRPOTrainer`, which draws its prompts when it samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.trl.shared import (
    BASES,
    GROUP,
    STEP_LEVEL,
    STEP_LR,
    STEP_PROMPTS,
    STEP_TOKENS,
    WARM_UP,
    Climb,
    now,
    recipe_of,
)
from bootstrap.prompts.build import build_task
from bootstrap.prompts.task import Task
from bootstrap.records import Prompt
from bootstrap.rollouts.engine import TransformersEngine
from bootstrap.seeds import derive_seed


def trl_trainer(
    settings: dict[str, Any],
    folder: Path,
    *,
    part: str,
    draw: Callable[[int], list[Prompt]],
    task: Task,
    heard: Callable[[list[bool], list[int]], None],
) -> Any:
    """Return a `GRPOTrainer` that draws its prompts when it samples, so that a new level acts at once.

    `draw`: a count -> as many prompts; `heard`: called with what was right and the answers' lengths.
    """
    torch.set_num_threads(1)
    source = BASES / part
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    batch, completions, group = settings["batch"], settings["completions"], settings["group"]

    class Drawing(GRPOTrainer):
        sampling = 0.0

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
            _, began = now()
            prompts = draw(len(inputs) // group)
            rows = [{"prompt": p.text, "answer": task.reference(p)} for p in prompts for _ in range(group)]
            found = super()._generate_and_score_completions(rows)
            self.sampling += now()[1] - began
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
    """Return what some steps of one kind took."""
    task = build_task(recipe_of(settings["seed"]).task)
    right: list[bool] = []
    lengths: list[int] = []
    drawn, began, ended = 0, (0.0, 0.0), (0.0, 0.0)

    def draw(count: int) -> list[Prompt]:
        nonlocal drawn
        drawn += 1
        return task.draw(STEP_LEVEL, count, seed=derive_seed(settings["seed"], "step", drawn))

    def heard(new: list[bool], their_lengths: list[int]) -> None:
        right.extend(new)
        lengths.extend(their_lengths)

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            nonlocal began, ended
            ended = now()
            if state.global_step == WARM_UP:
                right.clear()
                lengths.clear()
                trainer.sampling = 0.0
                began = now()

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
    trainer.train()
    wall, spent = (after - before for after, before in zip(ended, began, strict=True))
    return {
        "seconds": spent,
        "wall": wall,
        "samples": len(right),
        "sampling": trainer.sampling,
        "tokens": sum(lengths) / len(lengths),
        "right": sum(right) / len(right),
        "learned": 1.0,
    }


def trl_climb(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return when each level was reached: one training, whose prompts and length limit follow the level."""
    recipe = recipe_of(settings["seed"])
    task, first = build_task(recipe.task), recipe.task.base_level + 1
    latest: list[bool] = []
    climb = Climb(
        task=task,
        level=first,
        last=first + settings["levels"] - 1,
        greedy=lambda: TransformersEngine(trainer.model, trainer.processing_class, batch_rows=512),
        every=settings["every"],
        limit=settings["limit"],
    )

    def draw(count: int) -> list[Prompt]:
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
    return climb.result()
