"""Confinement of code that a model wrote; standard library only, so that every part of it can be read."""
