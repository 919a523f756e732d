"""What each rank of a sharded learner does in tests, and the same by one plain learner."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from bootstrap.config.algorithms import ValueHead
from bootstrap.config.optimizers import AdamW, MuonAdamW, Optimizer
from bootstrap.config.training import LoraAdapter, Training
from bootstrap.errors import RecipeError
from bootstrap.learner_records import KlForm, UpdateMetrics
from bootstrap.reading import named_folder
from bootstrap.records import Batch, Example, KlTarget, Normalizers
from bootstrap.store.fingerprint import fingerprint_model
from bootstrap.training.model import model_shape
from bootstrap.training.precision import compute
from bootstrap.training.ranks import Ranks
from bootstrap.training.sharded_learner import ShardedLearner, divergence
from bootstrap.training.sharded_load import load, load_adapted
from bootstrap.worker import Worker

Folder = dict[str, bytes]
CLIP = 0.5


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, how it is trained, and two updates of it."""

    name: str
    files: Folder
    teacher: Folder
    optimizer: Optimizer
    training: Training
    critic: ValueHead | None = None

    @property
    def bf16(self) -> bool:
        return self.training.precision == "bf16"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is left of a case."""

    metrics: list[UpdateMetrics]
    logprobs: dict[str, tuple[float, ...]]
    """Before the last update, by the example's source; so are the values, and the divergence from the teacher."""
    values: dict[str, tuple[float, ...]]
    files: Folder
    fingerprint: str
    second: str = ""
    """Version 2."""
    nats: float = 0.0
    """Divergence from the teacher on this rank's examples."""

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        (file,) = (data for name, data in self.files.items() if name.endswith(".safetensors"))
        return safetensors.torch.load(file)


def sequence(index: int, **streams: Any) -> Example:
    rng = np.random.default_rng(index)
    prompt, completion = int(rng.integers(2, 7)), int(rng.integers(1, 6))
    tokens = tuple(int(t) for t in rng.integers(4, 16, prompt + completion))
    example = Example(source=f"e{index}", tokens=tokens, num_prompt_tokens=prompt)
    if streams.pop("rl", False):
        example = replace(
            example,
            advantages=(float(rng.normal()),) * completion,
            logprobs=tuple(float(x) for x in -2.7 + 0.3 * rng.normal(size=completion)),
            anchor_penalty_weights=tuple(float(x) for x in rng.random(completion)),
        )
    if streams.pop("valued", False):
        values, returns = (tuple(float(x) for x in rng.normal(size=completion)) for _ in range(2))
        example = replace(example, values=values, returns=returns)
    return replace(example, **streams)


def examples_of(case: Case) -> list[Example]:
    """Return examples of every stream."""
    teacher = fingerprint_model(case.teacher)
    held = (KlTarget(model=teacher, weight=0.2, form=KlForm.LOSS_K3),)
    valued = case.critic is not None
    reinforced = [sequence(i, rl=True, valued=valued, kl_targets=held if i % 2 else ()) for i in range(8)]
    imitated = [sequence(i, ce_weight=1.0) for i in range(8, 14)]
    return [*reinforced, *imitated, *(sequence(i, kl_weight=0.5, teacher=teacher) for i in range(14, 17))]


def batch_of(examples: Sequence[Example]) -> Batch:
    normalizers = Normalizers(rl=20, ce=15, kl=8, value=20)
    return Batch(examples=list(examples), normalizers=normalizers, clip_low=0.2, clip_high=0.28, value_clip=0.2)


