"""What the questions' commands print: an answer's sentence, then tables, or all of it as JSON.

Texts of models and of foreign stores are shown with every character that a terminal would act on written out. Left out:
the answers themselves (`lineage/questions/`).
"""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bootstrap.cli.render import print_rows, say, warn
from bootstrap.levels import level_range
from bootstrap.lineage import text
from bootstrap.lineage.text import one_line

if TYPE_CHECKING:
    from bootstrap.lineage.questions.comparison import Comparison
    from bootstrap.lineage.questions.contamination import Contamination
    from bootstrap.lineage.questions.difference import Difference
    from bootstrap.lineage.questions.sampled import SampledAnswer
    from bootstrap.lineage.questions.settings import Change
    from bootstrap.lineage.questions.taint import Taint
    from bootstrap.lineage.questions.trace import Trace
    from bootstrap.lineage.questions.why import Rival, Why
    from bootstrap.reproduction import Reproduction

CHARACTERS = 60
"""Of a text in a table's cell; JSON has all of it."""
MOST_DECISIONS = 20
"""Of a chain of decisions, the last ones that are printed."""
DIGITS = 12
"""Of a hash in a table; JSON has all of them."""
_cell = partial(one_line, limit=CHARACTERS)


def print_why(answer: "Why") -> None:
    say(one_line(answer.sentence, limit=2000))
    shown = answer.chain[-MOST_DECISIONS:]
    rows = [
        {
            "decision": one.name,
            "over": one.compared_with or "",
            "on": level_range(one.target_levels),
            "before": _share(one.before),
            "after": _share(one.after),
            "gained": _number(one.gained),
            "lost": _number(one.lost),
            "p": _p(one.p_value),
            "frontier": str(one.frontier),
        }
        for one in shown
    ]
    print_rows("decisions", rows, spare=("frontier", "gained", "lost", "over", "p"))
    if before := len(answer.chain) - len(shown):
        say(f"{before} decisions before these; --json has all")
    for one in shown:
        say(f"{one.name} {one.outcome}: {one_line(one.reason.removeprefix('rejected: '), limit=2000)}")
        for guard in one.guards:
            say(f"  guard: {one_line(guard, limit=500)}")
    last = answer.chain[-1]
    tests = [
        {
            "test": _cell(test.test),
            "on": level_range(test.levels),
            "against": ", ".join(test.against),
            "before": _share(test.before),
            "after": _share(test.after),
            "lower bound": text.points(test.low),
            "passed": "yes" if test.passed else "no",
        }
        for test in last.tests
    ]
    print_rows(f"the gate's tests of {last.name}", tests, spare=("against", "lower bound"))
    on_the_way = [rival for one in shown for rival in one.rivals]
    print_rows("did not become champion on the way", _rivals(on_the_way))
    print_rows(f"did not take the place of {answer.generation}", _rivals(answer.challengers))


def _rivals(rivals: Iterable["Rival"]) -> list[dict[str, str]]:
    return [
        {
            "generation": one.name,
            "outcome": one.outcome,
            "reason": one_line(one.reason.removeprefix("rejected: "), limit=300),
        }
        for one in rivals
    ]


def print_difference(answer: "Difference", *, count: int) -> None:
    same = ", with the same weights" if answer.same_weights else ""
    say(f"a is {answer.a}, b is {answer.b}{same}")
    for title, changes in (
        ("settings", answer.settings),
        ("data", answer.data),
        ("verifiers", answer.verifiers),
    ):
        _changes(title, changes)
    metrics = [
        {
            "metric": _cell(row.name),
            "a": _value(row.name, row.a),
            "b": _value(row.name, row.b),
            "b - a": _gain(row.name, row.difference),
        }
        for row in answer.metrics
        if row.a != row.b
    ]
    print_rows("metrics that differ", metrics)
    paired = [
        {
            "level": _level(row.task, row.level),
            "prompts": str(row.prompts),
            "both right": str(row.both),
            "only a": str(row.only_a),
            "only b": str(row.only_b),
            "neither": str(row.neither),
            "p": _p(row.p_value),
        }
        for row in answer.paired
    ]
    print_rows("answers to the same prompts", paired, spare=("neither", "both right"))
    changed = [
        {
            "level": _level(row.task, row.level),
            "prompt": _cell(row.prompt or f"id {row.prompt_id}"),
            "a": _cell(row.a),
            "b": _cell(row.b),
            "right": row.right,
        }
        for row in answer.answers[:count]
    ]
    if changed:
        say(f"{len(answer.answers)} prompts that one alone answers right, {len(changed)} of them shown")
    print_rows("right in one alone", changed)


