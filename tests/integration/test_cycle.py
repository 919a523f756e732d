"""The whole cycle in one process: what a lineage holds, that it is the same every time, and that kills do not show."""

import json
from pathlib import Path

import pytest
from support import tiny
from support.splits import split_of

from bootstrap.errors import FingerprintMismatch, LineageMismatch
from bootstrap.evaluation.report import OutcomeRow
from bootstrap.ledger_records import GenerationOutcome
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.prompts.procedural import ProceduralTask
from bootstrap.records import Batch, Event, Split, Status, Use
from bootstrap.scoring.exact import ExactMatch
from bootstrap.stages import prepare
from bootstrap.stages.tables import Tables
from bootstrap.store.ledger import Entry, Ledger
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

ALL_STEPS = (tiny.RL, tiny.REJECTION, tiny.DISTILL)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory) -> tuple[Path, list[Entry]]:
    root = tmp_path_factory.mktemp("lineage")
    return root, tiny.grow(tiny.recipe(steps=ALL_STEPS), root)


def test_a_lineage_has_a_base_and_the_generations_asked_for(lineage):
    _, entries = lineage
    assert [e.generation.number for e in entries] == [0, 1, 2]
    assert entries[0].generation.outcome is GenerationOutcome.BASE
    assert all(e.generation.outcome is not GenerationOutcome.BASE for e in entries[1:])
    for entry in entries[1:]:
        generation = entry.generation
        assert generation.parent == entries[generation.number - 1].generation.champion
        assert generation.teachers == (0,)
        assert generation.decision.improvement is not None
        assert set(generation.artifacts) == {"weights", "evaluation", "diagnostics", "step-0", "step-1", "step-2"}


def test_every_hash_of_a_lineage_verifies(lineage):
    root, _ = lineage
    report = verify(root)
    assert not report.problems


def test_the_champion_is_the_last_promoted_generation(lineage):
    _, entries = lineage
    champion = 0
    for entry in entries:
        if entry.generation.outcome is GenerationOutcome.PROMOTED:
            champion = entry.generation.number
        assert entry.generation.champion == champion


def test_the_accounting_holds_every_rollout_that_is_stored(lineage):
    root, entries = lineage
    store = LineageStore(root)
    for entry in entries[1:]:
        generation = entry.generation
        tables = [Tables.read(store.artifact(generation.artifacts[f"step-{i}"])) for i in range(3)]
        assert generation.accounting.rollouts == sum(len(t.rollouts) for t in tables) == 4 * 4 * 4 + 20
        assert generation.accounting.prompts_drawn == 4 * 4 + 20
        trained = sum(s.use is not Use.NONE for t in tables for s in t.selections)
        assert generation.accounting.trained == trained
        passed = sum(v.status is Status.PASS for t in tables for v in t.verdicts)
        assert generation.accounting.passed == passed
        assert generation.compute.tokens["generate"] == sum(len(r.tokens) for t in tables for r in t.rollouts)
        assert generation.compute.useful_tokens <= generation.compute.tokens["generate"]


def test_trained_prompts_are_never_held_out(lineage):
    root, entries = lineage
    store = LineageStore(root)
    for entry in entries[1:]:
        for role in ("step-0", "step-1"):
            for rollout in Tables.read(store.artifact(entry.generation.artifacts[role])).rollouts:
                assert split_of("copy", rollout.prompt_text, heldout_fraction=0.5) is Split.TRAIN


def test_usage_counts_every_sequence_of_every_update(lineage):
    root, entries = lineage
    store = LineageStore(root)
    some_informative = False
    for entry in entries[1:]:
        tables = Tables.read(store.artifact(entry.generation.artifacts["step-0"]))
        assert all(abs(row.ratio_max - 1) < 1e-3 for row in tables.updates), "one update a round is on policy"
        some_informative |= any(s.use is Use.RL for s in tables.selections)
        informative = {s.rollout_id for s in tables.selections if s.use is Use.RL}
        assert {u.source for u in tables.usage if u.stream == "rl"} == informative
        assert sum(u.count for u in tables.usage if u.stream == "ce") == 4 * 8
    assert some_informative


class Spy(LocalPool):
    """Keeps every batch that reaches the learner."""

    def __init__(self) -> None:
        super().__init__(1, batch_rows=64)
        self.batches: list[Batch] = []

    def update(self, batch: Batch, *, lr_factor: float, grad_clip: float):
        self.batches.append(batch)
        return super().update(batch, lr_factor=lr_factor, grad_clip=grad_clip)


