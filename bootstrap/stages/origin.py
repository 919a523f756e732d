"""A fork's origin, a generation of another lineage in the same store: found, proven, and read.

    <store>/<origin>/   weights, base under adapters, answers and pass rates of its generations 0..N   (read only)
    <store>/<fork>/     generation 0 holds copies of them and their cost; once committed it needs the origin no more

Inherited answers keep their source: `g3.s0.u17.p4.k2` of lineage `addition` is `g0.addition.g3.s0.u17.p4.k2` in the
fork. They keep their age: the origin's own count as generation 0's, those of the generation before as generation -1's.
Left out: writing the fork's recipe (`cli/fork.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bootstrap.config.base import identity_of
from bootstrap.config.base_model import GenerationModel
from bootstrap.config.folders import fit_problems, positions_of
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import measures, tells_rates
from bootstrap.errors import RecipeError
from bootstrap.ids import RolloutId
from bootstrap.ledger_records import ComputeCost, Generation
from bootstrap.prompts.build import build_task
from bootstrap.prompts.overlap import files_of
from bootstrap.reading import parsed
from bootstrap.records import Checkpoint, Split
from bootstrap.selection.epochs import Visit
from bootstrap.selection.replay import PoolEntry, ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.answers import ANSWERS, INHERITED, RATES, answers_of, contributors, rates_file, rates_of
from bootstrap.stages.context import Context
from bootstrap.stages.visits import VISITS, counted, visits_of_generation
from bootstrap.store.ancestry import ancestors, compute_cost
from bootstrap.store.artifacts import Artifact
from bootstrap.store.fingerprint import base_fingerprint
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet

HELDOUT = "heldout_fraction"
FINAL = "final_fraction"
APART = "heldout_content"
Recall = Callable[[LineageStore], Recipe]
"""Returns the recipe of a lineage's last run."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A generation of another lineage, and those before it."""

    store: LineageStore
    entries: Sequence[Entry]
    """Up to the generation itself."""

    @property
    def generation(self) -> Generation:
        return self.entries[-1].generation

    def weights(self) -> Checkpoint:
        """Return its weights, every file proven by its hash. Raises StoreCorrupt."""
        return self.store.artifact(self.generation.artifacts["weights"]).checkpoint(self.generation.fingerprint)

    def whole(self) -> Mapping[str, bytes]:
        """Return a whole model's files: its weights, or the base under its adapter."""
        role = "base" if "base" in self.generation.artifacts else "weights"
        return self.store.artifact(self.generation.artifacts[role]).model()

    def config(self) -> dict[str, Any]:
        """Return the model's configuration in Hugging Face terms."""
        return parsed(self.whole()["config.json"], strict=False)

    def texts(self) -> Mapping[str, bytes]:
        """Return the model's files but its weights: configuration, tokenizer, chat template."""
        role = "base" if "base" in self.generation.artifacts else "weights"
        artifact = self.store.artifact(self.generation.artifacts[role])
        return artifact.model(lambda name: name.endswith((".json", ".jinja")))

    def is_pretrained(self) -> bool | None:
        """Whether its weights go back to a model's folder; None where an older fork's recipe does not say."""
        starts = [self.entries[number].generation for number in ancestors(self.entries, [self.generation.number])]
        outside = [
            edge for start in starts for edge in start.edges if edge.role == "init" and edge.external is not None
        ]
        if any(edge.record is None for edge in outside):
            return True
        # Only generation 0 starts from another lineage, whose kind the fork's recipe names.
        return self.store.header().section("base")["model"].get("pretrained") if outside else False

    def context(self) -> int | None:
        """Return the tokens that its model holds; None where its configuration does not say."""
        return positions_of(self.config())

    def task(self) -> Mapping[str, Any]:
        """Return the identity of its task."""
        return self.store.header().section("task")

    def shares_task(self, recipe: Recipe) -> bool:
        """Whether its task is the recipe's, but for how far references go."""
        return _without_references(self.task()) == _without_references(identity_of(recipe.task))

    def compute_cost(self, *, with_answers: bool) -> ComputeCost:
        """Return its compute cost, with that of its ancestry and its elder siblings.

        `with_answers`: and of all generations that gave `answers`, rejected candidates too.
        """
        siblings, number = self.store.header().siblings, self.generation.number
        paid = {one for one in siblings(number) if one <= number}
        if with_answers:
            paid |= {given for given, answers in self._given().items() if answers}
        return compute_cost(self.entries, paid, siblings=siblings)

    def _given(self) -> dict[int, list[PoolEntry]]:
        """Return the answers that its own children can replay, by generation."""
        able = contributors(self.entries, [self.generation.number])
        return {entry.generation.number: list(answers_of(self.store, entry.generation)) for entry in able}

    def answers(self, *, every: bool = False) -> list[PoolEntry]:
        """Return the replayable answers, ids and generations renumbered for the fork.

        The first one to each prompt; `every`: all of them, oldest first, where newer ones may count.
        """
        pool = ReplayPool(answer for answers in self._given().values() for answer in answers)
        name, number = self.generation.lineage, self.generation.number
        first = [answer for level in pool.levels for answer in pool.entries(level)]
        return [
            replace(
                answer,
                generation=answer.generation - number,
                rollout_id=str(RolloutId.parse(answer.rollout_id).inherited_from(name)),
            )
            for answer in (pool.given if every else first)
        ]

    def visits(self) -> list[Visit]:
        """Return which prompts were drawn, as its own children count them (`stages/visits.py`)."""
        header, found = self.store.header(), list[Visit]()
        own = ancestors(self.entries, [self.generation.number])
        for entry in contributors(self.entries, [self.generation.number]):
            measured = [measures(step) for step in header.steps(entry.generation.number)]
            visits = visits_of_generation(self.store, entry.generation, measured=measured)
            found += counted(visits, entry.generation, own=own)
        name = self.generation.lineage
        return [replace(visit, round=f"{name}.{visit.round}") for visit in found]

    def rates(self) -> PassRates:
        """Return how often each prompt was answered right in the steps that made its weights and tell it."""
        header, total = self.store.header(), PassRates()
        own = ancestors(self.entries, [self.generation.number])
        for entry in contributors(self.entries, [self.generation.number]):
            if (number := entry.generation.number) in own:
                sampled = [tells_rates(step) for step in header.steps(number)]
                total.merge(rates_of(self.store, entry.generation, sampled=sampled))
        return total


