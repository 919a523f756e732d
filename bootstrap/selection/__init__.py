"""Verdicts to training data: filters, replay, curriculum and books; pure functions but for the replay pool."""