def test_no_reference_beyond_the_base_level_is_ever_shown_to_training(tmp_path):
    settings = tiny.recipe(steps=(tiny.RL, tiny.REJECTION), count=3)
    spy = Spy()
    entries = tiny.grow(settings, tmp_path, pool=spy)
    task, store = build_task(settings.task), LineageStore(tmp_path)
    rollouts = {}
    passed = set()
    for entry in entries[1:]:
        for role in ("step-0", "step-1"):
            tables = Tables.read(store.artifact(entry.generation.artifacts[role]))
            rollouts |= {r.id: r for r in tables.rollouts}
            passed |= {v.rollout_id for v in tables.verdicts if v.status is Status.PASS}
    demonstrated = {p.id for level in range(1, 5) for p in task.draw(level, 200, seed=0)}
    seen = {"own": 0, "reference": 0}
    for example in (e for batch in spy.batches for e in batch.examples):
        if example.source in rollouts:
            rollout = rollouts[example.source]
            # What is beyond the base is the model's own sampled text, imitated only where the verifier passed it.
            assert example.tokens[example.num_prompt_tokens :][: len(rollout.tokens)] == rollout.tokens
            assert not example.ce_weight or example.source in passed
            seen["own"] += 1
        else:
            assert example.source in demonstrated
            assert example.num_prompt_tokens - 2 <= settings.task.base_level, "prompt: <bos>, the string, ="
            seen["reference"] += 1
    assert seen["own"] > 20 and seen["reference"] > 20


def test_the_same_seed_gives_the_same_ledger_and_another_seed_another(lineage, tmp_path):
    _, entries = lineage
    again = tiny.grow(tiny.recipe(steps=ALL_STEPS), tmp_path / "again", fresh=True)
    assert [e.hash for e in again] == [e.hash for e in entries]
    other = tiny.grow(tiny.recipe(steps=ALL_STEPS, seed=1, count=0), tmp_path / "other")
    assert other[0].hash != entries[0].hash


def test_another_number_of_workers_gives_the_same_outcomes_within_their_intervals(lineage, tmp_path):
    _, entries = lineage
    two = tiny.grow(tiny.recipe(steps=ALL_STEPS), tmp_path, workers=2)
    for mine, theirs in zip(two, entries, strict=True):
        assert mine.generation.num_workers == 2
        assert mine.generation.target_levels == theirs.generation.target_levels
        assert mine.generation.accounting.prompts_drawn == theirs.generation.accounting.prompts_drawn
        for a, b in zip(mine.generation.report.levels, theirs.generation.report.levels, strict=True):
            assert a.interval.low <= b.interval.high and b.interval.low <= a.interval.high


def test_a_finished_lineage_is_left_as_it_is(lineage):
    root, entries = lineage
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    again = tiny.grow(tiny.recipe(steps=ALL_STEPS), root)
    assert [e.hash for e in again] == [e.hash for e in entries]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_a_longer_recipe_goes_on_where_the_lineage_ends(lineage, tmp_path):
    _, entries = lineage
    tiny.grow(tiny.recipe(steps=ALL_STEPS, count=1), tmp_path)
    longer = tiny.grow(tiny.recipe(steps=ALL_STEPS, count=2), tmp_path)
    assert [e.hash for e in longer] == [e.hash for e in entries]


def test_another_recipe_is_refused_and_nothing_is_touched(tmp_path):
    tiny.grow(tiny.recipe(count=0), tmp_path)
    with pytest.raises(LineageMismatch, match="seed: 0 -> 7"):
        tiny.grow(tiny.recipe(count=0, seed=7), tmp_path)


class Killed(Exception):
    """Stands for SIGKILL where a real one would be slow: it escapes from everywhere and cleans nothing up."""