def find_origin(store: Path, model: GenerationModel) -> Origin:
    """Return the generation that a recipe starts from, in the folder `store` of lineages.

    Raises RecipeError when it is missing or has other hashes; StoreError, StoreCorrupt.
    """
    found = LineageStore(store / model.lineage)
    if not found.exists:
        raise RecipeError(
            f"base.model: there is no lineage {model.lineage} in {store}, which generation 0 is taken from; copy it "
            "there, or name its store with --store"
        )
    entries = found.ledger.read()
    if model.number >= len(entries):
        raise RecipeError(
            f"base.model: there is no {model.place}; lineage {model.lineage} has {len(entries)} generations"
        )
    entry = entries[model.number]
    for what, wanted, there in (
        ("record", model.record, entry.hash),
        ("fingerprint", model.fingerprint, entry.generation.fingerprint),
    ):
        if wanted != there:
            raise RecipeError(
                f"base.model.{what}: {model.place} in {store} has {there}, the recipe says {wanted}; `bootstrap show` "
                "prints a generation's hashes"
            )
    return Origin(store=found, entries=entries[: model.number + 1])


def check_origin(recipe: Recipe, origin: Origin, *, lineage: str, recall: Recall) -> None:
    """Raise RecipeError where the lineage called `lineage` cannot start from `origin` by this recipe.

    `recall`: returns the recipe of the origin's lineage, with its paths; may raise RecipeError.
    """
    if problems := list(_problems(recipe, origin, lineage=lineage, recall=recall)):
        raise RecipeError(f"base.model: {'; '.join(problems)}")


def inherited(context: Context, number: int) -> dict[str, Artifact]:
    """Return a fork's inherited answers and rates by role; empty for any other generation than its generation 0."""
    model = context.recipe.base.model.as_generation
    if number or model is None:
        return {}
    origin = find_origin(context.store.root.parent, model)
    if not origin.shares_task(context.recipe):
        return {}
    recipe = context.recipe
    answers, rates = origin.answers(every=recipe.has_fixed_data_alone), origin.rates()
    visits = origin.visits() if recipe.is_on_fixed_data else []
    if not answers and not rates.counts and not visits:
        return {}
    contents = {ANSWERS: to_parquet(answers, PoolEntry), RATES: rates_file(rates)}
    contents |= {VISITS: to_parquet(visits, Visit)} if visits else {}
    return {INHERITED: context.store.put("inherited", {"record": model.record}, contents)}


