"""The command line: it parses, calls one function and prints; every decision is made elsewhere."""

import time

BEGAN = time.monotonic()
"""When this command began, as near as can be told: nothing of the command line is imported before this."""
