"""A lineage of any length on disk, made without a model, for measuring what reads it.

Records, artifacts and tables have the form of a run's, hashes included: `bootstrap verify` finds nothing to say. Each
generation draws the same number of rollouts in groups of eight and replays answers of earlier generations; two of three
are promoted. Files are not synced to the disk, since they serve a measurement.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bootstrap.canonical import canonical_json, json_file, sha256
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import (
    Accounting,
    Annotations,
    Compute,
    Decision,
    Diagnostics,
    Edge,
    Generation,
    GenerationOutcome,
    Interval,
    LevelReport,
    LevelTest,
    Report,
)
from bootstrap.records import Rollout, Selection, Verdict
from bootstrap.stages.tables import UpdateRow, UsageRow
from bootstrap.store import durable
from bootstrap.store.artifacts import Artifact
from bootstrap.store.fingerprint import fingerprint_safetensors
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import arrow_schema, to_parquet

NAME = "bench"
GROUP, TOKENS, ROUNDS, LEVELS = 8, 12, 16, 8
REPLAY = 8
"""One rollout in so many of a generation's is trained on once more: the uses of earlier generations' answers."""
_SETTINGS: dict[str, Any] = {
    "name": NAME,
    "seed": 7,
    "task": {"type": "addition", "base_level": 4},
    "base": {"steps": [{"type": "sft", "updates": 6}]},
    "generations": {"count": 3, "steps": [{"type": "rl", "rounds": ROUNDS, "distillation": None}]},
}


class UnsyncedFiles(durable.Files):
    """The real operations without waiting for the disk."""

    fsync = staticmethod(lambda descriptor: None)


class LongLineage:
    """The lineage in `root`, which is new or was made by this class."""

    def __init__(self, root: Path, *, rollouts: int, givers: int) -> None:
        """`rollouts`: of each generation but generation 0. `givers`: earlier generations that each replays from."""
        self.store = LineageStore(root, files=UnsyncedFiles())
        self.rollouts, self.givers = -(-rollouts // GROUP) * GROUP, givers
        recipe = Recipe.model_validate(_SETTINGS)
        self.recipe, self.digest = recipe.identity(), recipe.digest()
        self.store.open(NAME, identity=self.recipe)
        self._columns = _Columns(self.rollouts)
        self._entries: list[Entry] = self.store.ledger.read()

    def __len__(self) -> int:
        return len(self._entries)

    def grow_to(self, generations: int) -> Iterator[int]:
        """Commit generations until there are so many; yield the number of each."""
        while len(self) < generations:
            self.grow()
            yield len(self) - 1

    def grow(self) -> Entry:
        """Commit one more generation."""
        number = len(self)
        weights = _weights(number)
        fingerprint = fingerprint_safetensors(weights)
        champion = self._entries[self._entries[-1].generation.champion].generation if number else None
        outcome = _outcome(number)
        report = _report(fingerprint, number)
        givers = self._givers(number)
        # The same draw for each generation that has it, whatever was measured before.
        tables = {} if champion is None else self._columns.tables(number, policy=champion.fingerprint, givers=givers)
        refs = {
            "weights": self._put("weights", number, _model_files(weights)),
            "evaluation": self._put(
                "evaluation", number, {"report.json": canonical_json(report.model_dump(mode="json"))}
            ),
            "step-0": self._put("step", number, {**tables, "updates.parquet": to_parquet(_updates(), UpdateRow)}),
        }
        entry = self.store.ledger.append(
            Generation(
                number=number,
                lineage=NAME,
                outcome=outcome,
                edges=() if champion is None else self._edges(champion, givers),
                target_levels=(LEVELS,),
                fingerprint=fingerprint,
                recipe_digest=self.digest,
                code_version="bench",
                seed=7,
                num_workers=1,
                batch_rows=64,
                verifiers={"exact": "v" * 16},
                artifacts={role: artifact.ref(self.store.root) for role, artifact in refs.items()},
                report=report,
                decision=_decision(outcome, report, champion),
                compute=Compute(
                    flops={"generate": 3e11, "train": 2.4e12, "evaluate": 5e11},
                    tokens={"generate": self.rollouts * TOKENS, "train": 480_000, "evaluate": 61_000},
                    useful_tokens=self.rollouts * TOKENS // 2,
                    verdicts=self.rollouts,
                ),
                accounting=Accounting() if champion is None else self._columns.accounting(),
                champion=champion.number
                if champion is not None and outcome is not GenerationOutcome.PROMOTED
                else number,
                diagnostics=Diagnostics(entropy=0.2, truncated=0.0),
            ),
            _annotations(number),
        )
        self._entries.append(entry)
        return entry

    def sample(self) -> str:
        """Return the id of an answer that a later generation replayed, of about the middle of the lineage."""
        number = len(self) // 2
        while self._entries[number].generation.outcome is not GenerationOutcome.PROMOTED:
            number -= 1
        return self._columns.replayed(number)[0]

    def _givers(self, number: int) -> list[int]:
        """Return the promoted generations that generation `number` replays from."""
        able = [one for one in range(1, number) if _outcome(one) is GenerationOutcome.PROMOTED]
        return sorted(random.Random(number).sample(able, min(self.givers, len(able))))

    def _edges(self, champion: Generation, givers: Sequence[int]) -> tuple[Edge, ...]:
        return (
            Edge(role="init", generation=champion.number, fingerprint=champion.fingerprint),
            *(Edge(role="data", generation=one, fingerprint=sha256(f"pool {one}".encode())) for one in givers),
        )

    def _put(self, kind: str, number: int, files: dict[str, bytes]) -> Artifact:
        return self.store.put(kind, {"generation": number}, files)


class _Columns:
    """The parts of a step's tables that are the same in every generation."""

    def __init__(self, rows: int) -> None:
        draw, self.rows = np.random.default_rng(0), rows
        places = [divmod(row // GROUP, -(-rows // GROUP // ROUNDS)) for row in range(rows)]
        self._groups = pa.array([f".s0.u{update}.p{place}" for update, place in places])
        self._ids = pa.array([f".s0.u{u}.p{p}.k{row % GROUP}" for row, (u, p) in enumerate(places)])
        self._right = draw.random(rows) < 0.6
        self._live = np.array([row // GROUP % 2 == 0 for row in range(rows)])
        texts = [str(number) for number in draw.integers(0, 10**6, rows)]
        self._rollouts: dict[str, Any] = {
            "prompt_id": pa.array([f"{row // GROUP:016x}" for row in range(rows)]),
            "prompt_text": pa.array([f"{row // GROUP}+1=" for row in range(rows)]),
            "prompt_key": pa.repeat("", rows),
            "task": pa.repeat("addition", rows),
            "level": pa.array(np.full(rows, LEVELS)),
            "sample_index": pa.array(np.arange(rows) % GROUP),
            "prompt_tokens": _lists(draw.integers(0, 12, (rows, 6))),
            "tokens": _lists(draw.integers(0, 12, (rows, TOKENS))),
            "logprobs": _lists(-draw.random((rows, TOKENS), dtype=np.float32).astype(float)),
            "entropies": _lists(draw.random((rows, TOKENS), dtype=np.float32).astype(float)),
            "text": pa.array(texts),
            "finish": pa.repeat("stop", rows),
            "seed": pa.array(draw.integers(0, 2**62, rows)),
            "unhinted": pa.repeat("", rows),
        }

    def tables(self, number: int, *, policy: str, givers: Sequence[int]) -> dict[str, bytes]:
        """Return the tables of a step of generation `number` as files."""
        ids = _joined(number, self._ids)
        status = pa.array(np.where(self._right, "PASS", "FAIL"))
        reward = self._right.astype(float)
        breakdown = pa.MapArray.from_arrays(
            pa.array(np.arange(self.rows + 1), pa.int32()), pa.repeat("exact", self.rows), pa.array(reward)
        )
        columns = {
            Rollout: self._rollouts
            | {"id": ids, "group": _joined(number, self._groups), "policy": pa.repeat(policy, self.rows)},
            Verdict: {
                "rollout_id": ids,
                "status": status,
                "reward": pa.array(reward),
                "breakdown": breakdown,
                "reason": pa.array(np.where(self._right, "equals the reference", "differs from the reference")),
                "verifier": pa.repeat("exact", self.rows),
                "version": pa.repeat("v" * 16, self.rows),
                "sandbox": pa.repeat("", self.rows),
            },
            Selection: {
                "rollout_id": ids,
                "use": pa.array(np.where(self._live, "rl", "none")),
                "replay": pa.array(self._right),
                "reason": pa.array(np.where(self._live, "", "group without variance")),
            },
        }
        own = ids.filter(pa.array(self._live))
        uses = [(source, "ce", 1) for giver in givers for source in self.replayed(giver, share=len(givers))]
        uses += [(source, "rl", 2) for source in own.to_pylist()]
        sources, streams, counts = zip(*sorted(uses), strict=True)
        usage = {"source": pa.array(sources), "stream": pa.array(streams), "count": pa.array(counts)}
        named = {"rollouts": Rollout, "verdicts": Verdict, "selections": Selection}
        files = {f"{name}.parquet": _parquet(columns[row], row) for name, row in named.items()}
        return files | {"usage.parquet": _parquet(usage, UsageRow)}

    def replayed(self, giver: int, *, share: int = 1) -> list[str]:
        """Return the ids of a generation's answers that are replayed by one that replays from `share` generations."""
        right = np.flatnonzero(self._right)[: max(1, self.rows // REPLAY // share)]
        return _joined(giver, self._ids.take(pa.array(right))).to_pylist()

    def accounting(self) -> Accounting:
        passed, trained = int(self._right.sum()), int(self._live.sum())
        return Accounting(
            prompts_drawn=self.rows // GROUP,
            rollouts=self.rows,
            verdicts=self.rows,
            passed=passed,
            failed=self.rows - passed,
            trained=trained,
            replayed=passed,
            dropped={"group without variance": self.rows - trained},
        )


def _joined(number: int, suffixes: pa.Array) -> pa.Array:
    return pc.call_function("binary_join_element_wise", [pa.scalar(f"g{number}"), suffixes, pa.scalar("")])


def _lists(values: np.ndarray) -> pa.Array:
    rows, length = values.shape
    offsets = pa.array(np.arange(0, (rows + 1) * length, length), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))


def _parquet(columns: dict[str, Any], row: type) -> bytes:
    """Return what `to_parquet` does, of columns instead of rows."""
    schema = arrow_schema(row)
    table = pa.Table.from_arrays([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return sink.getvalue().to_pybytes()


def _outcome(number: int) -> GenerationOutcome:
    if not number:
        return GenerationOutcome.BASE
    return GenerationOutcome.REJECTED if number % 3 == 2 else GenerationOutcome.PROMOTED


def _weights(number: int) -> bytes:
    """Return a safetensors file with one small tensor."""
    body = np.full((12, 8), number, dtype="<f4").tobytes()
    header = json.dumps({"embed.weight": {"dtype": "F32", "shape": [12, 8], "data_offsets": [0, len(body)]}}).encode()
    return len(header).to_bytes(8, "little") + header + body


def _model_files(weights: bytes) -> dict[str, bytes]:
    texts = {
        "config.json": {"model_type": "smollm3", "vocab_size": 12},
        "tokenizer.json": {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        "generation_config.json": {"eos_token_id": 1},
    }
    return {"model.safetensors": weights, **{name: json_file(value) for name, value in texts.items()}}


def _report(fingerprint: str, number: int) -> Report:
    levels = []
    for level in range(1, LEVELS + 1):
        correct = 995 - 5 * level - number % 7
        share = correct / 1000
        levels.append(
            LevelReport(
                level=level,
                num_prompts=1000,
                num_correct=correct,
                accuracy=share,
                interval=Interval(low=share - 0.01, high=min(1.0, share + 0.01)),
                mean_length=level + 1.5,
                truncated=0.0,
            )
        )
    return Report(
        fingerprint=fingerprint,
        suite=sha256(b"suite"),
        levels=tuple(levels),
        frontier=LEVELS - 1,
        generalization_margin=1,
        mastered=0.95,
    )


def _decision(outcome: GenerationOutcome, report: Report, champion: Generation | None) -> Decision:
    if champion is None:
        return Decision(promoted=True, reason="generation 0 is the base", champion=None)
    promoted = outcome is GenerationOutcome.PROMOTED
    tests = []
    for row, before in zip(report.levels, champion.report.levels, strict=True):
        tests.append(
            LevelTest(
                levels=(row.level,),
                num_prompts=row.num_prompts,
                candidate=row.accuracy,
                champion=before.accuracy,
                gained=8,
                lost=9,
                p_value=0.01 if row.level == LEVELS else None,
                difference_low=row.accuracy - before.accuracy - 0.005,
                passed=promoted or row.level != 2,
            )
        )
    target = tests[-1]
    shares = f"level {LEVELS}: {target.champion:.3f} -> {target.candidate:.3f}"
    return Decision(
        promoted=promoted,
        reason=f"{shares} (p 0.01); levels 1-{LEVELS - 1} retained"
        if promoted
        else f"rejected: {shares} is no significant improvement (p 0.6, alpha 0.05, 8 gained, 9 lost)",
        champion=champion.number,
        improvement=target,
        retention=tuple(tests[:-1]),
    )


def _updates() -> list[UpdateRow]:
    zeros = dict.fromkeys(("ce_loss", "kl_loss", "value_loss", "clip_fraction"), 0.0)
    return [
        UpdateRow(
            update=update,
            loss=1.0 / (update + 1),
            rl_loss=1.0,
            **zeros,
            grad_norm=0.5,
            ratio_max=1.1,
            lr_factor=1.0,
            reward=0.6,
            informative_groups=0.5,
            entropy=0.2,
            length=float(TOKENS),
            mismatch=None,
        )
        for update in range(ROUNDS)
    ]


def _annotations(number: int) -> Annotations:
    minute, second = divmod(number, 60)
    at = f"2026-01-{1 + minute // 1440 % 28:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:{second:02d}"
    return Annotations(
        started=f"{at}+00:00",
        finished=f"{at}.900+00:00",
        host="bench",
        seconds={"generate": 9.2, "score": 0.3, "train": 21.5, "evaluate": 4.0, "other": 0.4},
        versions={},
        bound_fraction={"generate": 0.11, "train": 0.36},
    )
