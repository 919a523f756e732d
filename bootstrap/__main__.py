"""The `bootstrap` command, also as `python -m bootstrap`."""

import sys

from bootstrap.cli.working_folder import leave_out
from bootstrap.errors import INTERRUPTED


def main() -> int:
    """Run one command and return its exit code; Ctrl-C while its modules load ends it in one line too."""
    leave_out()
    try:
        # Later than that, since it loads libraries.
        from bootstrap.cli.main import main as command

        return command()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
