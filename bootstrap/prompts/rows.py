"""One row of a file: its columns become prompt, reference and what training is shown.

A row's question is its own text with normalised white space, without the template and the line that a form adds. CR LF
ends a line like LF, unless the alphabet holds CR. A number as answer keeps its value: where a float cannot hold it, the
reference is the number as written.

Of form text, the reference is the answer's column, or what `extract` cuts out of it. Its form is `answer_template`. A
worked solution is shown with the answer in that form at its end, unless it holds it (`_shown`).

Left out: reading files (`readers.py`), and which rows serve (`files.py`).
"""

import ast
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from bootstrap.config.files import ASSERTING, LEVEL, ROLES, SLICE, SOLUTION, FileTask
from bootstrap.prompts.assertions import NotConvertible, calls_of_asserts, calls_of_check
from bootstrap.prompts.json_numbers import Written, check_digits, loads, number_text
from bootstrap.prompts.readers import Foreign
from bootstrap.prompts.splits import normalised
from bootstrap.references import CallCases, ScriptCases, oversize, read_code, write

MAX_SLICE = 80
"""Characters of a slice's name."""
JOINERS = "\u200c\u200d"


class Missing(ValueError):
    """A row has no prompt or no answer."""


class NoMatch(ValueError):
    """`extract` finds no answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One usable row."""

    key: str
    """Identifies the row, together with the hash of the content: the line of a JSON Lines file, alone."""
    source: str
    """The file that it comes from."""
    line: int
    """Its number there, from 1."""
    is_heldout: bool = False
    """Whether it is of the rows that the recipe names as held out."""
    level: int
    question: str
    """Its own prompt, normalised, without the additions of template and form."""
    asked: str
    """The same with the form's addition, such as the head of a function: rows that share it ask one question."""
    text: str
    reference: str
    answer: str
    """The right answer alone, in the form that the verifier reads."""
    solution: str
    """What SFT shows: a worked solution with the answer, or the answer alone; empty for a row without a solution in
    data that has some."""
    slice: str


