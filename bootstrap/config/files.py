"""Tasks from files and data sets: the meaning of columns, the limits of rows, and the hashes that pin their content."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, field_serializer, field_validator, model_validator

from bootstrap.config.base import Later, Operational
from bootstrap.config.data import Data, Source, digest_of, places_of, read, started_at, told_of
from bootstrap.config.task import PRINTABLE, QuestionTask, References, room

Form = Literal["text", "calls", "scripts", "humaneval", "mbpp"]

ROLES: dict[Form, dict[str, tuple[str, ...]]] = {
    "text": {"prompt": ("prompt",), "answer": ("answer",)},
    "calls": {"prompt": ("prompt",), "reference": ("reference",), "solution": ("solution",)},
    "scripts": {"prompt": ("prompt",), "reference": ("reference",), "solution": ("solution",)},
    "humaneval": {
        "prompt": ("prompt",),
        "test": ("test",),
        "entry_point": ("entry_point",),
        "solution": ("canonical_solution",),
    },
    "mbpp": {"prompt": ("text", "prompt"), "tests": ("test_list",), "solution": ("code",)},
}
"""By form: role -> the columns that may hold it, of which one must be there."""
ASSERTING: tuple[Form, ...] = ("humaneval", "mbpp")
"""Forms whose tests are asserts."""
LEVEL = "level"
"""Role and default column of a row's level, in every form; a row without it has level 1."""
SLICE = "slice"
"""Role and default column of a row's slice, in every form; a row without it has none."""
SOLUTION = "solution"
"""Role of a worked solution; of form `text` it has no default column."""
MOST_ANSWER_TOKENS = 512
"""Tokens of an answer where the recipe names no limit and the model's context has room for them."""


class HeldoutFault(ValueError):
    """A fault of the rows that `heldout` names."""

    setting = "heldout"
    """The setting to correct."""