def shards_of(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """Return unequal shards: the first has most, the last of four none."""
    return [list(examples[:-3]), list(examples[-3:]), [], []][:size] if size > 1 else [list(examples)]


def by_one(case: Case) -> Trained:
    """Return what a plain learner makes of two updates."""
    worker = Worker(batch_rows=4, device="cpu")
    worker.configure(case.training)
    fingerprint = fingerprint_model(case.files)
    if case.training.adapter is None:
        worker.load(case.files, fingerprint)
    else:
        worker.provide(case.files, fingerprint)
        worker.adapt(fingerprint, 7)
    worker.load_teacher(case.teacher, fingerprint_model(case.teacher))
    worker.begin(case.optimizer, case.critic)
    examples = examples_of(case)
    metrics = [worker.step(batch_of(examples), 1.0, CLIP)]
    scores = worker.recompute_logprobs(examples, 0.9)
    nats = worker.divergence(examples, fingerprint_model(case.teacher)).nats
    metrics.append(worker.step(batch_of(examples), 0.5, CLIP))
    checkpoint = worker.export()
    return replace(_trained(metrics, scores, dict(checkpoint.files), checkpoint.fingerprint), nats=nats)


def _trained(
    metrics: list[UpdateMetrics], scores: Sequence[Any], files: Folder, fingerprint: str, second: str = ""
) -> Trained:
    return Trained(
        metrics=metrics,
        logprobs={one.source: one.logprobs for one in scores},
        values={one.source: one.values for one in scores},
        files=files,
        fingerprint=fingerprint,
        second=second,
    )


def learner_of(
    case: Case, ranks: Ranks, files: dict[str, Any] | None = None, *, trained: Folder | None = None
) -> ShardedLearner:
    """Return this rank's part of a case's learner; `trained`: a folder of what it trains, in place of its start."""
    files = files or dict(case.files)
    adapter = case.training.adapter
    if adapter is None:
        held = load(trained or files, ranks, bf16=case.bf16)
    else:
        fingerprint, adapter = fingerprint_model(case.files), trained or adapter
        held = load_adapted(files, ranks, fingerprint=fingerprint, adapter=adapter, seed=7, bf16=case.bf16)
    teacher = load(dict(case.teacher), ranks, bf16=case.bf16, frozen=True)
    return ShardedLearner(
        held,
        case.optimizer,
        ranks=ranks,
        critic=case.critic,
        shape=model_shape(held.model),
        max_rows=4,
        teachers={fingerprint_model(case.teacher): teacher.model},
        compute=lambda: compute(ranks.device, case.training.precision),
        recompute=case.training.gradient_checkpointing,
        packed=case.training.packing,
    )


def by_ranks(ranks: Ranks, cases: Sequence[Case], folder: Path) -> dict[str, Trained]:
    """Return what this rank's part of each case makes of two updates; checkpoints after the first stay in `folder`."""
    found = {}
    for case in cases:
        with named_folder(folder / case.name / "base") as opened:
            learner = learner_of(case, ranks, {name: opened.file(name) for name in case.files})
        examples = examples_of(case)
        shards = shards_of(examples, ranks.size)
        metrics = [learner.step(batch_of(shards[ranks.rank]), lr_factor=1.0, grad_clip=CLIP)]
        scores = learner.recompute_logprobs(shards[ranks.rank], temperature=0.9)
        teacher = learner.teachers[fingerprint_model(case.teacher)]
        nats = divergence(
            shards[ranks.rank], teacher, model=learner.model, ranks=ranks, max_rows=4, compute=learner.compute
        ).nats
        learner.save(folder / case.name / f"checkpoint{ranks.size}")
        learner.export(folder / case.name / f"weights{ranks.size}")
        metrics.append(learner.step(batch_of(shards[::-1][ranks.rank]), lr_factor=0.5, grad_clip=CLIP))
        made = exported(learner, metrics, scores, folder / case.name / f"model{ranks.size}")
        found[case.name] = replace(made, nats=nats)
    return found


def resumed(ranks: Ranks, cases: Sequence[Case], folder: Path, of: int, name: str) -> dict[str, Trained]:
    """Return what a restored learner makes of the second update."""
    found = {}
    for case in cases:
        trained = {path.name: path.read_bytes() for path in (folder / case.name / f"weights{of}").iterdir()}
        learner = learner_of(case, ranks, trained=trained)
        learner.restore(folder / case.name / f"checkpoint{of}")
        shards = shards_of(examples_of(case), ranks.size)
        metrics = [learner.step(batch_of(shards[ranks.rank]), lr_factor=0.5, grad_clip=CLIP)]
        found[case.name] = exported(learner, metrics, [], folder / case.name / f"resumed{name}")
    return found


def exported(learner: ShardedLearner, metrics: list[UpdateMetrics], scores: Sequence[Any], folder: Path) -> Trained:
    second = learner.fingerprint()
    fingerprint = learner.export(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return _trained(metrics, scores, files, fingerprint, second)


def broken(ranks: Ranks, folders: Sequence[Folder]) -> list[str]:
    """Return the errors of folders that are no model's."""
    found = []
    for files in folders:
        try:
            load(files, ranks)
        except RecipeError as error:
            found.append(str(error))
    return found


def lost(ranks: Ranks, case: Case) -> str:
    """Return the error of an update in which the last rank dies."""
    learner = learner_of(case, ranks)
    if ranks.rank == ranks.size - 1:
        os._exit(1)
    learner.step(batch_of(examples_of(case)), lr_factor=1.0, grad_clip=CLIP)
    return ""


def cases_of(untied: Folder, tied: Folder, teachers: Sequence[Folder]) -> list[Case]:
    """Return cases with every kind of model, optimizer, stream and precision."""
    of_untied, of_tied = teachers
    critic = ValueHead(trunk_weight=0.1)
    lora, dora = (LoraAdapter(rank=3, alpha=6, dora=dora) for dora in (False, True))
    plain, recomputed = (Training(packing=False, gradient_checkpointing=value) for value in (False, True))
    lowered = Training(packing=False, precision="bf16", gradient_checkpointing=True)
    lowered_lora = Training(packing=False, precision="bf16", adapter=lora)
    packed_dora = Training(packing=True, adapter=dora)
    fast = AdamW(lr=0.01)
    return [
        Case(name="untied", files=untied, teacher=of_untied, optimizer=MuonAdamW(), training=plain, critic=critic),
        Case(name="tied", files=tied, teacher=of_tied, optimizer=fast, training=recomputed),
        Case(name="bf16", files=tied, teacher=of_tied, optimizer=fast, training=lowered),
        Case(name="lora", files=tied, teacher=of_tied, optimizer=fast, training=lowered_lora),
        Case(name="dora", files=tied, teacher=of_tied, optimizer=MuonAdamW(), training=packed_dora),
    ]
