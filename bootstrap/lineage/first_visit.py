"""MLflow's own application, whose pages open without the panels of a first visit.

    mlflow server --app-name bootstrap      `bootstrap ui` starts it so

MLflow keeps what a visitor has closed in the browser's local storage, and no setting of a server or part of a link says
it. The server therefore answers with MLflow's own first page and one script before it, which marks each panel as closed
where the browser knows nothing of it yet; whoever opens a panel again keeps it. Links without a mode open the pages of
model training. Importing this module imports no MLflow; `create` does.
"""

import json
from pathlib import Path
from typing import Any

APP_NAME, GROUP = "bootstrap", "mlflow.app"
"""Name and group of the entry point that MLflow finds this application by."""
SEEN: dict[str, Any] = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    "mlflow.detectIssues.guidanceShown_v1": True,
    "mlflow.flagForReview.guidanceShown_v1": True,
    "mlflow.home.getting-started.collapsed_v1": True,
    "mlflow.telemetry.info.alert.dismissed_v1": True,
    "_mlflow_model_registry_promo_modal_dismissed_v1": True,
    "mlflow.workflowType_v1": "machine_learning",
}
"""Local storage of a visitor who has closed MLflow's first-visit panels."""
_SCRIPT = """<script>
for (const [key, value] of Object.entries(%s)) {
  try {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
  } catch (error) { /* A browser without storage shows the panels. */ }
}
</script>"""


def create() -> Any:
    """Return MLflow's ASGI application with the changed first page; MLflow's server calls it."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import _add_static_prefix
    from starlette.requests import Request
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    found = with_script((Path(str(pages.static_folder)) / "index.html").read_text(encoding="utf-8"))

    def first_page(_: Request) -> HTMLResponse:
        return HTMLResponse(found)

    # Before the mount of MLflow's own pages, which answers every path.
    app.router.routes.insert(0, Route(_add_static_prefix("/"), first_page))
    return app


def with_script(page: str) -> str:
    """Return MLflow's first page with the script before its own, unchanged if it has no script."""
    before, mark, after = page.partition("<script")
    return f"{before}{_SCRIPT % json.dumps(SEEN)}{mark}{after}" if mark else page