class FileTask(QuestionTask):
    """Rows of files or of data sets, by level; the last level is the highest in any row."""

    is_fixed: ClassVar[bool] = True
    has_answer_limit: ClassVar[bool] = True
    built_by: ClassVar[str] = "bootstrap.prompts.files:Rows"
    type: Literal["file"] = "file"
    base_level: int = Field(default=1, ge=1)
    """Highest level whose reference answers training may see."""
    path: Annotated[Data, Operational()]
    """The rows: a JSON Lines file (UTF-8, one object a line), a CSV file with a header, a Parquet file, a folder that
    `datasets` saved, a data set of the hub as `{hub: openai/gsm8k, config: main, split: train, revision: COMMIT}`, or
    a list of these, whose rows follow one another. Relative paths start at the recipe's folder."""
    content: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the rows' files. A run fills it in; a recipe that names it refuses other content."""
    heldout: Annotated[Data | None, Operational()] = None
    """Held-out rows, named as in `path`: an official test split. All rows of `path` are trained on then, but for those
    that ask a question of these. null holds out rows of `path` by their hash (`heldout_fraction`)."""
    heldout_content: Annotated[str | None, Later(None)] = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the held-out rows' files. A run fills it in; a recipe that names it refuses other content."""
    final_fraction: Annotated[float, Later(0.0)] = Field(default=0.0, ge=0, lt=1)
    """Share of all possible questions, beside the held-out ones, that no gate sees: for one comparison at the end. 0
    keeps none. With `heldout` it is the share of those rows, by their hash; the others are asked by gates."""
    form: Form = "text"
    """`text`: prompt and answer. `calls`, `scripts`: prompt, hidden cases as JSON, and a solution. `humaneval`, `mbpp`:
    these data sets' columns, with their asserts turned into calls; rows whose asserts do not convert are left out.
    Values of calls are JSON and compare by type; beside `cases`, `"values": "python"` makes them Python values,
    compared by `==` and with tags for what JSON lacks, as `{"$tuple": [1, 2]}`."""
    asserts: Annotated[Literal["equal", "exact"], Later("exact")] = "equal"
    """Meaning of `==` in asserts of humaneval and mbpp. `equal`: Python's, so 2 == 2.0 and (1, 2) != [1, 2]. `exact`:
    the same type too, with tuples as lists; fewer asserts convert; for older lineages, whose stored recipes do not name
    this setting. Forms without asserts have `exact`."""
    columns: dict[str, str | None] = Field(default={})
    """Column by role, where the file's differ from the form's. Every form has the roles `prompt`, `level` and `slice`
    (a subject, say, that a promotion must not cost on its own); `text` has `answer`, which the verifier compares, and
    `solution`, a worked solution that SFT shows where this names its column; the others have `solution`. Beside these,
    calls and scripts have `reference`, humaneval has `test` and `entry_point`, mbpp has `tests`. Held-out rows need no
    worked solution. `level: null` and `slice: null` leave columns of these names out."""
    extract: Annotated[str | None, Later(None)] = None
    """Regular expression whose one group is the answer within its column, as `#### (.+)`; of several matches the last
    counts, and rows without one are left out. Where the solution's column is the answer's, the match is no part of the
    solution."""
    remove: Annotated[str | None, Later(None)] = None
    """Regular expression whose matches are removed from solutions, as `<<.*?>>` for GSM8K's calculator notes."""
    prompt_template: str = "{prompt}"
    """Text that the model reads; `{prompt}` stands for the row's prompt."""
    answer_template: str = "{answer}"
    r"""Form of a right answer, for example in a code fence; `{answer}` stands for the row's answer. For a pretrained
    base the default puts it where the verifier looks, as `\boxed{{answer}}`."""
    solution_template: Annotated[str | None, Later(None)] = None
    """What SFT shows: `{solution}` stands for the worked solution, `{answer}` for the answer in its form. null: the
    solution, and the answer on a line of its own where the solution does not hold it in that form."""
    max_unreadable: Annotated[float, Operational()] = Field(default=0.1, ge=0, le=1)
    """Largest share of rows that the verifier cannot use, because it cannot read the reference or finds the row's own
    answer wrong, and of rows that `extract` does not match. Such rows are left out and counted; beyond this share the
    run is refused."""
    alphabet: str | None = Field(default=PRINTABLE, min_length=2)
    """Every character of prompts and answers, the vocabulary of a model from scratch; rows with others are left out.
    null, the default for a pretrained base: whatever the model's tokenizer reads."""
    max_prompt_length: int | None = Field(default=256, ge=1)
    """Characters of the longest prompt; rows with longer ones are left out. null, the default for a pretrained base: no
    limit but `max_prompt_tokens`."""
    max_answer_length: int | None = Field(default=64, ge=1)
    """Characters of the longest answer; rows with longer ones are left out. null, the default for a pretrained base: no
    limit but `max_answer_tokens`."""
    max_prompt_tokens: Annotated[int | None, Later(None)] = Field(default=None, ge=1)
    """Tokens of the longest prompt as the model reads it, chat template included; rows with longer ones are left out.
    null: without `max_prompt_length`, what the context of a pretrained base leaves beside an answer."""
    max_answer_tokens: int | None = Field(default=None, ge=2)
    """Limit on an answer's tokens, its end included. Rows with a longer solution are sampled, and SFT does not show
    them. null: a few more than `max_answer_length`; without that, 512 or half the context of a pretrained base, if that
    is less."""
    _written: tuple[Data, Data | None] | None = PrivateAttr(default=None)

    @field_validator("prompt_template", "answer_template", "solution_template")
    @classmethod
    def _one_place(cls, template: str | None, info: ValidationInfo) -> str | None:
        role = str(info.field_name).removesuffix("_template")
        for place in (f"{{{role}}}", *(["{answer}"] if role == SOLUTION else [])):
            if template is not None and template.count(place) != 1:
                raise ValueError(f"{place} must stand in it exactly once, for example {place!r}")
        return template

    @field_validator("extract", "remove")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if info.field_name == "extract" and groups != 1:
            raise ValueError(
                f"has {groups or 'no'} groups; put what is the answer in one pair of parentheses, for example "
                "'#### (.+)', and write others as (?:...)"
            )
        return pattern

    @model_validator(mode="after")
    def _start_at_the_recipe(self, info: ValidationInfo) -> Self:
        self._written = (self.path, self.heldout)
        if info.context and "folder" in info.context:
            folder = Path(info.context["folder"])
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(self, "path", started_at(folder, self.path))
            if self.heldout is not None:
                object.__setattr__(self, "heldout", started_at(folder, self.heldout))
        return self

    @model_validator(mode="after")
    def _roles_exist(self) -> Self:
        known = [*ROLES[self.form], *([SOLUTION] if self.form == "text" else []), LEVEL, SLICE]
        if strange := sorted(set(self.columns) - set(known)):
            raise ValueError(
                f"form {self.form} has no role {', '.join(strange)} in columns; there is {', '.join(known)}"
            )
        needed = [role for role, column in self.columns.items() if column is None and role not in (LEVEL, SLICE)]
        if needed:
            raise ValueError(f"columns.{needed[0]} names no column; name one, or remove it")
        if self.form != "text" and self.extract is not None:
            raise ValueError(f"form {self.form} has no answer in text; remove extract")
        needless = [name for name in ("remove", "solution_template") if getattr(self, name) is not None]
        if needless and not self.shows_solutions:
            raise ValueError(
                f"{' and '.join(needless)} would change a worked solution; name its column in columns.{SOLUTION}, of "
                "form text"
            )
        return self

    @model_validator(mode="after")
    def _asserts_where_there_are_some(self) -> Self:
        if self.form not in ASSERTING:
            if self.asserts == "equal" and "asserts" in self.model_fields_set:
                raise ValueError(f"form {self.form} has no asserts; leave asserts out")
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(self, "asserts", "exact")
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.heldout is None:
            if self.heldout_content is not None:
                raise ValueError("heldout_content pins held-out rows, and none are named; name them in heldout")
            return super()._something_is_left_to_train_on()  # pyright: ignore[reportCallIssue]  # a bound validator
        # A remembered recipe names every setting, so the default says nothing.
        if self.heldout_fraction != type(self).model_fields["heldout_fraction"].default:
            raise ValueError(
                "heldout names the rows that are held out, and heldout_fraction would hold out others; remove one of "
                "them"
            )
        if both := [place for place in places_of(self.heldout) if place in places_of(self.path)]:
            raise ValueError(
                f"heldout and path both name {told_of(both[0])}, whose rows would be trained on and asked; name other "
                "rows in heldout, or remove it, so that rows of path are held out by their hash"
            )
        return self

    def columns_of(self, role: str) -> tuple[str, ...]:
        """Return the columns that may hold a role."""
        return (column,) if (column := self.columns.get(role)) is not None else ROLES[self.form][role]

    @property
    def column_names(self) -> frozenset[str]:
        """Every column that is read, where it is there."""
        named = {column for role in ROLES[self.form] for column in self.columns_of(role)}
        others = (*self.columns.values(), self.level_column, self.slice_column)
        return frozenset({*named, *(column for column in others if column is not None)})

    @property
    def downloads(self) -> bool:
        places = (*places_of(self.path), *(places_of(self.heldout) if self.heldout is not None else ()))
        return not all(isinstance(place, str) for place in places)

    @property
    def shows_solutions(self) -> bool:
        """Whether rows of form text have worked solutions beside their answers."""
        return self.form == "text" and SOLUTION in self.columns

    @property
    def has_bare_answers(self) -> bool:
        return self.form == "text" and SOLUTION not in self.columns

    @property
    def told(self) -> str:
        """The files of `path` in a few words."""
        return told_of(self.path)

    @property
    def all_told(self) -> str:
        """The files of `path` and `heldout` in a few words."""
        return self.told if self.heldout is None else f"{self.told} and {told_of(self.heldout)}"

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        path, heldout = self._written or (self.path, self.heldout)
        named = [("path", place) for place in places_of(path)]
        named += [("heldout", place) for place in (places_of(heldout) if heldout is not None else ())]
        return tuple((name, place) for name, place in named if isinstance(place, str))

    @field_serializer("path", "heldout")
    def _as_written(self, data: Any, info: Any) -> Any:
        """Identities hold paths as written, so that they do not depend on the recipe's folder."""
        if self._written is None:
            return data
        return self._written[0 if info.field_name == "path" else 1]

    @property
    def references(self) -> References:
        return "text" if self.form == "text" else "code"

    @property
    def characters(self) -> str:
        return self.alphabet or ""

    @property
    def holds_out_by_hash(self) -> bool:
        return self.heldout is None

    @property
    def question_sources(self) -> frozenset[str]:
        named = (*places_of(self.path), *(places_of(self.heldout) if self.heldout is not None else ()))
        return frozenset(told_of(place) for place in named)

    @property
    def counts_tokens(self) -> bool:
        return self.max_prompt_tokens is not None

    @property
    def without_limits(self) -> tuple[str, ...]:
        """The settings that a model from scratch needs and that are null."""
        return tuple(n for n in ("alphabet", "max_prompt_length", "max_answer_length") if getattr(self, n) is None)

    def most_answer_tokens(self, level: int) -> int:
        if self.max_answer_tokens is None and self.max_answer_length is None:
            return MOST_ANSWER_TOKENS
        return self.max_answer_tokens or room(self.max_answer_length or 0)

    @property
    def answer_limit(self) -> int | None:
        return self.max_answer_tokens

    @property
    def cut_reference(self) -> int | None:
        limit, longest = self.max_answer_tokens, self.max_answer_length
        return longest if limit is not None and longest is not None and limit <= longest else None

    def longest_sequence(self, level: int) -> int:
        prompt = self.max_prompt_tokens or (1 + self.max_prompt_length if self.max_prompt_length is not None else 0)
        # Where tokens count, no solution over max_answer_tokens is shown.
        shown = 0 if self.max_answer_length is None or self.counts_tokens else self.max_answer_length + 1
        return prompt + max(shown, self.max_answer_tokens or 0)

    def within(self, context: int) -> Self:
        """Return the task with the limits in tokens that it leaves to a model of this context length."""
        changes: dict[str, int] = {}
        prompt, answer = self.max_prompt_tokens, self.max_answer_tokens
        if answer is None and self.max_answer_length is None:
            room_left = context - prompt if prompt is not None else context
            answer = changes["max_answer_tokens"] = max(2, min(MOST_ANSWER_TOKENS, context // 2, room_left))
        if prompt is None and self.max_prompt_length is None:
            changes["max_prompt_tokens"] = max(1, context - (answer or self.most_answer_tokens(1)))
        return self.model_copy(update=changes) if changes else self

    def pinned(self) -> Self:
        """Return the task with `content` and `heldout_content` filled in, so that a lineage's identity holds them.

        Raises ValueError, with the remedy, when rows cannot be read or their content is not the pinned one.
        """
        rows, heldout = sources_of(self)
        changes = {"content": digest_of(rows)}
        if heldout:
            changes["heldout_content"] = digest_of(heldout)
        return self.model_copy(update=changes)

    @property
    def level_column(self) -> str | None:
        """The column of levels, where rows have it."""
        return self.columns.get(LEVEL, LEVEL)

    @property
    def slice_column(self) -> str | None:
        """The column of slices, where rows have it."""
        return self.columns.get(SLICE, SLICE)


def sources_of(task: FileTask) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Return the content of `path` and of `heldout`, the latter empty without one.

    Raises ValueError, with the remedy, when it cannot be read, is not the pinned one, or is the same of both.
    """
    rows = read(task.path)
    _check(task.content, digest_of(rows), told=task.told, setting="task.content")
    if task.heldout is None:
        return rows, ()
    try:
        heldout = read(task.heldout)
        _check(task.heldout_content, digest_of(heldout), told=told_of(task.heldout), setting="task.heldout_content")
    except ValueError as error:
        raise HeldoutFault(str(error)) from None
    known: Mapping[str, str] = {source.digest: source.told for source in rows}
    if same := next((source for source in heldout if source.digest in known), None):
        raise HeldoutFault(
            f"heldout {same.told} has the content of {known[same.digest]}, which is trained on; name other rows in "
            "heldout, or remove it, so that rows of path are held out by their hash"
        )
    return rows, heldout


def _check(pinned: str | None, found: str, *, told: str, setting: str) -> None:
    if pinned is not None and found != pinned:
        raise ValueError(
            f"{told} has changed: its SHA-256 is {found[:16]}..., {setting} says {pinned[:16]}...; "
            f"restore the file, or remove {setting} and grow a lineage of its own (--lineage NAME)"
        )