def _changes(title: str, changes: Sequence["Change"]) -> None:
    if not changes:
        say(f"{title}: the same")
    rows = [{"what": _cell(row.name), "a": _setting(row.a), "b": _setting(row.b)} for row in changes]
    print_rows(title, rows)


def print_samples(found: Sequence["SampledAnswer"]) -> None:
    for one in found:
        reward = "not judged" if one.reward is None else f"reward {one.reward:g}"
        say(f"{one.id}  {_cell(one.status)}, {reward}, level {one.level}, by {_cell(one.model)}")
        say(f"  prompt  {one_line(one.prompt, limit=500)}")
        say(f"  answer  {one_line(one.answer, limit=500)}")
        used = f"use {one.use}" if one.use and not one.dropped else ""
        replayed = "joined the replay pool" if one.replay else ""
        dropped = f"dropped: {one.dropped}" if one.dropped else ""
        told = "; ".join(filter(None, [one.reason, one.breakdown, used, replayed, dropped]))
        say(f"  {one_line(told, limit=500)}")


def print_trace(answer: "Trace") -> None:
    made, step = answer.made, "" if answer.step is None else f", step {answer.step}"
    say(f"{_cell(answer.sample)}: {answer.kind} of {_cell(answer.lineage)}, {answer.generation}{step}")
    facts = {
        "prompt": one_line(answer.prompt, limit=500),
        "prompt id": answer.prompt_id,
        "answer": "the task's reference" if answer.answer is None else one_line(answer.answer, limit=500),
        "model": f"{_cell(answer.model)}, {answer.policy}" if answer.policy else _cell(answer.model),
        "seed": _number(answer.seed),
        "tokens": _number(answer.num_tokens),
        "record": answer.record,
    }
    if made is not None:
        reward = "no reward" if made.reward is None else f"reward {made.reward:g}"
        facts["verdict"] = f"{_cell(made.status)}, {reward}: {one_line(made.reason, limit=300)}"
        facts["verifier"] = _cell(f"{made.verifier} {made.version}")
        joined = ", joined the replay pool" if made.replay else ""
        facts["selection"] = f"{made.use}{f', {one_line(made.dropped, limit=300)}' if made.dropped else ''}{joined}"
    width = max(map(len, facts))
    for name, value in facts.items():
        if value:
            say(f"{name:<{width}}  {value}")
    group = [
        {"sample": one.id, "answer": _cell(one.answer), "verdict": one.status, "reward": _plain(one.reward)}
        for one in answer.group
    ]
    print_rows("other answers to the prompt", group)
    trained = [
        {
            "trained": f"{one.lineage}@{one.generation}",
            "outcome": one.outcome,
            "step": str(one.step),
            "stream": one.stream,
            "updates": str(one.count),
            "replayed": "yes" if one.replayed else "no",
        }
        for one in answer.trained
    ]
    print_rows("trained on it", trained, spare=("replayed", "step"))
    if not trained:
        say("no generation was trained on it")
    _unread(answer.unread)


def print_taint(answer: "Taint") -> None:
    say(one_line(answer.sentence, limit=500))
    rows = [
        {
            "generation": f"{row.lineage}@{row.generation}" + (" *" if row.is_champion else ""),
            "outcome": row.outcome,
            "distance": str(row.distance),
            "how": one_line("; ".join(row.via), limit=300),
        }
        for row in answer.downstream
    ]
    print_rows(f"downstream of {_cell(answer.subject)} (* champion)", rows, spare=("outcome",))
    if answer.clean:
        say(f"not reached: {', '.join(answer.clean)}")
    _unread(answer.unread)
    for name in answer.unsearched:
        warn(
            f"warning: not searched: {_cell(name)}, which {answer.lineage} was forked from and which does not lie "
            "beside it or cannot be read; what touched that one is not known"
        )


