"""The one builder of rollouts and verdicts for tests: sensible values, and keywords for what a test is about."""

from typing import Any

from bootstrap.records import Finish, Rollout, Status, Verdict


def rollout(id: str = "g1.s0.u0.p0.k0", length: int = 1, **fields: Any) -> Rollout:
    """Return a rollout of `length` completion tokens; its group and sample are those of `id`, GROUP.kSAMPLE."""
    group, _, sample = id.rpartition(".k")
    values = {
        "group": group or id,
        "prompt_id": group or id,
        "prompt_text": "1+1=",
        "level": 1,
        "sample_index": int(sample) if sample.isdecimal() else 0,
        "prompt_tokens": (1, 5, 6),
        "tokens": (2,) * length,
        "logprobs": (-0.5,) * length,
        "entropies": (0.1,) * length,
        "text": "x",
        "finish": Finish.STOP,
        "policy": "f" * 64,
        "seed": 0,
    }
    return Rollout(id=id, **{**values, **fields})


def verdict(rollout_id: str = "g1.s0.u0.p0.k0", status: Status = Status.PASS, **fields: Any) -> Verdict:
    """Return a verdict; without a `reward` of its own 1 for PASS, 0 for FAIL, None for UNVERIFIABLE."""
    values = {
        "reward": None if status is Status.UNVERIFIABLE else float(status is Status.PASS),
        "breakdown": {},
        "reason": "",
        "verifier": "exact",
        "version": "v1",
    }
    return Verdict(rollout_id=rollout_id, status=status, **{**values, **fields})
