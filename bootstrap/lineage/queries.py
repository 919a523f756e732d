"""Facts about a lineage, from its ledger alone: for the command line, the lineage page and MLflow.

Pure functions over the ledger's entries. Left out: artifacts on disk.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from bootstrap.errors import RecipeError
from bootstrap.ledger_records import (
    Decision,
    DiagnosticMetric,
    Drawing,
    Edge,
    FinalComparison,
    Generation,
    GenerationOutcome,
    GuardBreach,
    LevelReport,
    LevelTest,
)
from bootstrap.levels import level_range
from bootstrap.lineage import text
from bootstrap.records import Record
from bootstrap.store.ancestry import ancestors
from bootstrap.store.index import links, outlines
from bootstrap.store.ledger import Entry
from bootstrap.store.pretrained import Pretrained

_NUMBERED = re.compile(r"(?:gen-)?([0-9]{1,9})")


def find(entries: Sequence[Entry], name: str) -> Entry:
    """Return the entry called `name`: `gen-3`, `3`, `champion`, `base` or `last`.

    Raises RecipeError if the lineage has no such generation.
    """
    if not entries:
        raise RecipeError("the lineage has no committed generation yet; start it with `bootstrap run`")
    places = {"base": 0, "last": len(entries) - 1, "champion": entries[-1].generation.champion}
    wanted = name.strip().lower().removeprefix("@")
    numbered = _NUMBERED.fullmatch(wanted)
    number = places.get(wanted) if numbered is None else int(numbered[1])
    if number is None or number >= len(entries):
        close = difflib.get_close_matches(wanted, [*places, *(entry.generation.name for entry in entries)], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        last = entries[-1].generation.name
        raise RecipeError(f"no generation is called {name!r}{hint}; use gen-0 to {last}, champion, base or last")
    return entries[number]


def names_generation(name: str) -> bool:
    """Whether a text has a form in which `find` takes a generation, if the lineage has that one."""
    wanted = name.strip().lower().removeprefix("@")
    return wanted in ("champion", "base", "last") or _NUMBERED.fullmatch(wanted) is not None


def headline(generation: Generation) -> LevelReport | None:
    """Return the report row that represents the generation: its hardest target level, else the hardest evaluated."""
    rows = [row for row in generation.report.levels if row.level in generation.target_levels]
    return max(rows or generation.report.levels, key=lambda row: row.level, default=None)


def source(edge: Edge) -> str:
    """Return the name of an edge's source: `gen-3`, or the place of a model outside the lineage."""
    return edge.external or "a model outside the lineage" if edge.generation is None else f"gen-{edge.generation}"


def producers(
    entries: Sequence[Entry], generation: Generation, policies: Iterable[str]
) -> dict[str, tuple[int, int | None]]:
    """Return the models that gave the answers in a generation's training: name -> (answers, generation or None).

    `policies`: the fingerprint of the model behind each answer (of a server: its model's name), one per answer. One
    that belongs neither to a generation nor to a model outside the lineage is the generation's own weights between two
    updates, named `gen-N in training`. Sorted by number of answers, largest first.
    """
    edges = {edge.fingerprint: edge for edge in reversed(generation.edges) if edge.role != "data"}
    # Of several generations with the same weights, one that an edge names takes precedence, then the first.
    numbers = {link.fingerprint: link.number for link in reversed(links(entries))}
    found: dict[str, tuple[int, int | None]] = {}
    for policy, count in Counter(policies).items():
        edge, number = edges.get(policy), numbers.get(policy)
        if edge is not None:
            name, number = source(edge), edge.generation
        elif number is not None:
            name = f"gen-{number}"
        else:
            name = f"{generation.name} in training"
        found[name] = (found.get(name, (0, None))[0] + count, number)
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def origin(generation: Generation) -> str:
    """Return the source of a generation's initial weights, named as by `source`; for a merge, all merged models.

    Empty for a generation 0 with weights of its own.
    """
    merged = [source(edge) for edge in generation.edges if edge.role == "merged"]
    if merged:
        return f"{' + '.join(merged)} merged"
    found = next((source(edge) for edge in generation.edges if edge.role == "init"), None)
    return found if found is not None else "fresh weights" if generation.number else ""


