"""Settings say themselves what does not fit them: unknown keys and types, what is missing, values of another form."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from bootstrap.config.base import ByType, Settings
from bootstrap.config.faults import MissingType, UnknownSetting
from bootstrap.config.load import load_verifier, recipe_of
from bootstrap.config.sources import Rejection
from bootstrap.config.verifiers import Verifier
from bootstrap.errors import RecipeError


class Circle(Settings):
    type: Literal["circle"] = "circle"
    radius: float


class Square(Settings):
    type: Literal["square"] = "square"
    side: float
    """Length of a side."""
    name: str = "a"


Shape = Annotated[Circle | Square, ByType()]


class Drawing(Settings):
    shape: Shape
    more: tuple[Shape, ...] = Circle(radius=1), Square(side=1)
    frame: Shape = Square(side=9)
    parts: dict[str, Shape] | None = None


def faults(settings: Any, data: object) -> dict[str, str]:
    """Return place -> message of everything that does not fit."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(settings).validate_python(data, strict=True)
    details = refused.value.errors(include_url=False)
    assert len(details) == len({detail["loc"] for detail in details})
    return {".".join(map(str, detail["loc"])): detail["msg"].removeprefix("Value error, ") for detail in details}


def test_an_unknown_key_is_answered_with_the_nearest_or_with_all_beside_whatever_else_is_wrong() -> None:
    assert faults(Square, {"side": "x", "nane": "b", "zzz": 1}) == {
        "side": "Input should be a valid number",
        "nane": "no such setting; did you mean name?",
        "zzz": "no such setting; there is type, side, name",
    }


def test_a_key_near_a_former_name_is_answered_with_the_name_of_today() -> None:
    assert faults(Rejection, {"steping_stones": 1})["steping_stones"] == (
        "no such setting; did you mean easier_variants?"
    )


def test_it_is_typed_and_keeps_its_place_at_any_depth() -> None:
    with pytest.raises(ValidationError) as refused:
        Drawing.model_validate({"shape": {"type": "square", "side": 1}, "parts": {"a": {"type": "circle", "radus": 1}}})
    [missing, unknown] = refused.value.errors()
    assert missing["loc"] == ("parts", "a", "circle", "radius")
    assert unknown["loc"] == ("parts", "a", "circle", "radus")
    assert isinstance(unknown["ctx"]["error"], UnknownSetting)


def test_a_missing_setting_is_answered_with_its_types_or_its_description() -> None:
    assert faults(Drawing, {}) == {"shape": "missing; add it with one of the types circle, square"}
    assert faults(Square, {}) == {"side": "missing; add it (Length of a side.)"}
    assert faults(Circle, {}) == {"radius": "missing; add it"}


def test_a_collection_that_is_missing_is_answered_with_its_types() -> None:
    class Gallery(Settings):
        row: tuple[Shape, ...]
        named: dict[str, Shape]

    assert set(faults(Gallery, {}).values()) == {"missing; add it with one of the types circle, square"}


def test_types_are_answered_by_the_union() -> None:
    assert faults(Shape, {"type": "sqare"}) == {"": "no such type 'sqare'; did you mean square?"}
    assert faults(Shape, {"type": ["square"]}) == {"": "no such type \"['square']\"; did you mean square?"}
    assert faults(Shape, {"side": 1}) == {"": "missing type; add one of: circle, square"}
    assert faults(Shape, 3) == {"": "must be a section of settings (type is one of circle, square)"}
    assert faults(Square, 3) == {"": "must be a section of settings (type, side, name)"}


@pytest.mark.parametrize(("place", "default"), [("frame", "square"), ("shape", None)])
def test_a_missing_type_comes_with_that_of_the_default(place: str, default: str | None) -> None:
    data = {"shape": {"type": "circle", "radius": 1}, place: {"side": 1}}
    with pytest.raises(ValidationError) as refused:
        Drawing.model_validate(data)
    fault = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(fault, MissingType)
    assert fault.default == default


def test_lists_are_tuples_and_other_values_keep_their_types() -> None:
    shape = {"type": "circle", "radius": 2}
    drawing = TypeAdapter(Drawing).validate_json('{"shape": {"type": "circle", "radius": 2}, "more": []}', strict=True)
    assert drawing == Drawing(shape=Circle(radius=2), more=())
    assert faults(Drawing, {"shape": shape, "more": {"type": "circle"}}) == {"more": "Input should be a valid tuple"}
    assert faults(Circle, {"radius": True}) == {"radius": "Input should be a valid number"}


def test_settings_that_are_made_already_are_taken_as_they_are() -> None:
    circle = Circle(radius=1)
    assert Drawing(shape=circle).shape is circle


@pytest.mark.parametrize("written", ["0.1", '"0.1"', "1e-1"])
def test_a_tolerance_is_the_number_that_is_written(written: str) -> None:
    verifier = TypeAdapter(Verifier).validate_json(
        f'{{"type": "numeric", "relative_tolerance": {written}}}', strict=True
    )
    assert verifier.relative_tolerance == Decimal("0.1")


@pytest.mark.parametrize("written", ["true", '"x"', "null", "[1]"])
def test_a_tolerance_that_is_no_number_is_refused(written: str) -> None:
    with pytest.raises(RecipeError, match="relative_tolerance: must be a number, not "):
        load_verifier("numeric", [f"relative_tolerance={written}"])


def test_a_verifiers_sections_start_from_their_defaults_and_misspelt_settings_are_answered() -> None:
    assert load_verifier("exact", ["answer.strip=true"]).answer.strip
    with pytest.raises(RecipeError, match="answer: missing type; add one of: whole, tagged"):
        load_verifier("exact", ["answer.strip=true", "answer={strip: true}"])
    with pytest.raises(RecipeError, match=r"answr: no such setting; did you mean answer\?"):
        load_verifier("exact", ["answr.strip=true"])


def test_a_stored_recipe_of_another_version_is_told_in_plain_words() -> None:
    generations = r"generations: missing; add it \(Generations after generation 0\.\)"
    with pytest.raises(RecipeError, match=rf"task: missing; add it .*; {generations}; sed: no such"):
        recipe_of({"sed": 1})