def test_a_run_killed_after_every_durable_write_ends_with_the_same_ledger(tmp_path, monkeypatch):
    settings = tiny.recipe(steps=(tiny.REJECTION, tiny.RL), count=1)
    undisturbed = [e.hash for e in tiny.grow(settings, tmp_path / "undisturbed")]
    originals = {name: getattr(LineageStore, name) for name in ("put", "put_work", "remove_work", "clear_work")}

    def killing(name):
        def call(self, *args, **kwargs):
            before = set((self.root / "artifacts").iterdir()) | set((self.root / "work").iterdir())
            result = originals[name](self, *args, **kwargs)
            if before != set((self.root / "artifacts").iterdir()) | set((self.root / "work").iterdir()):
                raise Killed
            return result

        return call

    for name in originals:
        monkeypatch.setattr(LineageStore, name, killing(name))
    kills, root, updates = 0, tmp_path / "killed", []
    while True:
        try:
            # Every attempt dies after its first change on disk, so the run advances by one change at a time.
            entries = tiny.grow(settings, root, observe=lambda e: updates.append(e) if e.stage == "train" else None)
            break
        except Killed:
            kills += 1
            assert kills < 60
    assert kills > 15
    assert [e.hash for e in entries] == undisturbed
    assert not verify(root).problems
    assert len(updates) <= 2 * (60 + 4 + 4), "at most the part that was cut off is computed again"


@pytest.mark.parametrize(("edited", "again"), [(False, 0), (True, 2)])
def test_half_a_step_goes_on_with_the_same_source_alone_and_finished_ones_stay(tmp_path, monkeypatch, edited, again):
    held = tiny.RL | {"algorithm": {"type": "grpo", "kl": {"weight": 0.1}}}
    settings = tiny.recipe(steps=(tiny.REJECTION, held), count=1)
    undisturbed = [e.hash for e in tiny.grow(settings, tmp_path / "undisturbed")]
    put_work, root = LineageStore.put_work, tmp_path / "killed"

    def killing(self, kind, inputs, contents):
        artifact = put_work(self, kind, inputs, contents)
        if kind == "part" and inputs["generation"] == 1 and inputs["step"] == 1:
            raise Killed
        return artifact

    monkeypatch.setattr(LineageStore, "put_work", killing)
    with pytest.raises(Killed):
        tiny.grow(settings, root)
    monkeypatch.setattr(LineageStore, "put_work", put_work)
    if edited:
        monkeypatch.setattr("bootstrap.stages.context.source_digest", lambda: "another")
    updates: list[Event] = []
    entries = tiny.grow(settings, root, observe=lambda e: updates.append(e) if e.stage == "train" else None)
    # The step's first part of two updates was kept; the step before it was finished, whatever the source.
    assert [event.done for event in updates] == [*range(1, again + 1), 3, 4]
    assert [e.hash for e in entries] == undisturbed, "the source is no part of what is finished"


def test_a_checkpoint_inside_a_step_is_gone_once_its_generation_is_committed(lineage):
    root, _ = lineage
    assert list((root / "work").iterdir()) == []


def test_a_rollout_from_other_weights_than_planned_is_refused(tmp_path):
    class Stale(LocalPool):
        def hold(self, checkpoint):
            self.holding = checkpoint.fingerprint

    settings = tiny.recipe(steps=(tiny.REJECTION,), count=1)
    tiny.grow(tiny.recipe(steps=(tiny.REJECTION,), count=0), tmp_path)
    stale = Stale(1, batch_rows=64)
    stale.build(settings.base.model, "abc=", seed=5)
    with pytest.raises(FingerprintMismatch, match="the plan names"):
        tiny.grow(settings, tmp_path, pool=stale)


def test_progress_is_told_for_every_stage(tmp_path):
    events: list[Event] = []
    tiny.grow(tiny.recipe(count=1), tmp_path, observe=events.append)
    assert {e.stage for e in events} >= {"train", "evaluate"}
    assert all(0 <= e.done <= e.total for e in events)
    assert any("reward" in e.metrics for e in events if e.generation == 1)


def test_seconds_and_hosts_stay_outside_the_hash(lineage):
    # Generation 1: what trained generation 0 may lie ready, made for another lineage of these tests.
    root, entries = lineage
    path = LineageStore(root).ledger.path(1)
    record = json.loads(path.read_bytes())
    assert record["annotations"]["seconds"]["train"] > 0
    assert "seconds" not in json.dumps(record["payload"])
    assert entries[1].annotations.bound_fraction["train"] > 0


