"""Lineages whose generations differ: stages with their own start, sampler, verifier, gate and branches."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support import chat_server, pretrained, tiny

from bootstrap.cli.rescore import rescore_lineage
from bootstrap.cli.show import print_generation
from bootstrap.compute import ModelShape
from bootstrap.config.recipe import Recipe
from bootstrap.errors import VerifierError
from bootstrap.ledger_records import Edge, GenerationOutcome
from bootstrap.lineage import queries
from bootstrap.planning.plan import make_plan
from bootstrap.pool import LocalPool
from bootstrap.records import Status
from bootstrap.stages.siblings import aimed_accuracy
from bootstrap.stages.tables import Tables
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.pretrained import IMPORT, pretrained_of
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]

SAMPLED = {"type": "rejection", "prompts": 24, "samples_per_prompt": 2}
SMALL = {"type": "scratch", "hidden_size": 16, "intermediate_size": 24, "num_layers": 1, "num_heads": 2}
FROM_PARENT = {"distillation": {"loss": "forward_kl"}}
OWN = {f"g{number}" for number in range(1, 10)}
"""What sources are called that a lineage's generations after generation 0 have written."""
VOTED_BY_B = {"type": "majority", "voters": [{"type": "stage", "stage": "b"}]}
END_OF_TWINS = {"type": "stage", "stage": "twins"}
TWINS = {"name": "twins", "generations": 2, "branches": 2, "gate": "never", "steps": [tiny.RL]}
STAGES: list[dict[str, Any]] = [
    {"name": "twins", "generations": 2, "branches": 2, "steps": [tiny.RL]},
    {
        "name": "again",
        "init": "base",
        "gate": "always",
        "verifier": {"type": "rubric", "components": [{"name": "right", "verifier": {"type": "exact"}}]},
        "steps": [
            tiny.REJECTION | {"source": SAMPLED | {"sampler": {"type": "stage", "stage": "twins"}, "levels": "all"}}
        ],
    },
    {
        "name": "student",
        "init": SMALL,
        "gate": "never",
        "steps": [
            tiny.REJECTION | {"source": SAMPLED | {"sampler": "champion", "levels": "reached", "newest_share": 1.0}},
        ],
    },
    {
        "name": "taught",
        "init": "previous",
        "gate": "never",
        "steps": [tiny.DISTILL | {"distillation": {"batch_size": 8}}],
    },
    {"name": "last", "steps": [tiny.RL]},
]


def staged(stages: list[dict[str, Any]], **changes: Any) -> Recipe:
    return tiny.recipe(generations={"stages": stages}, **changes)


def taught_by(teacher: Any) -> dict[str, Any]:
    return tiny.DISTILL | {"distillation": {"loss": "forward_kl", "teacher": teacher, "batch_size": 8}}


def held_to(reference: Any) -> dict[str, Any]:
    return tiny.RL | {"algorithm": {"type": "grpo", "kl": {"model": reference, "weight": 0.01}}}


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Entry]]:
    root = tmp_path_factory.mktemp("staged")
    return root, tiny.grow(staged(STAGES), root)


def edge(entry: Entry, role: str) -> Edge:
    [found] = [edge for edge in entry.generation.edges if edge.role == role]
    return found


def tables(root: Path, entry: Entry, step: int = 0) -> Tables:
    return Tables.read(LineageStore(root).artifact(entry.generation.artifacts[f"step-{step}"]))


def test_each_generation_carries_its_stage(lineage):
    _, entries = lineage
    assert [e.generation.stage for e in entries] == ["", "twins", "twins", "again", "student", "taught", "last"]


def test_branches_start_from_one_parent_aim_alike_and_differ(lineage):
    _, entries = lineage
    one, other = entries[1], entries[2]
    assert edge(one, "init") == edge(other, "init")
    assert one.generation.target_levels == other.generation.target_levels
    assert one.generation.fingerprint != other.generation.fingerprint