def _level(task: str, level: int) -> str:
    """Return a level as a cell, after the panel's task that it is of; empty for the lineage's own task."""
    return f"{task} {level}".lstrip()


def _unread(names: Sequence[str]) -> None:
    if names:
        warn(
            f"warning: not searched, since they cannot be read: {', '.join(names)}; `bootstrap verify` names the damage"
        )


def print_contamination(answer: "Contamination") -> None:
    say(answer.sentence)
    trained = [
        {
            "trained by": row.generation,
            "prompts": str(row.prompts),
            "held out": str(row.shared),
            "n-gram overlap": _share(row.overlap),
        }
        for row in answer.trained
    ]
    print_rows("prompts trained on", trained)
    leaks = [
        {
            "prompt": _cell(row.prompt or f"id {row.prompt_id}"),
            "level": _level(row.task, row.level),
            "trained by": row.trained_by,
            "source": row.source,
            "updates": str(row.count),
            "right": {True: "yes", False: "no", None: ""}[row.correct],
        }
        for row in answer.leaks
    ]
    print_rows("held-out prompts that were trained on", leaks, spare=("updates", "right"))
    if answer.outside:
        say(f"not known: what {', '.join(map(_cell, answer.outside))} had seen before")


def print_comparison(answer: "Comparison") -> None:
    rows = [
        {
            "lineage": row.lineage,
            "champion": row.champion,
            "frontier": str(row.frontier),
            "generations": str(row.generations),
            "promoted": str(row.promoted),
            "rejected": str(row.rejected),
            "FLOPs": text.si(row.flops),
            "from": row.forked_from,
        }
        for row in answer.lineages
    ]
    print_rows("lineages", rows, spare=("rejected", "promoted", "generations"))
    names = [row.lineage for row in answer.lineages]
    settings = [
        {"setting": _cell(row.name), **{name: _setting(value) for name, value in zip(names, row.values, strict=True)}}
        for row in answer.settings
    ]
    print_rows("settings that differ", settings)
    levels = [
        {
            "level": _level(row.task, row.level),
            **{name: _share(value) for name, value in zip(names, row.accuracies, strict=True)},
        }
        for row in answer.levels
    ]
    print_rows("accuracy of the champions", levels)
    for pair in answer.paired:
        say(
            f"{pair.a} and {pair.b} on {pair.prompts} held-out prompts that both were asked: {pair.only_a} only the "
            f"first answers right, {pair.only_b} only the second (p {_p(pair.p_value)})"
        )
    if not answer.paired:
        say("their champions share no held-out prompt")


def print_reproduction(answer: "Reproduction") -> None:
    say(answer.sentence)
    rows = [
        {
            "compared": row.name,
            "recorded": _hash(row.recorded),
            "again": _hash(row.again),
            "same": "yes" if row.same else "no",
        }
        for row in answer.checks
    ]
    print_rows(f"{answer.lineage}@{answer.generation}, workers: {answer.workers}", rows)
    others = [
        {"differs": row.name, "recorded": _cell(row.recorded), "again": _cell(row.again)}
        for row in answer.surroundings
        if not row.same
    ]
    print_rows("surroundings that differ", others)
    if answer.store:
        say(f"scratch store: {answer.store}")


def _setting(value: str) -> str:
    """Return a setting's JSON text as people read it: a text without its quotes."""
    return _cell(json.loads(value) if value.startswith('"') else value)


def _hash(value: str) -> str:
    is_hash = len(value) == 64 and not set(value) - set("0123456789abcdef")
    return value[:DIGITS] if is_hash else one_line(value, limit=200)


def _share(value: float | None) -> str:
    return "" if value is None else text.percent(value)


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _value(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return text.percent(value) if name.startswith("accuracy") else text.si(value) if value >= 1000 else f"{value:.4g}"


def _gain(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return text.points(value) if name.startswith("accuracy") else f"{value:+.4g}"
