"""Guards end to end: diagnostics are measured from what is stored, and each action does what the recipe says."""

import json
from pathlib import Path
from random import Random

import pytest
from support import tiny

from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import DiagnosticMetric, GenerationOutcome, GuardAction
from bootstrap.lineage import queries
from bootstrap.pool import LocalPool
from bootstrap.prompts.build import build_task
from bootstrap.records import Rollout, Verdict
from bootstrap.scoring.verifier import Tools, build_verifier, score
from bootstrap.stages.tables import Tables
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet
from bootstrap.store.verify import verify

pytestmark = pytest.mark.training

SHOWN = {"type": "sft", "updates": 2, "batch_size": 8}
OWN = {
    "type": "sft",
    "updates": 2,
    "batch_size": 8,
    "source": {"type": "rejection", "prompts": 8, "filter": "none", "newest_share": 1.0},
}
MOVED = {"metric": "kl_parent", "max": 1e-9}
"""Broken by every generation that has trained at all."""
ALL_OWN = {"metric": "model_made", "max": 0.5}
"""Broken by `OWN` alone."""


def recipe(*guards: dict[str, object], count: int = 2, **changes: object) -> Recipe:
    """One generation shown references, then others that imitate their own answers; the gate promotes them all."""
    stages = [
        {"name": "shown", "gate": "always", "steps": [SHOWN]},
        {"name": "own", "gate": "always", "generations": count - 1, "steps": [OWN]},
    ]
    base = {"model": tiny.MODEL, "steps": [{"type": "sft", "updates": 10, "batch_size": 16}]}
    settings = {"generations": {"stages": stages}, "base": base, "guards": list(guards), **changes}
    return tiny.recipe(**settings)


def outcomes(entries: list[Entry]) -> list[tuple[GenerationOutcome, int]]:
    return [(entry.generation.outcome, entry.generation.champion) for entry in entries]


def told(entries: list[Entry]) -> list[list[str]]:
    return [[f"{f.metric} {f.action}" for f in entry.generation.diagnostics.findings] for entry in entries]


def test_a_collapsed_generation_that_is_left_ungated_rolls_no_champion_back(tmp_path: Path) -> None:
    stages = [
        {"name": "shown", "gate": "always", "steps": [SHOWN]},
        {"name": "control", "gate": "never", "steps": [OWN]},
    ]
    guards = (MOVED, ALL_OWN | {"action": "roll_back"})
    entries = tiny.grow(recipe(*guards, generations={"stages": stages}), tmp_path)
    assert told(entries)[1:] == [["kl_parent warn"], ["kl_parent warn", "model_made roll_back"]]
    assert outcomes(entries)[1:] == [(GenerationOutcome.PROMOTED, 1), (GenerationOutcome.UNGATED, 1)]


def test_a_warning_is_recorded_and_changes_nothing(tmp_path: Path) -> None:
    plain = tiny.grow(recipe(), tmp_path / "plain")
    guarded = tiny.grow(recipe(MOVED, ALL_OWN), tmp_path / "guarded")
    assert told(guarded) == [[], ["kl_parent warn"], ["kl_parent warn", "model_made warn"]]
    assert told(plain) == [[], [], []]
    for one, other in zip(plain, guarded, strict=True):
        for name in ("fingerprint", "report", "decision", "champion", "outcome", "accounting", "compute"):
            assert getattr(one.generation, name) == getattr(other.generation, name)
        assert one.generation.diagnostics == other.generation.diagnostics.model_copy(update={"findings": ()})


@pytest.mark.parametrize("seed", [0, 1])
def test_default_guards_leave_decisions_as_they_are(tmp_path: Path, seed: int) -> None:
    found = []
    for name, changes in {"none": {"guards": []}, "default": {}}.items():
        grown = tiny.grow(tiny.recipe(count=1, seed=seed, **changes), tmp_path / name)
        found.append([(e.generation.fingerprint, e.generation.decision, e.generation.champion) for e in grown])
        assert ("accuracy_jump" in grown[1].annotations.checks) == (name == "default"), "measured where it is watched"
    assert found[0] == found[1]


