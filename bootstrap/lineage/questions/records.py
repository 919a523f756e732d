"""Records of an answer: a tuple of frozen dataclasses that becomes an Arrow table or a pandas frame on request."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from bootstrap.errors import RecipeError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class IsRecord(Protocol):
    """A frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=IsRecord)


class Records(tuple[R, ...], Generic[R]):
    """Records of one kind, in order."""

    kind: type[R] | None
    """The records' class, which names the columns of a table without rows."""

    def __new__(cls, rows: Iterable[R] = (), *, kind: type[R] | None = None) -> Self:
        made = super().__new__(cls, rows)
        made.kind = type(made[0]) if made else kind
        return made

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each record as plain data."""
        return [to_dict(row) for row in self]

    def to_arrow(self) -> "pa.Table":
        """Return a table with a column per field. Inner records are structs, and inner rows lists of them."""
        import pyarrow as pa

        if not self:
            return pa.table({field.name: pa.nulls(0) for field in (fields(self.kind) if self.kind else ())})
        return pa.Table.from_pylist(self.to_dicts())

    def to_pandas(self) -> "pd.DataFrame":
        """Return a frame with a column per field. Raises RecipeError where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            raise RecipeError(
                "to_pandas needs pandas: pip install 'bootstrap-lm[pandas]', or use to_arrow or to_dicts"
            ) from None
        return pd.DataFrame(self.to_dicts(), columns=[field.name for field in fields(self.kind)] if self.kind else None)


def check_choice(value: object, name: str, choices: Sequence[str]) -> None:
    """Raise RecipeError where an argument is none of the words that it may be."""
    if value not in choices:
        raise RecipeError(f"{name} {value!r} is unknown; use {' or '.join(map(repr, choices))}")


def to_dict(record: IsRecord) -> dict[str, Any]:
    """Return a record as plain data that JSON can hold: inner records are dictionaries, rows are lists."""
    return _plain(asdict(record))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case tuple() | list():
            return [_plain(inner) for inner in value]
        case str():
            return str(value)
    return value
