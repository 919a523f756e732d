"""The `bootstrap` command: assembles the subcommands; turns errors into messages and exit codes."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from bootstrap import __version__, plugins
from bootstrap.cli import output
from bootstrap.cli.command import command
from bootstrap.cli.commands.bench import bench
from bootstrap.cli.commands.chat import chat
from bootstrap.cli.commands.export import export
from bootstrap.cli.commands.fork import fork
from bootstrap.cli.commands.gc import gc
from bootstrap.cli.commands.import_model import import_model
from bootstrap.cli.commands.jobs import JobEnded, attach, jobs, stop, submit
from bootstrap.cli.commands.lineage import lineage
from bootstrap.cli.commands.options import Command
from bootstrap.cli.commands.plan import plan
from bootstrap.cli.commands.preferences import pairs, reward_model
from bootstrap.cli.commands.questions import compare, contamination, diff, reproduce, samples, taint, trace, why
from bootstrap.cli.commands.recipes import recipes
from bootstrap.cli.commands.report import report
from bootstrap.cli.commands.rescore import rescore
from bootstrap.cli.commands.run import run
from bootstrap.cli.commands.schema import schema
from bootstrap.cli.commands.serve import serve
from bootstrap.cli.commands.show import show
from bootstrap.cli.commands.ui import ui
from bootstrap.cli.commands.verifier import verifier
from bootstrap.cli.commands.verify import verify
from bootstrap.cli.commands.watch import watch
from bootstrap.cli.working_folder import leave_out
from bootstrap.errors import INTERRUPTED, BootstrapError

EPILOG = """
\b
Exit codes:
  0    done
  1    a defect of this program (or, with --debug, any error's traceback)
  2    the recipe or the command line cannot work as written
  3    the store cannot be read or written, or is corrupt; or another driver holds the lineage, or it grows from
       another recipe
  4    a verifier failed, or the accounting of prompts does not reconcile
  5    a worker or the cluster failed
  6    MLflow cannot be reached
  7    a guard of the recipe ended the run; committed generations are kept
  8    a generation made again differs from its record
  130  stopped by Ctrl-C, SIGTERM or a closed terminal; the same command continues from there
"""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EPILOG,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bootstrap {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Cycle language models through generations: generate, verify, train, gate, with the lineage in MLflow.

    \b
    Examples:
      bootstrap run pipelines/quickstart.yaml
      bootstrap lineage
      bootstrap ui
      bootstrap export champion my-model
    """


# `--help` lists them in this order, then the groups.
GROWING = (run, fork, submit, jobs, attach, watch, stop, recipes, plan)
ASKING = (lineage, show, why, diff, samples, trace, taint, contamination, compare, reproduce, report)
USING = (chat, export, serve, pairs)
for function in (*GROWING, *ASKING, *USING):
    app.command(cls=Command)(function)
app.command("reward-model", cls=Command)(reward_model)
app.command("import", cls=Command)(import_model)
for function in (verify, gc, rescore, ui, schema):
    app.command(cls=Command)(function)
app.add_typer(bench, name="bench")
app.add_typer(verifier, name="verifier")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every error a user can meet becomes one message on stderr."""
    if arguments is None:
        leave_out()
        output.tell_tracebacks()
    with output.surviving(), plugins.trusting_only():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, standalone_mode=False, prog_name="bootstrap")
    except JobEnded as end:
        return end.code
    except BootstrapError as error:
        if debug:
            raise
        output.complain(str(error))
        return error.exit_code
    except TyperException as error:
        message = error.format_message()
        if not arguments:
            # Called without arguments, typer's "error" is the help itself.
            print(message)
            return 0
        output.complain(f"{message.rstrip('.')}; see `{command('--help')}`")
        return error.exit_code
    if code == INTERRUPTED:
        print("stopped; run the same command again to continue", file=sys.stderr)
    return code or 0
