"""Seconds of a run that no FLOP accounts for: start-up, the fixed part of every generation, publishing.

Measured on two cores of a server with the models of `pipelines/`; the first generation that is committed corrects the
part of the generations (`CostEstimates.pace`).
"""

START_UP = {"local": 15.0, "ray": 45.0}
"""Until the workers are ready: imports, and with Ray its processes on this machine."""
GENERATION = 9.0
"""Of every generation: loading and storing weights, opening verifiers, asking held-out prompts in small batches,
diagnostics, the record."""
PUBLISHING = {"first": 25.0, "each": 2.0}
"""After the last commit: loading MLflow and, the first time, making its database; then each generation that waits."""


def start_up(*, local: bool) -> float:
    """Return the seconds until the workers are ready."""
    return START_UP["local" if local else "ray"]


def publishing(*, waiting: int) -> float:
    """Return the seconds from the last commit until MLflow shows it. `waiting`: generations that it still lacks."""
    return PUBLISHING["first"] + PUBLISHING["each"] * waiting