def outcome_words(generation: Generation) -> str:
    """Return a generation's outcome, and in brackets its stage if it has one: `promoted (merged)`."""
    return f"{generation.outcome.value} ({generation.stage})" if generation.stage else generation.outcome.value


def teachers(generation: Generation) -> list[str]:
    """Return a generation's teachers, including models outside the lineage, named as by `source`."""
    return [source(edge) for edge in generation.edges if edge.role == "teacher"]


def fork_edge(generation: Generation) -> Edge | None:
    """Return the edge from the generation of another lineage that a fork starts from; None for no fork."""
    return next((edge for edge in generation.edges if edge.role == "init" and edge.record is not None), None)


def forked_from(generation: Generation) -> str | None:
    """Return the name of the generation that a fork starts from, such as `addition@gen-3`; None for no fork."""
    edge = fork_edge(generation)
    return None if edge is None else source(edge)


def champion_path(entries: Sequence[Entry]) -> list[int]:
    """Return the numbers of the champion and of all generations that its weights come from, ascending."""
    return sorted(ancestors(outlines(entries), [entries[-1].generation.champion])) if entries else []


def compared_with(generation: Generation) -> int | None:
    """Return the champion that a generation was compared with; None for generation 0 and ungated ones."""
    return None if generation.outcome is GenerationOutcome.UNGATED else generation.decision.champion


def decided_by(entries: Sequence[Entry], number: int) -> list[int]:
    """Return the numbers of the decisions that made generation `number` champion, or kept it from it, ascending.

    The chain goes back to the champion that it was compared with, from that one to its own, and so on. It is made of
    decisions, not of weights (`champion_path`): a generation may start from other weights than those it beat.
    """
    shown, found = outlines(entries), [number]
    # A record that somebody else made may name itself or a later one.
    while (before := compared_with(shown[found[-1]].generation)) is not None and before < found[-1]:
        found.append(before)
    return found[::-1]


def children(entries: Sequence[Entry]) -> dict[int, list[str]]:
    """Return number -> names of the generations that started from its weights, ascending; without those of none."""
    found: dict[int, list[str]] = {}
    for entry in outlines(entries):
        for parent in dict.fromkeys(entry.generation.parents):
            found.setdefault(parent, []).append(entry.generation.name)
    return found


def useful_share(generation: Generation) -> float | None:
    """Return the share of generated tokens that trained or joined the replay pool; None if none was generated."""
    generated = generation.compute.tokens.get("generate", 0)
    return generation.compute.useful_tokens / generated if generated else None


def generation(entry: Entry) -> dict[str, Any]:
    """Return one generation as plain JSON data: identity, decision, accuracy, cost. This is the schema of `--json`."""
    node, measured = entry.generation, entry.annotations
    test = node.decision.improvement
    return {
        "name": node.name,
        "number": node.number,
        "lineage": node.lineage,
        "stage": node.stage,
        "status": node.outcome.value,
        "decision": "ungated"
        if node.outcome is GenerationOutcome.UNGATED
        else "promoted"
        if node.decision.promoted
        else "rejected",
        "reason": node.decision.reason,
        "compared_with": node.decision.champion,
        "champion": node.champion,
        "parent": node.parent,
        "parents": list(node.parents),
        "forked_from": forked_from(node),
        "teachers": list(node.teachers),
        "outside_teachers": [source(edge) for edge in node.edges if edge.role == "teacher" and edge.generation is None],
        "fingerprint": node.fingerprint,
        "hash": entry.hash,
        "frontier": node.report.frontier,
        "generalization_margin": node.report.generalization_margin,
        "target_levels": list(node.target_levels),
        "accuracy": {
            str(row.level): {
                "accuracy": row.accuracy,
                "low": row.interval.low,
                "high": row.interval.high,
                "prompts": row.num_prompts,
            }
            for row in node.report.levels
        },
        "gate": None if test is None else test.model_dump(mode="json"),
        "diagnostics": {metric.value: node.diagnostics.value(metric) for metric in DiagnosticMetric},
        "findings": _dumped(node.diagnostics.findings),
        "tokens": {**node.compute.tokens, "total": node.compute.total_tokens, "useful": node.compute.useful_tokens},
        "useful_share": useful_share(node),
        "flops": {**node.compute.flops, "total": node.compute.total_flops},
        "seconds": {**measured.seconds, "total": sum(measured.seconds.values())},
        "cpu_seconds": dict(measured.cpu_seconds),
        "bound_fraction": dict(measured.bound_fraction),
    }


