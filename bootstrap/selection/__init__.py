"""Verdicts to training data: filters, replay, curriculum and accounting; pure functions but for the replay pool."""