def test_a_rejected_candidate_does_not_become_champion_whatever_the_gate_says(tmp_path: Path) -> None:
    entries = tiny.grow(recipe({**ALL_OWN, "action": "reject"}), tmp_path)
    assert outcomes(entries) == [
        (GenerationOutcome.BASE, 0),
        (GenerationOutcome.PROMOTED, 1),
        (GenerationOutcome.REJECTED, 1),
    ]
    reason = entries[2].generation.decision.reason
    assert reason.startswith("rejected: guard model_made 1 is above 0.5 (reject); the gate would have promoted it")
    assert not verify(tmp_path).problems


def test_a_roll_back_returns_the_champion_to_the_last_one_within_all_bounds(tmp_path: Path) -> None:
    entries = tiny.grow(recipe(MOVED, {**ALL_OWN, "action": "roll_back"}, count=3), tmp_path)
    assert outcomes(entries)[:3] == [
        (GenerationOutcome.BASE, 0),
        (GenerationOutcome.PROMOTED, 1),
        (GenerationOutcome.REJECTED, 0),
    ]
    assert "the champion returns to gen-0" in entries[2].generation.decision.reason
    # What comes next starts there.
    assert entries[3].generation.parent == 0
    assert queries.champion_path(entries) == [0]


def test_a_stop_ends_the_run_and_only_past_guards_goes_on(tmp_path: Path) -> None:
    settings = recipe(MOVED, {**ALL_OWN, "action": "stop"}, count=4)
    published: list[int] = []
    entries = tiny.grow(settings, tmp_path, publish=lambda: published.append(len(published)))
    assert outcomes(entries) == [
        (GenerationOutcome.BASE, 0),
        (GenerationOutcome.PROMOTED, 1),
        (GenerationOutcome.REJECTED, 1),
    ]
    assert [entry.generation.stops for entry in entries] == [False, False, True]
    assert published == [0, 1, 2], "what was grown is committed and told"
    assert [e.hash for e in tiny.grow(settings, tmp_path)] == [e.hash for e in entries]
    further = tiny.grow(settings, tmp_path, past_guards=True)
    assert [e.hash for e in further[:3]] == [e.hash for e in entries]
    assert len(further) == 4 and further[3].generation.stops, "the next stop is heeded again"
    assert further[3].generation.parent == 1


def test_a_base_out_of_bounds_ends_the_run_and_stays_the_base(tmp_path: Path) -> None:
    entries = tiny.grow(recipe({"metric": "entropy", "min": 99.0, "action": "stop"}), tmp_path)
    assert outcomes(entries) == [(GenerationOutcome.BASE, 0)]
    assert entries[0].generation.stops


def test_diagnostics_are_those_of_the_answers_and_tables_in_the_store(tmp_path: Path) -> None:
    settings = tiny.recipe(
        count=1,
        steps=(tiny.RL,),
        verifier={"type": "random"},
        evaluation={**tiny.EVALUATION, "verifier": {"type": "exact"}},
    )
    generation = tiny.grow(settings, tmp_path)[1].generation
    store = LineageStore(tmp_path)
    evaluation = store.artifact(generation.artifacts["evaluation"])
    pairs = [
        (rollout, verdict)
        for rollout, verdict in zip(
            from_parquet(evaluation.read("samples.parquet"), Rollout),
            from_parquet(evaluation.read("verdicts.parquet"), Verdict),
            strict=True,
        )
        if rollout.id.startswith("sampled.")
    ]
    rollouts = [rollout for rollout, _ in pairs]
    diagnostics = generation.diagnostics
    entropies = [entropy for rollout in rollouts for entropy in rollout.entropies]
    assert diagnostics.entropy == pytest.approx(sum(entropies) / len(entropies))
    (target,) = generation.target_levels
    assert diagnostics.entropy == pytest.approx(generation.report.level(target).entropy)
    assert diagnostics.distinct_answers == pytest.approx(generation.report.level(target).distinct_answers)
    coin = build_verifier(settings.verifier, tools=Tools())
    judged = score(rollouts, dict.fromkeys((r.prompt_id for r in rollouts), "?"), verifier=coin, max_unverifiable=1.0)
    differing = [mine.status is not theirs.status for mine, (_, theirs) in zip(judged, pairs, strict=True)]
    assert (
        diagnostics.disagreement == pytest.approx(sum(differing) / len(differing)) and 0 < diagnostics.disagreement < 1
    )
    tables = Tables.read(store.artifact(generation.artifacts["step-0"]))
    made = sum(row.count for row in tables.usage if row.source.startswith("g"))
    assert diagnostics.model_made == pytest.approx(made / sum(row.count for row in tables.usage)) and made
    assert diagnostics.overlap == 0.0, (
        "the tiny task's prompts are shorter than ten tokens, and no held-out one is trained on"
    )
    assert diagnostics.kl_parent == diagnostics.kl_base > 0


