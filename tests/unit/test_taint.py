"""What is downstream of a generation, a verifier, a data set or a model; the lineages are those of `test_questions`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.lineage_factory import PROMOTED, build
from support.questioned import Shown, forked, rewritten, used
from support.rich_lineage import TEACHER
from support.rollouts import rollout

from bootstrap import Lineage
from bootstrap.canonical import sha256
from bootstrap.cli.main import main
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Edge, Generation
from bootstrap.records import Rollout, Selection, Use
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet


def test_taint_of_a_generation_follows_every_edge(rich: Lineage) -> None:
    found = rich.taint("gen-5")
    assert [(row.generation, row.distance, row.via) for row in found.downstream] == [
        ("gen-6", 1, ("is merged from gen-5",)),
        ("gen-7", 2, ("starts from gen-6", "was trained on answers of gen-6")),
        ("gen-8", 2, ("starts from gen-6", "was trained on answers of gen-6")),
    ]
    assert found.clean == ("gen-0", "gen-1", "gen-2", "gen-3", "gen-4")
    assert found.champion_is_tainted and found.kind == "generation"
    assert found.sentence == "3 of 9 generations of rich are downstream of gen-5, the champion among them"


def test_taint_tells_teaching_voting_and_holding_apart(rich: Lineage) -> None:
    ways = {row.generation: row.via for row in rich.taint("gen-1").downstream}
    assert ways["gen-3"] == ("starts from gen-1", "was held to gen-1", "was trained on answers of gen-1")
    assert ways["gen-5"] == ("was taught by gen-1", "was trained on answers of gen-1")
    assert ways["gen-6"] == ("was judged by the votes of gen-1", "was trained on answers of gen-1")


def test_a_rejected_generation_that_nobody_learnt_from_taints_nothing(rich: Lineage) -> None:
    found = rich.taint("gen-2")
    assert not found.downstream and found.sentence == "nothing is downstream of gen-2; not the champion"


def test_taint_goes_on_into_forks(rich_store: Path) -> None:
    found = Lineage(rich_store, "addition").taint("gen-1")
    own = [row.generation for row in found.downstream if row.lineage == "addition"]
    assert own == ["gen-2", "gen-3"]
    others = {row.generation: (row.distance, row.via) for row in found.downstream if row.lineage == "rich"}
    assert others["gen-0"] == (2, ("starts from addition@gen-3",))
    assert others["gen-1"] == (3, ("starts from gen-0", "was trained on answers of gen-0"))
    assert len(others) == 9 and found.sentence.endswith("the champion among them, and 9 in rich")


def test_a_fork_is_tainted_by_answers_that_it_inherited(tmp_path: Path) -> None:
    origin = rewritten(tmp_path, step_0=used)
    # Nothing in the origin leads from gen-1 to gen-0, from which the fork starts; the answer is gen-1's.
    forked(tmp_path, origin=origin, number=0)
    ways = {row.generation: row.via for row in origin.taint("gen-1").downstream if row.lineage == "fork"}
    assert ways["gen-0"] == ("inherited answers of made@gen-1",)


def test_taint_of_a_model_outside_the_lineage(rich: Lineage) -> None:
    found = rich.taint(TEACHER)
    direct = [(row.generation, row.via) for row in found.downstream if row.distance == 1]
    assert direct == [("gen-1", (f"was taught by {TEACHER}",)), ("gen-2", (f"was taught by {TEACHER}",))]
    assert found.kind == "model" and found.clean == ("gen-0",)


def test_taint_of_a_verifier_by_name_and_by_version(rich: Lineage) -> None:
    by_name, by_version = rich.taint("exact"), rich.taint("v" + "1" * 15)
    assert by_name.downstream == by_version.downstream
    # The nine of the lineage, and the four of the one that it was forked from.
    assert [row.lineage for row in by_name.downstream] == ["rich"] * 9 + ["addition"] * 4
    assert {row.via for row in by_name.downstream} == {("judged its answers",)}
    assert by_name.kind == "verifier" and by_name.clean == ()


def altered(folder: Path, name: str, change: Callable[[Generation], dict[str, Any]]) -> Lineage:
    """Return a lineage of three generations whose records are changed; its weights are its own, unless told."""
    build(folder / "school", plan=[PROMOTED, PROMOTED], name="school", teacher=False)
    source, made = LineageStore(folder / "school"), LineageStore(folder / name)
    made.open(name, identity=source.header().identity)
    shutil.copytree(source.artifacts_folder, made.artifacts_folder, dirs_exist_ok=True)
    for entry in source.ledger.read():
        own = {"fingerprint": sha256(f"{name} {entry.generation.number}".encode())}
        made.ledger.append(entry.generation.model_copy(update=own | change(entry.generation)), entry.annotations)
    shutil.rmtree(source.root)
    return Lineage(folder, name)


def of_others(lineage: Lineage, subject: str) -> list[tuple[str, str, tuple[str, ...]]]:
    found = lineage.taint(subject).downstream
    return [(row.lineage, row.generation, row.via) for row in found if row.lineage != lineage.name]


def taught(record: str | None, fingerprint: str) -> Callable[[Generation], dict[str, Any]]:
    edge = Edge(role="teacher", generation=None, external="/exports/x", exported=record, fingerprint=fingerprint)
    return lambda node: {"edges": (*node.edges, edge)} if node.number == 2 else {}


def test_taint_follows_exported_weights_into_other_lineages(tmp_path: Path) -> None:
    # Two lineages of one recipe and seed have the same weights; only one of them was exported.
    entries = build(tmp_path / "tutor", plan=[PROMOTED, PROMOTED], teacher=False)
    shutil.copytree(tmp_path / "tutor", tmp_path / "twin")
    for path in (tmp_path / "twin" / "ledger").iterdir():
        path.unlink()
    twin = LineageStore(tmp_path / "twin")
    for entry in entries:
        twin.ledger.append(entry.generation.model_copy(update={"seed": 8}), entry.annotations)
    tutor, one = Lineage(tmp_path, "tutor"), entries[1]
    altered(tmp_path, "second", taught(one.hash, one.generation.fingerprint))
    # Of an adapter, exported with its base as a whole, the fingerprint is another.
    altered(tmp_path, "third", taught(one.hash, "f" * 64))
    way = "was taught by /exports/x, exported from tutor@gen-1"
    assert of_others(tutor, "gen-1") == [("second", "gen-2", (way,)), ("third", "gen-2", (way,))]
    assert of_others(Lineage(tmp_path, "twin"), "gen-1") == [] == of_others(tutor, "gen-2")
    # Through gen-1, whose weights were exported.
    base = {(row.lineage, row.generation): row.distance for row in tutor.taint("gen-0").downstream}
    assert base["second", "gen-2"] == 2


def test_taint_follows_weights_whose_folder_does_not_say_where_they_are_from(tmp_path: Path) -> None:
    entries = build(tmp_path / "tutor", plan=[PROMOTED, PROMOTED], teacher=False)
    altered(tmp_path, "second", taught(None, entries[1].generation.fingerprint))
    way = "was taught by /exports/x, with the weights of tutor@gen-1"
    assert of_others(Lineage(tmp_path, "tutor"), "gen-1") == [("second", "gen-2", (way,))]


def test_lineages_that_start_from_the_same_outside_weights_are_not_downstream_of_one_another(tmp_path: Path) -> None:
    edge = Edge(role="init", generation=None, external="/models/base", fingerprint="b" * 64)

    def base(node: Generation) -> dict[str, Any]:
        return {} if node.number else {"edges": (edge,), "fingerprint": edge.fingerprint}

    first, second = (altered(tmp_path, name, base) for name in ("first", "second"))
    assert of_others(first, "gen-0") == [] == of_others(second, "gen-0")
    assert len(first.taint("/models/base").downstream) == 3


def test_taint_knows_no_data_set_of_a_step_that_there_was_not(tmp_path: Path) -> None:
    lineage = rewritten(tmp_path, step_0=used)
    for name in ("rollouts-gen-0-step-7", "training-gen-1-step-1", "replay-gen-0", "rollouts-gen-9-step-0"):
        with pytest.raises(RecipeError, match=f"knows no subject '{name}'"):
            lineage.taint(name)
    assert lineage.taint("rollouts-gen-1-step-0").downstream and lineage.taint("replay-gen-1").downstream
    inherited = forked(tmp_path, origin=lineage, number=2).taint("replay-gen-0").downstream
    assert (inherited[0].generation, inherited[0].via) == ("gen-0", ("inherited it",))


def test_taint_looks_upstream_of_a_fork(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "first", plan=[PROMOTED, PROMOTED], outside="/models/tutor", teacher=False)
    forked(tmp_path, origin=Lineage(tmp_path, "first"), number=1)
    found = Lineage(tmp_path, "fork").taint("/models/tutor")
    assert [(row.lineage, row.generation, row.distance) for row in found.downstream] == [
        ("first", "gen-1", 1),
        ("first", "gen-2", 1),
        ("fork", "gen-0", 2),
        ("fork", "gen-1", 3),
    ]
    assert found.clean == () and found.champion_is_tainted and found.unsearched == ()
    shutil.rmtree(tmp_path / "first")
    alone = Lineage(tmp_path, "fork").taint("exact")
    assert alone.unsearched == ("first@gen-1",) and Lineage(tmp_path, "fork").taint("gen-0").unsearched == ()
    assert main(["taint", "exact", "--lineage", "fork", "--store", str(tmp_path)]) == 0
    assert "not searched: first@gen-1" in capsys.readouterr().err


def test_taint_of_data_sets(rich: Lineage, tmp_path: Path) -> None:
    for name in ("replay-gen-5", "rollouts-gen-5-step-0", "training-gen-5-step-0"):
        assert [(row.generation, row.distance, row.via) for row in rich.taint(name).downstream][:2] == [
            ("gen-5", 1, ("drew it, and was trained on it",)),
            ("gen-6", 2, ("is merged from gen-5",)),
        ]
    with pytest.raises(RecipeError, match="knows no subject 'replay-gen-9'"):
        rich.taint("replay-gen-9")
    suite = rich.generation("gen-8").report.suite
    assert [(row.generation, row.via) for row in rich.taint(f"suite-{suite[:12]}").downstream] == [
        ("gen-7", ("was evaluated on it",)),
        ("gen-8", ("was evaluated on it",)),
    ]
    panel = rich.taint("copy")
    assert panel.kind == "dataset" and [row.lineage for row in panel.downstream] == ["rich"] * 9 + ["addition"] * 4


def test_taint_of_a_task_counts_what_was_trained_on(tmp_path: Path) -> None:
    def steps(number: int) -> dict[str, bytes]:
        rows = [rollout(f"g{number}.s0.u0.p{place}.k0", task="addition") for place in range(3)]
        chosen = [
            Selection(rollout_id=row.id, use=use, replay=replay, reason="")
            for row, use, replay in zip(rows, (Use.RL, Use.NONE, Use.NONE), (False, True, False), strict=True)
        ]
        references = [Shown(source=sha256(b"addition\n3+4=")[:16], prompt="3+4=")]
        return {
            "rollouts.parquet": to_parquet(rows if number == 1 else [], Rollout),
            "selections.parquet": to_parquet(chosen if number == 1 else [], Selection),
            "shown.parquet": to_parquet([] if number else references, Shown),
        }

    found = rewritten(tmp_path, step_0=steps).taint("addition")
    assert [(row.generation, row.distance, row.via) for row in found.downstream] == [
        ("gen-0", 1, ("was shown 1 of its references",)),
        ("gen-1", 1, ("was trained on 1 of its answers", "kept 1 more of its answers for replay")),
        ("gen-2", 2, ("starts from gen-1", "was trained on answers of gen-0", "was trained on answers of gen-1")),
    ]


def test_taint_of_a_file_by_its_name_and_by_its_content(tmp_path: Path) -> None:
    content, heldout = "a" * 64, "b" * 64
    task = {"type": "file", "path": ["data/one.jsonl", {"hub": "openai/gsm8k"}], "heldout": "data/test.jsonl"}
    build(tmp_path / "plain", plan=[PROMOTED], teacher=False)
    plain, made = LineageStore(tmp_path / "plain"), LineageStore(tmp_path / "files")
    identity = plain.header().identity
    made.open(
        "addition", identity={**identity, "task": {"type": "file", "content": content, "heldout_content": heldout}}
    )
    shutil.copytree(plain.artifacts_folder, made.artifacts_folder, dirs_exist_ok=True)
    for entry in plain.ledger.read():
        made.ledger.append(entry.generation, entry.annotations)
    made.keep("recipe.json", json.dumps({"folder": "x", "recipe": {"task": task}}).encode())
    lineage = Lineage(tmp_path, "files")
    for name in ("data/one.jsonl", "openai/gsm8k", content, content[:8]):
        assert {row.via for row in lineage.taint(name).downstream} == {("was trained on it",)}, name
    for name in ("data/test.jsonl", heldout):
        assert {row.via for row in lineage.taint(name).downstream} == {("was evaluated on it",)}, name
    with pytest.raises(RecipeError, match=r"data/one\.jsonl, openai/gsm8k"):
        lineage.taint("data/two.jsonl")
    made.keep("recipe.json", b"[")
    with pytest.raises(RecipeError, match="knows no subject"):
        lineage.taint("data/one.jsonl")


def test_a_subject_that_nothing_is_called_is_refused_with_what_there_is(rich: Lineage) -> None:
    with pytest.raises(RecipeError, match=r"knows no subject 'gen-9'.*gen-0 to gen-8.*exact.*addition.*/models/tutor"):
        rich.taint("gen-9")
    with pytest.raises(RecipeError, match="knows no verifier 'gen-1'"):
        rich.taint("gen-1", kind="verifier")
