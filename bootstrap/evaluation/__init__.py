"""Verdicts on held-out prompts to a report, and the report's answers to a decision."""