def test_easier_variants_are_the_share_of_prompts_that_the_recipe_says(tmp_path):
    rl = {**tiny.RL, "rounds": 2, "easier_variants": 0.5}
    rejection = {**tiny.REJECTION, "updates": 1, "source": {"type": "rejection", "prompts": 20, "easier_variants": 0.2}}
    settings = tiny.recipe(steps=(rl, rejection), count=1, task={"type": "addition", "base_level": 3})
    entries = tiny.grow(settings, tmp_path)
    store = LineageStore(tmp_path)
    for role, share in (("step-0", 0.5), ("step-1", 0.2)):
        tables = Tables.read(store.artifact(entries[1].generation.artifacts[role]))
        operands = {r.group: r.prompt_text.removesuffix("=").split("+") for r in tables.rollouts}
        assert all(max(map(len, pair)) == 4 for pair in operands.values())
        assert sum(len(a) != len(b) for a, b in operands.values()) == share * len(operands)


def test_where_a_tasks_file_lies_is_no_part_of_the_results(tmp_path):
    hashes = []
    for name in ("here", "there"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"prompt": f"{n}=", "answer": "ab"[n % 2]}) + "\n" for n in range(30)))
        lengths = {"alphabet": "ab=0123456789", "max_answer_length": 2, "max_prompt_length": 6}
        settings = tiny.recipe(count=1, steps=[tiny.RL], task={"type": "file", "path": str(path), **lengths})
        hashes.append([entry.hash for entry in tiny.grow(settings, tmp_path / name)])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("kind", ["rl", "rejection"])
def test_level_1_is_drawn_without_easier_variants_since_no_level_lies_below_it(tmp_path, kind):
    drawing = {"levels": "all", "easier_variants": 0.5}
    source = tiny.REJECTION["source"] | drawing
    step = (
        tiny.RL | {"rounds": 1, "prompts_per_update": 12} | drawing
        if kind == "rl"
        else tiny.REJECTION | {"source": source}
    )
    settings = tiny.recipe(count=1, steps=[step], task={"type": "addition", "base_level": 2})
    entries = tiny.grow(settings, tmp_path)
    tables = Tables.read(LineageStore(tmp_path).artifact(entries[1].generation.artifacts["step-0"]))
    assert {rollout.level for rollout in tables.rollouts} == {1, 2, 3}


def test_a_generation_starts_where_the_recipe_says(tmp_path):
    for init, parents in (("champion", None), ("previous", [0, 1]), ("base", [0, 0])):
        settings = tiny.recipe(generations={"count": 2, "init": init, "steps": [{**tiny.RL, "rounds": 2}]})
        entries = tiny.grow(settings, tmp_path / init)
        wanted = parents or [0, entries[1].generation.champion]
        assert [e.generation.parent for e in entries[1:]] == wanted
        starts = [next(edge for edge in e.generation.edges if edge.role == "init") for e in entries[1:]]
        assert [s.fingerprint for s in starts] == [entries[n].generation.fingerprint for n in wanted]


def test_an_accelerated_curriculum_aims_at_several_levels_and_samples_them_all(tmp_path):
    curriculum = {"type": "accelerated", "raise_at": 0.5, "until": 0.0, "max_levels": 3}
    settings = tiny.recipe(
        generations={"count": 1, "curriculum": curriculum, "steps": [tiny.REJECTION]},
        evaluation={**tiny.EVALUATION, "lookahead": 3},
    )
    entries = tiny.grow(settings, tmp_path)
    aimed = entries[1].generation.target_levels
    assert len(aimed) == 3
    tables = Tables.read(LineageStore(tmp_path).artifact(entries[1].generation.artifacts["step-0"]))
    assert {r.level for r in tables.rollouts} == set(aimed)
    improvement = entries[1].generation.decision.improvement
    assert improvement is not None and improvement.levels == aimed


def test_a_solved_curriculum_goes_on_from_what_the_ancestors_of_the_weights_were_trained_on(tmp_path, monkeypatch):
    # Models this small solve nothing; what they are taken to solve says which levels they were not trained on.
    monkeypatch.setattr(prepare, "accuracies", lambda _: dict.fromkeys(range(1, 20), 1.0))
    cycle = {"gate": "never", "steps": [tiny.REJECTION]}
    solved = cycle | {"curriculum": {"type": "solved", "max_levels": 2}}
    stages = [
        cycle | {"name": "given", "init": "base", "curriculum": {"type": "given", "levels": [6]}},
        solved | {"name": "from-it", "init": {"type": "stage", "stage": "given"}},
        solved | {"name": "from-base", "init": "base"},
    ]
    entries = tiny.grow(tiny.recipe(generations={"stages": stages}), tmp_path)
    assert [entry.generation.target_levels for entry in entries[1:]] == [(6,), (7, 8), (5, 6)]


