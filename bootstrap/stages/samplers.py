"""Answers of another model than the one in training: an earlier generation, a folder, a server that shows only text.

Left out: the use of the answers (`supervised.py`), and which generation a name means (`resolver.py`).
"""

from collections.abc import Sequence

from bootstrap.config.models import EndpointTeacher, server_model
from bootstrap.config.sources import Rejection
from bootstrap.errors import VerifierError
from bootstrap.ids import SampleId
from bootstrap.records import Finish, Prompt, Request, Rollout, Sampling, Status, Verdict
from bootstrap.scoring.endpoint import ChatClient, Question
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.generate import generate, judge


def policy_of(server: EndpointTeacher) -> str:
    """Return the stand-in for the fingerprint of a server's model, whose weights are unknown."""
    return f"endpoint:{server.model}"


def answers(
    context: Context,
    plan: Plan,
    source: Rejection,
    asked: Sequence[Request],
    how: Sampling,
    *,
    encoder: Encoder,
    policy: str | None,
    meter: Meter,
) -> list[Rollout]:
    """Return one rollout per request by the source's sampler; tokens are empty where a server gave no answer.

    `policy`: fingerprint of the weights in training, which answer for `start`; None where it is unknown. Raises
    VerifierError when a server leaves too many questions unanswered.
    """
    sampler = source.sampler
    if sampler == "start":
        return generate(context, asked, how, shape=plan.shape, meter=meter, policy=policy)
    if (server := server_model(sampler)) is not None:
        return _ask_server(context, server, asked, source, encoder=encoder, meter=meter)
    _, checkpoint = plan.samplers[sampler]
    shape = context.samplers.load_frozen_sampler(checkpoint)
    found = generate(
        context, asked, how, shape=shape, meter=meter, policy=checkpoint.fingerprint, by=checkpoint.fingerprint
    )
    if checkpoint.fingerprint not in context.models.loaded:
        context.samplers.drop_frozen_sampler(checkpoint.fingerprint)
    return found


def judge_answers(
    context: Context, rollouts: Sequence[Rollout], prompts: Sequence[Prompt], *, meter: Meter
) -> list[Verdict]:
    """Return one verdict per rollout, in order; UNVERIFIABLE for unanswered questions."""
    answered = [rollout for rollout in rollouts if rollout.tokens]
    verdicts = iter(judge(context, answered, prompts, meter=meter))
    return [next(verdicts) if rollout.tokens else _unanswered(context, rollout) for rollout in rollouts]


def _unanswered(context: Context, rollout: Rollout) -> Verdict:
    return Verdict(
        rollout_id=rollout.id,
        status=Status.UNVERIFIABLE,
        reward=None,
        breakdown={},
        reason="the server gave no answer",
        verifier=context.verifier.name,
        version=context.verifier.version,
    )


def _ask_server(
    context: Context,
    server: EndpointTeacher,
    asked: Sequence[Request],
    source: Rejection,
    *,
    encoder: Encoder,
    meter: Meter,
) -> list[Rollout]:
    client = ChatClient(
        server,
        temperature=source.temperature,
        max_tokens=server.max_tokens,
        budget=server.budget,
        cache=context.store.cache_folder,
        system=server.system,
    )
    # Sample k of a prompt is a question of its own in the cache, where a killed run finds its replies.
    rounds = [SampleId.parse(request.id).number for request in asked]
    with meter.clock("generate"):
        replies = client.ask(
            [Question(prompt=r.prompt.text, round=number) for r, number in zip(asked, rounds, strict=True)]
        )
    missing = [reply for reply in replies if reply.text is None]
    if len(missing) > context.recipe.max_unverifiable * len(replies):
        raise VerifierError(
            f"model {server.model} at {server.url} answered {len(replies) - len(missing)} of {len(replies)} questions; "
            f"{missing[0].problem}. Repair the server, raise max_tokens, budget or max_unverifiable, and run again: "
            "replies so far are kept"
        )
    rollouts = [
        Rollout.to(
            request,
            prompt_tokens=prompt,
            tokens=completion if reply.text else (),
            logprobs=(),
            entropies=(),
            text=reply.text or "",
            finish=Finish.STOP if reply.finished else Finish.LENGTH,
            policy=policy_of(server),
        )
        for request, reply, (prompt, completion) in zip(
            asked,
            replies,
            encoder.pairs([(r.prompt.text, reply.text or "") for r, reply in zip(asked, replies, strict=True)]),
            strict=True,
        )
    ]
    meter.count("generate", flops=0.0, tokens=sum(len(rollout.tokens) for rollout in rollouts))
    return rollouts
