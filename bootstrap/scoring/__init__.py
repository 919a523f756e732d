"""Completion to verdict: one module per verifier, probed before it may give reward."""
