"""Sampling as the stages do it: prompts per level, requests with ids and seeds, the length limit, the counts, proof of
the policy."""

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
"""Fewest answers of which one reason is told: of fewer the same one may be chance."""


def num_easier_variants(count: int, level: int, share: float) -> int:
    """Return how many of `count` prompts of a level are easier variants: none of level 1, which has no level below."""
    return round(share * count) if level > 1 else 0


def spread(count: int, levels: tuple[int, ...], *, seed: int | None) -> list[tuple[int, int]]:
    """Return (level, share of `count`), as even as whole numbers allow, in the order of `levels`.

    `seed` draws the levels that get one more, without favour, so that where prompts are few each level has its turn;
    None gives it to the first ones, for what has to be the same every time.
    """
    each, extra = divmod(count, len(levels))
    places = range(extra) if seed is None else generator(seed, "one more").sample(range(len(levels)), extra)
    return [(level, each + (place in places)) for place, level in enumerate(levels)]


def requests(
    prompts: Sequence[Prompt], *, prefix: RoundId | HeldoutId | str, samples: int, seed: int, first: int = 0
) -> list[Request]:
    """Return `samples` requests for each prompt, each with its own seed, that are groups of what `prefix` names.

    Places of the groups count from `first`.
    """
    return [
        Request(
            id=(rid := str(SampleId(group_id(prefix, place), k))),
            prompt=prompt,
            seed=derive_seed(seed, "rollout", rid),
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
    """Return how to sample answers of these levels of the run's task, unless another is given."""
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

    `by`: fingerprint of a frozen sampler that answers instead of the weights in training; `shape` is the frozen
    sampler's then. Raises FingerprintMismatch when a rollout was made by other weights than `policy` (None: by any, all
    alike).
    """
    with meter.clock(phase):
        rollouts = context.pool.generate(asked, how, by=by)
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
        # Every decoding step reads all weights once per worker; every token reads the keys and values before it.
        bytes_moved=shape.bytes_per_parameter
        * (steps * shape.num_parameters * context.pool.size + 2 * shape.num_layers * shape.hidden_size * cached),
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
    """Return the verdict of each rollout, in order, by the run's verifier on the run's task unless others are given.

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
    """Return in words that all answers failed for one reason; empty where they did not, or are just wrong.

    A reward that never comes hides its cause: a form that the model was not told of, a limit that is too short. Fewer
    than `TELLING` answers say nothing of that.
    """
    reasons = {(verdict.status, verdict.reason) for verdict in verdicts}
    if len(verdicts) < TELLING or len(reasons) > 1:
        return ""
    [(status, reason)] = reasons
    # A rubric's reason names those of its components, each after the component's name.
    if status is not Status.FAIL or all(part.rpartition(": ")[2] == WRONG for part in reason.split("; ")):
        return ""
    return f"all {len(verdicts)} answers failed for one reason: {reason}"


def count_asked(context: Context, meter: Meter) -> None:
    """Count what generations of the lineage have answered to verifiers since the last call."""
    asked = context.models.take_compute()
    for phase, flops in asked.flops.items():
        meter.count(phase, flops=flops, tokens=asked.tokens[phase])
