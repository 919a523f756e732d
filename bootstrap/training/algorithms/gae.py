"""Generalised advantage estimation (arXiv:1506.02438), which PPO with a critic (arXiv:1707.06347) learns from.

Estimator: `A_t = sum over l of (gamma lam)^l delta_{t+l}` with `delta_t = r_t + gamma V_{t+1} - V_t` (eq. 11-16). `V_t`
is the critic's value of the state in which token t is chosen; a completion ends with its last token, so the value after
it is 0, for one that the length limit cut too: there is no more to come. `lam` 1 is the reward to come less the value,
unbiased whatever the critic says; `lam` 0 is one step's surprise. The critic's target is `A_t + V_t`. Degenerate cases:
with values of 0 and gamma and lam 1 every token's advantage is the reward to come (REINFORCE without a baseline);
without tokens there is nothing.
"""

from collections.abc import Sequence


def advantages(rewards_T: Sequence[float], values_T: Sequence[float], *, gamma: float, lam: float) -> list[float]:
    """Return the advantage of each of a completion's T tokens from the rewards that each of them earns."""
    found, following, trace = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards_T), reversed(values_T), strict=True):
        trace = reward + gamma * following - value + gamma * lam * trace
        following = value
        found.append(trace)
    return found[::-1]