def generations(entries: Sequence[Entry], final: FinalComparison | None) -> list[dict[str, Any]]:
    """Return all generations as plain JSON data: `generation` with the final comparison under the key `final`.

    The comparison and its sentence belong to the generation that was newest when it was made; all others have None.
    """
    said = None if final is None else {**final.model_dump(mode="json"), "sentence": final_line(final, entries)}
    return [
        {**generation(entry), "final": said if final is not None and final.record == entry.hash else None}
        for entry in outlines(entries)
    ]


def show(entries: Sequence[Entry], name: str, *, pretrained: Pretrained | None = None) -> dict[str, Any]:
    """Return everything in the ledger about one generation: `generation`, edges, tests, accounting, artifacts, origin.

    `pretrained`: the pretrained model of its weights, from its artifacts. Raises RecipeError if the lineage has no
    generation called `name`.
    """
    entry = find(entries, name)
    node = entry.generation
    is_champion = entries[-1].generation.champion == node.number
    own = children(entries).get(node.number, [])
    return {
        **details(entry, children=own, is_champion=is_champion, pretrained=pretrained),
        "edges": [{"source": source(edge), **edge.model_dump(mode="json")} for edge in node.edges],
    }


def details(
    entry: Entry, *, children: Sequence[str], is_champion: bool, pretrained: Pretrained | None = None
) -> dict[str, Any]:
    """Return what `show` does but for the edges, given what the other generations say of this one.

    `children`: names of the generations that started from its weights.
    """
    node, report, decision = entry.generation, entry.generation.report, entry.generation.decision
    drawn = node.drawing
    return {
        **generation(entry),
        "origin": origin(node),
        "pretrained": None if pretrained is None else asdict(pretrained),
        "is_champion": is_champion,
        "previous_hash": entry.previous,
        "retention": _dumped(decision.retention),
        "gate_tests": [{"test": name, **row.model_dump(mode="json")} for name, row in gate_tests(decision)],
        "levels": _dumped(report.levels),
        "parts": {task: _dumped(rows) for task, rows in report.parts.items()},
        "panel": {task: _dumped(rows) for task, rows in report.panel.items()},
        "panel_tests": {task: row.model_dump(mode="json") for task, row in decision.panel.items()},
        "slices": {name: _dumped(rows) for name, rows in report.slices.items()},
        "suite": report.suite,
        "mastered": report.mastered,
        "accounting": node.accounting.model_dump(mode="json"),
        "drawing": drawn and {**drawn.model_dump(mode="json"), "sentence": drawing_line(drawn)},
        "verifiers": dict(node.verifiers),
        "artifacts": {role: ref.model_dump(mode="json") for role, ref in node.artifacts.items()},
        "children": list(children),
        "recipe_digest": node.recipe_digest,
        "code_version": node.code_version,
        "seed": node.seed,
        "workers": node.num_workers,
        "measured": entry.annotations.model_dump(mode="json"),
    }


def _dumped(rows: Iterable[Record]) -> list[dict[str, Any]]:
    return [row.model_dump(mode="json") for row in rows]


def gate_tests(decision: Decision) -> list[tuple[str, LevelTest]]:
    """Return (name, test) of every test of a decision, in the gate's order."""
    return [
        *([("improvement", decision.improvement)] if decision.improvement else ()),
        *(("retention", one) for one in decision.retention),
        *([("retention, together", decision.pooled)] if decision.pooled else ()),
        *decision.slices.items(),
        *((f"panel: {task}", one) for task, one in decision.panel.items()),
    ]


