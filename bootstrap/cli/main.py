"""The `bootstrap` command: its subcommands and options, and the one place where errors become messages and exit codes.

Importing this loads no torch, ray or mlflow, so that `--help` and questions about a lineage answer at once; each
subcommand imports what it needs when it is called.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from bootstrap import __version__
from bootstrap.cli.command import command
from bootstrap.cli.jobs import Address, Told, attach, jobs, require_address, stop, tell
from bootstrap.cli.stores import DEFAULT_STORE
from bootstrap.errors import BootstrapError

INTERRUPTED = 130
USAGE = 2

EPILOG = """
\b
Exit codes:
  0    done
  1    a defect of this program (or, with --debug, any error's traceback)
  2    the recipe or the command line cannot work as written
  3    the store cannot be read or written, or is corrupt; or another driver holds the lineage, or it grows from
       another recipe
  4    a verifier failed, or the accounting does not reconcile
  5    a worker or the cluster failed
  6    MLflow cannot be reached
  7    a guard of the recipe ended the run; what is grown is committed
  130  stopped by Ctrl-C; the same command goes on from there
"""

SUBMIT_STORE = "Store, as the cluster's head node sees it; by default ~/bootstrap-runs of who runs that node."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EPILOG,
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, for example pipelines/quickstart.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, for example generations.count=3."),
]
Store = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder that holds one folder per lineage.")]
Lineage = Annotated[
    str | None, typer.Option("--lineage", metavar="NAME", help="The lineage; by default the store's only one.")
]
NewLineage = Annotated[
    str | None, typer.Option("--lineage", metavar="NAME", help="Name of the lineage; by default the recipe's name.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Worker processes; overrides resources.workers.")
]
PastGuards = Annotated[
    bool, typer.Option("--past-guards", help="Go on although a guard of the recipe ended the last run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


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


@app.command()
def run(
    recipe: RecipePath,
    overrides: Overrides = None,
    store: Store = DEFAULT_STORE,
    lineage: NewLineage = None,
    workers: Workers = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")] = False,
    past_guards: PastGuards = False,
) -> None:
    """Run a recipe, or go on with it where it stopped.

    The same command again continues after the last finished stage; a finished lineage is left as it is.

    \b
    Examples:
      bootstrap run pipelines/quickstart.yaml
      bootstrap run pipelines/addition.yaml generations.count=3 --lineage short --workers 1
      bootstrap run pipelines/quickstart.yaml --local
    """
    from bootstrap.cli.run import run_recipe

    run_recipe(
        recipe,
        overrides or [],
        store=store,
        lineage=lineage,
        workers=workers,
        local=local,
        past_guards=past_guards,
    )


@app.command()
def fork(
    source: Annotated[
        str, typer.Argument(metavar="LINEAGE@GEN", help="Where from: addition@gen-3, addition@champion.")
    ],
    name: Annotated[str, typer.Argument(metavar="NEW", help="Name of the new lineage.")],
    overrides: Overrides = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="Grow by this recipe; by default by the origin's."),
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Start a new lineage from any generation of another one, rejected ones too.

    The new lineage's generation 0 has that generation's weights and, if the task is the same, the verified answers
    accumulated by then; the recipe's `base` section is replaced, and its generations or stages begin anew. The origin
    stays as it is. Growing is left to `bootstrap run`, whose command is printed.

    \b
    Examples:
      bootstrap fork quickstart@gen-3 wider generations.curriculum.type=accelerated
      bootstrap fork quickstart@champion distilled --recipe pipelines/reversal.yaml
    """
    from bootstrap.cli.fork import fork_lineage

    print(fork_lineage(source, name, overrides or [], recipe_path=recipe, store=store))


@app.command()
def submit(
    recipe: RecipePath,
    overrides: Overrides = None,
    address: Address = None,
    store: Annotated[str | None, typer.Option("--store", metavar="DIR", help=SUBMIT_STORE)] = None,
    lineage: NewLineage = None,
    workers: Workers = None,
    submission_id: Annotated[
        str | None, typer.Option("--submission-id", metavar="ID", help="The job's name in Ray; by default one is made.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show the job's log until it ends.")] = True,
    past_guards: PastGuards = False,
) -> None:
    """Submit a recipe as a Ray job and follow its log.

    The job belongs to the cluster: Ctrl-C ends the view, not the job, and `bootstrap attach` comes back to it.

    \b
    Examples:
      bootstrap submit pipelines/quickstart.yaml --address http://127.0.0.1:8265
      bootstrap submit pipelines/addition.yaml generations.count=12 --address http://head:8265 --store /shared/runs
    """
    from bootstrap.cli.stores import check_name
    from bootstrap.config.load import load_recipe

    address = require_address(address)
    # A faulty recipe is told at once, before Ray's client takes its seconds to load.
    load_recipe(recipe, overrides or [], check_folders=False)
    from bootstrap.cluster.submit import submit_recipe

    code = submit_recipe(
        recipe,
        address=address,
        overrides=overrides or [],
        store=store,
        lineage=None if lineage is None else check_name(lineage),
        workers=workers,
        submission_id=submission_id,
        follow=follow,
        past_guards=past_guards,
        echo=tell,
    )
    raise typer.Exit(Told(code))


for of_a_job in (jobs, attach, stop):
    app.command()(of_a_job)


@app.command()
def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    store: Store = DEFAULT_STORE,
    lineage: NewLineage = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Show what a recipe would do and cost. Touches nothing.

    Generations that the lineage has committed already are shown with their outcome, and pace the estimate of the rest.

    \b
    Examples:
      bootstrap plan pipelines/quickstart.yaml
      bootstrap plan pipelines/addition.yaml generations.count=20 --workers 8 --json
    """
    from bootstrap.cli import render
    from bootstrap.cli.plan import print_plan
    from bootstrap.cli.run import planned

    found = planned(recipe, overrides or [], store=store, lineage=lineage, workers=workers)[1]
    render.print_json(found.to_json()) if as_json else print_plan(found)


@app.command("lineage")
def show_lineage(
    store: Store = DEFAULT_STORE,
    lineage: Lineage = None,
    as_json: AsJson = False,
    sync: Annotated[bool, typer.Option("--sync", help="First publish to MLflow what is not there yet.")] = False,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", metavar="URI", help="For --sync: by default as in the last run."),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME", help="For --sync: by default as in the last run."),
    ] = None,
    sample_rollouts: Annotated[
        int | None,
        typer.Option(
            "--sample-rollouts",
            min=0,
            metavar="N",
            help="For --sync: readable rollouts per generation; by default as in the last run.",
        ),
    ] = None,
) -> None:
    """Show the generations of each lineage.

    \b
    Examples:
      bootstrap lineage
      bootstrap lineage --lineage quickstart --json
      bootstrap lineage --sync
    """
    from bootstrap.cli import render
    from bootstrap.cli.stores import several
    from bootstrap.lineage import queries
    from bootstrap.store.finals import final_of

    stores = several(store, lineage)
    if sync:
        from bootstrap.cli.sync import sync_lineage

        for found in stores:
            where = sync_lineage(
                found, tracking_uri=tracking_uri, experiment=experiment, sample_rollouts=sample_rollouts
            )
            print(f"{found.root.name}: MLflow is up to date at {where}", file=sys.stderr)
    if as_json:
        read = [(found, found.ledger.read()) for found in stores]
        render.print_json(
            {found.root.name: queries.generations(entries, final_of(found, entries)) for found, entries in read}
        )
        return
    for found in stores:
        render.print_lineage(found)


@app.command()
def show(
    generation: Annotated[str, typer.Argument(metavar="GENERATION", help="3, gen-3, champion, base or last.")],
    store: Store = DEFAULT_STORE,
    lineage: Lineage = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one generation.

    \b
    Examples:
      bootstrap show champion
      bootstrap show gen-3 --json
    """
    from bootstrap.cli import render
    from bootstrap.cli.stores import choose
    from bootstrap.errors import StoreCorrupt
    from bootstrap.lineage import queries
    from bootstrap.store.pretrained import pretrained_of

    chosen = choose(store, lineage)
    entries = chosen.ledger.read()
    weights = queries.find(entries, generation).generation.artifacts["weights"]
    try:
        pretrained = pretrained_of(chosen.artifact(weights))
    except StoreCorrupt:
        # What the ledger says of a generation can be read without its weights; `bootstrap verify` names the damage.
        pretrained = None
    found = queries.show(entries, generation, pretrained=pretrained)
    render.print_json(found) if as_json else render.print_generation(found)


@app.command()
def report(
    lineages: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LINEAGE]...", help="Names in the store, or folders; all of the store if none."),
    ] = None,
    store: Store = DEFAULT_STORE,
    metric: Annotated[
        Literal["frontier", "accuracy", "pass-at-1", "pass-at-k"], typer.Option("--metric", help="What is quality.")
    ] = "frontier",
    levels: Annotated[
        str | None,
        typer.Option("--levels", metavar="LEVELS", help="For shares: 5, 5-8 or 1,3,5-8; by default the first target."),
    ] = None,
    evaluation: Annotated[
        bool, typer.Option("--evaluation/--without-evaluation", help="Count the FLOPs of evaluation too.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PNG", help="The picture; by default in the store's folder .reports."),
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print a Markdown table of start, end and cost.")] = False,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Show the picture in MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare compute with quality: a curve for each lineage and each arm left ungated, sigmoids, FLOPs to fixed
    levels.

    \b
    Examples:
      bootstrap report
      bootstrap report quickstart no-verifier --metric accuracy --levels 5-8
      bootstrap report quickstart --without-evaluation --out curve.png
    """
    from bootstrap.cli.report import report as print_report

    print_report(
        lineages or (),
        store=store,
        metric=metric,
        levels=levels,
        count_evaluation=evaluation,
        out=out,
        as_json=as_json,
        as_markdown=table,
        publish=publish,
    )


@app.command()
def export(
    generation: Annotated[str, typer.Argument(metavar="GENERATION", help="3, gen-3, champion, base or last.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the model.")],
    store: Store = DEFAULT_STORE,
    lineage: Lineage = None,
) -> None:
    """Copy a model into a folder of its own.

    The folder opens with transformers alone; every file is checked against its recorded hash on the way.

    \b
    Examples:
      bootstrap export champion my-model
      python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('my-model')"
    """
    from bootstrap.cli.export import export_generation
    from bootstrap.cli.stores import choose

    name, count = export_generation(choose(store, lineage), generation, folder)
    print(f"{name}: {count} verified files in {folder}")


@app.command()
def pairs(
    generation: Annotated[str, typer.Argument(metavar="GENERATION", help="3, gen-3, champion, base or last.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="New file for the pairs, JSON Lines.")],
    by: Annotated[
        str, typer.Option("--by", metavar="REWARD", help="Component of the reward that decides, or brevity.")
    ],
    store: Store = DEFAULT_STORE,
    lineage: Lineage = None,
) -> None:
    """Write preferences among a generation's right answers: of each prompt's, the best and the worst by one reward.

    \b
    Examples:
      bootstrap pairs 2 pairs.jsonl --by language
      bootstrap pairs champion pairs.jsonl --by brevity --lineage r1
    """
    from bootstrap.cli.reward_model import write_pairs
    from bootstrap.cli.stores import choose

    print(write_pairs(choose(store, lineage), generation, path, by=by))


@app.command("reward-model")
def reward_model(
    path: Annotated[Path, typer.Argument(metavar="PAIRS", help="Pairs: prompt, chosen, rejected; JSON Lines.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the reward model.")],
    base: Annotated[Path, typer.Option("--base", metavar="DIR", help="Language model that it is made from.")],
    updates: Annotated[int, typer.Option("--updates", min=1, metavar="N")] = 100,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, metavar="N", help="Pairs in one update.")] = 32,
    lr: Annotated[float, typer.Option("--lr", min=0, metavar="X", help="Learning rate, falling to 0.")] = 1e-3,
    held_out: Annotated[
        float, typer.Option("--held-out", min=0.01, max=0.99, metavar="X", help="Share of prompts to measure by.")
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N")] = 0,
) -> None:
    """Train a reward model on preferences between answers, for the verifier reward_model.

    \b
    Examples:
      bootstrap export base sft --lineage r1
      bootstrap reward-model pairs.jsonl preferences --base sft
    """
    from bootstrap.cli.reward_model import train_reward_model

    told = train_reward_model(
        path, folder, base=base, updates=updates, batch_size=batch_size, lr=lr, held_out=held_out, seed=seed
    )
    print(told)


@app.command("import")
def import_command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A .gguf file, a Hugging Face folder, or a hub id: owner/name.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the model.")],
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="ID", help="Licence, where the source names none.")
    ] = None,
) -> None:
    """Bring a pretrained model into a folder that recipes can start from.

    The weights become one safetensors file; code and pickles of the model's author are never run. Fingerprint, source
    and licence stand in import.json.

    \b
    Examples:
      bootstrap import SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2-135m-instruct
      bootstrap import HuggingFaceTB/SmolLM2-135M-Instruct models/smollm2-135m-instruct
    """
    from bootstrap.cli.import_model import import_model

    print(import_model(source, folder, licence=licence))


@app.command()
def verify(store: Store = DEFAULT_STORE, lineage: Lineage = None, as_json: AsJson = False) -> None:
    """Recompute every hash in the store.

    Exit code 3 when something disagrees with the ledger.

    \b
    Examples:
      bootstrap verify
      bootstrap verify --lineage quickstart --json
    """
    from bootstrap.cli import render
    from bootstrap.cli.stores import several
    from bootstrap.errors import StoreCorrupt
    from bootstrap.store.verify import verify as check

    reports = {found.root.name: check(found.root) for found in several(store, lineage)}
    if as_json:
        render.print_json({name: report.model_dump(mode="json") for name, report in reports.items()})
    else:
        for name, report in reports.items():
            render.print_verification(name, report)
    problems = sum(len(report.problems) for report in reports.values())
    if problems:
        raise StoreCorrupt(f"{problems} of the checks failed; restore what is named above from a copy of the store")


@app.command()
def rescore(
    store: Store = DEFAULT_STORE,
    lineage: Lineage = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="Judge by this recipe's verifiers; by default the lineage's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a lineage's stored answers again and list the promotions that would come out otherwise.

    For when a verifier has changed: the verdicts of its present version beside the recorded ones. The lineage stays as
    it is.

    \b
    Examples:
      bootstrap rescore --lineage quickstart
      bootstrap rescore --recipe pipelines/stricter.yaml --json
    """
    from bootstrap.cli.rescore import rescore_lineage
    from bootstrap.cli.stores import choose

    rescore_lineage(choose(store, lineage), recipe_path=recipe, as_json=as_json)


@app.command()
def ui(
    store: Store = DEFAULT_STORE,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 5000,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", metavar="URI", help="By default as in each lineage's last run."),
    ] = None,
) -> None:
    """Serve the lineages in MLflow until Ctrl-C.

    The server listens on this machine alone (127.0.0.1). Of lineages published to a tracking server, their pages
    there are named.

    \b
    Examples:
      bootstrap ui
      bootstrap ui --store /shared/runs --port 5001
    """
    from bootstrap.cli.ui import serve_until_stopped

    serve_until_stopped(store, port=port, tracking_uri=tracking_uri)


