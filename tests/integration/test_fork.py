"""Forks: new lineages that start from generations of another one, and what of it they carry on."""

import json
import shutil
from pathlib import Path

import pytest
from support import tiny
from support.pretrained import small_folder, write

from bootstrap.cli.export import export_generation
from bootstrap.cli.fork import fork_lineage
from bootstrap.cli.remembered import FILE_NAME, recall_recipe, remember_recipe
from bootstrap.cli.run import planned
from bootstrap.config.load import load_recipe
from bootstrap.config.steps import tells_rates
from bootstrap.errors import RecipeError, StoreError
from bootstrap.ledger_records import Edge
from bootstrap.lineage import queries
from bootstrap.lineage.curves import Quality, curve
from bootstrap.selection.replay import ReplayPool
from bootstrap.selection.retirement import PassRates
from bootstrap.stages.answers import INHERITED, ancestors, answers_of, rates_of
from bootstrap.stages.origin import Origin
from bootstrap.stages.tables import Tables
from bootstrap.store.ancestry import compute_cost, total
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]

FIXED = {"count": 1, "curriculum": {"type": "fixed"}, "steps": [tiny.RL]}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store with a lineage `tiny` of one generation beyond the base, which remembers its recipe."""
    found = tmp_path_factory.mktemp("store")
    settings = tiny.recipe(generations=FIXED)
    tiny.grow(settings, found / "tiny")
    remember_recipe(LineageStore(found / "tiny"), settings, folder=found)
    return found


def fork(store: Path, source: str, name: str, *overrides: str, recipe: Path | None = None) -> str:
    return fork_lineage(source, name, overrides, recipe_path=recipe, store=store)


def grown(store: Path, name: str) -> list[Entry]:
    """Grow a fork by the recipe that is remembered beside it."""
    return tiny.grow(load_recipe(store / name / FILE_NAME), store / name)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("number", [0, 1])
def test_a_fork_starts_with_the_weights_and_grows(store, number):
    before = contents(store / "tiny")
    origin = LineageStore(store / "tiny").ledger.read()[number]
    name = f"fork{number}"
    told = fork(store, f"tiny@{number}", name)
    assert f"{name}/recipe.json" in told and f"tiny@gen-{number}" in told
    base, child = grown(store, name)
    assert base.generation.fingerprint == origin.generation.fingerprint
    assert base.generation.edges == (
        Edge(
            role="init",
            generation=None,
            external=f"tiny@gen-{number}",
            fingerprint=origin.generation.fingerprint,
            record=origin.hash,
            compute_cost=compute_cost(LineageStore(store / "tiny").ledger.read(), [number]),
        ),
    )
    assert child.generation.parent == 0 and child.generation.fingerprint != base.generation.fingerprint
    assert child.generation.target_levels == (5 + number,)
    assert max(base.generation.target_levels) == 4 + number
    report = verify(store / name)
    assert report.is_clean and not report.unproven
    assert contents(store / "tiny") == before


def test_a_fork_of_the_base_repeats_its_origin(store):
    fork(store, "tiny@base", "again")
    theirs, own = LineageStore(store / "tiny").ledger.read(), grown(store, "again")
    assert [e.generation.fingerprint for e in own] == [e.generation.fingerprint for e in theirs]


def test_a_fork_inherits_the_answers_accumulated_by_then_and_trains_on_them(store):
    fork(store, "tiny@1", "heir")
    entries = grown(store, "heir")
    theirs = list(answers_of(LineageStore(store / "tiny"), LineageStore(store / "tiny").ledger.read()[1].generation))
    assert theirs, "the origin must have a right answer for this test to mean anything"
    heir = LineageStore(store / "heir")
    own = {answer.rollout_id: answer for answer in answers_of(heir, entries[0].generation)}
    assert {f"g0.tiny.{answer.rollout_id}" for answer in theirs} >= own.keys()
    assert {a.prompt_text for a in own.values()} == {a.prompt_text for a in theirs}
    assert {answer.generation for answer in own.values()} == {0}, "those of the origin itself"
    usage = Tables.read(heir.artifact(entries[1].generation.artifacts["step-0"])).usage
    assert {row.source for row in usage} & own.keys()
    assert [e.generation for e in entries[1].generation.edges if e.role == "data"] == [0]


def test_a_fork_keeps_the_ages_of_its_answers_and_what_its_origin_has_solved(tmp_path):
    steps = [tiny.RL | {"rounds": 8, "retire": 0.9}]
    settings = tiny.recipe(generations={"count": 2, "curriculum": {"type": "given", "levels": [5]}, "steps": steps})
    theirs = tiny.grow(settings, tmp_path / "tiny")
    origin = LineageStore(tmp_path / "tiny")
    remember_recipe(origin, settings, folder=tmp_path)
    given = {n: {a.rollout_id for a in answers_of(origin, theirs[n].generation)} for n in (1, 2)}
    assert all(given.values()), "both generations must have a right answer for this test to mean anything"
    overrides = ("count=1", "curriculum.levels=[6]", "steps.0.distillation.data=latest")
    fork(tmp_path, "tiny@2", "heir", *(f"generations.{override}" for override in overrides))
    base, child = grown(tmp_path, "heir")
    heir = LineageStore(tmp_path / "heir")
    inherited = list(answers_of(heir, base.generation))
    ages = {answer.rollout_id.removeprefix("g0.tiny."): answer.generation for answer in inherited}
    assert ages == {name: number - 2 for number, names in given.items() for name in names & ages.keys()}
    assert set(ages.values()) == {-1, 0}
    # As in the origin's own next generation: the latest are those of the parent alone.
    latest = {name for name, age in ages.items() if age == 0}
    usage = Tables.read(heir.artifact(child.generation.artifacts["step-0"])).usage
    replayed = {row.source.removeprefix("g0.tiny.") for row in usage if row.source.startswith("g0.")}
    assert replayed and replayed <= latest
    [data] = [edge for edge in child.generation.edges if edge.role == "data"]
    assert data.generation == 0 and data.fingerprint == ReplayPool(inherited).digest()
    rates = PassRates()
    for entry in theirs[1:3]:
        if entry.generation.number in ancestors(theirs, [2]):
            rates.merge(rates_of(origin, entry.generation, sampled=[True]))
    assert rates.counts and rates_of(heir, base.generation, sampled=[]).counts == rates.counts
    fork(tmp_path, "heir@0", "second", "generations.count=0")
    (again,) = grown(tmp_path, "second")
    second = LineageStore(tmp_path / "second")
    assert [a.generation for a in answers_of(second, again.generation)] == [a.generation for a in inherited]
    assert rates_of(second, again.generation, sampled=[]).counts == rates.counts


@pytest.mark.usefixtures("own_plugins")
def test_a_fork_knows_what_a_step_of_the_users_own_found_solved(tmp_path):
    step = {"type": "plugin", "uses": "support.plugin_steps:everything", "options": {"rl": 1.0}, "rounds": 2}
    step |= {"prompts_per_update": 3, "group_size": 4}
    entries = tiny.grow(tiny.recipe(steps=[step, tiny.DISTILL], count=1), tmp_path / "tiny")
    store = LineageStore(tmp_path / "tiny")
    told = rates_of(store, entries[1].generation, sampled=[True, False]).counts
    assert told, "its answers must be judged for this test to mean anything"
    assert Origin(store=store, entries=entries).rates().counts == told


def test_a_step_of_a_type_that_is_unknown_tells_no_rates():
    kinds = ("rl", "plugin", "sft", "distill", "self_play", "merge", "later")
    told = {kind: tells_rates({"type": kind}) for kind in kinds}
    assert [kind for kind in kinds if told[kind]] == ["rl", "plugin"] and not tells_rates({})


def test_a_fork_draws_no_prompt_again_that_its_origin_has_solved(tmp_path):
    rows = [{"prompt": f"{'ab'[n % 2]}{n}=", "answer": "ab"[n % 2]} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    task = {"type": "file", "path": str(tmp_path / "rows.jsonl"), "form": "text", "alphabet": "ab=0123456789"}
    # More prompts than the file has: without retirement all come again.
    step = tiny.RL | {"rounds": 6, "prompts_per_update": 6, "temperature": 1.0, "retire": 0.75}
    settings = tiny.recipe(steps=[step], count=1, task=task | {"max_answer_length": 2, "max_prompt_length": 6})
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(settings.model_dump(mode="json")))
    (_, theirs) = tiny.grow(load_recipe(path), tmp_path / "tiny")
    origin, heir = LineageStore(tmp_path / "tiny"), LineageStore(tmp_path / "heir")
    assert "no answers" not in fork(tmp_path, "tiny@1", "heir", recipe=path)
    (_, child) = grown(tmp_path, "heir")
    solved = rates_of(origin, theirs.generation, sampled=[True]).solved(0.75)
    assert solved, "some prompts must be solved for this test to mean anything"
    drawn = {rollout.prompt_id for rollout in Tables.read(heir.artifact(child.generation.artifacts["step-0"])).rollouts}
    assert not drawn & solved


def test_a_fork_of_one_of_siblings_goes_on_from_what_it_and_its_elders_cost(tmp_path):
    settings = tiny.recipe(generations=FIXED | {"count": 2, "branches": 2})
    theirs = [entry.generation for entry in tiny.grow(settings, tmp_path / "tiny")]
    remember_recipe(LineageStore(tmp_path / "tiny"), settings, folder=tmp_path)
    for number in (1, 2):
        fork(tmp_path, f"tiny@{number}", f"fork{number}", "generations.count=0")
        [edge] = grown(tmp_path, f"fork{number}")[0].generation.edges
        assert edge.compute_cost is not None
        assert edge.compute_cost.since == total([one.compute.flops for one in theirs[1 : number + 1]])


def test_a_fork_pays_for_the_answers_that_it_comes_with(tmp_path):
    stages = [
        {"name": "given", "steps": [tiny.REJECTION]},
        {"name": "student", "gate": "never", "init": tiny.MODEL, "steps": [tiny.DISTILL]},
    ]
    settings = tiny.recipe(generations={"stages": stages})
    _, giver, student = (entry.generation for entry in tiny.grow(settings, tmp_path / "tiny"))
    remember_recipe(LineageStore(tmp_path / "tiny"), settings, folder=tmp_path)
    other = {"type": "copy", "alphabet": "ab", "base_level": 4, "heldout_fraction": 0.5}
    for name, changes, paid in (
        ("same", [], [giver, student]),
        ("other", [f"task={json.dumps(other)}"], [student]),
    ):
        fork(tmp_path, "tiny@2", name, "generations={count: 0, steps: [{type: sft, updates: 1}]}", *changes)
        [edge] = grown(tmp_path, name)[0].generation.edges
        assert edge.compute_cost is not None
        assert edge.compute_cost.since == total([one.compute.flops for one in paid])


def test_a_fork_of_a_fork_names_both_lineages(store):
    fork(store, "tiny@1", "first", "generations.count=0")
    grown(store, "first")
    fork(store, "first@0", "second", "generations.count=0")
    (base,) = grown(store, "second")
    answers = list(answers_of(LineageStore(store / "second"), base.generation))
    assert answers and all(answer.rollout_id.startswith("g0.first.g0.tiny.g1.") for answer in answers)
    assert max(base.generation.target_levels) == 5
    first, theirs = LineageStore(store / "first").ledger.read(), LineageStore(store / "tiny").ledger.read()
    [handed_on] = [edge.compute_cost for edge in base.generation.edges]
    assert handed_on is not None and handed_on.since == theirs[1].generation.compute.flops
    price = [one.generation.compute.flops for one in (theirs[0], first[0])]
    assert handed_on.start == total(price), "both lineages' generation 0 is the price of the start"


def test_a_forks_curve_starts_at_what_its_origin_cost(store):
    fork(store, "tiny@1", "later", "generations.count=0")
    origin = curve(LineageStore(store / "tiny").ledger.read(), quality=Quality())
    forked = curve(grown(store, "later"), quality=Quality())
    assert forked.points[0].total == origin.points[1].total > 0
    assert forked.base_flops >= origin.base_flops > 0


def test_a_committed_fork_needs_its_origin_no_more(store, tmp_path):
    fork(store, "tiny@1", "alone")
    load_recipe(store / "alone" / FILE_NAME)
    tiny.grow(load_recipe(store / "alone" / FILE_NAME, ["generations.count=0"]), store / "alone")
    shutil.copytree(store / "alone", tmp_path / "alone")
    path = tmp_path / "alone" / FILE_NAME
    _, plan = planned(path, [], store=tmp_path, lineage=None, workers=1)
    assert [generation.status for generation in plan.generations] == ["base", "planned"]
    assert plan.generations[0].start == "tiny@gen-1"
    assert plan.generations[1].target_levels == (6,)
    assert len(tiny.grow(load_recipe(path), tmp_path / "alone")) == 2
    report = verify(tmp_path / "alone")
    assert report.is_clean and "tiny@gen-1 is not in this store" in report.unproven[0]


def test_verify_finds_an_origin_that_is_another(store, tmp_path):
    fork(store, "tiny@1", "child", "generations.count=0")
    grown(store, "child")
    shutil.copytree(store / "child", tmp_path / "child")
    tiny.grow(tiny.recipe(generations=FIXED, seed=3), tmp_path / "tiny")
    (problem,) = verify(tmp_path / "child").problems
    assert "init edge expects tiny@gen-1" in problem.message


def test_a_fork_is_shown_where_people_look(store, tmp_path):
    fork(store, "tiny@1", "shown")
    entries = grown(store, "shown")
    assert queries.show(entries, "gen-0")["forked_from"] == "tiny@gen-1"
    assert queries.show(entries, "gen-1")["forked_from"] is None
    assert queries.table(entries)[0]["from"] == "tiny@gen-1"
    export_generation(LineageStore(store / "shown"), "base", tmp_path / "out")
    assert "generation 1 of lineage tiny" in (tmp_path / "out" / "README.md").read_text()


def test_a_fork_goes_on_from_the_highest_level_that_any_of_its_ancestors_was_trained_for(tmp_path):
    stages = [
        {"name": str(level), "init": "previous", "gate": "never", "steps": [tiny.REJECTION]}
        | {"curriculum": {"type": "given", "levels": [level]}}
        for level in (6, 5)
    ]
    settings = tiny.recipe(generations={"stages": stages})
    tiny.grow(settings, tmp_path / "tiny")
    remember_recipe(LineageStore(tmp_path / "tiny"), settings, folder=tmp_path)
    assert "trained for levels up to 6" in fork(tmp_path, "tiny@2", "child")


def test_another_recipe_may_carry_on(store, tmp_path):
    settings = tiny.recipe(
        seed=5, generations={"count": 1, "steps": [tiny.REJECTION]}, training={"gradient_checkpointing": True}
    ).model_dump(mode="json")
    path = tmp_path / "other.yaml"
    path.write_text(json.dumps(settings | {"name": "other", "tracking": {"experiment": "mine"}}))
    assert "tracking settings are not kept" in fork(store, "tiny@1", "carried", recipe=path)
    recipe = recall_recipe(LineageStore(store / "carried"))
    assert (recipe.name, recipe.seed, recipe.base.steps) == ("carried", 5, ())
    entries = grown(store, "carried")
    assert INHERITED in entries[0].generation.artifacts
    assert "step-0" in entries[1].generation.artifacts


def test_another_task_inherits_weights_alone_and_starts_at_its_own_level(store, tmp_path):
    settings = tiny.recipe(
        generations=FIXED, task={"type": "reversal", "alphabet": "abc", "base_level": 2, "heldout_fraction": 0.5}
    )
    path = tmp_path / "reverse.yaml"
    path.write_text(json.dumps(settings.model_dump(mode="json")))
    assert "no answers" in fork(store, "tiny@1", "backwards", recipe=path)
    (base, child) = grown(store, "backwards")
    assert INHERITED not in base.generation.artifacts
    assert child.generation.target_levels == (3,)


def test_a_lineage_of_stages_is_remembered_and_forked(tmp_path):
    stages = [{"name": "one", "gate": "never", "steps": [{**tiny.RL, "rounds": 2}]}]
    settings = tiny.recipe(generations={"stages": stages})
    theirs = tiny.grow(settings, tmp_path / "tiny")
    remember_recipe(LineageStore(tmp_path / "tiny"), settings, folder=tmp_path)
    assert recall_recipe(LineageStore(tmp_path / "tiny")) == settings
    fork(tmp_path, "tiny@1", "again")
    base, child = grown(tmp_path, "again")
    assert base.generation.fingerprint == theirs[1].generation.fingerprint
    assert child.generation.stage == "one"


def test_a_name_that_reads_like_a_number_is_a_name(store):
    fork(store, "tiny@0", "2024")
    assert recall_recipe(LineageStore(store / "2024")).name == "2024"


@pytest.mark.parametrize(
    ("source", "name", "overrides", "message"),
    [
        ("tiny", "new", (), "tiny is a lineage; name a generation of it"),
        ("tinny@0", "new", (), "did you mean tiny"),
        ("tiny@7", "new", (), "no generation is called '7'"),
        ("tiny@0", "tiny", (), "choose another name"),
        ("tiny@0", "../new", (), "cannot name a lineage"),
        ("tiny@0", "New Name", (), "cannot name a lineage"),
        ("tiny@0", "me@home", (), "cannot name a lineage"),
        ("tiny@0", "new", ("tracking.experiment=mine",), "give this to `bootstrap run`"),
        ("tiny@0", "new", ("tracking={uri: null}",), "remembers no tracking settings"),
        ("tiny@0", "new", ("task.alphabet=abcd",), "does not know d"),
        ("tiny@0", "new", ("task.heldout_fraction=0.6",), "set task.heldout_fraction to 0.5 or less"),
        (
            "tiny@0",
            "new",
            (
                "task={type: mixture, base_level: 4, parts: {c: {task: {type: copy, alphabet: abc, "
                "heldout_fraction: 0.6}}}}",
            ),
            "set task.parts.c.task.heldout_fraction to 0.5 or less",
        ),
        ("tiny@0", "new", ("generations.count=90",), "the model holds 128 tokens"),
        ("tiny@0", "new", ("training.adapters=null",), "did you mean adapter"),
    ],
)
def test_what_cannot_be_forked_is_told_in_one_message(store, source, name, overrides, message):
    with pytest.raises((RecipeError, StoreError), match=message):
        fork(store, source, name, *overrides)
    assert not (store / "new").exists()


def test_a_fork_whose_origin_is_missing_or_another_is_refused(store, tmp_path):
    fork(store, "tiny@1", "orphan")
    path = store / "orphan" / FILE_NAME
    with pytest.raises(RecipeError, match="there is no lineage tiny"):
        planned(path, [], store=tmp_path, lineage=None, workers=1)
    with pytest.raises(RecipeError, match=r"base\.model\.record: tiny@gen-1"):
        planned(path, [f"base.model.record={'a' * 64}"], store=store, lineage="fresh", workers=1)
    with pytest.raises(RecipeError, match="there is no tiny@gen-8"):
        planned(path, ["base.model.number=8"], store=store, lineage="fresh", workers=1)
    with pytest.raises(RecipeError, match="cannot start from itself"):
        planned(path, [], store=store, lineage="tiny", workers=1)


def test_a_lineage_of_adapters_is_forked_with_its_base(tmp_path):
    folder = write(small_folder(), tmp_path / "model")
    adamw = {"type": "adamw", "lr": 0.01}
    settings = tiny.recipe(
        base={"model": {"type": "folder", "path": str(folder)}},
        training={"adapter": {"type": "lora", "rank": 4, "alpha": 8}},
        generations={"count": 1, "steps": [{**tiny.RL, "rounds": 2, "optimizer": adamw}]},
    )
    theirs = tiny.grow(settings, tmp_path / "store" / "tiny")
    remember_recipe(LineageStore(tmp_path / "store" / "tiny"), settings, folder=tmp_path)
    with pytest.raises(RecipeError, match=r"set training\.adapter to"):
        fork(tmp_path / "store", "tiny@last", "new", "training.adapter.rank=8")
    with pytest.raises(RecipeError, match=r"set training\.adapter to"):
        fork(tmp_path / "store", "tiny@last", "new", "training.adapter=null")
    fork(tmp_path / "store", "tiny@last", "new")
    shutil.rmtree(folder)
    base, child = grown(tmp_path / "store", "new")
    assert base.generation.fingerprint == theirs[1].generation.fingerprint
    assert base.generation.artifacts["base"].digest == theirs[1].generation.artifacts["base"].digest
    assert child.generation.fingerprint != base.generation.fingerprint
    assert verify(tmp_path / "store" / "new").is_clean


def test_an_adapter_may_be_put_over_a_whole_generation(store):
    fork(
        store,
        "tiny@1",
        "thin",
        "training.adapter={type: lora, rank: 4}",
        "generations.steps.0.optimizer={type: adamw}",
        "generations.count=0",
    )
    (base,) = grown(store, "thin")
    origin = LineageStore(store / "tiny").ledger.read()[1].generation
    weights = LineageStore(store / "thin").artifact(base.generation.artifacts["base"]).read("model.safetensors")
    assert weights == LineageStore(store / "tiny").artifact(origin.artifacts["weights"]).read("model.safetensors")
    assert base.generation.edges[0].fingerprint == origin.fingerprint != base.generation.fingerprint
    assert [row.accuracy for row in base.generation.report.levels] == [row.accuracy for row in origin.report.levels]


def test_a_fork_has_the_defaults_of_its_origins_kind(tmp_path):
    folder = write(small_folder(), tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(60)))
    pretrained = tiny.recipe(
        base={"model": {"type": "folder", "path": str(folder)}}, generations={"count": 0, "steps": [tiny.RL]}
    )
    store = tmp_path / "store"
    tiny.grow(pretrained, store / "tiny")
    tiny.grow(tiny.recipe(generations={"count": 0, "steps": [tiny.RL]}), store / "scratch")
    path = tmp_path / "rows.yaml"
    path.write_text("name: rows\ntask: {type: file, path: rows.jsonl}\ngenerations: {count: 1, steps: [{type: rl}]}\n")
    for source, name in (("tiny@0", "one"), ("one@0", "two")):
        fork(store, source, name, recipe=path)
        if name == "one":
            tiny.grow(load_recipe(store / name / FILE_NAME, ["generations.count=0"]), store / name)
    for name in ("one", "two"):
        found = load_recipe(store / name / FILE_NAME)
        [step] = found.generations.steps
        assert (step.optimizer.type, step.optimizer.lr, step.schedule.warmup) == ("adamw", 1e-6, 0.05)
        assert (step.prompts_per_update, found.training.precision) == (16, "auto")
        assert (found.task.max_prompt_length, found.task.max_answer_tokens, found.task.max_prompt_tokens) == (
            None,
            64,
            64,
        )
    fork(
        store,
        "scratch@0",
        "other",
        "task={type: copy, alphabet: abc, base_level: 4, heldout_fraction: 0.5}",
        recipe=path,
    )
    assert load_recipe(store / "other" / FILE_NAME).generations.steps[0].optimizer.type == "muon_adamw"
