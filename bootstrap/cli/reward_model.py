"""`bootstrap pairs` and `bootstrap reward-model`: preference pairs from a lineage's answers, and a model of them.

A file of pairs is JSON Lines, one `{"prompt": ..., "chosen": ..., "rejected": ...}` a line. The verifier
`reward_model` reads the model's folder:

    <folder>/preferences.json     accuracy on the held-out pairs, how it was trained, hash of the pairs; no dates
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.canonical import json_file, sha256
from bootstrap.cli.stores import new_folder, write_new_folder
from bootstrap.config.data import MOST_BYTES, content_of
from bootstrap.errors import RecipeError
from bootstrap.lineage.queries import find
from bootstrap.reading import MAX_BYTES, read_named
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore

if TYPE_CHECKING:
    from bootstrap.training.preference import Pair

FACTS = "preferences.json"


def write_pairs(store: LineageStore, generation: str, path: Path, *, by: str) -> str:
    """Write the preference pairs of a generation's answers to the new file `path`; return what to print.

    Raises RecipeError for an unknown generation, a reward that its answers lack, answers that do not differ in it, and
    an existing file.
    """
    from bootstrap.stages.preferences import pairs_of

    found = find(store.ledger.read(), generation).generation
    pairs = list(pairs_of(store, found, by=by))
    if not pairs:
        raise RecipeError(
            f"no two right answers of {found.name} to one prompt differ in {by}, so nothing is preferred; name another "
            "generation or reward"
        )
    if path.exists():
        raise RecipeError(f"{path} is there already; name a new file")
    durable.make_folder(path.parent)
    durable.write_file(path, "".join(json.dumps(asdict(pair)) + "\n" for pair in pairs).encode())
    return f"{found.name}: {len(pairs)} pairs by {by} in {path}"


def train_reward_model(
    path: Path, folder: Path, *, base: Path, updates: int, batch_size: int, lr: float, held_out: float, seed: int
) -> str:
    """Train a reward model from the language model in `base` and write it to the new folder; return what to print.

    Raises RecipeError for a file or folder that cannot be used, StoreError when the folder cannot be written.
    """
    folder = new_folder(folder)
    pairs = read_pairs(path)
    from bootstrap.scoring.reward_model import IDS, encoded
    from bootstrap.training.preference import split, train

    shown, measured = split(pairs, held_out=held_out, seed=seed)
    made = train(
        base,
        shown,
        measured,
        encode=lambda tokenizer, prompt, answer: encoded(
            tokenizer, prompt, answer, as_chat=bool(tokenizer.chat_template)
        )[IDS],
        updates=updates,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
    )
    facts = {
        "accuracy": made.accuracy,
        "accuracy_before": made.before,
        "batch_size": batch_size,
        "held_out_pairs": len(measured),
        "loss": made.loss,
        "lr": lr,
        "pairs": len(shown),
        "pairs_sha256": sha256(read_named(path, most=MAX_BYTES)),
        "seed": seed,
        "updates": updates,
    }
    write_new_folder(folder, {**made.files, FACTS: json_file(facts, indent=2)})
    return (
        f"{len(shown)} pairs trained on, loss {made.loss:.3f}; of {len(measured)} held-out pairs {made.accuracy:.1%} "
        f"in the right order, {made.before:.1%} before\n"
        f"judge with it in a recipe: {{type: reward_model, model: {{path: {folder}}}}}"
    )


def read_pairs(path: Path) -> "Sequence[Pair]":
    """Return the pairs of a file. Raises RecipeError when it cannot be read or a line is no pair."""
    from bootstrap.training.preference import Pair

    try:
        text = content_of(path, most=MOST_BYTES).decode()
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot read pairs from {path}: {error}") from error
    # `splitlines` would also cut inside texts: JSON allows U+0085, U+2028 and U+2029 there.
    lines = text.removesuffix("\n").split("\n") if text else []
    pairs = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"{path}, line {number} is no JSON: {error}") from error
        match row:
            case {"prompt": str(prompt), "chosen": str(chosen), "rejected": str(rejected)}:
                pairs.append(Pair(prompt=prompt, chosen=chosen, rejected=rejected))
            case _:
                raise RecipeError(f"{path}, line {number} must hold texts called prompt, chosen, rejected")
        if chosen == rejected:
            raise RecipeError(f"{path}, line {number} prefers an answer to itself; remove the line")
    return pairs
