"""Completion to verdict: one module per verifier, checked before it may give reward."""