def test_branches_aim_at_the_next_level_of_a_fixed_schedule_and_replay_nothing_of_one_another(tmp_path):
    fixed = {"curriculum": {"type": "fixed"}}
    step = tiny.RL | {"levels": "all", "prompts_per_update": 18}
    stages = [
        {"name": "first", "init": "base", **fixed, "steps": [step]},
        {"name": "twins", "generations": 2, "branches": 2, "init": "previous", **fixed, "steps": [step]},
        {"name": "next", "init": "previous", "gate": "never", **fixed, "steps": [step]},
    ]
    entries = tiny.grow(staged(stages), tmp_path)
    assert [entry.generation.target_levels for entry in entries[1:]] == [(5,), (6,), (6,), (7,)]

    def sources(entry: Entry) -> set[str]:
        return {row.source.split(".")[0] for row in tables(tmp_path, entry).usage if row.stream == "ce"} & OWN

    assert sources(entries[2]) == sources(entries[3]) == {"g1"}, "what each has answered at level 5 is its own"
    assert {"g2", "g3"} <= sources(entries[4]), "later ones replay what both have answered"


def test_branches_share_the_gates_error_among_them(lineage):
    _, entries = lineage
    reasons = [entry.generation.decision.reason for entry in entries[1:]]
    assert ["alpha 0.05 / 2 branches" in reason for reason in reasons[:2]] == [True, True]
    assert not any("branches" in reason for reason in reasons[2:])


def test_weights_and_data_may_have_different_parents(lineage):
    root, entries = lineage
    again = entries[3]
    assert edge(again, "init").generation == 0
    best = max((1, 2), key=lambda number: aimed_accuracy(entries[number].generation))
    assert edge(again, "sampler").generation == best
    found = tables(root, again)
    assert {rollout.policy for rollout in found.rollouts} == {entries[best].generation.fingerprint}
    assert {rollout.level for rollout in found.rollouts} == set(range(1, max(again.generation.target_levels) + 1))


def test_a_stage_is_judged_by_its_own_verifier(lineage):
    root, entries = lineage
    assert {verdict.verifier for verdict in tables(root, entries[3]).verdicts} == {"rubric"}
    assert {verdict.verifier for verdict in tables(root, entries[1]).verdicts} == {"exact"}
    assert set(entries[3].generation.verifiers) == {"rubric", "held-out exact"}


def test_gate_always_promotes_by_the_recipes_word(lineage):
    _, entries = lineage
    again = entries[3].generation
    assert again.outcome is GenerationOutcome.PROMOTED and again.champion == 3
    assert again.decision.improvement is not None, "the comparison stands in the record all the same"


def test_a_student_is_smaller_learns_from_the_champions_answers_and_is_left_ungated(lineage):
    root, entries = lineage
    student = entries[4].generation
    assert student.outcome is GenerationOutcome.UNGATED and student.champion == 3 and student.parent is None
    pool = LocalPool(1, batch_rows=8)
    shapes: list[ModelShape] = []
    for entry in (entries[3], entries[4]):
        files = LineageStore(root).artifact(entry.generation.artifacts["weights"]).read_all()
        pool.load_unverified(files)
        shapes.append(pool.shape())
    assert shapes[1].num_parameters < shapes[0].num_parameters
    found = tables(root, entries[4])
    assert {rollout.policy for rollout in found.rollouts} == {entries[3].generation.fingerprint}
    assert max(rollout.level for rollout in found.rollouts) == min(student.target_levels) - 1
    right = {verdict.rollout_id for verdict in found.verdicts if verdict.status is Status.PASS}
    assert right and {row.source for row in found.usage} <= right


