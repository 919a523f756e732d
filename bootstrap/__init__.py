"""bootstrap: cycle language models through generations."""

__version__ = "0.1.0"
