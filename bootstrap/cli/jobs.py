"""`bootstrap jobs`, `attach` and `stop`: this program's jobs on a Ray cluster; and where `submit` finds the cluster.

Importing this loads no Ray. What a job server is asked stands in `cluster/jobs.py`, what a submission is in
`cluster/submit.py`.
"""

from typing import Annotated

import typer

from bootstrap.errors import RecipeError

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""The address in the environment, under the name that Ray's own commands know it by."""

Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="URL", envvar=ADDRESS_VARIABLE, help="The Ray cluster's dashboard, http://HOST:8265."
    ),
]
SubmissionId = Annotated[str, typer.Argument(metavar="ID", help="A job's submission id, as `bootstrap jobs` lists it.")]


class Told(int):
    """An exit code whose reason has been printed."""


def require_address(address: str | None) -> str:
    """Return the job server's address. Raises RecipeError where neither option nor environment name one."""
    if not address:
        raise RecipeError(
            f"no job server is named; give --address http://HOST:8265, the Ray cluster's dashboard, or set "
            f"{ADDRESS_VARIABLE}"
        )
    return address


def tell(line: str) -> None:
    """Print a line at once, whoever reads it."""
    print(line, flush=True)


def jobs(
    address: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")] = False,
) -> None:
    """List this program's jobs on a Ray cluster, the newest last.

    \b
    Examples:
      bootstrap jobs --address http://127.0.0.1:8265
      bootstrap jobs --json
    """
    address = require_address(address)
    from bootstrap.cli import render
    from bootstrap.cluster.jobs import JobServer

    server = JobServer(address)
    listed, others = server.listed()
    if as_json:
        render.print_json({"address": server.address, "jobs": listed, "other_jobs": others})
    else:
        render.print_jobs(listed, others=others, address=server.address)


def attach(submission_id: SubmissionId, address: Address = None) -> None:
    """Follow a job's log until it ends, and return its exit code.

    Ctrl-C ends the view, not the job.

    \b
    Examples:
      bootstrap attach quickstart-a1 --address http://127.0.0.1:8265
    """
    address = require_address(address)
    from bootstrap.cluster.jobs import JobServer

    server = JobServer(address)
    server.find(submission_id)
    raise typer.Exit(Told(server.follow(submission_id, echo=tell)))


def stop(submission_id: SubmissionId, address: Address = None) -> None:
    """Stop a job: it saves its last checkpoint, lets go of its lineage and ends.

    What it has finished is kept, and submitting the recipe again goes on from there. A job that has ended already
    stays as it is.

    \b
    Examples:
      bootstrap stop quickstart-a1 --address http://127.0.0.1:8265
    """
    address = require_address(address)
    from bootstrap.cluster.jobs import JobServer

    JobServer(address).stop(submission_id, echo=tell)
