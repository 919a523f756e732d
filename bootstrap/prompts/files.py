"""Prompts from a JSON Lines file: one row, one prompt, at the level that the row names.

The rules of `task.py` hold. A row's question is its own text with normalised white space, without the template and the
line that a form adds. A prompt's `key` is its row's line number; with the file's hash it identifies the row.

Unusable rows are left out and counted (`left_out`):

- characters outside the alphabet; a prompt or answer that is too long;
- the question of an earlier row (with `split_by: text`, its text);
- asserts that do not convert; an answer that is no finite number or has too many digits;
- rows that a verifier cannot use (`leave_out`, called by `stages/readable.py`).

Broken rows (no JSON, a column missing) are errors: the file is not of the form that the recipe says.

CR LF ends a line like LF, unless the alphabet holds CR. A number as answer keeps its value: where a float cannot hold
it, the reference is the number as written.

Left out: running anything, and comparing answers (`wrong_answers.py`).
"""

import ast
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pydantic import ValidationError

from bootstrap.config.files import ASSERTING, ROLES, SLICE, FileTask, content_of, read_file
from bootstrap.config.task import room
from bootstrap.errors import RecipeError
from bootstrap.prompts.assertions import NotConvertible, calls_of_asserts, calls_of_check
from bootstrap.prompts.json_numbers import NotFinite, TooManyDigits, Written, check_digits, loads, number_text
from bootstrap.prompts.left_out import LeftOut
from bootstrap.prompts.splits import Bounds, changed_share, normalised, prompt_id
from bootstrap.prompts.task import OneTask, again_and_again, check_level, check_references
from bootstrap.prompts.wrong_answers import NO_ANSWERS, meaning, wrong_programs
from bootstrap.records import Prompt, Split
from bootstrap.references import CallCases, ScriptCases, oversize, read_code, write
from bootstrap.seeds import generator

NUM_WRONG = 5
"""Wrong answers of a prompt that check a verifier."""
CHARACTERS_SHOWN = 8
OUTSIDE = "with characters outside task.alphabet"
MAX_SLICE = 80
"""Characters of a slice's name."""
JOINERS = "\u200c\u200d"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One usable row."""

    line: int
    level: int
    question: str
    """Its own prompt, normalised, without the additions of template and form."""
    asked: str
    """The same with the form's addition, such as the head of a function: rows that share it ask one question."""
    text: str
    reference: str
    solution: str
    slice: str


