"""Leave out the rows of files that the models at hand cannot read or answer, before any prompt is drawn.

| row | what becomes of it |
|---|---|
| its prompt, framed as the model reads it, is over `task.max_prompt_tokens` | left out |
| its prompt or its answer holds text for which the tokenizer has no token | left out |
| its answer alone is over `task.max_answer_tokens` | left out: no answer could be right |
| its worked solution, or its program, is over that limit or holds such text | sampled, and not shown to training |

The choice follows from the rows, the models' files and the limits alone, so every process and run draws the same
prompts. A row must fit every pretrained model that the lineage trains: its base, and what its stages start from. Models
from scratch read characters, which the task's own limits are of. Left out: verifiers (`readable.py`).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

from bootstrap.canonical import json_file, sha256, sha256_of
from bootstrap.config.files import FileTask
from bootstrap.config.models import outside_model
from bootstrap.config.recipe import Recipe
from bootstrap.prompts.files import Rows
from bootstrap.prompts.overlap import files_of
from bootstrap.prompts.rows import Row
from bootstrap.prompts.task import Task
from bootstrap.reading import named_folder
from bootstrap.records import Checkpoint
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.findings import Findings, keep, known
from bootstrap.stages.origin import Origin, find_origin
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.chat import framed_by

BATCH = 4096
"""Rows that are encoded at a time."""
TEXTS = (".json", ".jinja")
"""Suffixes of a model folder's files but its weights."""


class TextModel:
    """The tokenizer and the framing of one model."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """`files`: the model's, but its weights, with the choice of framing among them."""
        self._files = files
        self.digest = sha256_of(json_file([name, sha256(data)]) for name, data in sorted(files.items()))

    @cached_property
    def encoder(self) -> Encoder:
        """Its encoder, which takes a moment to load."""
        return Encoder(Checkpoint(fingerprint="", files=dict(self._files)))


def text_models(recipe: Recipe, store: LineageStore | None = None) -> list[TextModel]:
    """Return the pretrained models that a lineage trains.

    `store`: the lineage's, which leads to a fork's origin, and stands in for a folder that is gone. Raises RecipeError
    for a missing origin, StoreCorrupt.
    """
    found = []
    for place, start in enumerate(
        [recipe.base.model, *(outside_model(stage.init) for _, stage in recipe.generations.parts())]
    ):
        if start is None:
            continue
        if (model := start.as_pretrained) is not None and Path(model.path, "tokenizer.json").is_file():
            with named_folder(Path(model.path)) as folder:
                files = folder.contents(lambda name: name.endswith(TEXTS))
            found.append(TextModel(framed_by(files, model)))
        elif place == 0 and not start.is_scratch and store is not None:
            entries = store.ledger.read() if store.exists else []
            if entries:
                found.append(TextModel(Origin(store=store, entries=entries[:1]).texts()))
            elif (forked := start.as_generation) is not None:
                found.append(TextModel(find_origin(store.root.parent, forked).texts()))
    return found


def leave_out_unfit(task: Task, models: Sequence[TextModel], *, tools: Tools | None = None) -> None:
    """Leave out of a task what the models cannot read or answer, and hide what they cannot be shown.

    Raises RecipeError when that leaves a level without prompts in a split.
    """
    for part, rows in files_of(task).items():
        if rows.settings.alphabet is not None and not rows.settings.counts_tokens:
            continue
        for model in models:
            _leave_out(rows, model, before=task.before(part), tools=tools or Tools())


def _leave_out(rows: Rows, model: TextModel, *, before: str, tools: Tools) -> None:
    every, settings = rows.every_row(), rows.settings
    limits = [settings.max_prompt_tokens, settings.max_answer_tokens, settings.references]
    told = ([row.key, row.text, row.answer, row.solution] for row in every)
    key = sha256_of(map(json_file, chain([["fitting", model.digest, before, *limits]], told)))
    if (found := known(key, tools.cache)) is None:
        found = Findings({}, {})
        for start in range(0, len(every), BATCH):
            batch = every[start : start + BATCH]
            unusable, not_shown = _found(batch, model.encoder, before=before, settings=settings)
            found.unusable.update(unusable)
            found.not_shown.update(not_shown)
            if tools.progress is not None:
                tools.progress(settings.told, start + len(batch), len(every))
        keep(key, found, tools.cache)
    rows.drop(found.unusable)
    rows.hide(found.not_shown)


def _found(every: Sequence[Row], encoder: Encoder, *, before: str, settings: FileTask) -> Findings:
    """Return the rows that the model cannot read or answer, and those whose solutions it cannot be shown."""
    unusable, faulty = dict[str, str](), list[tuple[Row, str]]()
    most_asked, most = settings.max_prompt_tokens, settings.max_answer_tokens
    texts = [(before + row.text, row.solution or row.answer) for row in every]
    for row, (prompt, _), (asked, shown) in zip(every, texts, encoder.pairs(texts), strict=True):
        # The framing may write that token too.
        if encoder.unknown in asked and not encoder.writes(prompt):
            unusable[row.key] = "with a prompt that the model's tokenizer cannot read"
        elif most_asked is not None and len(asked) > most_asked:
            unusable[row.key] = f"with a prompt over task.max_prompt_tokens {most_asked}"
        elif fault := _fault(shown, encoder, most=most):
            faulty.append((row, fault))
    # Another program may be right and shorter; of other answers the row's is the only one.
    if settings.references != "code":
        answers = encoder.pairs([(before + row.text, row.answer) for row, _ in faulty])
        for (row, _), (_, tokens) in zip(faulty, answers, strict=True):
            if fault := _fault(tokens, encoder, most=most):
                unusable[row.key] = f"with an answer {fault}"
    return Findings(unusable, {row.key: f"with a solution {fault}" for row, fault in faulty if row.key not in unusable})


def _fault(tokens: Sequence[int], encoder: Encoder, *, most: int | None) -> str:
    """Return why a model cannot give a completion, its end included; "" where it can."""
    if encoder.unknown in tokens[:-1]:
        return "that the model's tokenizer cannot write"
    return f"over task.max_answer_tokens {most}" if most is not None and len(tokens) > most else ""
