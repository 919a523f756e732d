"""Verdicts to training data: filters, replay, curriculum, accounting; pure functions, except for the replay pool."""
