"""Ray: placement, calls, waits and job submission; no logic of its own. The only package that imports ray."""

import os

# Ray reads this when it is imported. Left on, a driver under `uv run` makes every worker rebuild its environment.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