bench = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure, in ratios within one run.")
app.add_typer(bench, name="bench")


@bench.command("workers")
def bench_workers(
    workers: Annotated[str, typer.Option("--workers", metavar="N,N", help="Numbers of workers to compare.")] = "1,2",
    rounds: Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Measurements of each.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure what more workers buy: updates and samples per second, all in one run.

    Absolute figures belong to the machine and its load; the ratios are what to quote.

    \b
    Example:
      bootstrap bench workers --workers 1,2
    """
    from bootstrap.cli.bench import compare
    from bootstrap.errors import RecipeError

    try:
        counts = [int(part) for part in workers.split(",")]
    except ValueError:
        raise RecipeError(f"--workers {workers} is no list of whole numbers; write for example --workers 1,2") from None
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise RecipeError(f"--workers {workers}: name different numbers from 1 up, for example --workers 1,2")
    compare(counts, rounds=rounds, as_json=as_json)


@bench.command("sandbox")
def bench_sandbox(
    executions: Annotated[int, typer.Option("--executions", min=100, metavar="N", help="Sealed executions.")] = 2000,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, metavar="N", help="At once; by default one per CPU core.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option("--level", metavar="LEVEL", help="seal, seal+ns or bwrap; by default the strongest that holds."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure sealed executions per second beside bare interpreters, and what they leave behind.

    \b
    Examples:
      bootstrap bench sandbox
      bootstrap bench sandbox --executions 10000 --level seal
    """
    from bootstrap.cli.bench import measure_sandbox

    measure_sandbox(executions, processes=processes, level=level, as_json=as_json)


verifier = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into verifiers.")
app.add_typer(verifier, name="verifier")


@verifier.command("check")
def check_verifier(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A type such as math, my_module:my_function, or an entry point."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Its settings, for example answer.type=tagged."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="Check this recipe's verifier with its task's answers."),
    ] = None,
    reference: Annotated[str | None, typer.Option("--reference", metavar="TEXT", help="What it compares with.")] = None,
    right: Annotated[
        str | None, typer.Option("--right", metavar="TEXT", help="A right answer; by default the reference.")
    ] = None,
    wrong: Annotated[
        list[str] | None, typer.Option("--wrong", metavar="TEXT", help="A wrong answer; may be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what right, wrong and hostile answers get from a verifier.

    Exit code 4 when it passes what it must not, fails what it must pass, raises, or changes its mind.

    \b
    Examples:
      bootstrap verifier check math
      bootstrap verifier check my_verifiers:shortest --reference 42 --wrong 41 --wrong 43
      bootstrap verifier check --recipe pipelines/code.yaml
    """
    from bootstrap.cli.verifier import check_verifier as run_check

    run_check(
        name,
        overrides or [],
        recipe_path=recipe,
        reference=reference,
        right=right,
        wrong=wrong or [],
        as_json=as_json,
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes.

    Editors that know it check and complete recipes while you type.

    \b
    Example:
      bootstrap schema > recipe.schema.json
    """
    from bootstrap.cli import render
    from bootstrap.config.load import json_schema

    render.print_json(json_schema())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every error a user can meet becomes one message on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, standalone_mode=False, prog_name="bootstrap")
    except BootstrapError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except TyperException as error:
        message = error.format_message()
        if not arguments:
            # Called without arguments, typer's "error" is the help itself.
            print(message)
            return 0
        print(f"error: {message.rstrip('.')}; see `{command('--help')}`", file=sys.stderr)
        return error.exit_code
    if code == INTERRUPTED and not isinstance(code, Told):
        print("stopped; run the same command again to continue", file=sys.stderr)
    return code or 0