def twins(path: Path, *, seed: int, levels: int, marks: str) -> dict[str, object]:
    """Write rows in pairs that differ in their last character alone; return the task, which holds half of them out."""
    rng = Random(seed)
    stems = ["".join(rng.choices("0123456789", k=12)) for _ in range(60)]
    rows = [
        {"prompt": f"{stem}{mark}", "answer": stem[0], "level": 1 + place % levels}
        for place, stem in enumerate(stems)
        for mark in marks
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "type": "file",
        "path": str(path),
        "max_prompt_length": 16,
        "max_answer_length": 1,
        "heldout_fraction": 0.5,
        "alphabet": "0123456789ab",
    }


def test_near_duplicates_of_held_out_prompts_are_seen_wherever_training_meets_them(tmp_path: Path) -> None:
    given = {"type": "given", "levels": [2]}
    stages = [
        {"name": "own", "gate": "always", "curriculum": given, "steps": [OWN]},
        {
            "name": "replay",
            "gate": "always",
            "curriculum": {"type": "given", "levels": [3]},
            "steps": [
                {"type": "distill", "updates": 2, "distillation": {"batch_size": 16, "min_reference_share": 0.25}}
            ],
        },
    ]
    settings = recipe(
        task=twins(tmp_path / "rows.jsonl", seed=0, levels=3, marks="ab"),
        generations={"stages": stages},
        base={"model": tiny.MODEL, "steps": [SHOWN]},
        evaluation={**tiny.EVALUATION, "lookahead": 0},
    )
    entries = tiny.grow(settings, tmp_path / "lineage")
    store, task = LineageStore(tmp_path / "lineage"), build_task(settings.task)
    texts = {prompt.id: prompt.text for level in (1, 2) for prompt in task.draw(level, 40, seed=0)}
    heldout = {prompt.text[:-1] for level in (1, 2) for prompt in task.heldout(level, 40)}
    answered = dict[str, str]()
    for entry in entries:
        tables = Tables.read(store.artifact(entry.generation.artifacts["step-0"]))
        answered |= {rollout.id: rollout.prompt_text for rollout in tables.rollouts}
        used = {row.source for row in tables.usage} | {s.rollout_id for s in tables.selections if s.replay}
        trained = {(answered | texts)[source] for source in used}
        twin = [text for text in trained if text[:-1] in heldout]
        assert entry.generation.diagnostics.overlap == len(twin) / len(trained) > 0
    sources = {row.source for row in tables.usage}
    assert sources & answered.keys() and sources & texts.keys(), "the last one replays answers and references"


def test_near_duplicates_of_the_panels_held_out_prompts_are_seen_too(tmp_path: Path) -> None:
    own, other = (twins(tmp_path / f"{mark}.jsonl", seed=0, levels=1, marks=mark) for mark in "ab")
    watched = {"watched": {"task": other, "prompts_per_level": 40}}
    alone, beside = (
        tiny.grow(
            recipe(
                task=own,
                generations={"count": 0, "steps": [SHOWN]},
                base={"model": tiny.MODEL, "steps": [SHOWN]},
                evaluation={**tiny.EVALUATION, "lookahead": 0, "panel": panel},
            ),
            tmp_path / f"panel-{len(panel)}",
        )[0].generation.diagnostics.overlap
        for panel in ({}, watched)
    )
    assert alone == 0.0 < beside


