"""How often the gate errs: false promotions and false rejections of simulated lineages, judged by the gate itself.

    python benchmarks/gate.py                  # the table of docs/gate.md
    python benchmarks/gate.py --prompts 100 --lineages 50    # a quick look

Two models are equal when each prompt is as likely to be answered right by one as by the other. A level has prompts that
every model answers alike and prompts that each model answers at the toss of a coin: twice the discordance, which is the
share of prompts that two equal models answer differently. Columns, all at the recipe's default settings:

    equal         equal candidates promoted, of all that were compared
    in 12         lineages of 12 generations of equal candidates with a promotion, each tested at alpha
    in 12 shared  the same where the lineage shares alpha
    kept out      candidates rejected that are better on the target and equal on every mastered level, in the first
                  generation; and
    at the 12th   in the twelfth one of a lineage that has promoted eleven such candidates, against the best of them
    margin lost   candidates promoted that are better on the target and worse by the margin on every mastered level
    one level     the same, worse by 10 points on one mastered level and equal on the others

A second table has a task of the panel, of which half is answered: candidates that are better on the target are kept out
where they are equal on the panel, and promoted where they are worse there by the panel's margin.

Left out: what a real model's answers depend on beyond chance, such as being worse at similar prompts together.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bootstrap.config.evaluation import Gate
from bootstrap.evaluation.gate import Answers, decide
from bootstrap.evaluation.intervals import wilson
from bootstrap.evaluation.protection import Protected, protected
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.evaluation.spending import shared_alpha
from bootstrap.ledger_records import Decision, LevelReport, Report

GENERATIONS = 12
TARGET = 0.4
"""Share of the target level's prompts that the champion answers."""
TARGET_DISCORDANCE = 0.1
"""Where answers are far from mastered, equal models differ in many."""
MASTERED = 0.95
BETTER = 0.2
"""Gain on the target of a candidate that is better."""
ONE_LEVEL = 0.1
"""Loss on one level of a candidate that has ruined it."""
PANEL_PROMPTS = (200, 1000, 2000)
PANEL_DISCORDANCE = (0.02, 0.1)
SETTINGS = Gate()


@dataclass(frozen=True, slots=True)
class Scene:
    """Sizes of a lineage's evaluation."""

    prompts: int
    """Held-out prompts per level."""
    levels: int
    """Mastered levels; the target is the next one."""
    discordance: float
    """Share of a mastered level's prompts that two equal models answer differently."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[100, 200, 1000], help="prompts per level")
    parser.add_argument(
        "--lineages",
        type=int,
        nargs="+",
        default=[400, 200, 100],
        help="simulated lineages a row, by number of prompts",
    )
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 8], help="mastered levels")
    parser.add_argument("--discordance", type=float, nargs="+", default=[0.02, 0.05], help="of mastered levels")
    arguments = parser.parse_args()
    if len(arguments.lineages) != len(arguments.prompts):
        parser.error(f"{len(arguments.prompts)} numbers of prompts need as many of --lineages")
    names = ("equal", "in 12", "in 12 shared", "kept out", "at the 12th", "margin lost", "one level")
    print("| prompts per level | mastered levels | discordance | " + " | ".join(names) + " |")
    print("|---" * (3 + len(names)) + "|")
    for prompts, lineages in zip(arguments.prompts, arguments.lineages, strict=True):
        for levels, discordance in itertools.product(arguments.levels, arguments.discordance):
            rates = measure(Scene(prompts, levels, discordance), lineages)
            cells = " | ".join(f"{100 * rate:.1f} %" for rate in rates)
            print(f"| {prompts} | {levels} | {100 * discordance:g} % | {cells} |", flush=True)
    print("\n| panel prompts | discordance | kept out | margin lost |\n|---|---|---|---|")
    for prompts, discordance in itertools.product(PANEL_PROMPTS, PANEL_DISCORDANCE):
        equal, worse = measure_panel(prompts, discordance, arguments.lineages[0])
        print(f"| {prompts} | {100 * discordance:g} % | {100 * equal:.1f} % | {100 * worse:.1f} % |", flush=True)


def measure(scene: Scene, lineages: int) -> tuple[float, ...]:
    """Return the row's rates, in the order of the columns."""
    equal, ever, shared, first, last, margin, one = ([] for _ in range(7))
    share = shared_alpha(SETTINGS.alpha, spent=0.0, remaining=GENERATIONS)
    for seed in range(lineages):
        rng = np.random.default_rng(seed)
        line = [model(scene, rng)]
        # Until the first promotion, all candidates of a lineage are compared with one champion at one alpha.
        decisions = [judge(scene, line, model(scene, rng)) for _ in range(GENERATIONS)]
        equal += [decision.promoted for decision in decisions]
        ever.append(any(decision.promoted for decision in decisions))
        shared.append(any(one.promoted and one.improvement.p_value < share for one in decisions))
        worse = model(scene, rng, target=TARGET + BETTER, losses=[SETTINGS.retention_margin] * scene.levels)
        margin.append(judge(scene, line, worse).promoted)
        ruined = model(scene, rng, target=TARGET + BETTER, losses=[ONE_LEVEL, *[0.0] * (scene.levels - 1)])
        one.append(judge(scene, line, ruined).promoted)
        line += [model(scene, rng, target=TARGET + BETTER) for _ in range(GENERATIONS - 1)]
        first.append(not judge(scene, line[:1], line[1]).promoted)
        last.append(not judge(scene, line, model(scene, rng, target=TARGET + 2 * BETTER)).promoted)
    return tuple(float(np.mean(found)) for found in (equal, ever, shared, first, last, margin, one))


