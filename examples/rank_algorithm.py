"""An algorithm of your own: an answer's advantage is its rank in its group, whatever the distance of the rewards.

Named by a recipe as `algorithm: {type: plugin, uses: "rank_algorithm:advantages"}` in a step of type rl. Everything
else about the policy loss (clipping, mean, KL, resampling) is set there as for grpo.
"""


def advantages(rewards, *, lengths, scale=1.0):
    """One list a group, one number a sample. `lengths` are the answers' tokens; a list with a number for each of them
    may stand in a number's place."""
    return [[scale * _rank(reward, group) for reward in group] for group in rewards]


def _rank(reward, group):
    """From -1 for the worst to 1 for the best; answers with equal rewards share a rank."""
    below = sum(other < reward for other in group)
    above = sum(other > reward for other in group)
    return (below - above) / (len(group) - 1)
