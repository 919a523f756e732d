"""Every rule about settings that cannot work together refuses what breaks it, and lets pass what its remedy says."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from bootstrap.config.base import dotted
from bootstrap.config.conflicts import (
    Conflict,
    base,
    evaluation,
    generations,
    guards,
    levels,
    merges,
    models,
    panel,
    splits,
    steps,
    verifiers,
)
from bootstrap.config.conflicts.levels import BY_LAST_LEVEL, LastLevels
from bootstrap.config.recipe import RULES, Recipe
from bootstrap.config.source import RecipeSource
from bootstrap.config.unchecked import UncheckedRecipe

GOOD: dict[str, Any] = {
    "name": "small",
    "task": {"type": "addition", "base_level": 2},
    "base": {"model": {"type": "scratch"}, "steps": [{"type": "sft", "updates": 10}]},
    "generations": {"count": 2, "steps": [{"type": "rl", "rounds": 5}]},
}
WORKING = "task={type: working, base_level: 2}"
PROGRAMS = "task={type: programs, base_level: 2}"
SHOWN = "base.steps=[{type: sft, updates: 10, source: {type: references, proposals: 0.1}}]"
SELF_PLAY = "generations.steps=[{type: self_play}]"
MIXTURE = "task={type: mixture, base_level: 2, parts: {sum: {task: {type: addition}}, back: {task: {type: reversal}}}}"
SPELL = "{type: reasoning_gym, datasets: [{name: spell_backward, levels: [{}]%s}]}"
LEVELS_2 = "task={type: reasoning_gym, datasets: [{name: chain_sum, levels: [{}, {}]}]}"
GYM = (LEVELS_2, "verifier={type: reasoning_gym}", "base.model.max_length=512", "generations.count=0")
FOLDER = "{type: folder, path: /models/small}"
RUBRIC = "{type: rubric, components: [{name: right, verifier: {type: exact}}, %s]}"
LENGTH = "{name: short, verifier: {type: length, max_tokens: %s, soft_tokens: 10}}"
JUDGE = "{type: judge, rubric: r, model: {type: generation%s}}"
EVALUATED = "evaluation.verifier={type: exact}"


def stages(*each: str) -> str:
    """Return an override by stages, each with a step of `rl` where it names none."""
    written = ", ".join(
        f"{{name: s{n}, {text}{'' if 'steps:' in text else ', steps: [{type: rl}]'}}}" for n, text in enumerate(each)
    )
    return f"generations={{stages: [{written}]}}"


MERGE = "steps: [{type: merge, models: [base, champion]}%s]"


class Case(NamedTuple):
    """A recipe that breaks one rule, and what mends it."""

    rule: Callable[..., Iterator[Conflict]]
    broken: tuple[str, ...]
    place: str
    says: str
    mended: tuple[str, ...]
    """Overrides over the broken recipe."""


CASES = [
    Case(
        verifiers.verifier_by_task_of_one_task,
        ("verifier={type: by_task, tasks: {sum: {type: exact}}}",),
        "verifier",
        "task addition is one task",
        (MIXTURE, "verifier.tasks.back={type: exact}"),
    ),
    Case(
        verifiers.part_without_verifier,
        (MIXTURE, "verifier={type: by_task, tasks: {sum: {type: exact}}}"),
        "verifier.tasks",
        "nothing judges part back",
        ("verifier.tasks.back={type: exact}",),
    ),
    Case(
        verifiers.verifier_of_no_part,
        (MIXTURE, "verifier={type: by_task, tasks: {sum: {type: exact}, back: {type: exact}, forth: {type: exact}}}"),
        "verifier.tasks",
        "the mixture has no part forth; its parts are back, sum",
        ("verifier={type: by_task, tasks: {sum: {type: exact}, back: {type: exact}}}",),
    ),
    Case(
        verifiers.form_without_answer,
        ("verifier={type: format}",),
        "verifier",
        "looks at the form of answers and cannot tell right from wrong",
        (f"verifier={RUBRIC % '{name: form, verifier: {type: format}, decides: false}'}",),
    ),
    Case(
        verifiers.form_without_answer,
        (MIXTURE, "verifier={type: by_task, tasks: {sum: {type: exact}, back: {type: format}}}"),
        "verifier.tasks.back",
        "or judge held-out answers otherwise (evaluation.verifier)",
        (EVALUATED,),
    ),
    Case(
        verifiers.references_that_it_cannot_read,
        ("task={type: functions, base_level: 2}",),
        "verifier",
        "exact cannot read the references of task functions, which are code; use type: code",
        ("verifier={type: code}",),
    ),
    Case(
        verifiers.references_that_it_cannot_read,
        (f"verifier={RUBRIC % '{name: code, verifier: {type: code}}'}",),
        "verifier.components[1].verifier",
        "use exact, numeric or another that compares text",
        (f"verifier={RUBRIC % '{name: number, verifier: {type: numeric}}'}",),
    ),
    Case(
        verifiers.references_that_it_cannot_read,
        ("evaluation.panel={p: {task: {type: addition}, verifier: {type: code}}}",),
        "evaluation.panel.p.verifier",
        "code cannot read the references of task addition, which are text",
        ("evaluation.panel.p.verifier={type: plugin, uses: 'a:b'}",),
    ),
    Case(
        verifiers.penalty_that_never_acts,
        (f"verifier={RUBRIC % (LENGTH % 1000)}",),
        "verifier.components[1].verifier.max_tokens",
        "the penalty begins after 990 tokens",
        (f"verifier={RUBRIC % (LENGTH % 12)}",),
    ),
    Case(
        verifiers.judge_without_words,
        (f"verifier={JUDGE % ''}", EVALUATED),
        "verifier",
        "generations of this lineage know the task's characters alone",
        ("base.steps=[]", f"base.model={FOLDER}"),
    ),
    Case(
        verifiers.eval_verifier_of_groups,
        ("verifier={type: majority}",),
        "verifier",
        "held-out prompts are answered once",
        (EVALUATED,),
    ),
    Case(
        verifiers.eval_verifier_by_chance,
        ("verifier={type: random}",),
        "verifier",
        "the gate would toss coins too",
        (EVALUATED,),
    ),
    Case(
        verifiers.eval_verifier_that_drifts,
        ("base.steps=[]", f"base.model={FOLDER}", f"evaluation.verifier={JUDGE % ''}"),
        "evaluation.verifier",
        "its verdicts on them would drift with them",
        ("evaluation.verifier={type: judge, rubric: r, model: {type: endpoint, url: 'http://h/v1', model: m}}",),
    ),
    Case(
        base.steps_that_need_ancestors,
        ("base.steps.0={type: rl}",),
        "base.steps[0]",
        "generation 0 has no ancestors",
        ("base.steps.0={type: sft, updates: 1}",),
    ),
    Case(
        base.steps_that_need_ancestors,
        ("base.steps.0={type: sft, updates: 1, source: {type: rejection}}",),
        "base.steps[0]",
        "use an sft step with source references",
        ("base.steps.0.source={type: references}",),
    ),
    Case(
        base.adapter_of_random_weights,
        ("training.adapter={type: lora}",),
        "training.adapter",
        "a model from scratch has nothing to adapt",
        ("base.steps=[]", f"base.model={FOLDER}"),
    ),
    Case(
        base.untrained_base,
        ("base.steps=[]",),
        "base.steps",
        "random weights give no right answer to learn from",
        (f"base.model={FOLDER}",),
    ),
    Case(
        base.references_cut_short,
        (
            "task={type: reasoning_gym, datasets: [{name: chain_sum}], max_answer_tokens: 64}",
            "verifier={type: reasoning_gym}",
            "base.model.max_length=512",
        ),
        "task.max_answer_tokens",
        "max_answer_tokens 64 does not hold the longest reference (max_answer_length 64 characters)",
        ("task.max_answer_tokens=65",),
    ),
    Case(
        base.characters_unknown,
        ("task={type: file, path: /nowhere/rows.jsonl, max_prompt_length: 8, max_answer_length: null}",),
        "task.max_answer_length",
        "a model from scratch has neither; give the value, or start from a pretrained folder",
        ("task.max_answer_length=8",),
    ),
    Case(
        base.answers_that_cannot_end,
        (
            f"base={{model: {FOLDER}}}",
            "base.model.min_new_tokens=8",
            "task={type: file, path: p, max_answer_tokens: 8}",
        ),
        "base.model.min_new_tokens",
        "an answer cannot end before 8 tokens and is cut at 8",
        ("base.model.min_new_tokens=7",),
    ),
    Case(
        base.answers_that_cannot_end,
        (
            f"base={{model: {FOLDER}}}",
            "base.model.min_new_tokens=16",
            "verifier={type: judge, model: {type: generation}, rubric: right}",
            "evaluation.verifier={type: exact}",
        ),
        "base.model.min_new_tokens",
        "an answer cannot end before 16 tokens and is cut at 16; lower min_new_tokens, or raise verifier.max_tokens",
        ("verifier.max_tokens=17",),
    ),
    Case(
        base.base_too_short,
        ("base.model.max_length=19",),
        "base.model.max_length",
        "19 tokens are too few for level 6, which 2 generations can reach; set max_length: 23 or more",
        ("base.model.max_length=23",),
    ),
    Case(
        models.generation_not_grown,
        ("generations.steps.0.algorithm={type: grpo, kl: {model: 1}}",),
        "generations.steps[0].algorithm.kl.model",
        "generation 1 does not exist when generation 1 needs it",
        ("generations.steps.0.algorithm.kl.model=0",),
    ),
    Case(
        models.stage_not_ended,
        (stages("init: previous", "init: {type: stage, stage: s1}"),),
        "generations.stages[1].init",
        "generation 2 uses stage s1 before it ends; name one of: s0",
        ("generations.stages.1.init.stage=s0",),
    ),
    Case(
        models.stage_not_ended,
        ("verifier={type: majority, voters: [{type: stage, stage: s0}]}", EVALUATED, stages("init: base")),
        "verifier",
        "name champion, previous or base, or give a later stage this verifier",
        ("verifier.voters=[base]",),
    ),
    Case(
        models.parent_of_itself,
        (stages("init: parent"),),
        "generations.stages[0].init",
        "init says who the parent is",
        ("generations.stages.0.init=previous",),
    ),
    Case(
        models.parent_that_is_not_there,
        (
            stages(
                "init: {type: scratch}, gate: never, steps: [{type: distill, updates: 1, distillation: {loss: jsd}}]"
            ),
        ),
        "generations.stages[0].steps[0].distillation.teacher",
        "a generation that starts from another model (scratch) has no parent",
        ("generations.stages.0.steps.0.distillation.teacher=champion",),
    ),
    Case(
        models.parent_that_is_not_there,
        (stages(MERGE % ", {type: distill, updates: 1, distillation: {loss: jsd}}"),),
        "generations.stages[0].steps[1].distillation.teacher",
        "a generation that starts from a merge has no parent",
        ("generations.stages.0.steps.1.distillation.teacher=base",),
    ),
    Case(
        models.verifier_that_asks_no_parent,
        ("verifier={type: majority, voters: [parent]}", EVALUATED, stages("init: {type: scratch}, gate: never")),
        "generations.stages[0].init",
        "and the recipe's verifier asks it; give the stage a verifier",
        ("generations.stages.0.verifier={type: majority, voters: [champion]}",),
    ),
    Case(
        models.adapter_of_another_base,
        (
            "base.steps=[]",
            f"base.model={FOLDER}",
            "training.adapter={type: lora}",
            stages(f"init: {FOLDER}, gate: never"),
        ),
        "generations.stages[0].init",
        "adapters of one base, which another model cannot be",
        ("generations.stages.0.init=base",),
    ),
    Case(
        models.student_too_short,
        (stages("init: {type: scratch, max_length: 16}, gate: never"),),
        "generations.stages[0].init.max_length",
        "16 tokens are too few for level 5; set max_length: 20 or more",
        ("generations.stages.0.init.max_length=20",),
    ),
    Case(
        generations.aims_that_stand_still,
        ("generations.curriculum={type: solved}",),
        "generations.curriculum",
        "set init: previous (or gate: always in a stage)",
        ("generations.init=previous",),
    ),
    Case(
        generations.aims_that_stand_still,
        (stages("curriculum: {type: solved}, generations: 2"),),
        "generations.stages[0].curriculum",
        "wait for the gate to find better what is solved already",
        ("generations.stages.0.gate=always",),
    ),
    Case(
        merges.merge_after_training,
        (stages("steps: [{type: rl}, {type: merge, models: [base, champion]}]"),),
        "generations.stages[0].steps[1]",
        "let it be the first step, or merge in a stage of its own",
        (stages("init: champion", MERGE % ""),),
    ),
    Case(
        merges.branches_of_one_merge,
        (stages(f"branches: 2, generations: 2, {MERGE % ''}"),),
        "generations.stages[0].steps[0]",
        "all 2 branches would be the same model",
        (stages(f"branches: 2, generations: 2, {MERGE % ', {type: rl}'}"),),
    ),
    Case(
        merges.merge_over_init,
        (stages(f"init: previous, {MERGE % ''}"),),
        "generations.stages[0].steps[0]",
        "remove its init",
        ("generations.stages.0.init=champion",),
    ),
    Case(
        merges.merge_of_dora,
        (
            "base.steps=[]",
            f"base.model={FOLDER}",
            "training.adapter={type: lora, dora: true}",
            stages(MERGE % ""),
        ),
        "generations.stages[0].steps[0]",
        "adapters with dora: true cannot be merged",
        ("training.adapter.dora=false",),
    ),
    Case(
        steps.forms_of_one_form,
        ("base.steps.0.source={type: references, forms: {direct: 0.5}}",),
        "base.steps[0].source.forms",
        "task addition has one form of answer",
        (WORKING,),
    ),
    Case(
        steps.forms_of_one_form,
        ("generations.steps.0={type: sft, updates: 1, source: {type: references, forms: {direct: 0.5}}}",),
        "generations.steps[0].source.forms",
        "remove forms, or use task: {type: working}",
        ("generations.steps.0.source.forms=null",),
    ),
    Case(
        steps.proposals_that_none_reads,
        (SHOWN,),
        "base.steps[0].source.proposals",
        "task addition has no executor that could read a model's problems; remove proposals",
        (PROGRAMS,),
    ),
    Case(
        steps.self_play_without_executor,
        (SELF_PLAY,),
        "generations.steps[0]",
        "use a step of type rl, or task: {type: programs}",
        (PROGRAMS, SHOWN),
    ),
    Case(
        steps.self_play_without_examples,
        (PROGRAMS, SELF_PLAY),
        "generations.steps[0]",
        "nobody has shown the base how a problem is put",
        (SHOWN,),
    ),
    Case(
        steps.self_play_without_examples,
        (PROGRAMS, SELF_PLAY),
        "generations.steps[0]",
        "give an sft step of base.steps source: {type: references, proposals: 0.1}",
        ("base.steps=[]", f"base.model={FOLDER}"),
    ),
    Case(
        steps.hints_that_the_task_lacks,
        ("generations.steps.0={type: sft, updates: 1, source: {type: rejection, hints: references}}",),
        "generations.steps[0].source.hints",
        "task addition has no prompts with hints",
        (WORKING, "task.forms.hinted=0.2"),
    ),
    Case(
        steps.hints_never_shown,
        (WORKING, "generations.steps.0={type: sft, updates: 1, source: {type: rejection, hints: references}}"),
        "generations.steps[0].source.hints",
        "no reference of generation 0 is shown with a hint",
        ("base.steps.0.source={type: references, forms: {hinted: 0.2}}",),
    ),
    Case(
        steps.easier_variants_of_one_operand,
        ("task={type: copy, base_level: 2}", "generations.steps.0.easier_variants=0.5"),
        "generations.steps[0].easier_variants",
        "easier variants need a task with two operands; task copy has one",
        (WORKING,),
    ),
    Case(
        steps.easier_variants_of_one_operand,
        (
            "task={type: copy, base_level: 2}",
            "generations.steps.0={type: sft, updates: 1, source: {type: rejection, easier_variants: 0.5}}",
        ),
        "generations.steps[0].source.easier_variants",
        "remove the key",
        ("generations.steps.0.source.easier_variants=0",),
    ),
    Case(
        steps.epochs_of_generated_tasks,
        ("generations.steps.0.draw=epochs",),
        "generations.steps[0].draw",
        "epochs are of fixed data, and task addition has no end of prompts",
        ("generations.steps.0.draw=random",),
    ),
    Case(
        steps.epochs_of_generated_tasks,
        ("generations.steps.0={type: sft, updates: 1, source: {type: references, draw: epochs}}",),
        "generations.steps[0].source.draw",
        "remove draw",
        ("generations.steps.0.source.draw=null",),
    ),
    Case(
        steps.epochs_of_generated_tasks,
        ("generations.steps.0={type: sft, updates: 1, source: {type: rejection, draw: epochs}}",),
        "generations.steps[0].source.draw",
        "remove draw",
        ("generations.steps.0.source.draw=null",),
    ),
    Case(
        steps.routes_to_no_task,
        (
            "generations.steps.0.distillation={loss: jsd, routes: [{teacher: base, task: product}]}",
            "generations.steps.0.teaching={loss: jsd}",
        ),
        "generations.steps[0].distillation.routes[0].task",
        "no prompt is of task product; there is addition",
        ("generations.steps.0.distillation.routes.0.task=addition",),
    ),
    Case(
        steps.routes_to_no_task,
        ("generations.steps.0.teaching={routes: [{teacher: base, task: product}]}",),
        "generations.steps[0].teaching.routes[0].task",
        "no prompt is of task product",
        ("generations.steps.0.teaching.routes.0.task=addition",),
    ),
    Case(
        levels.reached_below_first,
        ("generations.curriculum={type: given, levels: [1, 3]}", "generations.steps.0.levels=reached"),
        "generations.steps[0].levels",
        "no level lies below level 1, which the curriculum aims at",
        ("generations.curriculum.levels=[2, 3]",),
    ),
    Case(
        levels.reached_below_first,
        (
            "generations.curriculum={type: given, levels: [1]}",
            "generations.steps.0={type: sft, updates: 1, source: {type: rejection, levels: reached}}",
        ),
        "generations.steps[0].source.levels",
        "set levels: targets or all, or a higher first level",
        ("generations.steps.0.source.levels=all",),
    ),
    Case(
        levels.references_beyond_last,
        (*GYM, "task.base_level=2", "task.datasets.0.levels=[{}, {}, {}]"),
        "task.base_level",
        "references go up to level 2, and the task's last level is 1; set base_level: 1 or less",
        ("task.base_level=1",),
    ),
    Case(
        levels.given_beyond_last,
        (*GYM, "generations.curriculum={type: given, levels: [1, 2]}"),
        "generations.curriculum.levels",
        "level 2 is given, and the task's last level is 1; give levels up to 1",
        ("generations.curriculum.levels=[1]",),
    ),
    Case(
        levels.rise_beyond_last,
        (*GYM, "generations.curriculum={type: fixed}", "generations.count=1", "evaluation.lookahead=0"),
        "generations.curriculum",
        "generation 1 would aim at level 2, and the task's last level is 1; lower generations.count",
        ("generations.count=0",),
    ),
    Case(
        levels.reached_below_only_level,
        (*GYM, "generations.steps.0.levels=reached"),
        "generations.steps[0].levels",
        "no level lies below level 1, the task's only one",
        ("generations.steps.0.levels=all",),
    ),
    Case(
        levels.panel_beyond_last,
        ("evaluation.panel={p: {task: {type: addition}, levels: [1, 4]}}",),
        "evaluation.panel.p.levels",
        "level 4 is asked, and this task's last level is 3; ask levels up to 3",
        ("evaluation.panel.p.levels=[1, 3]",),
    ),
    Case(
        splits.split_by_another_rule,
        ("evaluation.panel={p: {task: {type: addition, split_by: text}}}",),
        "evaluation.panel.p.task.split_by",
        "the recipe's own task chooses what is held out by question; set split_by: question",
        ("evaluation.panel.p.task.split_by=question",),
    ),
    Case(
        splits.questions_of_another_part,
        (
            f"task={SPELL % ''}",
            "verifier={type: reasoning_gym}",
            "base.model.max_length=512",
            "generations.count=0",
            "evaluation.lookahead=0",
            f"evaluation.panel={{p: {{task: {SPELL % ', keep: (.)$'}, verifier: {{type: reasoning_gym}}}}}}",
        ),
        "evaluation.panel.p.task.datasets",
        "other questions of data set spell_backward are held out than the recipe's own task holds out",
        ("task.datasets.0.keep=(.)$",),
    ),
    Case(
        splits.larger_share_held_out,
        ("evaluation.panel={p: {task: {type: working, heldout_fraction: 0.5}}}", "base.model=" + FOLDER),
        "evaluation.panel.p.task.heldout_fraction",
        "the recipe's own task holds only 0.125 of them out; set 0.125 or less",
        ("evaluation.panel.p.task.heldout_fraction=0.125",),
    ),
    Case(
        splits.larger_share_held_out,
        (MIXTURE, "task.parts.more={task: {type: addition, heldout_fraction: 0.5}, before: '+'}"),
        "task.parts.more.task.heldout_fraction",
        "that another part holds out, since another part holds only 0.125 of them out",
        ("task.parts.sum.task.heldout_fraction=0.5",),
    ),
    Case(
        evaluation.more_sampled_than_asked,
        ("evaluation={prompts_per_level: 200, sampled: {prompts: 300}}",),
        "evaluation.sampled.prompts",
        "300 prompts cannot be sampled where evaluation.prompts_per_level is 200",
        ("evaluation.sampled.prompts=200",),
    ),
    Case(
        evaluation.no_level_large_enough,
        ("evaluation.prompts_per_level=64",),
        "gate.min_prompts",
        "no level has 100 held-out prompts where evaluation.prompts_per_level is 64",
        ("gate.min_prompts=64",),
    ),
    Case(
        evaluation.too_few_to_promote,
        ("gate.alpha=1e-301",),
        "evaluation.prompts_per_level",
        "use 1001 or more",
        ("evaluation.prompts_per_level=1001",),
    ),
    Case(
        evaluation.too_few_to_promote,
        ("gate={alpha: 1e-301, spending: lineage}",),
        "evaluation.prompts_per_level",
        "is not significant at gate.alpha 1e-301 / 2 comparisons, so nothing could be promoted; use 1002 or more",
        (stages("gate: always"),),
    ),
    Case(
        panel.panel_without_answers,
        ("evaluation.panel={p: {task: {type: addition}, verifier: {type: format}}}",),
        "evaluation.panel.p.verifier",
        "format compares no answer with a reference",
        ("evaluation.panel.p.verifier={type: numeric}",),
    ),
    Case(
        panel.panel_judge_that_drifts,
        (f"evaluation.panel={{p: {{task: {{type: addition}}, verifier: {JUDGE % ''}}}}}",),
        "evaluation.panel.p.verifier",
        "judge asks generations of the lineage",
        ("evaluation.panel.p.verifier={type: exact}",),
    ),
    Case(
        panel.panel_of_unknown_characters,
        ("evaluation.panel={p: {task: {type: copy, alphabet: xyz}}}",),
        "evaluation.panel.p.task",
        "knows the characters of task addition alone, not 'x' 'y' 'z'",
        ("evaluation.panel.p.task.alphabet='012'",),
    ),
    Case(
        panel.panel_too_long,
        ("evaluation.panel={p: {task: {type: addition}, levels: [90]}}",),
        "evaluation.panel.p.levels",
        "level 90 needs 275 tokens, base.model.max_length is 128",
        ("base.model.max_length=275",),
    ),
    Case(
        guards.guard_without_samples,
        ("guards=[{metric: entropy, min: 0.5}]", "evaluation.sampled=null"),
        "guards[0]",
        "entropy is measured on sampled held-out answers, and evaluation.sampled is null",
        ("evaluation.sampled={}",),
    ),
    Case(
        guards.guard_without_fixed_prompts,
        ("guards=[{metric: kl_base, max: 0.5}]", "diagnostics.prompts=0"),
        "guards[0]",
        "kl_base is measured on the fixed prompts, and diagnostics.prompts is 0",
        ("diagnostics.prompts=32",),
    ),
    Case(
        guards.disagreement_of_one_verifier,
        ("guards=[{metric: disagreement, max: 0.5}]",),
        "guards[0]",
        "judged by the same verifier, which never disagrees with itself",
        ("evaluation.verifier={type: numeric}",),
    ),
    Case(
        guards.roll_back_that_changes_nothing,
        ("guards=[{metric: truncated, max: 0.5, action: roll_back}]", "generations.init=previous"),
        "guards[0]",
        "no later generation starts from the champion or learns from it",
        ("generations.init=champion",),
    ),
]
LAST = LastLevels(task=1, panel={"p": 3})
"""What rules by last level are asked with."""


def text_of(*overrides: str) -> str:
    source = RecipeSource(path=Path("small.yaml"), data=deepcopy(GOOD))
    for override in overrides:
        source.lay_over(override)
    return json.dumps(source.data)


def found(case: Case, *overrides: str) -> list[tuple[str, str]]:
    recipe = UncheckedRecipe.model_validate_json(text_of(*overrides), strict=True)
    arguments = (recipe, LAST) if case.rule in BY_LAST_LEVEL else (recipe,)
    return [(dotted(conflict.place), conflict.message) for conflict in case.rule(*arguments)]


def name_of(case: Case) -> str:
    return case.rule.__name__


def test_a_recipe_that_breaks_no_rule_is_accepted() -> None:
    assert Recipe.model_validate_json(text_of(), strict=True).name == "small"


def test_every_rule_has_a_case() -> None:
    rules = {*RULES, *BY_LAST_LEVEL} - {levels.beyond_settings}
    assert {case.rule for case in CASES} == rules


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_breaks_the_rule_is_refused_at_its_place_with_the_remedy(case: Case) -> None:
    [(place, message)] = found(case, *case.broken)
    assert place == case.place
    assert case.says in message


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_mends_it_breaks_the_rule_no_more(case: Case) -> None:
    assert found(case, *case.broken, *case.mended) == []


@pytest.mark.parametrize("case", [case for case in CASES if case.rule in RULES], ids=name_of)
def test_the_recipe_asks_the_rule_and_takes_what_mends_it(case: Case) -> None:
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate_json(text_of(*case.broken), strict=True)
    conflicts = refused.value.errors()[0]["ctx"]["error"].conflicts
    assert (case.place, True) in [(dotted(place), case.says in message) for place, message in conflicts]
    Recipe.model_validate_json(text_of(*case.broken, *case.mended), strict=True)


def test_a_conflict_of_several_parts_is_told_once() -> None:
    both = "verifier={type: code}"
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate_json(text_of(MIXTURE, both), strict=True)
    conflicts = refused.value.errors()[0]["ctx"]["error"].conflicts
    assert len(conflicts) == len(set(conflicts)) == 2
