"""Prompt -> completion: the engine protocol and its backends."""