def test_nothing_is_aimed_at_or_evaluated_beyond_a_tasks_last_level(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "accuracies", lambda _: dict.fromkeys(range(1, 20), 1.0))
    monkeypatch.setattr(ProceduralTask, "highest_level", 5)
    entries = tiny.grow(tiny.recipe(count=1, steps=[tiny.REJECTION]), tmp_path, fresh=True)
    assert entries[1].generation.target_levels == (5,)
    assert [max(row.level for row in entry.generation.report.levels) for entry in entries] == [5, 5]


def test_a_champion_is_evaluated_on_levels_that_its_own_report_lacks(tmp_path):
    settings = tiny.recipe(
        generations={"count": 2, "init": "previous", "curriculum": {"type": "fixed"}, "steps": [tiny.REJECTION]},
        evaluation={**tiny.EVALUATION, "lookahead": 0},
    )
    entries = tiny.grow(settings, tmp_path)
    assert [e.generation.target_levels for e in entries[1:]] == [(5,), (6,)]
    assert max(row.level for row in entries[0].generation.report.levels) == 4
    for entry in entries[1:]:
        improvement = entry.generation.decision.improvement
        assert improvement is not None and improvement.num_prompts == 40


def test_data_edges_name_the_generations_whose_answers_were_trained_on(tmp_path):
    replayed = tiny.recipe(generations={"count": 2, "curriculum": {"type": "fixed"}, "steps": [tiny.RL]})
    entries = tiny.grow(replayed, tmp_path / "replayed")
    edges = [e for e in entries[2].generation.edges if e.role == "data"]
    gave = entries[1].generation.accounting.replayed
    assert [e.generation for e in edges] == ([1] if gave else [])
    assert gave, "generation 1 must have a right answer for this test to mean anything"
    alone = {**tiny.RL, "distillation": None}
    without = tiny.recipe(generations={"count": 2, "curriculum": {"type": "fixed"}, "steps": [alone]})
    assert not [e for x in tiny.grow(without, tmp_path / "alone") for e in x.generation.edges if e.role == "data"]


def test_a_teacher_outside_the_lineage_is_an_edge_with_its_fingerprint(lineage, tmp_path):
    root, entries = lineage
    folder = tmp_path / "teacher"
    folder.mkdir()
    for name, data in LineageStore(root).artifact(entries[2].generation.artifacts["weights"]).read_all().items():
        (folder / name).write_bytes(data)
    outside = {"loss": "forward_kl", "teacher": {"type": "folder", "path": str(folder)}, "batch_size": 8}
    settings = tiny.recipe(steps=({**tiny.DISTILL, "distillation": outside},), count=1)
    (edge,) = [e for e in tiny.grow(settings, tmp_path / "s")[1].generation.edges if e.role == "teacher"]
    assert (edge.generation, edge.external) == (None, str(folder))
    assert edge.fingerprint == entries[2].generation.fingerprint


def test_seconds_of_finished_stages_survive_a_kill(tmp_path, monkeypatch):
    settings = tiny.recipe(count=1)
    append = Ledger.append

    def killed(self, generation, annotations):
        if generation.number == 1:
            raise Killed
        return append(self, generation, annotations)

    monkeypatch.setattr(Ledger, "append", killed)
    with pytest.raises(Killed):
        tiny.grow(settings, tmp_path)
    monkeypatch.undo()
    seconds = tiny.grow(settings, tmp_path)[1].annotations.seconds
    assert all(seconds[phase] > 0 for phase in ("generate", "train", "evaluate"))


def test_a_base_from_a_folder_keeps_its_tokenizer_and_goes_on_learning(lineage, tmp_path):
    root, entries = lineage
    folder = tmp_path / "model"
    folder.mkdir()
    weights = LineageStore(root).artifact(entries[0].generation.artifacts["weights"])
    for name, data in weights.read_all().items():
        (folder / name).write_bytes(data)
    settings = tiny.recipe(base={"model": {"type": "folder", "path": str(folder)}}, count=1)
    grown = tiny.grow(settings, tmp_path / "store")
    assert grown[0].generation.fingerprint == entries[0].generation.fingerprint
    (edge,) = grown[0].generation.edges
    assert (edge.role, edge.generation, edge.external) == ("init", None, str(folder))
    assert grown[0].generation.parent is None
    assert grown[1].generation.fingerprint != grown[0].generation.fingerprint
    files = LineageStore(tmp_path / "store").artifact(grown[1].generation.artifacts["weights"]).read_all()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert files[name] == weights.read(name)


