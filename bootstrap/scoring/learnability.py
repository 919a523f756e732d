"""The proposer's reward in self-play: the harder a problem for the solver, the more, as long as it can be solved.

Reward `1 - s` at solve rate s, and 0 at s = 0 and s = 1 (Absolute Zero, arXiv:2505.03335, equation 4): a problem that
is always solved teaches nothing, and one that is never solved may be impossible. A text that is no problem earns 0 too;
a negative reward would drive the proposer into silence.

Left out: which texts are problems, and who solves them (`stages/self_play.py`).
"""


def learnability(solve_rate: float) -> float:
    """Return the proposer's reward, in [0, 1)."""
    assert 0 <= solve_rate <= 1, f"{solve_rate} is no share"
    return 0.0 if solve_rate in (0.0, 1.0) else 1.0 - solve_rate
