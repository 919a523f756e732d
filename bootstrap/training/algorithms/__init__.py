"""Algorithms: one module each, from scored groups of rollouts to per-token weights on the learner's streams.

None of them needs torch; the driver runs them.
"""