def test_a_step_none_of_whose_answers_passes_says_so_and_replays(tmp_path):
    untrained = {"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 1, "batch_size": 8}]}
    told: list[str] = []
    settings = tiny.recipe(steps=(tiny.REJECTION,), count=1, base=untrained)
    entries = tiny.grow(settings, tmp_path, observe=lambda event: told.append(event.message))
    assert any("no answer passed the filter" in message for message in told)
    assert entries[1].generation.accounting.trained == 0
    assert entries[1].generation.outcome is GenerationOutcome.REJECTED


def test_answers_that_all_fail_for_one_reason_are_told_by_its_name_once_a_step(tmp_path, monkeypatch):
    monkeypatch.setattr("bootstrap.stages.verifiers.prove", lambda *_: None)
    monkeypatch.setattr("bootstrap.loop.probe_again", lambda *_, **__: None)
    warnings: list[tuple[int, str]] = []
    tagged = {"type": "exact", "answer": {"type": "tagged"}}
    settings = tiny.recipe(steps=(tiny.REJECTION, tiny.RL), count=1, verifier=tagged)
    tiny.grow(
        settings,
        tmp_path,
        observe=lambda event: warnings.append((event.generation, event.warning)) if event.warning else None,
    )
    assert [number for number, _ in warnings] == [1, 1], "once for each step that asks"
    assert all("answers failed for one reason: " in warning and "answer" in warning for _, warning in warnings)


def test_a_lineage_none_of_whose_answers_can_be_judged_grows_and_says_so(tmp_path, monkeypatch):
    # Allowed by the recipe: nothing is learned from such answers, and nothing falls over them.
    real = ExactMatch.judge_one

    def judge_one(self, answer):
        if not self._place.strip:
            raise ValueError("out of order")
        return real(self, answer)

    monkeypatch.setattr("bootstrap.stages.verifiers.prove", lambda *_: None)
    monkeypatch.setattr("bootstrap.loop.probe_again", lambda *_, **__: None)
    monkeypatch.setattr(ExactMatch, "judge_one", judge_one)
    eval_verifier = {"type": "exact", "answer": {"type": "whole", "strip": True}}
    settings = tiny.recipe(
        steps=(tiny.REJECTION, tiny.RL | {"retire": 0.5, "algorithm": {"type": "grpo", "normalize_std": "batch"}}),
        count=1,
        max_unverifiable=1,
        evaluation=tiny.EVALUATION | {"verifier": eval_verifier},
    )
    accounting = tiny.grow(settings, tmp_path)[1].generation.accounting
    assert accounting.unverifiable == accounting.rollouts == 20 + 64
    assert accounting.trained == accounting.passed == accounting.failed == 0
    assert not verify(tmp_path).problems


def test_answers_end_at_the_limit_that_the_recipe_sets(tmp_path):
    rows = ({"prompt": f"{n}=", "answer": str(n)} for n in range(200))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"type": "file", "path": str(tmp_path / "rows.jsonl"), "alphabet": "0123456789=", "max_answer_length": 3}
    untrained = {"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 1, "batch_size": 8}]}
    settings = tiny.recipe(
        task={**task, "max_prompt_length": 4, "max_answer_tokens": 14, "heldout_fraction": 0.5},
        base=untrained,
        count=1,
        evaluation={**tiny.EVALUATION, "lookahead": 0},
    )
    generation = tiny.grow(settings, tmp_path / "store")[1].generation
    store = LineageStore(tmp_path / "store")
    sampled = Tables.read(store.artifact(generation.artifacts["step-0"])).rollouts
    evaluated = from_parquet(store.artifact(generation.artifacts["evaluation"]).read("outcomes.parquet"), OutcomeRow)
    assert max(len(rollout.tokens) for rollout in sampled) == 14
    assert max(row.num_tokens for row in evaluated) == 14