class RowMaker:
    """Makes rows of one task."""

    def __init__(self, settings: FileTask) -> None:
        self.settings = settings
        self._extract = re.compile(settings.extract) if settings.extract is not None else None
        self._remove = re.compile(settings.remove) if settings.remove is not None else None
        self.has_levels = False
        """Whether some row names its level."""
        self.no_level = ""
        """What the first row without a level holds in a column `level` that the recipe does not name; "" without."""

    def row(self, data: Mapping[str, Any], *, key: str, source: str, line: int, is_heldout: bool, typed: bool) -> Row:
        """Return the row of a mapping from column to value; `typed`: whether its numbers are more than text.

        Raises ValueError for a broken one, Missing, NotConvertible, NotFinite, TooManyDigits and NoMatch for one that
        cannot serve.
        """
        form = self.settings.form
        columns = {role: self._column(data, role) for role in ROLES[form]}
        if any(_is_empty(columns[role], typed=typed) for role in ("prompt", "answer", SOLUTION) if role in columns):
            raise Missing
        level = self._level(data, typed=typed, at=f"{source}:{line}")
        question = prompt = self._lines(_text(columns, "prompt"))
        if form == "text":
            reference, rest = self._extracted(self._lines(_answer_text(columns["answer"])))
            answer = self._answer(reference)
            # Solutions of held-out rows are never shown, and official test files often have none.
            has_solution = self.settings.shows_solutions and not is_heldout
            solution = self._shown(data, rest=rest, answer=answer) if has_solution else answer
        else:
            answer = solution = self._answer(self._lines(_text(columns, SOLUTION)))
            prompt, cases = self._cases(prompt, columns)
            reference = write(cases)
        return Row(
            key=key,
            source=source,
            line=line,
            is_heldout=is_heldout,
            level=level,
            question=normalised(question),
            asked=normalised(prompt),
            text=self.settings.prompt_template.replace("{prompt}", prompt),
            reference=reference,
            answer=answer,
            solution=solution,
            slice=self._slice(data),
        )

    def _level(self, data: Mapping[str, Any], *, typed: bool, at: str) -> int:
        """Return a row's level, 1 without one. A text in a column that merely has the role's name is none."""
        column = self.settings.level_column
        if column is None or _is_empty(value := data.get(column), typed=typed):
            return 1
        if (level := _whole(value, typed=typed)) is not None and level >= 1:
            self.has_levels = True
            return level
        message = (
            f"{column} must be a whole number from 1 up, not {short(value)}; name another column in "
            f"task.columns.{LEVEL}, or write null there for data without levels"
        )
        if type(value) is not str or LEVEL in self.settings.columns:
            raise ValueError(message)
        self.no_level = self.no_level or f"{at}: {message}"
        return 1

    def _slice(self, data: Mapping[str, Any]) -> str:
        """Return the row's slice, empty without one. Raises ValueError for a value that cannot be a label."""
        column = self.settings.slice_column
        remedy = f"name another column in task.columns.{SLICE}, or fix the row"
        if column is None:
            return ""
        match data.get(column):
            case None:
                return ""
            case Written() as number if not isfinite(number):
                label = number.text
            case int() | float() as number:
                label = json.dumps(number)
            case str(text):
                label = text.strip()
            case _:
                label = None
        if label is None or len(label) > MAX_SLICE:
            raise ValueError(
                f"{column} must be text of at most {MAX_SLICE} characters or a number, not {short(data.get(column))}; "
                f"{remedy}"
            )
        if hidden := next((character for character in label if _is_hidden(character)), None):
            raise ValueError(f"{column} holds {short(hidden)}, which no label can show, in {short(label)}; {remedy}")
        return label

    def _extracted(self, text: str) -> tuple[str, str]:
        """Return the answer within its column's text, and the text without it. Raises NoMatch."""
        if self._extract is None:
            return text, text
        found = [*self._extract.finditer(text)][-1:]
        if not found or not (answer := (found[0][1] or "").strip()):
            raise NoMatch
        return answer, text[: found[0].start()] + text[found[0].end() :]

    def _shown(self, data: Mapping[str, Any], *, rest: str, answer: str) -> str:
        """Return the worked solution with the answer in its form, or "" without a solution."""
        settings = self.settings
        column = settings.columns[SOLUTION] or SOLUTION
        if column not in data:
            raise self._absent(data, (column,), SOLUTION)
        if data[column] is None:
            return ""
        solution = (
            rest
            if (column,) == settings.columns_of("answer")
            else self._lines(_text({SOLUTION: data[column]}, SOLUTION))
        )
        if self._remove is not None:
            solution = self._remove.sub("", solution)
        solution = solution.strip()
        if not solution:
            return ""
        if settings.solution_template is not None:
            # Neither text may be searched for the other's place.
            before, after = settings.solution_template.split("{solution}")
            return before.replace("{answer}", answer) + solution + after.replace("{answer}", answer)
        return solution if self._holds(solution, answer) else f"{solution}\n{answer}"

    def _holds(self, solution: str, answer: str) -> bool:
        """Whether a solution has an answer where the verifier looks: what begins the form, or the last line."""
        opening = self.settings.answer_template.partition("{answer}")[0].strip()
        return (bool(opening) and opening in solution) or solution.rpartition("\n")[2].strip() == answer.strip()

    def _cases(self, prompt: str, columns: Mapping[str, Any]) -> tuple[str, CallCases | ScriptCases]:
        """Return the prompt with the form's addition, and the hidden cases."""
        form = self.settings.form
        exact = self.settings.asserts == "exact"
        if form == "humaneval":
            name, calls = _text(columns, "entry_point"), calls_of_check(_text(columns, "test"), exact=exact)
            cases = CallCases(function=name, prefix=prompt, values="json" if exact else "python", cases=calls)
        elif form == "mbpp":
            tests = columns["tests"]
            if type(tests) is not list or any(type(test) is not str for test in tests):
                raise ValueError(f"tests must be a list of asserts, not {short(tests)}")
            function, calls = calls_of_asserts(tests, exact=exact)
            # The prompts name no function; the hidden tests do.
            prompt += f"\n{_head(_text(columns, SOLUTION), function)}\n"
            cases = CallCases(function=function, values="json" if exact else "python", cases=calls)
        else:
            match columns["reference"]:
                case str(text):
                    check_digits(_json(text))
                case dict(content):
                    check_digits(content)
                    text = json.dumps({"kind": form, **content}, default=str)
                case content:
                    raise ValueError(f"no JSON object: {short(content)}")
            cases = read_code(text)
            if cases.kind != form:
                raise ValueError(f"reference is of kind {cases.kind}, and task.form is {form}")
        if (form not in ASSERTING or not exact) and (reason := oversize(cases)):
            raise NotConvertible(reason)
        return prompt, cases

    def _lines(self, text: str) -> str:
        return text if "\r" in (self.settings.alphabet or "") else text.replace("\r\n", "\n")

    def _column(self, data: Mapping[str, Any], role: str) -> Any:
        columns = self.settings.columns_of(role)
        for column in columns:
            if column in data:
                return data[column]
        raise self._absent(data, columns, role)

    def _absent(self, data: Mapping[str, Any], columns: tuple[str, ...], role: str) -> ValueError:
        form = "" if role == SOLUTION and self.settings.form == "text" else ", or correct task.form"
        return ValueError(
            f"there is no column {' or '.join(columns)}; the row has {', '.join(map(_shown_name, data)) or 'none'}. "
            f"Name the right one in task.columns.{role}{form}"
        )

    def _answer(self, answer: str) -> str:
        return self.settings.answer_template.replace("{answer}", answer)

    def answers(self, references: list[str]) -> list[str]:
        """Return answers in the form that the verifier reads."""
        return [self._answer(reference) for reference in references]


