"""`bootstrap why`, `diff`, `samples`, `trace`, `taint`, `contamination`, `compare`, `reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bootstrap.cli.commands import options
from bootstrap.lineage.questions.words import Kind

if TYPE_CHECKING:
    from bootstrap.lineage.questions.records import IsRecord

Count = Annotated[int, typer.Option("--count", min=1, metavar="N", help="Number of answers to show.")]


def why(
    generation: options.Generation = "champion",
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Say why a generation is champion, or why it is not.

    The chain of gate decisions goes from generation 0 to it, each with its tests and with those that failed them.

    \b
    Examples:
      bootstrap why
      bootstrap why gen-3 --json
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_why

    found, name = Lineage.asked(store, lineage, generation)
    answer = found.why(name)
    _json(answer) if as_json else print_why(answer)


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=f"A generation: {options.FORMS}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    count: Count = 5,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what differs between two generations.

    Settings, data, verifiers, metrics, and answers to the same held-out prompts.

    \b
    Examples:
      bootstrap diff gen-1 champion
      bootstrap diff quickstart@champion other@champion --count 20
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_difference

    found, name = Lineage.asked(store, lineage, a)
    answer = found.diff(name, b)
    _json(answer) if as_json else print_difference(answer, count=count)


def samples(
    generation: options.Generation = "champion",
    best: Annotated[bool, typer.Option("--best", help="Highest reward first, which is the default.")] = False,
    worst: Annotated[bool, typer.Option("--worst", help="Lowest reward first.")] = False,
    dropped: Annotated[
        str | None,
        typer.Option("--dropped", metavar="REASON", help="Those that trained nothing, for a reason with this in it."),
    ] = None,
    heldout: Annotated[bool, typer.Option("--heldout", help="Answers to held-out prompts, not of training.")] = False,
    count: Count = 10,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a generation's best, worst or dropped answers.

    Best and worst are by reward. An empty REASON takes every reason.

    \b
    Examples:
      bootstrap samples champion --best
      bootstrap samples gen-3 --worst --count 20
      bootstrap samples gen-3 --dropped "all right"
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_samples
    from bootstrap.cli.render import print_json
    from bootstrap.errors import RecipeError

    if best and worst:
        raise RecipeError("--best and --worst are opposites; give one of them")
    found, name = Lineage.asked(store, lineage, generation)
    rows = found.samples(
        name,
        order="worst" if worst else "best",
        dropped=dropped,
        origin="heldout" if heldout else None,
        count=count,
    )
    print_json(rows.to_dicts()) if as_json else print_samples(rows)


def trace(
    sample: Annotated[
        str, typer.Argument(metavar="SAMPLE", help="An id that `samples` prints, as g3.s0.u17.p4.k2, or a prompt's id.")
    ],
    generation: Annotated[
        str | None, typer.Option("--generation", metavar="GENERATION", help="Whose answer, for held-out prompts.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Show where a sample comes from and went.

    The model, prompt, seed and verdict that made it, and every generation trained on it, in this lineage and in forks.

    \b
    Examples:
      bootstrap trace g3.s0.u17.p4.k2
      bootstrap trace greedy.l5.p0.k0 --generation champion
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_trace

    found, name = (Lineage(store, lineage), None) if generation is None else Lineage.asked(store, lineage, generation)
    answer = found.trace(sample, generation=name)
    _json(answer) if as_json else print_trace(answer)


def taint(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT", help="A generation, a verifier, a data set (a task, replay-gen-3), an outside model."
        ),
    ],
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="What SUBJECT is, where its name has several meanings.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Show everything downstream of something bad.

    That is a generation, a verifier, a data set or a model from outside; every edge is followed, and forks.

    \b
    Examples:
      bootstrap taint gen-2
      bootstrap taint exact --kind verifier
      bootstrap taint replay-gen-1 --json
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_taint

    found, name = Lineage.asked(store, lineage, subject, is_generation=False)
    answer = found.taint(name, kind=kind)
    _json(answer) if as_json else print_taint(answer)


def contamination(
    generation: options.Generation = "champion",
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Show held-out prompts that were trained on.

    By the generation, or by one whose weights it has, a fork's origin included.

    \b
    Examples:
      bootstrap contamination
      bootstrap contamination gen-3 --json
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_contamination

    found, name = Lineage.asked(store, lineage, generation)
    answer = found.contamination(name)
    _json(answer) if as_json else print_contamination(answer)


def compare(
    lineages: Annotated[list[str], typer.Argument(metavar="LINEAGE", help="Lineages of the store, two or more.")],
    store: options.Store = options.DEFAULT_STORE,
    as_json: options.AsJson = False,
) -> None:
    """Show lineages side by side.

    Settings that differ, outcomes, cost, accuracy and answers of their champions.

    \b
    Examples:
      bootstrap compare quickstart control-replace
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_comparison

    first, *others = [Lineage(store, name) for name in lineages]
    answer = first.compare(*others)
    _json(answer) if as_json else print_comparison(answer)


def reproduce(
    generation: options.Generation = "champion",
    into: Annotated[
        Path | None,
        typer.Option(
            "--into", metavar="DIR", help="New folder for the scratch store, which stays; default: none stays."
        ),
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="On workers of Ray instead of in this process.")] = False,
    trust_plugins: options.TrustPlugins = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a generation again and compare the two.

    In a scratch store, from the recorded weights of its parents, with the recorded recipe, seed and number of workers.
    The store asked about is only read. Exit code 8 when something differs.

    \b
    Examples:
      bootstrap reproduce gen-1
      bootstrap reproduce champion --into build/again
    """
    from bootstrap.api import Lineage
    from bootstrap.cli.answers import print_reproduction
    from bootstrap.cli.reproduce import reproduced
    from bootstrap.cli.trust import trust
    from bootstrap.errors import NotReproduced

    found, name = Lineage.asked(store, lineage, generation)
    answer = reproduced(found, name, into=into, trusted=trust(trust_plugins), ray=ray)
    _json(answer) if as_json else print_reproduction(answer)
    if not answer.is_same:
        raise NotReproduced(
            f"{answer.sentence}; another machine, or version of a package or of this program, can be why: compare the "
            "verifiers and the surroundings"
        )


def _json(answer: "IsRecord") -> None:
    from bootstrap.cli.render import print_json
    from bootstrap.lineage.questions.records import to_dict

    print_json(to_dict(answer))
