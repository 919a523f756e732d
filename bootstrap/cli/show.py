"""`bootstrap show`: everything that is recorded about one generation, as data and as tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bootstrap.cli import sizes
from bootstrap.cli.render import print_rows, say, warn
from bootstrap.errors import StoreCorrupt
from bootstrap.levels import level_range
from bootstrap.lineage import queries, samples, text
from bootstrap.store import gc, index
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import pretrained_of

SPARE = ("entropy", "distinct", "majority", "truncated", "length", "pass@1", "pass@k", "prompts")
"""Columns of the tables of levels that a narrow terminal does without, the first of them first."""
ANSWERS = 6
"""Held-out answers that are shown, half of them right where there are enough of both."""


def facts(store: LineageStore, generation: str) -> dict[str, Any]:
    """Return what is recorded about `generation` (`3`, `gen-3`, `champion`) as JSON data (`queries.show`).

    Raises RecipeError for an unknown generation, StoreError, StoreCorrupt.
    """
    entries = index.read(store)
    node = queries.find(entries, generation).generation
    # The ledger is readable without the artifacts.
    pretrained, answers = None, list[dict[str, Any]]()
    with _warned():
        pretrained = pretrained_of(store.artifact(node.artifacts["weights"]))
    with _warned():
        answers = samples.heldout(store, node, count=ANSWERS)
    shown = queries.show(entries, generation, pretrained=pretrained)
    return {**shown, "weights": sizes.to_json(gc.sizes(store, entries).get(node.number)), "answers": answers}


@contextmanager
def _warned() -> Iterator[None]:
    """Say on standard error which file of an artifact the block cannot read."""
    try:
        yield
    except StoreCorrupt as error:
        warn(f"warning: {error}")


def print_generation(shown: Mapping[str, Any]) -> None:
    """Print one generation, as `facts` returns it; or as `queries.show` does, without its size and answers."""
    crown = ", the champion" if shown["is_champion"] else ""
    parent = shown["origin"] or "the recipe's base model"
    inside = [f"gen-{number}" for number in shown["teachers"]]
    teachers = ", ".join([*inside, *shown["outside_teachers"]]) or "none"
    target = level_range(shown["target_levels"])
    facts = {
        shown["name"]: f"{shown['status']}{crown}, of lineage {shown['lineage']}",
        "reason": shown["reason"],
        "parent": f"{parent}; teachers: {teachers}; children: {', '.join(shown['children']) or 'none'}",
        "base": _pretrained(shown["pretrained"]),
        "fingerprint": shown["fingerprint"],
        "weights": _weights(shown.get("weights")),
        "record": f"{shown['hash']} after {shown['previous_hash']}",
        "frontier": (
            f"level {shown['frontier']}, generalization margin {shown['generalization_margin']}; target {target}"
        ),
        "recipe": f"{shown['recipe_digest']}, seed {shown['seed']}, {shown['workers']} workers",
        "code": shown["code_version"],
        "precision": shown["measured"]["environment"].get("precision", ""),
        "verifiers": ", ".join(f"{name} {version}" for name, version in shown["verifiers"].items()),
        "tokens": _counts(shown["tokens"]),
        "FLOPs": _counts(shown["flops"]),
        "seconds": ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in shown["seconds"].items()),
        "bound": ", ".join(f"{phase} {text.percent(share)}" for phase, share in shown["bound_fraction"].items()),
        "accounting": ", ".join(
            f"{name} {value}" for name, value in shown["accounting"].items() if name not in ("dropped", "ended")
        ),
        "ended": "; ".join(f"{step} {why}" for step, why in shown["accounting"].get("ended", {}).items()),
        "drawing": "" if shown["drawing"] is None else shown["drawing"]["sentence"],
        "dropped": ", ".join(f"{reason}: {count}" for reason, count in shown["accounting"]["dropped"].items()),
        "measured": f"{shown['measured']['started']} to {shown['measured']['finished']} on {shown['measured']['host']}",
    }
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value:
            say(f"{name:<{width}}  {value}")
    print_rows("levels", [_level_row(row) for row in shown["levels"]], spare=SPARE)
    for kind in ("parts", "panel"):
        of_tasks = [{"task": task, **_level_row(row)} for task, rows in shown[kind].items() for row in rows]
        print_rows(kind, of_tasks, spare=SPARE)
    print_rows("slices", [_slice_row(name, row) for name, rows in shown["slices"].items() for row in rows])
    print_rows("held-out answers", [_answer_row(row) for row in shown.get("answers", ())])
    print_rows(
        "gate",
        [_test_row(row) for row in shown["gate_tests"]],
        spare=("alpha", "margin", "gained", "lost", "p", "compared with", "lower bound"),
    )
    print_rows(
        "diagnostics",
        [
            {"metric": metric, "value": f"{value:.4g}", "guard": _guard(shown["findings"], metric)}
            for metric, value in shown["diagnostics"].items()
            if value is not None
        ],
    )
    print_rows(
        "edges",
        [{"role": edge["role"], "from": edge["source"], "fingerprint": edge["fingerprint"]} for edge in shown["edges"]],
    )
    print_rows(
        "artifacts",
        [{"role": role, "folder": ref["path"], "digest": ref["digest"]} for role, ref in shown["artifacts"].items()],
        spare=("digest",),
    )


def _pretrained(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{found['source']}, licence {found['licence'] or 'not named'}"


def _weights(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "freed by `bootstrap gc`" if found["freed"] else text.si(found["bytes"], unit="B")


def _level_row(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "level": str(row["level"]),
        "accuracy": text.percent(row["accuracy"]),
        "interval": f"{100 * row['interval']['low']:.1f}-{100 * row['interval']['high']:.1f}",
        "prompts": str(row["num_prompts"]),
        "length": f"{row['mean_length']:.1f}",
        "truncated": text.percent(row["truncated"]),
        "pass@1": _told(row["pass_at_1"], text.percent),
        "pass@k": _told(row["pass_at_k"], lambda share: f"{text.percent(share)} (k {row['k']})"),
        "majority": _told(row["majority_at_k"], text.percent),
        "entropy": _told(row["entropy"], "{:.3f}".format),
        "distinct": _told(row["distinct_answers"], "{:.2f}".format),
    }


def _told(value: float | None, form: Callable[[float], str]) -> str:
    """Return a value as text; empty for one that a record lacks, each of which may."""
    return "" if value is None else form(value)


def _answer_row(row: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: text.one_line(str(row[name])) for name in ("prompt", "answer", "verdict", "reason")}
    return {"level": str(row["level"]), **texts}


def _slice_row(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "slice": name,
        "level": str(row["level"]),
        "accuracy": text.percent(row["accuracy"]),
        "interval": f"{100 * row['interval']['low']:.1f}-{100 * row['interval']['high']:.1f}",
        "prompts": str(row["num_prompts"]),
    }


def _test_row(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "test": row["test"],
        "on": level_range(row["levels"]),
        "compared with": ", ".join(f"gen-{number}" for number in row["reference"]),
        "before": text.percent(row["champion"]),
        "after": text.percent(row["candidate"]),
        "gained": str(row["gained"]),
        "lost": str(row["lost"]),
        "p": "" if row["p_value"] is None else f"{row['p_value']:.2g}",
        "alpha": "" if row["alpha"] is None else f"{row['alpha']:.2g}",
        "lower bound": text.points(row["difference_low"]),
        "margin": "" if row["margin"] is None else text.points(-row["margin"]),
        "passed": "yes" if row["passed"] else "no",
    }


def _guard(findings: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Return the broken bounds of a metric in words."""
    return "; ".join(
        f"{row['side']} {row['bound']:g} broken: {row['action'].replace('_', ' ')}"
        for row in findings
        if row["metric"] == metric
    )


def _counts(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{phase} {text.si(count)}" for phase, count in counts.items())