def short(value: Any) -> str:
    """Return the beginning of a value, as JSON writes it."""
    match value:
        case Written():
            text = value.text
        case Foreign():
            text = value.kind
        case _:
            text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _answer_text(answer: Any) -> str:
    """Return an answer as text, numbers and truth values as JSON. Raises ValueError for a list, an object or null."""
    match answer:
        case Written():
            return number_text(answer)
        case int():
            return json.dumps(answer)
        case str():
            return answer
    raise ValueError(
        f"answer must be text or a number, not {short(answer)}; name another column in task.columns.answer, or write "
        "the one right answer"
    )


def _json(text: str) -> Any:
    """Return the value of a JSON text; None for invalid JSON, which `read_code` reports."""
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return None


def _text(columns: Mapping[str, Any], role: str) -> str:
    if type(columns[role]) is not str:
        raise ValueError(
            f"{role} must be text, not {short(columns[role])}; name another column in task.columns.{role}, or write "
            "one text"
        )
    return columns[role]


def _is_empty(value: Any, *, typed: bool) -> bool:
    """Whether a cell holds nothing: null, or an empty text where all cells are text."""
    return value is None or (value == "" and not typed)


def _whole(value: Any, *, typed: bool) -> int | None:
    """Return a value as a whole number, None for others; `typed`: whether numbers are more than text."""
    if type(value) is int:
        return value
    text = value.text if isinstance(value, Written) else "" if typed or type(value) is not str else value
    found = re.fullmatch(r"([0-9]{1,9})(?:\.0*)?", text)
    return int(found[1]) if found else None


def _is_hidden(character: str) -> bool:
    """Whether a character distorts a label: control characters, half of a surrogate pair, marks of writing direction,
    line separators. Joiners belong to some scripts and are allowed."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS


def _shown_name(name: str) -> str:
    return name if name.isprintable() and name == name.strip() else short(name)


def _head(code: str, function: str) -> str:
    """Return the line `def name(arguments):` of a function that `code` defines. Raises NotConvertible without one."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotConvertible("the solution is no Python") from None
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name, args=arguments) if name == function:
                return f"def {function}({ast.unparse(arguments)}):"
    raise NotConvertible(f"the solution does not define {function}"[:100])
