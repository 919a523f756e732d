"""Tasks from files: the meaning of columns, and the hash that pins a file's content."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from bootstrap.canonical import sha256
from bootstrap.config.base import Later, OnDisk, Operational
from bootstrap.config.task import OpenTask, References

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


class FileTask(OnDisk, OpenTask):
    """Rows of a JSON Lines file, by level; the last level is the highest in any row."""

    is_fixed: ClassVar[bool] = True
    built_by: ClassVar[str] = "bootstrap.prompts.files:Rows"
    type: Literal["file"] = "file"
    base_level: int = Field(default=1, ge=1)
    """Highest level whose reference answers training may see."""
    path: Annotated[str, Operational()] = Field(min_length=1)
    """The file: UTF-8, one JSON object a line; relative paths start at the recipe's folder."""
    content: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the file. A run fills it in; a recipe that names it refuses other content."""
    form: Form = "text"
    """`text`: prompt and answer. `calls`, `scripts`: prompt, hidden cases as JSON, and a solution. `humaneval`, `mbpp`:
    these data sets' columns, with their asserts turned into calls; rows whose asserts do not convert are left out.
    Values of calls are JSON and compare by type; beside `cases`, `"values": "python"` makes them Python values,
    compared by `==` and with tags for what JSON lacks, as `{"$tuple": [1, 2]}`."""
    asserts: Annotated[Literal["equal", "exact"], Later("exact")] = "equal"
    """Meaning of `==` in asserts of humaneval and mbpp. `equal`: Python's, so 2 == 2.0 and (1, 2) != [1, 2]. `exact`:
    the same type too, with tuples as lists; fewer asserts convert; for older lineages, whose stored recipes do not name
    this setting. Forms without asserts have `exact`."""
    columns: dict[str, str] = Field(default={})
    """Column by role, where the file's differ from the form's. Every form has the roles `prompt`, `level` and `slice`
    (a subject, say, that a promotion must not cost on its own); `text` has `answer`, the others have `solution`. Beside
    these, calls and scripts have `reference`, humaneval has `test` and `entry_point`, mbpp has `tests`."""
    prompt_template: str = "{prompt}"
    """Text that the model reads; `{prompt}` stands for the row's prompt."""
    answer_template: str = "{answer}"
    """Form of a right answer, for example in a code fence; `{answer}` stands for the row's answer."""
    max_unreadable: Annotated[float, Operational()] = Field(default=0.1, ge=0, le=1)
    """Largest share of rows that the verifier cannot use, because it cannot read the reference or finds the row's own
    answer wrong. Such rows are left out and counted; beyond this share the run is refused."""

    @field_validator("prompt_template", "answer_template")
    @classmethod
    def _one_place(cls, template: str, info: ValidationInfo) -> str:
        place = "{prompt}" if info.field_name == "prompt_template" else "{answer}"
        if template.count(place) != 1:
            raise ValueError(f"{place} must stand in it exactly once, for example {place!r}")
        return template

    @model_validator(mode="after")
    def _roles_exist(self) -> "FileTask":
        known = (*ROLES[self.form], LEVEL, SLICE)
        if strange := sorted(set(self.columns) - set(known)):
            raise ValueError(
                f"form {self.form} has no role {', '.join(strange)} in columns; there is {', '.join(known)}"
            )
        return self

    @model_validator(mode="after")
    def _asserts_where_there_are_some(self) -> "FileTask":
        if self.form not in ASSERTING:
            if self.asserts == "equal" and "asserts" in self.model_fields_set:
                raise ValueError(f"form {self.form} has no asserts; leave asserts out")
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(self, "asserts", "exact")
        return self

    def columns_of(self, role: str) -> tuple[str, ...]:
        """Return the columns that may hold a role."""
        return (self.columns[role],) if role in self.columns else ROLES[self.form][role]

    @property
    def references(self) -> References:
        return "text" if self.form == "text" else "code"

    @property
    def question_sources(self) -> frozenset[str]:
        return frozenset({self.path})

    def pinned(self) -> Self:
        """Return the task with `content` filled in, so that a lineage's identity holds it.

        Raises ValueError, with the remedy, when the file cannot be read or its content is not the pinned one.
        """
        return self.model_copy(update={"content": content_of(self, read_file(self))})

    @property
    def level_column(self) -> str:
        return self.columns.get(LEVEL, LEVEL)

    @property
    def slice_column(self) -> str:
        return self.columns.get(SLICE, SLICE)


def content_of(task: FileTask, data: bytes) -> str:
    """Return the SHA-256 of the file's bytes. Raises ValueError when the task is pinned to another content."""
    found = sha256(data)
    if task.content is not None and found != task.content:
        raise ValueError(
            f"{task.path} has changed: its SHA-256 is {found[:16]}..., task.content says {task.content[:16]}...; "
            "restore the file, or remove task.content and grow a lineage of its own (--lineage NAME)"
        )
    return found


def read_file(task: FileTask) -> bytes:
    """Return the file's bytes. Raises ValueError, with the remedy, when it cannot be read."""
    try:
        return Path(task.path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"there is no file {task.path}; relative paths start at the recipe's folder") from None
    except IsADirectoryError:
        raise ValueError(f"{task.path} is a folder; name a JSON Lines file") from None
    except OSError as error:
        raise ValueError(f"cannot read {task.path}: {error.strerror}; make the file readable") from None