class Rows(OneTask):
    """The task of one file, read whole when it is built."""

    name = "file"
    has_easier_variants = False

    def __init__(self, settings: FileTask) -> None:
        """Raise RecipeError when the file is missing, changed or broken, or a level lacks prompts in a split."""
        self.settings = settings
        self.characters = settings.characters
        self._alphabet = frozenset(settings.alphabet)
        self.left_out = LeftOut()
        """Unusable rows, by reason."""
        self._unused: dict[str, str] = {}
        """Key of each row removed by `leave_out` -> the verifier that cannot use it."""
        try:
            data = read_file(settings)
            self.content = content_of(settings, data)
        except ValueError as error:
            raise RecipeError(f"task.path: {error}") from None
        self.as_rows = self
        self._bounds = Bounds.of(settings.heldout_fraction, settings.final_fraction)
        self._rows = self._read(data)
        if SLICE in settings.columns and not self.slices:
            raise RecipeError(
                f"{settings.path}: no row that serves has a label in column {settings.slice_column}; name another in "
                f"task.columns.{SLICE}, or remove it"
            )
        self._lists: dict[tuple[int, Split], list[Prompt]] = {}
        self._levels = self._by_level()
        self.highest_level: int | None = max(level for level, _ in self._levels)
        """The highest level that a row names."""

    def max_answer_length(self, level: int) -> int:
        """Return the bound that the recipe declares: another right answer may be longer than the row's."""
        return self.settings.max_answer_length

    def max_answer_tokens(self, level: int) -> int:
        return self.settings.max_answer_tokens or room(self.max_answer_length(level))

    def draw(
        self, level: int, count: int, *, seed: int, split: Split = Split.TRAIN, easier_variant: bool = False
    ) -> list[Prompt]:
        if easier_variant:
            raise RecipeError("rows of a file have no easier variants; set easier_variants: 0")
        if split not in self._bounds.splits:
            raise self._too_few(level, split)
        rng = generator(seed, "draw", self.name, level, split.value)
        return again_and_again(self._prompts(level, split), count, rng=rng)

    def every_prompt(self, level: int, split: Split) -> Sequence[Prompt]:
        return self._prompts(level, split)

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        check_references(levels, self.name, base_level=self.settings.base_level)
        rng = generator(seed, "demonstrate", self.name, *levels)
        prompts = [rng.choice(self._prompts(rng.choice(levels), Split.TRAIN)) for _ in range(count)]
        return [(prompt, self.solution(prompt)) for prompt in prompts]

    def reference(self, prompt: Prompt) -> str:
        return self.row(prompt).reference

    def solution(self, prompt: Prompt) -> str:
        return self.row(prompt).solution

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        row = self.row(prompt)
        if self.settings.form == "text":
            return self._other_answers(row)
        wrong = [self._answer(program) for program in wrong_programs(row.reference)]
        return [answer for answer in wrong if answer != row.solution][:NUM_WRONG]

    def _suite(self, level: int, count: int, split: Split) -> list[Prompt]:
        return sorted(self._prompts(level, split), key=lambda prompt: prompt.id)[:count]

    @property
    def slices(self) -> tuple[str, ...]:
        """The slices that rows name, sorted."""
        return tuple(sorted({row.slice for key, row in self._rows.items() if key not in self._unused} - {""}))

    def rows(self, *splits: Split) -> list[Row]:
        """Return the rows of these splits, in the order of the file."""
        found = [row for (_, split), rows in self._levels.items() if split in splits for row in rows]
        return sorted(found, key=lambda row: row.line)

    def num_heldout(self, level: int, count: int) -> int | None:
        return min(count, len(self._prompts(level, Split.HELDOUT)))

    def every_row(self) -> list[Row]:
        """Return every usable row, those that a verifier cannot use included."""
        return list(self._rows.values())

    def leave_out(self, reasons: Mapping[str, str], *, verifier: str) -> None:
        """Leave rows out of every draw and suite, and count them; the others keep their splits and their order.

        `reasons`: why `verifier` cannot use a row, by line number as text; a row that is out already keeps its first
        reason. `row` still finds such rows, for answers given earlier. Raises RecipeError when more than
        `max_unreadable` of the rows are out, or a level has no prompt in a split.
        """
        for key, reason in reasons.items():
            if key not in self._unused:
                self._unused[key] = verifier
                self.left_out.add(reason, int(key))
        total, allowed = len(self._rows), self.settings.max_unreadable
        if len(self._unused) > allowed * total:
            each = Counter(self._unused.values())
            who = f"the verifier {verifier} cannot" if len(each) == 1 else "the verifiers together cannot"
            shares = ", ".join(f"{name} {count}" for name, count in each.items())
            counts = f": {shares}" if len(each) > 1 else ""
            raise RecipeError(
                f"{who} use {len(self._unused)} of the {total} rows of {self.settings.path}{counts} "
                f"({len(self._unused) / total:.1%}, at most {allowed:.1%} allowed): {self.left_out.told()}. Choose the "
                "verifier and its settings for what the file holds, let task.answer_template put the answer where the "
                "verifier looks for it, fix the rows, or raise task.max_unreadable"
            )
        self._lists.clear()
        for (level, split), rows in self._levels.items():
            rows[:] = [row for row in rows if str(row.line) not in self._unused]
            if not rows:
                raise self._too_few(level, split)

    def row(self, prompt: Prompt) -> Row:
        """Return the row behind a prompt of this file."""
        row = self._rows.get(prompt.key)
        assert row is not None and row.text == prompt.text, f"prompt {prompt.id} ({prompt.key}) is not of this file"
        return row

    def _prompts(self, level: int, split: Split) -> list[Prompt]:
        check_level(self, level)
        if (level, split) not in self._lists:
            self._lists[level, split] = [
                Prompt(
                    id=prompt_id(self.name, row.text),
                    task=self.name,
                    level=level,
                    text=row.text,
                    split=split,
                    key=str(row.line),
                    slice=row.slice,
                )
                for row in self._levels[level, split]
            ]
        return self._lists[level, split]

    def _by_level(self) -> dict[tuple[int, Split], list[Row]]:
        levels: dict[tuple[int, Split], list[Row]] = {}
        for row in self._rows.values():
            decisive = row.question if self.settings.split_rule == "question" else row.text
            levels.setdefault((row.level, self._bounds.split_of(self.name, decisive)), []).append(row)
        last = max((level for level, _ in levels), default=1)
        for level in range(1, last + 1):
            for split in self._bounds.splits:
                if (level, split) not in levels:
                    raise self._too_few(level, split)
        return levels

    def _too_few(self, level: int, split: Split) -> RecipeError:
        num_rows = sum(row.level == level and str(row.line) not in self._unused for row in self._rows.values())
        share, change = changed_share(self.settings, split)
        message = (
            f"{self.settings.path}: level {level} has no {split.value} prompt among its {num_rows} rows; add rows"
            + (f", or {change} {share}" if num_rows else "")
        )
        if self.left_out:
            message += f". Rows left out: {self.left_out.told()}"
        return RecipeError(message)

    def _read(self, data: bytes) -> dict[str, Row]:
        try:
            lines = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise RecipeError(
                f"{self.settings.path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
            ) from None
        rows: dict[str, Row] = {}
        known: dict[str, Row] = {}
        outside: Counter[str] = Counter()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = self._made(number, _parsed(line))
            except NotConvertible as reason:
                self.left_out.add(f"with tests that do not convert: {reason}", number)
                continue
            except NotFinite:
                self.left_out.add("with an answer that is no finite number", number)
                continue
            except TooManyDigits as error:
                self.left_out.add(f"with {error}", number)
                continue
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise RecipeError(f"{self.settings.path}:{number}: the cases: {place}: {first['msg']}") from None
            except ValueError as error:
                raise RecipeError(f"{self.settings.path}:{number}: {error}") from None
            asked = row.asked if self.settings.split_rule == "question" else row.text
            if reason := self._misfit(row) or self._known(row, asked, known):
                self.left_out.add(reason, number)
                if reason == OUTSIDE:
                    outside.update(self._outside(row))
                continue
            known[asked] = row
            rows[str(number)] = row
        if outside:
            self._name(outside)
        return rows

    def _name(self, outside: Counter[str]) -> None:
        """Name the characters outside the alphabet in the reason, those of most rows first."""
        told = ", ".join(repr(character) for character, _ in outside.most_common(CHARACTERS_SHOWN))
        further = len(outside) - CHARACTERS_SHOWN
        reason = f"{OUTSIDE}: {told}" + (f" and {further} more" if further > 0 else "")
        self.left_out.retitle(OUTSIDE, reason)

    def _made(self, line: int, data: Mapping[str, Any]) -> Row:
        """Return the row. Raises ValueError for a broken one, NotConvertible, NotFinite and TooManyDigits."""
        form = self.settings.form
        columns = {role: self._column(data, role) for role in ROLES[form]}
        level = data.get(self.settings.level_column, 1)
        if type(level) is not int or level < 1:
            raise ValueError(f"{self.settings.level_column} must be a whole number from 1 up, not {_short(level)}")
        question = prompt = self._lines(_text(columns, "prompt"))
        if form == "text":
            reference = solution = self._lines(_answer_text(columns["answer"]))
        else:
            solution = self._lines(_text(columns, "solution"))
            prompt, cases = self._cases(prompt, columns)
            reference = write(cases)
        return Row(
            line=line,
            level=level,
            question=normalised(question),
            asked=normalised(prompt),
            text=self.settings.prompt_template.replace("{prompt}", prompt),
            reference=reference,
            solution=self._answer(solution),
            slice=self._slice(data),
        )

    def _slice(self, data: Mapping[str, Any]) -> str:
        """Return the row's slice, empty without one. Raises ValueError for a value that cannot be a label."""
        column = self.settings.slice_column
        remedy = f"name another column in task.columns.{SLICE}, or fix the row"
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
                f"{column} must be text of at most {MAX_SLICE} characters or a number, not {_short(data[column])}; "
                f"{remedy}"
            )
        if hidden := next((character for character in label if _is_hidden(character)), None):
            raise ValueError(f"{column} holds {_short(hidden)}, which no label can show, in {_short(label)}; {remedy}")
        return label

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
                raise ValueError(f"tests must be a list of asserts, not {_short(tests)}")
            function, calls = calls_of_asserts(tests, exact=exact)
            # The prompts name no function; the hidden tests do.
            prompt += f"\n{_head(_text(columns, 'solution'), function)}\n"
            cases = CallCases(function=function, values="json" if exact else "python", cases=calls)
        else:
            match columns["reference"]:
                case str(text):
                    check_digits(_value(text))
                case content:
                    check_digits(content)
                    text = json.dumps({"kind": form, **_mapping(content)})
            cases = read_code(text)
            if cases.kind != form:
                raise ValueError(f"reference is of kind {cases.kind}, and task.form is {form}")
        if (form not in ASSERTING or not exact) and (reason := oversize(cases)):
            raise NotConvertible(reason)
        return prompt, cases

    def _lines(self, text: str) -> str:
        return text if "\r" in self.settings.alphabet else text.replace("\r\n", "\n")

    def _column(self, data: Mapping[str, Any], role: str) -> Any:
        columns = self.settings.columns_of(role)
        for column in columns:
            if column in data:
                return data[column]
        raise ValueError(
            f"there is no column {' or '.join(columns)}; the row has {', '.join(map(_shown, data)) or 'none'}. "
            f"Name the right one in task.columns.{role}, or correct task.form"
        )

    def _answer(self, answer: str) -> str:
        return self.settings.answer_template.replace("{answer}", answer)

    def _known(self, row: Row, asked: str, known: Mapping[str, Row]) -> str:
        """Return that an earlier row asks the same, or ""; both would count one question twice."""
        if asked not in known:
            return ""
        if known[asked].text == row.text:
            return "with the prompt of an earlier row"
        return "with the question of an earlier row, white space aside"

    def _misfit(self, row: Row) -> str:
        """Return why a row is unusable, or ""."""
        settings = self.settings
        if not row.text or not row.solution:
            return "without prompt or answer"
        if len(row.text) > settings.max_prompt_length:
            return f"with a prompt over task.max_prompt_length {settings.max_prompt_length}"
        if len(row.solution) > settings.max_answer_length:
            return f"with an answer over task.max_answer_length {settings.max_answer_length}"
        return OUTSIDE if self._outside(row) else ""

    def _outside(self, row: Row) -> set[str]:
        return (set(row.text) | set(row.solution)) - self._alphabet

    def _other_answers(self, row: Row) -> list[str]:
        """Return answers of other rows, from the next line on, that do not mean the same as the row's own."""
        own = meaning(row.reference)
        rows = [other for key, other in self._rows.items() if key not in self._unused or other is row]
        start = next(place for place, other in enumerate(rows) if other.line == row.line)
        others = dict.fromkeys(
            other.reference for other in (*rows[start + 1 :], *rows[:start]) if meaning(other.reference) != own
        )
        others = [*list(others)[: NUM_WRONG - 1], *(answer for answer in NO_ANSWERS if meaning(answer) != own)]
        return [self._answer(answer) for answer in dict.fromkeys(others)][:NUM_WRONG]


