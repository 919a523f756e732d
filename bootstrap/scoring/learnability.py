"""What a proposed problem earns in self-play: more the harder it is for the solver, as long as it can be solved.

Reward `1 - s` at solve rate s, and 0 at s = 0 and s = 1 (Absolute Zero, arXiv:2505.03335, equation 4): what is always
solved teaches nothing, and what is never solved may be impossible. A text that is no problem earns 0 as well; a
negative reward there drives the proposer into silence.

Left out: which texts are problems, and who solves them (`stages/self_play.py`).
"""


def learnability(solve_rate: float) -> float:
    """Return the proposer's reward, in [0, 1)."""
    assert 0 <= solve_rate <= 1, f"{solve_rate} is no share"
    return 0.0 if solve_rate in (0.0, 1.0) else 1.0 - solve_rate
