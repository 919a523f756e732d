"""The tables that a training step leaves behind: what each row holds, and the files that they are stored in.

Left out: what a column may hold (`store/tables.py`), and the rows of other stages, which stand beside these stages.
"""

from dataclasses import dataclass, field, fields

from bootstrap.records import Rollout, Selection, Verdict
from bootstrap.store.artifacts import Artifact
from bootstrap.store.tables import from_parquet, to_parquet


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateRow:
    """One optimizer update, as it is stored and drawn."""

    update: int
    loss: float
    rl_loss: float
    ce_loss: float
    kl_loss: float
    value_loss: float
    """The critic's; 0 without one."""
    grad_norm: float
    ratio_max: float
    clip_fraction: float
    lr_factor: float
    reward: float | None
    """Mean reward of the round's judged rollouts; None when it drew none."""
    informative_groups: float | None
    """Share of groups with unequal rewards."""
    entropy: float | None
    """Mean entropy per sampled token, in nats."""
    length: float | None
    """Mean completion length in tokens."""
    mismatch: float | None
    """Mean of |log-probability in training - at sampling| per token, before the round's first update; None where none
    was recomputed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageRow:
    """How often one source was trained on."""

    source: str
    """Id of a rollout, or of a prompt whose reference was shown."""
    stream: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownRow:
    """One reference that was shown: the answer is the task's own, the prompt is found nowhere else."""

    source: str
    """Id of the prompt."""
    prompt: str
    """Its text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfPlayRow:
    """One round of self-play, as it is stored and drawn. Means are None where there is nothing to take them of."""

    update: int
    """The round."""
    proposals: int
    valid_share: float
    """Share of the proposals that were kept and solved."""
    malformed_share: float
    """Share that were no problem."""
    heldout_share: float
    """Share that belong to the held-out split."""
    repeated_share: float
    too_large_share: float
    distinct_share: float
    """Distinct texts over proposals."""
    learnable_share: float
    """Share of the proposals with some, but not all solutions right."""
    proposer_reward: float | None
    """Mean over the proposals that earn one."""
    solve_rate: float | None
    """Mean over the kept problems."""
    level: float | None
    """Mean over the kept problems."""
    max_level: int | None
    length: float
    """Mean tokens of the proposals."""


@dataclass(kw_only=True)
class Tables:
    """Rows that a step leaves behind."""

    rollouts: list[Rollout] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    selections: list[Selection] = field(default_factory=list)
    updates: list[UpdateRow] = field(default_factory=list)
    usage: list[UsageRow] = field(default_factory=list)
    shown: list[ShownRow] = field(default_factory=list)
    self_play: list[SelfPlayRow] = field(default_factory=list)

    def files(self) -> dict[str, bytes]:
        """Return one parquet file per table that has rows."""
        return {
            f"{name}.parquet": to_parquet(rows, row)
            for name, row in TABLE_ROWS.items()
            if (rows := getattr(self, name))
        }

    @classmethod
    def read(cls, artifact: Artifact) -> "Tables":
        return cls(
            **{
                name: from_parquet(artifact.read(file), row)
                for name, row in TABLE_ROWS.items()
                if (file := f"{name}.parquet") in artifact.files
            }
        )

    def extend(self, other: "Tables") -> None:
        for table in fields(self):
            getattr(self, table.name).extend(getattr(other, table.name))


TABLE_ROWS: dict[str, type] = {
    "rollouts": Rollout,
    "verdicts": Verdict,
    "selections": Selection,
    "updates": UpdateRow,
    "usage": UsageRow,
    "shown": ShownRow,
    "self_play": SelfPlayRow,
}