def test_everything_a_guard_can_watch_is_measured_and_shown(tmp_path: Path) -> None:
    settings = recipe(
        ALL_OWN, verifier={"type": "random"}, evaluation={**tiny.EVALUATION, "verifier": {"type": "exact"}}
    )
    entries = tiny.grow(settings, tmp_path)
    last = entries[2].generation
    jump = DiagnosticMetric.ACCURACY_JUMP
    assert all(last.diagnostics.value(metric) is not None for metric in set(DiagnosticMetric) - {jump})
    assert entries[2].annotations.checks[jump] == 0, "kept with the record where it breaks its bound"
    assert last.diagnostics.kl_parent != last.diagnostics.kl_base
    shown = queries.show(entries, "gen-2")
    assert set(shown["diagnostics"]) == {metric.value for metric in DiagnosticMetric}
    assert [row["action"] for row in shown["findings"]] == [GuardAction.WARN]
    base = entries[0].generation.diagnostics
    missing = {metric for metric in DiagnosticMetric if base.value(metric) is None}
    before = {"pass_at_k_change", "length_ratio", "kl_parent", "kl_base", "accuracy_jump"}
    assert missing == before, "generation 0 has nothing before it"


def test_a_killed_diagnosis_is_not_repeated_once_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = recipe()
    undisturbed = [entry.hash for entry in tiny.grow(settings, tmp_path / "one")]
    put = LineageStore.put

    def killing(self: LineageStore, kind: str, *args: object) -> object:
        result = put(self, kind, *args)
        if kind == "diagnostics" and len(self.ledger.read()) == 2:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(LineageStore, "put", killing)
        with pytest.raises(KeyboardInterrupt):
            tiny.grow(settings, tmp_path / "two")

    class Deaf(LocalPool):
        def divergence(self, *args: object, **kwargs: object) -> None:
            raise AssertionError("it is in the store")

    again = tiny.grow(settings, tmp_path / "two", pool=Deaf(1, batch_rows=64))
    assert [entry.hash for entry in again] == undisturbed
    assert again[2].annotations.seconds["diagnostics"] > 0


def test_the_floor_of_references_holds_the_share_of_model_made_data_down(tmp_path: Path) -> None:
    found = []
    for share in (0.0, 0.9, 1.0):
        distillation = {"batch_size": 10, "min_reference_share": share, "decay": 0.5}
        stages = [
            {"name": "own", "gate": "always", "curriculum": {"type": "fixed"}, "steps": [OWN]},
            {
                "name": "replayed",
                "curriculum": {"type": "fixed"},
                "steps": [{"type": "distill", "updates": 8, "distillation": distillation}],
            },
        ]
        entries = tiny.grow(recipe(generations={"stages": stages}), tmp_path / str(share))
        assert entries[1].generation.diagnostics.model_made == 1.0
        found.append(entries[2].generation.diagnostics.model_made)
    plain, tenth, none = found
    assert none == 0.0 < tenth <= 0.1 < plain, "of five levels replayed, one is the model's own"


def test_rejection_replays_what_its_settings_say(tmp_path: Path) -> None:
    found = {}
    for name, replay in {
        "plain": {},
        "references": {"data": "references"},
        "floor": {"min_reference_share": 1},
    }.items():
        source = OWN["source"] | {"newest_share": 0.25, "replay": replay}
        stages = [
            {"name": "own", "gate": "always", "curriculum": {"type": "fixed"}, "steps": [OWN]},
            {"name": "mixed", "curriculum": {"type": "fixed"}, "steps": [OWN | {"updates": 4, "source": source}]},
        ]
        entries = tiny.grow(recipe(generations={"stages": stages}), tmp_path / name)
        tables = Tables.read(LineageStore(tmp_path / name).artifact(entries[2].generation.artifacts["step-0"]))
        kinds = (row.source.split(".")[0] if "." in row.source else "reference" for row in tables.usage)
        found[name] = set(kinds)
    assert found == {
        "plain": {"g1", "g2", "reference"},
        "references": {"g2", "reference"},
        "floor": {"g2", "reference"},
    }