def _parsed(line: str) -> dict[str, Any]:
    try:
        data = loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}; each line holds one JSON object") from None
    return _mapping(data)


def _answer_text(answer: Any) -> str:
    """Return an answer as text, numbers and truth values as JSON. Raises ValueError for a list, an object or null."""
    match answer:
        case Written():
            return number_text(answer)
        case int():
            return json.dumps(answer)
        case str():
            return answer
    raise ValueError(f"answer must be text or a number, not {_short(answer)}")


def _value(text: str) -> Any:
    """Return the value of a JSON text; None for invalid JSON, which `read_code` reports."""
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return None


def _mapping(data: Any) -> dict[str, Any]:
    if type(data) is not dict:
        raise ValueError(f"no JSON object: {_short(data)}")
    return data


def _text(columns: Mapping[str, Any], role: str) -> str:
    if type(columns[role]) is not str:
        raise ValueError(f"{role} must be text, not {_short(columns[role])}")
    return columns[role]


def _is_hidden(character: str) -> bool:
    """Whether a character distorts a label: control characters, half of a surrogate pair, marks of writing direction,
    line separators. Joiners belong to some scripts and are allowed."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS


def _shown(name: str) -> str:
    return name if name.isprintable() else _short(name)


def _short(value: Any) -> str:
    text = value.text if isinstance(value, Written) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
