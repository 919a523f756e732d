"""`bootstrap chat`."""

from typing import Annotated

import typer

from bootstrap.cli.commands import options


def chat(
    generation: options.Generation,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="GENERATION", help="A second one, answering beside it; in any of those forms."
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", metavar="TEXT", help="Ask this and end; may be given several times."),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, metavar="N", help="Answers each: 1 is greedy, more are sampled.")
    ] = 1,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, metavar="N", help="Limit on an answer; by default the evaluation's."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask a generation, or two side by side, as its evaluation does.

    Without --prompt it reads lines from a pipe, or what is typed. The verdict is shown where the task knows the
    reference. Plug-ins that a stored recipe names are not imported: their lineages answer without verdicts.

    \b
    Examples:
      bootstrap chat champion --against base
      bootstrap chat champion --prompt '54321+11111='
      printf '1+1=\\n21+43=\\n' | bootstrap chat gen-2 --json
    """
    from bootstrap.cli.chat import chat as talk
    from bootstrap.cli.stores import located

    asked = [located(store, lineage, name) for name in (generation, against) if name is not None]
    talk(asked, prompts=prompt or (), samples=samples, max_tokens=max_tokens, as_json=as_json)
