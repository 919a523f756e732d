"""Defaults by kind of base: what a recipe leaves open for a pretrained model, written out before it is checked.

The defaults of the settings' classes are vetted for models from scratch. A recipe whose base is pretrained gets those
of this module, key by key, where it says nothing itself. The recipe that a lineage remembers is read as it is.

Left out: whether a value is wise (`conflicts/`), and what only the model's files tell.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from bootstrap.config.answers import Boxed, Tagged, VerifierSettings
from bootstrap.config.optimizers import AdamW
from bootstrap.config.verifiers import Verifier

Section = dict[str, Any]
"""A section of a recipe, as data that nobody has checked."""


def fill(recipe: Section) -> None:
    """Write defaults for a pretrained base into a recipe's data; of other recipes nothing changes.

    Sections of another form than a recipe's are left to the settings' classes, which say what is wrong.
    """
    if is_pretrained(_section(_section(recipe, "base"), "model")):
        for rule in RULES:
            rule(recipe)
    for step in _pretrained_steps(recipe):
        for step_rule in STEP_RULES:
            step_rule(step, is_adapted=isinstance(_section(recipe, "training").get("adapter"), dict))


def is_pretrained(model: Section) -> bool:
    """Whether a model's section names one whose weights go back to a folder."""
    return model.get("type") == "folder" or (model.get("type") == "generation" and model.get("pretrained") is True)


def steps(recipe: Section) -> Iterator[Section]:
    """Yield every step's section: generation 0's, those of all generations, those of stages."""
    generations = _section(recipe, "generations")
    for holder in (_section(recipe, "base"), generations, *_sections(generations.get("stages"))):
        yield from _sections(holder.get("steps"))


def _pretrained_steps(recipe: Section) -> Iterator[Section]:
    """Yield every step that trains a pretrained model: the base, or the model that its stage starts from.

    What comes from the champion counts as the base's kind, since results decide which model that is.
    """
    base, generations = _section(recipe, "base"), _section(recipe, "generations")
    of_base, stages = is_pretrained(_section(base, "model")), [*_sections(generations.get("stages"))]
    found: dict[Any, bool] = {}
    last = of_base
    for stage in stages:
        match stage.get("init"):
            case {"type": "stage", "stage": str(name)}:
                last = found.get(name, of_base)
            case {"type": "scratch" | "folder"} as model:
                last = is_pretrained(model)
            case "previous":
                pass
            case _:
                last = of_base
        found[str(stage.get("name"))] = last
    holders = [(base, of_base), (generations, of_base)]
    holders += [(stage, found[str(stage.get("name"))]) for stage in stages]
    for holder, pretrained in holders:
        if pretrained:
            # An alias of YAML may share them with steps of a model from scratch.
            if "steps" in holder:
                holder["steps"] = copy.deepcopy(holder["steps"])
            yield from _sections(holder.get("steps"))


def _section(holder: Section, key: str) -> Section:
    """Return a section below another; an empty one where there is none."""
    found = holder.get(key)
    return found if isinstance(found, dict) else {}


def _sections(listed: Any) -> Iterator[Section]:
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))


# --- training ----------------------------------------------------------------------------------------------------

FULL_LR = 1e-6
"""AdamW's rate on all weights of a pretrained model: that of DAPO (arXiv:2503.14476) and Dr. GRPO (arXiv:2503.20783)
for 7 to 32 billion parameters, and of TRL's GRPO."""
ADAPTER_LR = 2e-5
"""AdamW's rate on an adapter: some ten times and more that of all weights (LoRA Without Regret, Thinking Machines
2025), on the careful side; up to 5e-4 works for small models and short steps (`pipelines/r1-smollm2.yaml`)."""
BETAS = (0.9, 0.999)
"""AdamW's own (arXiv:1711.05101), as in PyTorch, TRL and verl."""
WARMUP = 0.05
"""Share of a step's updates: Adam's moments start empty in every step."""
SFT_BATCH = 32
"""Sequences; DeepSeek-R1's distilled models took 64 (arXiv:2501.12948), of ten thousand tokens each."""
REPLAY_BATCH = 16
"""Replayed sequences beside 128 samples of a round."""
PROMPTS_PER_UPDATE = 16
"""With 8 samples each: the batch of 128 of Dr. GRPO (arXiv:2503.20783)."""


def in_best_precision(recipe: Section) -> None:
    """Products in bf16 where every worker has instructions for it: a pretrained model is stored in it as a rule."""
    if isinstance(training := recipe.setdefault("training", {}), dict):
        training.setdefault("precision", "auto")


