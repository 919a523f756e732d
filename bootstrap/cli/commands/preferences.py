"""`bootstrap pairs` and `bootstrap reward-model`."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.cli.commands import options


def pairs(
    generation: options.Generation,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="New file for the pairs, JSON Lines.")],
    by: Annotated[str, typer.Option("--by", metavar="REWARD", help="The reward component that decides, or brevity.")],
    store: options.Store = options.DEFAULT_STORE,
    lineage: options.Lineage = None,
) -> None:
    """Write preference pairs from a generation's right answers: per prompt, the best and the worst by one reward.

    \b
    Examples:
      bootstrap pairs 2 pairs.jsonl --by language
      bootstrap pairs champion pairs.jsonl --by brevity --lineage r1
    """
    from bootstrap.cli.render import tell
    from bootstrap.cli.reward_model import write_pairs
    from bootstrap.cli.stores import located

    tell(write_pairs(*located(store, lineage, generation), path, by=by))


def reward_model(
    path: Annotated[Path, typer.Argument(metavar="PAIRS", help="Pairs: prompt, chosen, rejected; JSON Lines.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the reward model.")],
    base: Annotated[Path, typer.Option("--base", metavar="DIR", help="The language model that it starts from.")],
    updates: Annotated[int, typer.Option("--updates", min=1, metavar="N", help="Optimizer updates.")] = 100,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, metavar="N", help="Pairs per update.")] = 32,
    lr: Annotated[float, typer.Option("--lr", min=0, metavar="X", help="Learning rate, falling to 0.")] = 1e-3,
    held_out: Annotated[
        float,
        typer.Option("--held-out", min=0.01, max=0.99, metavar="X", help="Share of prompts kept for measuring."),
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the split and the training.")] = 0,
) -> None:
    """Train a reward model on preference pairs, for the verifier reward_model.

    \b
    Examples:
      bootstrap export base sft --lineage r1
      bootstrap reward-model pairs.jsonl preferences --base sft
    """
    from bootstrap.cli.render import tell
    from bootstrap.cli.reward_model import train_reward_model

    told = train_reward_model(
        path, folder, base=base, updates=updates, batch_size=batch_size, lr=lr, held_out=held_out, seed=seed
    )
    tell(told)
