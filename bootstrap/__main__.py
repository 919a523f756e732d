"""`python -m bootstrap` is the `bootstrap` command."""

import sys

from bootstrap.cli.working_folder import leave_out

if __name__ == "__main__":
    leave_out()
    # Later than that, since it loads libraries.
    from bootstrap.cli.main import main

    sys.exit(main())