def test_a_pretrained_student_learns_the_distribution_of_a_teacher_whose_outputs_are_padded(tmp_path):
    facts = {"licence": "mit", "source": {"type": "gguf", "name": "small.gguf"}}
    files = {**pretrained.small_folder(seed=1), IMPORT: json.dumps(facts).encode()}
    student = pretrained.write(files, tmp_path / "student")
    files = pretrained.padded(pretrained.small_folder(seed=2), by=4)
    teacher = {"type": "folder", "path": str(pretrained.write(files, tmp_path / "teacher"))}
    step = {"type": "distill", "updates": 4, "distillation": {"loss": "forward_kl", "teacher": teacher}}
    taught = {"name": "student", "gate": "never", "init": {"type": "folder", "path": str(student)}, "steps": [step]}
    base = {"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 2}]}
    entries = tiny.grow(staged([taught], base=base), tmp_path / "grown")
    assert edge(entries[1], "teacher").fingerprint == fingerprint_model(files)
    updates = tables(tmp_path / "grown", entries[1]).updates
    assert 0 < updates[-1].kl_loss < updates[0].kl_loss
    base, student = (LineageStore(tmp_path / "grown").artifact(e.generation.artifacts["weights"]) for e in entries)
    assert pretrained_of(base) is None and pretrained_of(student).licence == "mit"


def test_a_student_with_fresh_weights_is_shown_as_one(lineage, capsys):
    _, entries = lineage
    print_generation(queries.show(entries, "4"))
    assert "fresh weights; teachers" in capsys.readouterr().out


def test_what_was_left_ungated_is_told_as_such_when_answers_are_judged_again(lineage, capsys):
    root, entries = lineage
    rescore_lineage(LineageStore(root), recipe_path=None, as_json=True)
    rows = json.loads(capsys.readouterr().out)["generations"]
    assert [row["outcome"] for row in rows] == [entry.generation.outcome for entry in entries]
    assert not any(row["differs"] for row in rows)
    decided = [entry.generation.decision.reason for entry in entries[1:4]]
    assert [row["reason"] for row in rows[1:4]] == decided, "by the same tests, those of branches included"
    rescore_lineage(LineageStore(root), recipe_path=None, as_json=False)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["gen-4"])
    assert "ungated" in line and "rejected" not in line


def test_answers_of_a_generation_left_ungated_serve_its_descendants_alone(lineage):
    root, entries = lineage

    def sources(entry: Entry) -> set[str]:
        return {row.source.split(".")[0] for row in tables(root, entry).usage if "." in row.source}

    assert "g4" not in sources(entries[6])
    assert {e.generation for e in entries[6].generation.edges if e.role == "data"} <= {1, 2, 3}


def test_of_branches_the_best_is_kept_however_often_the_run_is_cut_off(tmp_path, capsys):
    stages = [
        {"name": "trio", "generations": 3, "branches": 3, "gate": "always", "steps": [tiny.RL]},
        {"name": "next", "init": {"type": "stage", "stage": "trio"}, "steps": [tiny.RL]},
        {"name": "further", "init": "previous", "gate": "never", "steps": [tiny.RL]},
    ]
    for count in range(6):
        entries = tiny.grow(tiny.recipe(generations={"stages": stages, "count": count}), tmp_path / "cut")
    trio = [entry.generation for entry in entries[1:4]]
    assert [one.decision.champion for one in trio] == [0, 0, 0], "each against the champion from before them"
    for until, one in enumerate(trio, start=1):
        best = max(trio[:until], key=aimed_accuracy)
        assert one.champion == best.number, "the best so far, the earliest of equals"
        assert one.outcome is (GenerationOutcome.PROMOTED if one is best else GenerationOutcome.REJECTED)
    assert edge(entries[4], "init").generation == best.number == entries[4].generation.decision.champion
    assert edge(entries[5], "init").generation == 4
    assert not verify(tmp_path / "cut").problems
    rescore_lineage(LineageStore(tmp_path / "cut"), recipe_path=None, as_json=True)
    assert not any(row["differs"] for row in json.loads(capsys.readouterr().out)["generations"])
    assert [e.hash for e in tiny.grow(staged(stages), tmp_path / "whole")] == [e.hash for e in entries]


def test_the_best_of_a_stage_teaches_and_is_the_reference_and_the_plan_knows_it(tmp_path):
    held = held_to(END_OF_TWINS) | {"distillation": taught_by("previous")["distillation"]}
    stages = [
        TWINS,
        {"name": "taught", "init": "base", "gate": "never", "steps": [taught_by(END_OF_TWINS)]},
        {"name": "held", "gate": "never", "steps": [held]},
    ]
    settings = staged(stages)
    before = make_plan(settings, lineage="tiny", workers=1).generations
    assert before[3].teachers is None, "the best of the twins is not known yet"
    assert before[3].steps[0].teachers == ("the last generation of twins",)
    entries = tiny.grow(settings, tmp_path)
    best = max((1, 2), key=lambda number: aimed_accuracy(entries[number].generation))
    assert edge(entries[3], "teacher").generation == best
    assert edge(entries[4], "reference").generation == best
    assert edge(entries[4], "teacher").generation == 3
    after = make_plan(settings, lineage="tiny", workers=1, entries=entries[:3]).generations
    assert (after[3].teachers, after[4].teachers) == ((best,), (3,))
    assert after[3].flops["train"] == before[3].flops["train"] > 0