def drawing_line(drawn: Drawing) -> str:
    """Return in one sentence how a generation drew prompts by epochs."""
    several = len(drawn.epochs) > 1
    epochs = ", ".join(f"{at:.2f}{f' of level {level}' if several else ''}" for level, at in drawn.epochs.items())
    replay = f"answers to {drawn.replayable} prompts" if drawn.replayable else "nothing to replay yet"
    return (
        f"{drawn.drawn} prompts, {drawn.distinct} distinct of {drawn.prompts}; epochs so far {epochs}; last groups all "
        f"right {drawn.all_right}, all wrong {drawn.all_wrong}; sat out an epoch {drawn.skipped_right} as all right, "
        f"{drawn.skipped_wrong} as all wrong; came back {drawn.returned}; replay pool: {replay}"
    )


def final_line(final: FinalComparison, entries: Sequence[Entry]) -> str:
    """Return the final comparison in one sentence, with its generation if the lineage has grown since."""
    if final.difference is None:
        return f"final set: none of its {final.num_unverifiable} prompts could be judged for both models"
    since = "" if final.record == entries[-1].hash else f", as of gen-{final.generation}"
    low, high = (text.points(bound) for bound in (final.difference.low, final.difference.high))
    return (
        f"final set, {final.num_prompts} prompts of {level_range(final.levels)} that no gate has seen: "
        f"gen-{final.champion} {text.percent(final.accuracy)}, gen-0 {text.percent(final.base_accuracy)}, "
        f"{text.points(final.accuracy - final.base_accuracy)} (95 % interval {low} to {high}){since}"
    )


def table(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Return the outcome table, one row of printable cells per generation, in the ledger's order."""
    champion = entries[-1].generation.champion if entries else None
    shown = outlines(entries)
    staged = any(entry.generation.stage for entry in shown)
    rows = []
    for entry in shown:
        node = entry.generation
        best = headline(node)
        test = node.decision.improvement
        rows.append(
            {
                "generation": node.name + (" *" if node.number == champion else ""),
                **({"stage": node.stage} if staged else {}),
                "from": origin(node),
                "target": level_range(node.target_levels) if node.target_levels else "",
                "accuracy": "" if best is None else accuracy(best),
                "gain": "" if test is None else text.points(test.candidate - test.champion),
                "frontier": str(node.report.frontier),
                "gate": node.outcome.value,
                "reason": node.decision.reason,
                "tokens": text.si(node.compute.total_tokens),
                "FLOPs": text.si(node.compute.total_flops),
                "seconds": f"{sum(entry.annotations.seconds.values()):.1f}",
            }
        )
    return rows


def diagnostics(generation: Generation) -> list[tuple[str, str, str]]:
    """Return (metric, value, broken guards) of each measured diagnostic of a generation, as printable text."""
    broken: dict[DiagnosticMetric, list[GuardBreach]] = {}
    for finding in generation.diagnostics.findings:
        broken.setdefault(finding.metric, []).append(finding)
    values = {
        metric: value for metric in DiagnosticMetric if (value := generation.diagnostics.value(metric)) is not None
    }
    return [
        (metric.value, f"{value:.4g}", "; ".join(map(str, broken.get(metric, ())))) for metric, value in values.items()
    ]


def accuracy(row: LevelReport) -> str:
    """Return one level's accuracy with its interval: `level 6: 96.8 % (95.5-97.7)`."""
    low, high = 100 * row.interval.low, 100 * row.interval.high
    return f"level {row.level}: {text.percent(row.accuracy)} ({low:.1f}-{high:.1f})"


def overall(rows: Sequence[LevelReport]) -> float:
    """Return the share of right answers over several levels; unverifiable answers enter neither side."""
    judged = sum(row.num_prompts - row.num_unverifiable for row in rows)
    return sum(row.num_correct for row in rows) / judged if judged else 0.0
