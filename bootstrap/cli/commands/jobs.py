"""`bootstrap submit`, `jobs`, `attach` and `stop`: this program's jobs on a Ray cluster."""

from typing import Annotated

import typer

from bootstrap.cli import output
from bootstrap.cli.commands import options
from bootstrap.errors import RecipeError
from bootstrap.lineage.text import visible

SubmissionId = Annotated[str, typer.Argument(metavar="ID", help="A job's submission id, as `bootstrap jobs` lists it.")]
StoreOnCluster = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Store, as the cluster's head node sees it; by default ~/bootstrap-runs of the user who runs that node.",
    ),
]


class JobEnded(Exception):
    """The job that was followed has ended, or its viewer has left; `code` is the command's exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def submit(
    recipe: options.RecipePath,
    overrides: options.Overrides = None,
    address: options.Address = None,
    store: StoreOnCluster = None,
    lineage: options.NewLineage = None,
    workers: options.Workers = None,
    submission_id: Annotated[
        str | None, typer.Option("--submission-id", metavar="ID", help="The job's name in Ray; by default one is made.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show the job's log until it ends.")] = True,
    past_guards: options.PastGuards = False,
    trust_plugins: options.TrustPlugins = None,
) -> None:
    """Submit a recipe as a Ray job and follow its log.

    The job belongs to the cluster: Ctrl-C ends the view, not the job, and `bootstrap attach` comes back to it.

    \b
    Examples:
      bootstrap submit pipelines/quickstart.yaml --address http://127.0.0.1:8265
      bootstrap submit pipelines/addition.yaml generations.count=12 --address http://head:8265 --store /shared/runs
    """
    address = _required(address)
    from bootstrap.cli.trust import trust
    from bootstrap.config.load import load_recipe
    from bootstrap.store.names import check_name

    trust(trust_plugins, elsewhere=True)
    # A faulty recipe is refused at once, before Ray's client takes its seconds to load.
    load_recipe(recipe, overrides or [], check_folders=False)
    from bootstrap.cluster.submit import submit_recipe

    code = submit_recipe(
        recipe,
        address=address,
        overrides=overrides or [],
        store=store,
        lineage=None if lineage is None else check_name(lineage, None),
        workers=workers,
        submission_id=submission_id,
        follow=follow,
        past_guards=past_guards,
        echo=_echo,
    )
    raise JobEnded(code)


def jobs(address: options.Address = None, as_json: options.AsJson = False) -> None:
    """List this program's jobs on a Ray cluster, the newest last.

    \b
    Examples:
      bootstrap jobs --address http://127.0.0.1:8265
      bootstrap jobs --json
    """
    address = _required(address)
    from bootstrap.cli import render
    from bootstrap.cluster.jobs import JobServer

    server = JobServer(address)
    listed, others = server.listed()
    if as_json:
        render.print_json({"address": server.address, "jobs": listed, "other_jobs": others})
    else:
        render.print_jobs(listed, others=others, address=server.address)


def attach(submission_id: SubmissionId, address: options.Address = None) -> None:
    """Follow a job's log until it ends, and return its exit code.

    Ctrl-C ends the view, not the job.

    \b
    Example:
      bootstrap attach quickstart-a1 --address http://127.0.0.1:8265
    """
    address = _required(address)
    from bootstrap.cluster.jobs import JobServer

    server = JobServer(address)
    server.find(submission_id)
    raise JobEnded(server.follow(submission_id, echo=_echo))


def stop(submission_id: SubmissionId, address: options.Address = None) -> None:
    """Stop a job: it saves its last checkpoint, releases its lineage and ends.

    What it has finished is kept; submit the recipe again to continue. A job that has ended already stays as it is.

    \b
    Example:
      bootstrap stop quickstart-a1 --address http://127.0.0.1:8265
    """
    address = _required(address)
    from bootstrap.cluster.jobs import JobServer

    JobServer(address).stop(submission_id, echo=_echo)


def _required(address: str | None) -> str:
    """Return the job server's address. Raises RecipeError where neither option nor environment names one."""
    if not address:
        raise RecipeError(
            "no job server is named; give --address http://HOST:8265, the Ray cluster's dashboard, or set "
            f"{options.ADDRESS_VARIABLE}"
        )
    return address


def _echo(line: str) -> None:
    """Print a line of a job's log. Raises JobEnded, as at Ctrl-C, once nobody reads what is printed."""
    print(visible(line, keep="\n\t"), flush=True)
    if not output.is_read():
        raise JobEnded(0)
