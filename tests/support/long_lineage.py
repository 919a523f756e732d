"""A lineage of any number of generations in memory: records alone, without a store, for what must stay quick and small.

Every fourth candidate is rejected, and every record names the answers of all promoted generations before it.
"""

from dataclasses import dataclass
from pathlib import Path

from support.lineage_factory import PROMOTED, REJECTED, build

from bootstrap.canonical import sha256
from bootstrap.ledger_records import Edge, Generation, Interval, LevelReport
from bootstrap.store.ledger import NO_PREVIOUS, Entry

REJECTED_EVERY = 4


@dataclass(frozen=True, kw_only=True)
class Long:
    """The entries, and readable rollouts of each as a publisher keeps them."""

    entries: list[Entry]
    samples: dict[int, list[dict[str, object]]]


def build_long(folder: Path, *, count: int, num_levels: int = 12, rises: bool = False) -> Long:
    """Return a lineage of `count` generations, made from a small one in `folder`.

    `num_levels`: levels that each is evaluated on; if `rises`, as many more as generations were promoted before.
    """
    base, promoted, rejected = build(folder, plan=(PROMOTED, REJECTED))
    entries: list[Entry] = []
    champion, previous, line = 0, NO_PREVIOUS, [0]
    for number in range(count):
        template = base if not number else rejected if number % REJECTED_EVERY == 3 else promoted
        outcome = template.generation.outcome
        levels = num_levels + (len(line) if rises else 0)
        fingerprint = sha256(f"weights {number}".encode())
        report = template.generation.report.model_copy(
            update={
                "fingerprint": fingerprint,
                "frontier": levels - 3,
                "levels": tuple(_level(level, reached=levels - 3) for level in range(1, levels + 1)),
            }
        )
        generation = template.generation.model_copy(
            update={
                "number": number,
                "fingerprint": fingerprint,
                "report": report,
                "target_levels": (levels - 2,),
                "edges": () if not number else _edges(entries, champion, line),
                "champion": number if outcome is not REJECTED else champion,
                "decision": template.generation.decision.model_copy(update={"champion": champion if number else None}),
            }
        )
        digest = sha256(f"record {number}".encode())
        entries.append(Entry(generation=generation, annotations=template.annotations, hash=digest, previous=previous))
        previous = digest
        if outcome is not REJECTED:
            champion = number
            line = [*line, number]
    return Long(entries=entries, samples={number: _samples(number) for number in range(count)})


def _edges(entries: list[Entry], champion: int, line: list[int]) -> tuple[Edge, ...]:
    parent: Generation = entries[champion].generation
    return (
        Edge(role="init", generation=champion, fingerprint=parent.fingerprint),
        *(Edge(role="data", generation=one, fingerprint=sha256(f"pool {one}".encode())) for one in line if one),
    )


def _level(level: int, *, reached: int) -> LevelReport:
    share = 0.99 if level <= reached else 0.3
    return LevelReport(
        level=level,
        num_prompts=1000,
        num_correct=round(1000 * share),
        accuracy=share,
        interval=Interval(low=share - 0.02, high=share + 0.009),
        mean_length=level + 1.5,
        truncated=0.0,
    )


def _samples(number: int) -> list[dict[str, object]]:
    return [
        {
            "rollout": f"g{number}.s0.u0.p0.k{sample}",
            "level": 5,
            "prompt": "21+43=",
            "answer": "640" if sample % 2 else "641",
            "verdict": "PASS" if sample % 2 else "FAIL",
            "reward": float(sample % 2),
            "reason": "equals the reference" if sample % 2 else "differs from the reference",
        }
        for sample in range(6)
    ]
