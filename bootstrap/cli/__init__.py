"""The command line. `commands/` declares each command; the modules here do its work by calls of the rooms below.

main.py       assembles the commands; errors become messages and exit codes
commands/     arguments, options and help of each command; loads typer alone
stores.py     which lineage a command means
render.py     tables, lines and JSON
"""

import time

BEGAN = time.monotonic()
"""When this command began: nothing of the command line is imported before this."""