def gently(step: Section, *, is_adapted: bool) -> None:
    """AdamW with a small rate and a warm-up, which keep what a model knows."""
    if step.get("type") == "merge":
        return
    optimizer = step.setdefault("optimizer", {"type": "adamw"})
    if isinstance(optimizer, dict):
        # A key that another optimizer alone has leaves the type for the recipe to say.
        if optimizer.keys() <= AdamW.model_fields.keys():
            optimizer.setdefault("type", "adamw")
        if optimizer.get("type") == "adamw":
            optimizer.setdefault("lr", ADAPTER_LR if is_adapted else FULL_LR)
            optimizer.setdefault("betas", list(BETAS))
    schedule = step.setdefault("schedule", {})
    if isinstance(schedule, dict):
        rest = [1 - schedule[name] for name in ("decay", "warmup") if _is_share(schedule.get(name))]
        if "warmup" not in schedule:
            schedule["warmup"] = min(WARMUP, *rest) if rest else WARMUP
            schedule.setdefault("decay", 1 - schedule["warmup"])
        elif rest:
            schedule.setdefault("decay", rest[0])


def in_small_batches(step: Section, *, is_adapted: bool) -> None:
    """Batches for sequences of hundreds of tokens, of which a model from scratch has a few."""
    kind = step.get("type")
    if kind == "sft":
        step.setdefault("batch_size", SFT_BATCH)
    if kind in ("rl", "plugin"):
        parts = _section(step, "algorithm").get("mini_batches")
        step.setdefault("prompts_per_update", max(PROMPTS_PER_UPDATE, parts if type(parts) is int else 1))
    if kind in ("rl", "self_play", "plugin", "distill"):
        replay = step.setdefault("distillation", {})
        if isinstance(replay, dict):
            replay.setdefault("batch_size", REPLAY_BATCH)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


# --- rows of files -----------------------------------------------------------------------------------------------

CHARACTER_LIMITS = ("alphabet", "max_prompt_length", "max_answer_length")
"""Limits of rows that a model from scratch needs."""
_VERIFIER: TypeAdapter[Verifier] = TypeAdapter(Verifier)


def in_tokens(recipe: Section) -> None:
    """Limits of rows in tokens instead of characters, unless a stage starts from scratch and reads characters."""
    stages = _sections(_section(recipe, "generations").get("stages"))
    if any(_section(stage, "init").get("type") == "scratch" for stage in stages):
        return
    for holder, task, _ in _file_tasks(recipe):
        holder["task"] = dict.fromkeys(CHARACTER_LIMITS) | task


def answers_in_their_place(recipe: Section) -> None:
    """Right answers in the form that the verifier reads, for rows that hold the answer alone."""
    for holder, task, verifier in _file_tasks(recipe):
        if verifier is None or task.get("form", "text") != "text":
            continue
        places = [getattr(one, "answer", None) for one, decides in verifier.readers() if decides]
        holder["task"] = {"answer_template": _template(next(filter(None, places), None)), **task}


def _file_tasks(recipe: Section) -> Iterator[tuple[Section, Section, VerifierSettings | None]]:
    """Yield (holder, section, verifier) of each file task, alone or in a mixture; None for a verifier with faults."""
    panel = _section(_section(recipe, "evaluation"), "panel")
    for watched, verifier in ((recipe, recipe.get("verifier", {"type": "exact"})), *_watched(panel)):
        try:
            judge: VerifierSettings | None = _VERIFIER.validate_json(json.dumps(verifier), strict=True)
        except (ValidationError, TypeError, ValueError):
            judge = None
        task = _section(watched, "task")
        parts = _section(task, "parts") if task.get("type") == "mixture" else {}
        for name, holder in (*((n, _section(parts, n)) for n in parts), (str(task.get("type")), watched)):
            one = _section(holder, "task")
            if one.get("type") == "file":
                own = judge.of_task(name) if judge is not None else None
                yield holder, one, own[1] if own is not None else None


def _watched(panel: Section) -> Iterator[tuple[Section, Any]]:
    yield from ((watched, watched.get("verifier")) for watched in _sections([*panel.values()]))


def _template(place: Any) -> str:
    match place:
        case Boxed():
            return r"\boxed{{answer}}"
        case Tagged(tag=tag):
            return f"<{tag}>{{answer}}</{tag}>"
    return "{answer}"


# --- in their order --------------------------------------------------------------------------------------------------


class StepRule(Protocol):
    """Writes defaults of a step that trains a pretrained model; `is_adapted`: through an adapter."""

    def __call__(self, step: Section, *, is_adapted: bool) -> None: ...


RULES: tuple[Callable[[Section], None], ...] = (in_best_precision, in_tokens, answers_in_their_place)
"""Each writes the defaults of one part of a recipe whose base is pretrained."""
STEP_RULES: tuple[StepRule, ...] = (gently, in_small_batches)