def _problems(recipe: Recipe, origin: Origin, *, lineage: str, recall: Recall) -> Iterator[str]:
    place = f"{origin.generation.lineage}@{origin.generation.name}"
    if origin.generation.lineage == lineage:
        yield f"lineage {lineage} cannot start from itself; name the new one otherwise (--lineage NAME)"
    weights = origin.weights().files
    yield from fit_problems(recipe, tokenizer=parsed(weights["tokenizer.json"], strict=False), config=origin.config())
    if base_fingerprint(weights) is not None:
        theirs = origin.store.header().section("training")["adapter"]
        if theirs != identity_of(recipe.training)["adapter"]:
            yield (
                f"{place} is an adapter, which goes on with the settings it has; set training.adapter to {theirs}, or "
                "`bootstrap export` it and start from that folder"
            )
    # A task's type, share and rule decide which prompts are held out, whatever a mixture calls the part.
    trained: dict[str, _Heldout] = {}
    for _, kind, held in _heldout(origin.task()):
        known = trained.setdefault(kind, held)
        apart = held.apart if held.apart == known.apart else None
        share, kept = min(held.share, known.share), min(held.kept, known.kept)
        trained[kind] = _Heldout(share, kept, min(held.final, known.final), held.rule, apart)
    for where, kind, held in _heldout(identity_of(recipe.task)):
        if (theirs := trained.get(kind)) is None:
            continue
        if held.apart is not None or theirs.apart is not None:
            # Rows that lie apart are held out whole, and all others are trained on, whatever the shares.
            if held.apart != theirs.apart:
                if known := _known_to(origin, recipe, recall):
                    yield (
                        f"{place} was trained with other held-out rows, and {known}; give {where}.heldout what lineage "
                        f"{origin.generation.lineage} has there, or start from the model that it started from"
                    )
            elif held.final > theirs.final:
                yield (
                    f"{place} passed gates on rows that would be kept for the final comparison; set {where}.{FINAL} to "
                    f"{theirs.final:g} or less"
                )
            continue
        message = f"{place} was trained on prompts that would be held out"
        if held.rule != theirs.rule:
            yield f"{message}, since those were chosen by {theirs.rule}; set {where}.split_by to {theirs.rule}"
        elif held.share > theirs.share:
            yield f"{message}; set {where}.{HELDOUT} to {theirs.share:g} or less"
        elif held.kept > max(held.share, theirs.kept):
            most = max(theirs.kept - held.share, 0.0)
            yield (
                f"{place} was trained on prompts that would be kept for the final comparison; set {where}.{FINAL} to "
                f"{most:g} or less"
            )


def _known_to(origin: Origin, recipe: Recipe, recall: Recall) -> str:
    """Return which questions of gates the origin's lineage may train on; "" where none."""
    asked = _questions(recipe, Split.HELDOUT, Split.FINAL)
    try:
        shared = asked & _questions(recall(origin.store), Split.TRAIN)
    except RecipeError as error:
        return f"may know what this lineage would ask, since its files cannot be compared ({error})"
    return f"{len(shared)} of the {len(asked)} questions that this lineage would ask are trained on" if shared else ""


def _questions(recipe: Recipe, *splits: Split) -> set[str]:
    files = files_of(build_task(recipe.task)).values()
    return {row.question for rows in files for row in rows.rows(*splits)}


class _Heldout(NamedTuple):
    share: float
    """Share of questions held out."""
    kept: float
    """Share not trained on: held out, or kept for the final comparison."""
    final: float
    """Share kept for the final comparison, of rows that lie apart where there are some."""
    rule: str
    """`split_by`."""
    apart: str | None
    """Hash of the held-out rows that the recipe names; None where hashes of questions choose them."""


def _heldout(task: Mapping[str, Any]) -> list[tuple[str, str, _Heldout]]:
    """Return (place in the recipe, type, held-out shares) of a task, or of each part of a mixture."""
    parts = {"task": task}
    if task["type"] == "mixture":
        parts = {f"task.parts.{name}.task": part["task"] for name, part in task["parts"].items()}
    return [
        (
            where,
            part["type"],
            _Heldout(
                # All rows of `path` are trained on where others are held out.
                0.0 if part.get(APART) else part[HELDOUT],
                0.0 if part.get(APART) else part[HELDOUT] + part.get(FINAL, 0.0),
                part.get(FINAL, 0.0),
                part.get("split_by", "text"),
                part.get(APART),
            ),
        )
        for where, part in parts.items()
    ]


def _without_references(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name != "base_level"}