def test_a_staged_lineage_verifies_and_grows_the_same_again(lineage, tmp_path):
    root, entries = lineage
    assert not verify(root).problems
    assert [e.hash for e in tiny.grow(staged(STAGES), tmp_path, fresh=True)] == [e.hash for e in entries]


def test_a_server_teaches_by_text_alone_and_what_cannot_be_written_is_dropped(tmp_path):
    def behaviour(asked: chat_server.Asked, _: int) -> chat_server.Sent:
        text = asked.prompt.removesuffix("=")
        return chat_server.says("\N{SNOWMAN}" if text.startswith("a") else text)

    with chat_server.chat_server(behaviour) as server:
        source = SAMPLED | {
            "sampler": {"type": "endpoint", "url": server.url, "model": "wise"},
            "samples_per_prompt": 1,
        }
        source |= {"levels": "reached", "filter": "none"}
        entries = tiny.grow(staged([{"name": "taught", "steps": [tiny.REJECTION | {"source": source}]}]), tmp_path)
    found = tables(tmp_path, entries[1])
    assert edge(entries[1], "sampler").external == "endpoint:wise"
    assert {rollout.policy for rollout in found.rollouts} == {"endpoint:wise"}
    unwritten = {s.rollout_id for s in found.selections if s.reason == "the student's vocabulary cannot write it"}
    strange = {r.id for r in found.rollouts if r.prompt_text.startswith("a")}
    assert unwritten and unwritten <= strange
    assert {row.source for row in found.usage if "." in row.source}.isdisjoint(strange)


def test_a_server_that_leaves_too_many_answers_empty_stops_the_step(tmp_path):
    def behaviour(asked: chat_server.Asked, number: int) -> chat_server.Sent:
        return chat_server.says("" if number % 4 == 0 else asked.prompt.removesuffix("="), finish="length")

    with chat_server.chat_server(behaviour) as server:
        source = SAMPLED | {"sampler": {"type": "endpoint", "url": server.url, "model": "wise", "retries": 0}}
        settings = staged([{"name": "taught", "steps": [tiny.REJECTION | {"source": source}]}])
        with pytest.raises(VerifierError, match=r"answered nothing \(.*max_tokens.*raise max_tokens"):
            tiny.grow(settings, tmp_path)


