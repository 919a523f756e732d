"""Verifiers: how an answer becomes PASS, FAIL or UNVERIFIABLE."""

from typing import Literal

from bootstrap.config.base import Settings


class ExactVerifier(Settings):
    """The answer equals the reference, character by character."""

    type: Literal["exact"] = "exact"
    strip: bool = False
    """Ignore white space around the answer."""


Verifier = ExactVerifier
"""The discriminated union of all verifiers; `type` tells them apart."""
