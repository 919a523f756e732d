"""`bootstrap serve`."""

from typing import Annotated, Literal

import typer

from bootstrap.cli.commands import options


def serve(
    generation: options.Generation,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8000,
    engine: Annotated[
        Literal["auto", "transformers", "vllm"],
        typer.Option("--engine", help="auto takes vLLM where it is installed, else transformers serve."),
    ] = "auto",
    sampled: Annotated[
        bool, typer.Option("--sampled", help="Sample as the evaluation does, where a request says nothing else.")
    ] = False,
    device: Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="As cpu or cuda:0.")] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=1, metavar="SECONDS", help="Longest wait for the server's first answer.")
    ] = 180.0,
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
) -> None:
    """Serve a generation with OpenAI's interface until Ctrl-C.

    The server listens on this machine alone (127.0.0.1) and loads nothing by network. Its model is called
    LINEAGE-gen-N. Needs pip install 'bootstrap-lm[serve]', or vLLM.

    \b
    Examples:
      bootstrap serve champion
      bootstrap serve gen-3 --port 8001 --lineage quickstart
    """
    from bootstrap.cli.serve import serve_until_stopped
    from bootstrap.cli.stores import located

    serve_until_stopped(
        *located(store, lineage, generation), port=port, engine=engine, sampled=sampled, device=device, seconds=wait
    )
