"""Numbers that lie: what a verifier, a worker or a sampler gives that it cannot have come by honestly."""

from collections.abc import Callable, Iterator

from benchmarks.faults.scene import Outcome, Scene

ONCE = {
    "one exponent bit of a gradient flipped, once": "gradient_bit_flipped",
    "gradient a million times too large, once": "gradient_scaled",
    "gradient not finite, once": "gradient_not_finite",
    "log-probabilities of a round off by 3, once": "logprobs_off",
    "log-probabilities of a round not finite, once": "logprobs_not_finite",
}
"""What one command outlives."""
ENDING = {
    "every gradient a million times too large": ("gradients_scaled", 5),
    "rollout lost": ("rollout_lost", 5),
    "weights changed in a worker between fingerprint and evaluation": ("weights_change", 5),
    "verifier that passes everything after 1,000 answers": ("verifier_turns", 4),
}
"""What ends a command by name, with its exit code; without the fault the same command goes on."""


def faults() -> Iterator[tuple[str, Callable[[Scene], Outcome]]]:
    """Yield each fault's name with what brings it about."""
    for name, injection in ONCE.items():
        yield name, lambda scene, injection=injection: _outlived(scene, injection)
    for name, (injection, code) in ENDING.items():
        yield name, lambda scene, injection=injection, code=code: _ended(scene, injection, code=code)


def _outlived(scene: Scene, injection: str) -> Outcome:
    store = scene.store(injection)
    ending = scene.grow(store, injection=injection)
    equal = scene.is_equal(store)
    noticed = "warning" in ending.text
    kind = "survived" if ending.code == 0 and equal and noticed else "NOT NOTICED" if ending.code == 0 else "STOPPED"
    return Outcome(kind, ending, is_equal=equal)


def _ended(scene: Scene, injection: str, *, code: int) -> Outcome:
    store = scene.store(injection)
    ending = scene.grow(store, injection=injection)
    if ending.code != code:
        return Outcome("NOT NOTICED", ending, is_equal=scene.is_equal(store))
    return scene.resumed(store, ending, lost=None)