def measure_panel(prompts: int, discordance: float, lineages: int) -> tuple[float, float]:
    """Return how often a panel task keeps out an equal candidate, and lets in one that lost the margin."""
    kept_out, let_in = [], []
    for seed in range(lineages):
        rng = np.random.default_rng(seed)
        better = [np.zeros(50, dtype=bool), np.ones(50, dtype=bool)]
        for lost, found in ((0.0, kept_out), (SETTINGS.panel_margin, let_in)):
            champion, candidate = (
                Answers(
                    rows=rows([target]),
                    panel=rows([level(prompts, 0.5 - loss, discordance=discordance, lost=loss, rng=rng)], task="panel"),
                )
                for target, loss in zip(better, (0.0, lost), strict=True)
            )
            decision = decide(
                candidate=candidate,
                line={0: champion},
                champion=0,
                target_levels=(1,),
                protected=Protected(panel={"panel": 0}),
                settings=SETTINGS,
            )
            found.append(decision.promoted)
    return 1 - float(np.mean(kept_out)), float(np.mean(let_in))


@dataclass(frozen=True)
class Model:
    """What a model answers, and what its evaluation says of the mastered levels."""

    answers: Answers
    report: Report


def model(
    scene: Scene, rng: np.random.Generator, *, target: float = TARGET, losses: Sequence[float] | None = None
) -> Model:
    """Return a model; `losses`: how much worse it is at each mastered level."""
    mastered = [
        level(scene.prompts, MASTERED - lost, discordance=scene.discordance, lost=lost, rng=rng)
        for lost in losses or [0.0] * scene.levels
    ]
    aimed = level(scene.prompts, target, discordance=TARGET_DISCORDANCE, lost=0.0, rng=rng)
    return Model(answers=Answers(rows=rows([*mastered, aimed])), report=report(mastered))


def level(prompts: int, share: float, *, discordance: float, lost: float, rng: np.random.Generator) -> np.ndarray:
    """Return which of a level's prompts are answered right, by `share` of them in expectation.

    The first ones are the same in every model's eyes, the last ones a coin's, unless the model has lost the skill.
    """
    coin = min(2 * discordance, 2 * (1 - share - lost), 2 * share)
    place = (np.arange(prompts) + 0.5) / prompts
    # A share of the sure prompts is lost at random, as other prompts would be in another sample of them.
    chance = np.where(place < share + lost - coin / 2, 1 - lost / (share + lost), 0.0)
    tossed = (place >= share + lost - coin / 2) & (place < share + lost + coin / 2)
    return rng.random(prompts) < np.where(tossed, 0.5 * (1 - lost / (share + lost)), chance)


def judge(scene: Scene, line: Sequence[Model], candidate: Model) -> Decision:
    """Return what the gate says of a candidate and the last of a line, with the best of the line as the bar."""
    champion = len(line) - 1
    kept = protected(
        {number: one.report for number, one in enumerate(line)},
        mastered=0.0,
        min_prompts=SETTINGS.min_prompts,
        fixed=False,
    )
    return decide(
        candidate=candidate.answers,
        line={number: line[number].answers for number in {champion} | kept.generations},
        champion=champion,
        target_levels=(scene.levels + 1,),
        protected=kept,
        settings=SETTINGS,
    )


def rows(answers: list[np.ndarray], *, task: str = "") -> list[OutcomeRow]:
    return [
        OutcomeRow(prompt_id=f"{number}.{place}", level=number, correct=bool(right), task=task)
        for number, level in enumerate(answers, start=1)
        for place, right in enumerate(level)
    ]


def report(answers: list[np.ndarray]) -> Report:
    """Return what an evaluation of mastered levels would say."""
    return Report(
        fingerprint="",
        suite="",
        levels=tuple(
            LevelReport(
                level=number,
                num_prompts=len(level),
                num_correct=int(level.sum()),
                accuracy=float(level.mean()),
                interval=wilson(int(level.sum()), total=len(level)),
                mean_length=1.0,
                truncated=0.0,
            )
            for number, level in enumerate(answers, start=1)
        ),
        frontier=0,
        generalization_margin=0,
        mastered=0.95,
    )


if __name__ == "__main__":
    main()
