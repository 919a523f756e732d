"""Sampling and judging as all stages do it: prompts by level, requests with ids and seeds, length limits, counts."""

from collections.abc import Sequence

from bootstrap.compute import ModelShape, generate_flops
from bootstrap.errors import FingerprintMismatch
from bootstrap.ids import HeldoutId, RoundId, SampleId, group_id
from bootstrap.prompts.task import Task
from bootstrap.records import Prompt, Request, Rollout, Sampling, Status, Verdict
from bootstrap.scoring.verifier import WRONG, Verifier, score
from bootstrap.seeds import derive_seed, generator
from bootstrap.stages.context import Context, Meter

TELLING = 8
"""Report a common failure reason only from this many answers on."""


def num_easier_variants(count: int, level: int, share: float) -> int:
    """Return how many of `count` prompts of a level are easier variants; 0 at level 1, which has none."""
    return round(share * count) if level > 1 else 0


def spread(count: int, levels: tuple[int, ...], *, seed: int | None) -> list[tuple[int, int]]:
    """Return (level, number of prompts) in the order of `levels`: `count` in all, as even as whole numbers allow.

    Levels that get one more are drawn by `seed`, so that each has its turn where prompts are few; without a seed they
    are the first ones.
    """
    each, extra = divmod(count, len(levels))
    places = range(extra) if seed is None else generator(seed, "one more").sample(range(len(levels)), extra)
    return [(level, each + (place in places)) for place, level in enumerate(levels)]


def requests(
    prompts: Sequence[Prompt], *, prefix: RoundId | HeldoutId | str, samples: int, seed: int, first: int = 0
) -> list[Request]:
    """Return `samples` requests for each prompt: one group a prompt, one seed a request.

    Ids are `prefix`, the group's place (from `first`), the sample's number.
    """
    return [
        Request(
            id=(rid := str(SampleId(group_id(prefix, place), k))), prompt=prompt, seed=derive_seed(seed, "rollout", rid)
        )
        for place, prompt in enumerate(prompts, start=first)
        for k in range(samples)
    ]


def sampling(
    context: Context,
    *,
    levels: Sequence[int],
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    task: Task | None = None,
) -> Sampling:
    """Return sampling settings whose limit lets answers of these levels end; of the run's task unless one is given."""
    limit = max((task or context.task).max_answer_tokens(level) for level in levels)
    return Sampling(temperature=temperature, max_new_tokens=limit, top_k=top_k, top_p=top_p)


def generate(
    context: Context,
    asked: Sequence[Request],
    how: Sampling,
    *,
    shape: ModelShape,
    meter: Meter,
    phase: str = "generate",
    policy: str | None = None,
    by: str | None = None,
) -> list[Rollout]:
    """Return one rollout per request, in order, and count the work.

    `by`: fingerprint of a frozen sampler that answers instead of the weights in training, of whose `shape` it is then.
    Raises FingerprintMismatch when other weights than `policy` made a rollout (None: any, but all the same).
    """
    with meter.clock(phase):
        rollouts = context.samplers.generate(asked, how, by=by)
    if policy is not None and (strange := next((r for r in rollouts if r.policy != policy), None)):
        raise FingerprintMismatch(
            f"rollout {strange.id} was sampled by weights {strange.policy[:16]}, the plan names {policy[:16]}"
        )
    prompts = {r.prompt_id: len(r.prompt_tokens) for r in rollouts}
    steps = max((len(r.tokens) for r in rollouts), default=0)
    cached = sum(len(r.tokens) * (len(r.prompt_tokens) + len(r.tokens) / 2) for r in rollouts)
    meter.count(
        phase,
        flops=generate_flops(
            shape, prefills=prompts.values(), completions=[(len(r.prompt_tokens), len(r.tokens)) for r in rollouts]
        ),
        tokens=sum(len(r.tokens) for r in rollouts),
        # A decoding step reads all weights once per worker; a token reads the keys and values before it.
        bytes_moved=shape.bytes_per_parameter
        * (steps * shape.num_parameters * context.samplers.size + 2 * shape.num_layers * shape.hidden_size * cached),
    )
    return rollouts


def judge(
    context: Context,
    rollouts: Sequence[Rollout],
    prompts: Sequence[Prompt],
    *,
    meter: Meter,
    verifier: Verifier | None = None,
    task: Task | None = None,
) -> list[Verdict]:
    """Return one verdict per rollout, in order; by the run's verifier and task unless others are given.

    Raises VerifierError when too many cannot be judged.
    """
    with meter.clock("score"):
        references = {prompt.id: (task or context.task).reference(prompt) for prompt in prompts}
        verdicts = score(
            rollouts,
            references,
            verifier=verifier or context.verifier,
            max_unverifiable=context.recipe.max_unverifiable,
            tell=meter.telemetry.verdicts,
        )
    meter.verdicts += len(verdicts)
    count_asked(context, meter)
    meter.cpu_seconds["score"] = meter.cpu_seconds.get("score", 0.0) + sum(v.cpu_seconds for v in verdicts)
    return verdicts


def common_fault(verdicts: Sequence[Verdict]) -> str:
    """Return a warning where all answers failed for one reason other than being wrong; else empty.

    A reward that never comes hides its cause, such as a form that the model was not told of, or a limit too short.
    """
    reasons = {(verdict.status, verdict.reason) for verdict in verdicts}
    if len(verdicts) < TELLING or len(reasons) > 1:
        return ""
    [(status, reason)] = reasons
    # A rubric's reason lists its components' reasons, each after the component's name.
    if status is not Status.FAIL or all(part.rpartition(": ")[2] == WRONG for part in reason.split("; ")):
        return ""
    return f"all {len(verdicts)} answers failed for one reason: {reason}"


def count_asked(context: Context, meter: Meter) -> None:
    """Count the lineage's answers to verifiers since the last call."""
    asked = context.models.take_compute()
    for phase, flops in asked.flops.items():
        meter.count(phase, flops=flops, tokens=asked.tokens[phase])