@pytest.mark.parametrize("says", [None, "", " \n"])
def test_a_server_that_does_not_answer_costs_nothing_but_the_message(tmp_path, says):
    with chat_server.chat_server(lambda asked, _: chat_server.says(says)) as server:
        source = SAMPLED | {"sampler": {"type": "endpoint", "url": server.url, "model": "wise", "retries": 0}}
        settings = staged([{"name": "taught", "steps": [tiny.REJECTION | {"source": source}]}])
        with pytest.raises(VerifierError, match="run again: replies so far are kept"):
            tiny.grow(settings, tmp_path)
    assert len(LineageStore(tmp_path).ledger.read()) == 1


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            [{"name": "a", "init": {"type": "stage", "stage": "b"}, "steps": [tiny.RL]}],
            "generation 1 uses stage b before it ends",
        ),
        ([{"name": "a", "steps": [tiny.RL]}, {"name": "a", "steps": [tiny.RL]}], "two stages are called a"),
        ([{"name": "a", "generations": 3, "branches": 2, "steps": [tiny.RL]}], "raise generations to 4"),
        ([{"name": "a", "init": 1, "steps": [tiny.RL]}], "generation 1 does not exist when generation 1 needs it"),
        (
            [{"name": "a", "init": SMALL, "steps": [tiny.DISTILL | {"distillation": {"loss": "forward_kl"}}]}],
            "no parent",
        ),
        ([{"name": "a", "steps": [tiny.REJECTION | {"source": SAMPLED | {"sampler": 1}}]}], "does not exist when"),
        (
            [{"name": "a", "init": SMALL, "steps": [tiny.REJECTION | {"source": SAMPLED | {"sampler": "parent"}}]}],
            "source.sampler: .* has no parent; name champion",
        ),
        (
            [{"name": "a", "init": SMALL, "steps": [tiny.RL], "verifier": {"type": "majority", "voters": ["parent"]}}],
            "verifier: .* has no parent; name champion",
        ),
        (
            [
                {"name": "a", "generations": 2, "steps": [tiny.RL]},
                {"name": "b", "steps": [tiny.RL], "verifier": {"type": "majority", "voters": [3]}},
            ],
            "generation 3 does not exist when generation 3 needs it",
        ),
        (
            [
                {"name": "a", "steps": [tiny.RL], "verifier": VOTED_BY_B},
                {"name": "b", "steps": [tiny.RL]},
            ],
            "generation 1 uses stage b before it ends; name champion",
        ),
        (
            [
                {"name": "a", "generations": 2, "steps": [tiny.RL]},
                {
                    "name": "b",
                    "generations": 2,
                    "branches": 2,
                    "steps": [{"type": "merge", "models": [1, 2]}],
                },
            ],
            "all 2 branches would be the same model",
        ),
        (
            [{"name": "a", "steps": [taught_by(END_OF_TWINS)]}, TWINS],
            "distillation.teacher: generation 1 uses stage twins before it ends; name champion",
        ),
        (
            [{"name": "a", "steps": [tiny.RL]}, TWINS | {"steps": [held_to(END_OF_TWINS)]}],
            "kl.model: generation 2 uses stage twins before it ends; name one of: a",
        ),
        ([{"name": "a", "init": "parent", "steps": [tiny.RL]}], "init: init says who the parent is; name champion"),
        (
            [TWINS, {"name": "a", "steps": [{"type": "merge", "models": [1, "parent"]}]}],
            r"models\[1\]: a generation that starts from a merge has no parent; name champion",
        ),
    ],
)
def test_stages_that_cannot_work_are_refused(stages: list[dict[str, Any]], message: str):
    with pytest.raises(ValidationError, match=message):
        staged(stages)


@pytest.mark.parametrize("voter", [1, {"type": "stage", "stage": "a"}], ids=["number", "stage"])
def test_a_later_stages_verifier_may_ask_an_earlier_generation_by_number_or_by_stage(tmp_path, voter):
    voting = {"type": "majority", "voters": [voter]}
    stages = [{"name": "a", "steps": [tiny.RL]}, {"name": "b", "steps": [tiny.RL], "verifier": voting}]
    entries = tiny.grow(staged(stages, evaluation=tiny.EVALUATION | {"verifier": {"type": "exact"}}), tmp_path)
    assert edge(entries[2], "voter").generation == 1


def test_a_stage_to_come_with_a_verifier_of_its_own_changes_nothing_before_it(tmp_path):
    own = {"type": "rubric", "components": [{"name": "right", "verifier": {"type": "exact"}}]}
    stages = [{"name": "a", "steps": [tiny.RL]}, {"name": "b", "steps": [tiny.RL], "verifier": own}]
    short, long = (
        tiny.grow(tiny.recipe(generations={"count": count, "stages": stages}), tmp_path / str(count))
        for count in (1, 2)
    )
    assert [entry.hash for entry in long[:2]] == [entry.hash for entry in short]


def test_the_recipes_own_verifier_cannot_ask_a_stage_to_come():
    exact = tiny.EVALUATION | {"verifier": {"type": "exact"}}
    with pytest.raises(ValidationError, match=r"uses stage b before it ends.*give a later stage this verifier"):
        staged([{"name": "b", "steps": [tiny.RL]}], verifier=VOTED_BY_B, evaluation=exact)


def test_steps_and_stages_together_or_neither_are_refused():
    for generations in ({}, {"steps": [tiny.RL], "stages": STAGES}):
        with pytest.raises(ValidationError, match="either steps"):
            tiny.recipe(generations=generations)
