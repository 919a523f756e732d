"""The base class of all settings, and marks of settings that a lineage's identity leaves out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from bootstrap.config.faults import (
    MissingSetting,
    MissingType,
    NotOfForm,
    SettingFault,
    UnknownSetting,
    UnknownType,
    in_parentheses,
)

Place = tuple[str | int, ...]
"""Path to a setting: keys and list indexes from the top of the recipe, or from a part of it."""
_Item = TypeVar("_Item")
Placed = tuple[tuple[Place, _Item], ...]
"""Parts of settings, each with its place below them."""


def below(place: Place, parts: Placed[_Item]) -> Placed[_Item]:
    """Return parts with their places below `place` as parts with their whole places."""
    return tuple(((*place, *inner), part) for inner, part in parts)


def dotted(place: Place) -> str:
    """Return a place as text: `generations.steps[0].updates`."""
    text = ""
    for part in place:
        text += f"[{part}]" if type(part) is int else f".{part}" if text else str(part)
    return text


class Settings(BaseModel):
    """Frozen, closed to unknown keys; the text under a field documents it and becomes the JSON Schema's description.

    Every fault of the data is reported at once, in the recipe's words (`faults.py`).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        """The files and folders on disk that it names itself: (setting, path as the recipe writes it)."""
        return ()

    @property
    def type_name(self) -> str:
        """The `type`, of settings in a union by type."""
        return type(self).model_fields["type"].default

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_does_not_fit(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, cls):
            return handler(data)
        fields = cls.model_fields
        section = fields["type"].default if "type" in fields else cls.__name__
        if not isinstance(data, dict):
            raise NotOfForm(f"a section of settings ({', '.join(fields)})")
        wrong: list[Any] = [
            {
                "type": "value_error",
                "loc": (name,),
                "input": value,
                "ctx": {"error": UnknownSetting(str(name), [*fields], section=section)},
            }
            for name, value in data.items()
            if name not in fields
        ]
        # Frozen settings hold tuples, and strict validation takes no list for one.
        known = {n: tuple(value) if type(value) is list else value for n, value in data.items() if n in fields}
        try:
            settings = handler(known)
        except ValidationError as error:
            wrong = [*map(cls._in_words, error.errors(include_url=False)), *wrong]
        else:
            if not wrong:
                return settings
        raise ValidationError.from_exception_data(cls.__name__, wrong)

    @classmethod
    def _in_words(cls, detail: Any) -> Any:
        """Return pydantic's account of an error, reworded where the field's own words say more."""
        if len(detail["loc"]) != 1:
            return detail
        field = cls.model_fields[detail["loc"][0]]
        match detail:
            case {"type": "missing"}:
                fault: SettingFault = MissingSetting(types=_types_in(field), description=field.description)
            case {"type": "string_pattern_mismatch", "ctx": {"pattern": pattern}}:
                fault = NotOfForm(f"of the form {pattern}{in_parentheses(field.description)}")
            case {"ctx": {"error": MissingType() as fault}}:
                fault.default = getattr(field.default, "type", None)
            case _:
                return detail
        return {**detail, "type": "value_error", "ctx": {"error": fault}}


class OnDisk(Settings):
    """Settings of a file or folder."""

    path: str
    """Its path; relative paths start at the recipe's folder."""
    _written: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _start_at_the_recipe(self, info: ValidationInfo) -> Self:
        self._written = self.path
        if info.context and "folder" in info.context:
            path = (Path(info.context["folder"]) / Path(self.path).expanduser()).resolve()
            # The class is frozen for everyone else; this is still part of its making.
            object.__setattr__(self, "path", str(path))
        return self

    @property
    def written(self) -> str:
        """The path as the recipe writes it."""
        return self._written or self.path

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        return (("path", self.written),)

    @field_serializer("path")
    def _as_written(self, path: str) -> str:
        """Identities hold the path as written, so that they do not depend on the recipe's folder."""
        return self.written


@dataclass(frozen=True)
class ByType:
    """Marks a union of settings that `type` tells apart: `Annotated[A | B, ByType()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        types = types_of(source)

        def check_type(data: Any, inner: ValidatorFunctionWrapHandler) -> Any:
            match data:
                case {"type": kind}:
                    if kind not in types:
                        raise UnknownType(kind, types)
                case dict():
                    raise MissingType(types)
                case BaseModel():
                    pass
                case _:
                    raise NotOfForm(f"a section of settings (type is one of {', '.join(types)})")
            return inner(data)

        return handler.generate_schema(Annotated[source, Field(discriminator="type"), WrapValidator(check_type)])


def _types_in(field: FieldInfo) -> tuple[str, ...]:
    """Return the types of the section, or of the collection of sections, that a field holds; else nothing."""
    if ByType() in field.metadata:
        return types_of(field.annotation)
    unions = (part.__origin__ for part in get_args(field.annotation) if ByType() in getattr(part, "__metadata__", ()))
    return tuple(kind for union in unions for kind in types_of(union))


def types_of(union: Any) -> tuple[str, ...]:
    """Return the `type` of each member of a union of settings."""
    return tuple(member.model_fields["type"].default for member in get_args(union))


class Mark(ABC):
    """Marks a field that identities may leave out."""

    @abstractmethod
    def leaves_out(self, data: Any) -> bool:
        """Whether identities leave the field out; `data`: its value as JSON data."""


class Operational(Mark):
    """Marks a field that does not affect results, as in `url: Annotated[str, Operational()]`."""

    def leaves_out(self, data: Any) -> bool:
        return True


@dataclass(frozen=True)
class Later(Mark):
    """Marks a field that older lineages lack, as in `share: Annotated[float, Later(0.0)]`.

    `before`: the value that means what such lineages do. Identities leave the field out at that value, so that older
    lineages keep their identity; a stored recipe without the field has that value (`completed`).
    """

    before: Any

    def leaves_out(self, data: Any) -> bool:
        return data == self.before


def identity_of(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON data, without marked fields that identities leave out, at any depth."""
    return _pruned(settings, settings.model_dump(mode="json"))


def named(data: Any, name: str) -> bool:
    """Whether JSON data have a key at any depth."""
    match data:
        case Mapping():
            return name in data or any(named(value, name) for value in data.values())
        case list() | tuple():
            return any(named(value, name) for value in data)
    return False


def _pruned(value: Any, data: Any) -> Any:
    """Return `data`, the JSON form of `value`, without the fields that identities leave out."""
    match value:
        case BaseModel():
            return {
                name: _pruned(getattr(value, name), data[name])
                for name, field in type(value).model_fields.items()
                if not any(isinstance(mark, Mark) and mark.leaves_out(data[name]) for mark in field.metadata)
            }
        case tuple() | list():
            return [_pruned(item, part) for item, part in zip(value, data, strict=True)]
        case Mapping():
            return {name: _pruned(item, data[name]) for name, item in value.items()}
    return data
