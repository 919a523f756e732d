"""Whether a generation has been trained on prompts that it is evaluated on.

Two measures, over the generation and all whose weights it has:

- prompts of the held-out suite and the panel that were trained on, by the prompt's id: answers that gave a gradient,
  answers replayed from earlier generations, references that were shown. There should be none.
- the overlap that each generation recorded: the share of its trained prompts that share an n-gram (`diagnostics.ngram`
  tokens) with a held-out prompt.

A fork's origin in the same store counts as well. Left out: what a model from outside had seen before, which no ledger
tells; such models are named.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bootstrap.ids import RolloutId, is_rollout
from bootstrap.ledger_records import Generation
from bootstrap.lineage import queries, text
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.locate import ROLLOUTS, inherited_answers, outcomes
from bootstrap.lineage.questions.records import Records
from bootstrap.store.ancestry import ancestors


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """A held-out prompt that was trained on."""

    prompt_id: str
    prompt: str
    task: str
    """A task of the panel; empty for the run's own."""
    level: int
    trained_by: str
    """The generation that was trained on it."""
    source: str
    """The rollout, or the prompt whose reference was shown; `trace` takes both."""
    count: int
    """In how many updates."""
    correct: bool | None
    """Whether the generation asked about answers it right; None where the answer could not be judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedPrompts:
    """What one generation was trained on."""

    generation: str
    prompts: int
    """Distinct prompts."""
    shared: int
    """Those that are held out."""
    overlap: float | None
    """Share of them with an n-gram of a held-out prompt, as the generation recorded it against the prompts that it was
    itself evaluated on; None where it was not measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contamination:
    """The answer."""

    lineage: str
    generation: str
    suite: str
    """Digest of the held-out prompts."""
    held_out: int
    """Prompts of the suite and the panel."""
    trained: Records[TrainedPrompts]
    """The generation and those whose weights it has, in the ledger's order; first those of a fork's origin."""
    leaks: Records[Leak]
    outside: tuple[str, ...]
    """Models from outside that it descends from or learnt from; what they had seen is not known."""
    is_clean: bool
    """Whether no held-out prompt was trained on."""
    sentence: str


def contamination(grown: Grown, name: str = "champion") -> Contamination:
    """Return which held-out prompts a generation, or one whose weights it has, was trained on.

    Raises RecipeError for an unknown generation, StoreCorrupt.
    """
    node = grown.find(name)
    # A prompt of the suite that is the panel's too counts as the suite's.
    heldout = {prompt: row for (_, prompt), row in reversed(outcomes(grown, node).items())}
    line, outside = _line(grown, node)
    known: dict[str, _Known] = {}
    trained, leaks = list[TrainedPrompts](), list[Leak]()
    for where, one in line:
        name = one.name if where is grown else f"{where.name}@{one.name}"
        prompts = known.setdefault(where.name, _Known(where)).trained(one)
        shared = {prompt: found for prompt, found in prompts.items() if prompt in heldout}
        trained.append(
            TrainedPrompts(generation=name, prompts=len(prompts), shared=len(shared), overlap=one.diagnostics.overlap)
        )
        for prompt, (source, words, count) in sorted(shared.items()):
            row = heldout[prompt]
            leaks.append(
                Leak(
                    prompt_id=prompt,
                    prompt=words,
                    task=row["task"],
                    level=row["level"],
                    trained_by=name,
                    source=source,
                    count=count,
                    correct=row["correct"],
                )
            )
    return Contamination(
        lineage=grown.name,
        generation=node.name,
        suite=node.report.suite,
        held_out=len(heldout),
        trained=Records(trained, kind=TrainedPrompts),
        leaks=Records(leaks, kind=Leak),
        outside=outside,
        is_clean=not leaks,
        sentence=_sentence(node, trained, leaks, held_out=len(heldout)),
    )


def _line(grown: Grown, node: Generation) -> tuple[list[tuple[Grown, Generation]], tuple[str, ...]]:
    """Return a generation and all whose weights it has, a fork's origin included, and models from elsewhere.

    The origin counts as from elsewhere where it does not lie in the same store.
    """
    line = [grown.entries[number].generation for number in sorted(ancestors(grown.entries, [node.number]))]
    outside = dict.fromkeys(queries.source(edge) for one in line for edge in one.edges if edge.generation is None)
    found = [(grown, one) for one in line]
    origin = grown.origin() if any(edge.record is not None for one in line for edge in one.edges) else None
    if origin is not None and (edge := grown.fork_edge) is not None:
        where, number = origin
        before, further = _line(where, where.entries[number].generation)
        found = [*before, *found]
        outside = dict.fromkeys([*further, *(name for name in outside if name != queries.source(edge))])
    return found, tuple(outside)


class _Known:
    """The prompts behind trained sources; rollouts are read once per generation."""

    def __init__(self, grown: Grown) -> None:
        self._grown = grown
        self._prompts: dict[int, Mapping[str, tuple[str, str]]] = {}

    def trained(self, node: Generation) -> dict[str, tuple[str, str, int]]:
        """Return prompt id -> (source, text, updates) of what a generation was trained on."""
        counts, shown = Counter[str](), dict[str, str]()
        for ref in node.steps.values():
            artifact = self._grown.store.artifact(ref)
            for row in tables.rows(artifact, "usage.parquet", tables.USAGE):
                counts[row["source"]] += row["count"]
            shown |= {row["source"]: row["prompt"] for row in tables.rows(artifact, "shown.parquet", tables.SHOWN)}
        found: dict[str, tuple[str, str, int]] = {}
        for source, count in sorted(counts.items()):
            prompt, words = self._prompt(source, shown)
            known = found.get(prompt)
            found[prompt] = (source, words, count) if known is None else (*known[:2], known[2] + count)
        return found

    def _prompt(self, source: str, shown: Mapping[str, str]) -> tuple[str, str]:
        if not is_rollout(source):
            return source, shown.get(source, "")
        parsed = RolloutId.parse(source)
        giver = parsed.contributor
        if giver not in self._prompts:
            self._prompts[giver] = dict(self._given(giver))
        return self._prompts[giver].get(source, ("", ""))

    def _given(self, giver: int) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield rollout -> prompt of a generation's answers, a fork's inherited ones for its generation 0."""
        for ref in self._grown.entries[giver].generation.steps.values():
            for row in tables.rows(self._grown.store.artifact(ref), ROLLOUTS, tables.ROLLOUT):
                yield row["id"], (row["prompt_id"], row["prompt_text"])
        if giver == 0:
            for row in inherited_answers(self._grown):
                yield row["rollout_id"], (tables.prompt_id(row["task"], row["prompt_text"]), row["prompt_text"])


def _sentence(node: Generation, trained: list[TrainedPrompts], leaks: list[Leak], *, held_out: int) -> str:
    line = f"{node.name} and those whose weights it has" if len(trained) > 1 else node.name
    if not held_out:
        return f"{node.name} keeps no evaluation, so nothing can be compared"
    if leaks:
        prompts = len({leak.prompt_id for leak in leaks})
        return f"contaminated: {line} were trained on {prompts} of the {held_out} held-out prompts"
    measured = [row.overlap for row in trained if row.overlap is not None]
    most = f"; at most {text.percent(max(measured))} of a generation's prompts share an n-gram" if measured else ""
    return f"clean: none of the {held_out} held-out prompts of {node.name} was trained on{most}"
