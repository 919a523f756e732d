"""The working folder, which may be somebody else's, is no place of modules for this process and those it starts.

`python -m` and Ray's workers look there before they look among the libraries, so that a file `torch.py` of a downloaded
folder would be imported. This runs before any other import, so it may use no module that Python has not loaded itself.
Left out: plug-ins, which are looked for there last, and only once trusted (`plugins.py`).
"""

import os
import sys

SAFE_PATH = "PYTHONSAFEPATH"
"""Environment variable by which Python leaves out the working folder; `cluster/connection.py` does so by it too."""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def leave_out() -> None:
    """Take the working folder from where modules are looked for, unless this program itself lies there."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return
    if here == os.path.dirname(_PACKAGE):
        return
    os.environ[SAFE_PATH] = "1"
    if not sys.flags.safe_path and sys.path[:1] in ([""], [here]):
        del sys.path[0]
