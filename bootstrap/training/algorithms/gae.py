"""Generalised advantage estimation (arXiv:1506.02438), which PPO with a critic (arXiv:1707.06347) learns from.

Estimator: `A_t = sum over l of (gamma lam)^l delta_{t+l}` with `delta_t = r_t + gamma V_{t+1} - V_t` (eq. 11-16). `V_t`
is the critic's value of the state in which token t is chosen. The value after the last token is 0, also where the
length limit cut the completion. `lam` 1 gives the reward to come less the value, unbiased for any critic; `lam` 0 gives
the one-step error `delta_t`. The critic's target is `A_t + V_t`. Degenerate cases: with values of 0, gamma 1 and lam 1
every token's advantage is the reward to come (REINFORCE without a baseline); no tokens give no advantages.
"""

from collections.abc import Sequence


def advantages(rewards_T: Sequence[float], values_T: Sequence[float], *, gamma: float, lam: float) -> list[float]:
    """Return the advantage of each of a completion's T tokens from the rewards of each."""
    found, following, trace = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards_T), reversed(values_T), strict=True):
        trace = reward + gamma * following - value + gamma * lam * trace
        following = value
        found.append(trace)
    return found[::-1]
