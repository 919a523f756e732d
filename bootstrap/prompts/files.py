"""Prompts from files and data sets: one row, one prompt, at the level that the row names.

The rules of `task.py` hold. A prompt's `key` identifies its row, together with the hash of the content: the line of one
JSON Lines file; `2:17` in the second of several, `heldout:17` in rows that the recipe names as held out.

Rows are held out by the hash of their question, or lie apart (`task.heldout`): then those of `path` all train, but for
questions of the held-out ones, and the hash decides which of these are final.

Unusable rows are left out and counted (`left_out`):

- characters outside the alphabet, or halves of them; a prompt or answer that is too long;
- the question of an earlier or a held-out row (with `split_by: text`, its text);
- asserts that do not convert; an answer that is no finite number, has too many digits, or is not where `extract` looks;
- rows that the model cannot read (`drop`, called by `stages/fitting.py`);
- rows that a verifier cannot use (`leave_out`, called by `stages/readable.py`).

Rows whose solution cannot be shown serve, but not as demonstrations (`hide`, counted in `not_shown`). Broken rows (no
JSON, a column missing) are errors: the file is not of the form that the recipe says.

Left out: running anything, and comparing answers (`wrong_answers.py`).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bootstrap.config.data import Source, digest_of, told_of
from bootstrap.config.files import LEVEL, SLICE, FileTask, sources_of
from bootstrap.errors import RecipeError
from bootstrap.prompts.assertions import NotConvertible
from bootstrap.prompts.json_numbers import NotFinite, TooManyDigits
from bootstrap.prompts.left_out import LeftOut
from bootstrap.prompts.readers import Broken, rows_of
from bootstrap.prompts.rows import Missing, NoMatch, Row, RowMaker
from bootstrap.prompts.splits import HASHES, Bounds, changed_share, normalised, prompt_id
from bootstrap.prompts.task import OneTask, again_and_again, check_level, check_references
from bootstrap.prompts.wrong_answers import NO_ANSWERS, meaning, wrong_programs
from bootstrap.records import Prompt, Split
from bootstrap.seeds import generator

NUM_WRONG = 5
"""Wrong answers of a prompt that check a verifier."""
CHARACTERS_SHOWN = 8
OUTSIDE = "with characters outside task.alphabet"
HALF = "with half of a character (a surrogate alone)"
_HALF = re.compile(r"[\ud800-\udfff]")
NO_SOLUTION = "without a solution"
MISSING = "without prompt or answer"


class Rows(OneTask):
    """The task of some files, read whole when it is built."""

    name = "file"
    has_easier_variants = False

    def __init__(self, settings: FileTask) -> None:
        """Raise RecipeError when a file is missing, changed or broken, or a level lacks prompts in a split."""
        self.settings = settings
        self.characters = settings.characters
        self._alphabet = frozenset(settings.alphabet) if settings.alphabet is not None else None
        try:
            trained, heldout = sources_of(settings)
        except ValueError as error:
            raise RecipeError(f"rows of {settings.told}: {error}") from None
        self.content = digest_of(trained)
        self._num_sources = len(trained) + len(heldout)
        unit = "line" if all(source.kind == "lines" for source in (*trained, *heldout)) else "row"
        self.left_out = LeftOut(unit)
        """Unusable rows, by reason."""
        self.not_shown = LeftOut(unit)
        """Rows whose solutions are not shown, by reason."""
        self.without_levels = ""
        """Why the column of levels gives none; "" where it does, or where there is none."""
        self._unused: dict[str, str] = {}
        """Key of each row removed by `leave_out` -> the verifier that cannot use it."""
        self._hidden: set[str] = set()
        """Keys of rows whose solutions are not shown."""
        self._dropped: set[str] = set()
        """Keys of rows removed by `drop`."""
        self.as_rows = self
        self._bounds = Bounds.of(settings.heldout_fraction, settings.final_fraction)
        if heldout:
            final = int(Fraction(settings.final_fraction) * HASHES)
            self._bounds = Bounds(heldout=HASHES - final, final=HASHES)
        self._rows = self._read(trained, heldout)
        if settings.columns.get(SLICE) and not self.slices:
            raise RecipeError(
                f"{settings.told}: no row that serves has a label in column {settings.slice_column}; name another in "
                f"task.columns.{SLICE}, or remove it"
            )
        self._lists: dict[tuple[int, Split], list[Prompt]] = {}
        self._demonstrations: dict[int, list[Prompt]] = {}
        self.hide({key: NO_SOLUTION for key, row in self._rows.items() if not row.solution})
        self._levels = self._by_level()
        self.highest_level: int | None = max(level for level, _ in self._levels)
        """The highest level that a row names."""

    def max_answer_length(self, level: int) -> int:
        """Return the bound that the recipe declares: another right answer may be longer than the row's.

        Without one, the length of the longest row's.
        """
        if self.settings.max_answer_length is not None:
            return self.settings.max_answer_length
        return max(len(row.solution or row.answer) for row in self._rows.values())

    def max_answer_tokens(self, level: int) -> int:
        return self.settings.most_answer_tokens(level)

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
        return self._prompts(level, split) if split in self._bounds.splits else ()

    def demonstrate(
        self, levels: Sequence[int], count: int, *, seed: int, mixed: bool = False
    ) -> list[tuple[Prompt, str]]:
        check_references(levels, self.name, base_level=self.settings.base_level)
        rng = generator(seed, "demonstrate", self.name, *levels)
        prompts = [rng.choice(self.every_shown(rng.choice(levels))) for _ in range(count)]
        return [(prompt, self.solution(prompt)) for prompt in prompts]

    def read(self, text: str) -> Prompt | None:
        """Return the prompt of the first row with this text; else of the first one with this question."""
        rows, asked = [row for row in self._rows.values() if self._serves(row)], normalised(text)
        found = next((row for row in rows if row.text == text), None)
        found = found or next((row for row in rows if row.question == asked), None)
        if found is None:
            return None
        prompts = self._prompts(found.level, self._split_of(found))
        return next((prompt for prompt in prompts if prompt.key == found.key), None)

    def reference(self, prompt: Prompt) -> str:
        return self.row(prompt).reference

    def solution(self, prompt: Prompt) -> str:
        """Return what SFT shows; where that cannot be shown, the answer alone."""
        row = self.row(prompt)
        return row.answer if row.key in self._hidden else row.solution

    def wrong_answers(self, prompt: Prompt) -> list[str]:
        row = self.row(prompt)
        if self.settings.form == "text":
            return self._other_answers(row)
        wrong = self._maker.answers(wrong_programs(row.reference))
        return [answer for answer in wrong if answer != row.answer][:NUM_WRONG]

    def _suite(self, level: int, count: int, split: Split) -> list[Prompt]:
        return sorted(self._prompts(level, split), key=lambda prompt: prompt.id)[:count]

    @property
    def slices(self) -> tuple[str, ...]:
        """The slices that rows name, sorted."""
        return tuple(sorted({row.slice for row in self._rows.values() if self._serves(row)} - {""}))

    def rows(self, *splits: Split) -> list[Row]:
        """Return the rows of these splits, in the order of the file."""
        found = {row.key for (_, split), rows in self._levels.items() if split in splits for row in rows}
        return [row for key, row in self._rows.items() if key in found]

    def num_heldout(self, level: int, count: int) -> int | None:
        return min(count, len(self._prompts(level, Split.HELDOUT)))

    def every_row(self) -> list[Row]:
        """Return every usable row, those that a verifier cannot use included."""
        return list(self._rows.values())

    def drop(self, reasons: Mapping[str, str]) -> None:
        """Leave out rows that the model cannot read, and count them; `reasons`: by key.

        Raises RecipeError when a level then has no prompt in a split.
        """
        for key, reason in reasons.items():
            if key not in self._dropped:
                self._dropped.add(key)
                self.left_out.add(reason, self.label(self._rows[key]))
        self._thin_out()

    def hide(self, reasons: Mapping[str, str]) -> None:
        """Show no solutions of these rows, and count those that train; `reasons`: by key. Their prompts serve."""
        for key, reason in reasons.items():
            row = self._rows[key]
            if key not in self._hidden and self._serves(row):
                self._hidden.add(key)
                if self._split_of(row) is Split.TRAIN:
                    self.not_shown.add(reason, self.label(row))
        self._demonstrations.clear()

    def leave_out(self, reasons: Mapping[str, str], *, verifier: str) -> None:
        """Leave rows out of every draw and suite, and count them; the others keep their splits and their order.

        `reasons`: why `verifier` cannot use a row, by key; a row that is out already keeps its first reason. `row`
        still finds such rows, for answers given earlier. Raises RecipeError when more than `max_unreadable` of the rows
        of `path` or of `heldout` are out, with those without a match of `extract`, or a level has no prompt in a split.
        """
        for key, reason in reasons.items():
            if key not in self._unused and key not in self._dropped:
                self._unused[key] = verifier
                self.left_out.add(reason, self.label(self._rows[key]))
        for is_heldout in (False, True):
            self._check_unused(is_heldout=is_heldout)
        self._thin_out()

    def _check_unused(self, *, is_heldout: bool) -> None:
        rows = [row for row in self._rows.values() if row.is_heldout is is_heldout]
        each = Counter(self._unused[row.key] for row in rows if row.key in self._unused)
        if not each:
            return
        who = f"the verifier {next(iter(each))}" if len(each) == 1 else "the verifiers"
        if unmatched := self._unmatched[is_heldout]:
            who, each["task.extract"] = f"task.extract and {who}", unmatched
        total, unused, allowed = len(rows) + unmatched, each.total(), self.settings.max_unreadable
        if unused > allowed * total:
            shares = ", ".join(f"{name} {count}" for name, count in each.items())
            told = self._told(is_heldout=is_heldout)
            who, told = (f"{who} together", f"{told}: {shares}") if len(each) > 1 else (who, told)
            raise RecipeError(
                f"{who} cannot use {unused} of the {total} rows of {told} "
                f"({unused / total:.1%}, at most {allowed:.1%} allowed): {self.left_out.told()}. Choose the "
                "verifier and its settings for what the file holds, let task.answer_template put the answer where the "
                "verifier looks for it, fix the rows, or raise task.max_unreadable"
            )

    def _told(self, *, is_heldout: bool) -> str:
        """Return the files of `path`, or of `heldout`, in a few words."""
        apart = self.settings.heldout
        return told_of(apart) if is_heldout and apart is not None else self.settings.told

    def _thin_out(self) -> None:
        self._lists.clear()
        self._demonstrations.clear()
        for (level, split), rows in self._levels.items():
            rows[:] = [row for row in rows if self._serves(row)]
            if not rows:
                raise self._too_few(level, split)

    def _serves(self, row: Row) -> bool:
        return row.key not in self._unused and row.key not in self._dropped

    def label(self, row: Row) -> int | str:
        """Return a row's number, after its file's name where there are several."""
        return self._label(row.source, row.line)

    def _label(self, source: str, number: int) -> int | str:
        return number if self._num_sources == 1 else f"{Path(source).name}:{number}"

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
                    key=row.key,
                    slice=row.slice,
                )
                for row in self._levels[level, split]
            ]
        return self._lists[level, split]

    def every_shown(self, level: int) -> list[Prompt]:
        prompts = self._prompts(level, Split.TRAIN)
        if not self._hidden:
            return prompts
        if level not in self._demonstrations:
            self._demonstrations[level] = [prompt for prompt in prompts if prompt.key not in self._hidden]
        if not self._demonstrations[level]:
            raise RecipeError(
                f"{self.settings.told}: no solution of level {level} can be shown: {self.not_shown.told()}. Raise "
                "task.max_answer_tokens, let answer_template or solution_template put the answer where the verifier "
                "looks for it, leave columns.solution out to show bare answers, or train without references"
            )
        return self._demonstrations[level]

    def _by_level(self) -> dict[tuple[int, Split], list[Row]]:
        levels: dict[tuple[int, Split], list[Row]] = {}
        for row in self._rows.values():
            levels.setdefault((row.level, self._split_of(row)), []).append(row)
        last = max((level for level, _ in levels), default=1)
        for level in range(1, last + 1):
            for split in self._bounds.splits:
                if (level, split) not in levels:
                    raise self._too_few(level, split)
        return levels

    def _split_of(self, row: Row) -> Split:
        if not (self.settings.holds_out_by_hash or row.is_heldout):
            return Split.TRAIN
        decisive = row.question if self.settings.split_rule == "question" else row.text
        return self._bounds.split_of(self.name, decisive)

    def _too_few(self, level: int, split: Split) -> RecipeError:
        apart = self.settings.heldout if split is not Split.TRAIN else None
        rows = [row for row in self._rows.values() if row.level == level and self._serves(row)]
        if not (by_hash := self.settings.holds_out_by_hash):
            rows = [row for row in rows if row.is_heldout == (apart is not None)]
        share, change = changed_share(self.settings, split)
        told = self.settings.told if apart is None else told_of(apart)
        message = f"{told}: level {level} has no {split.value} prompt among its {len(rows)} rows; add rows" + (
            f", or {change} {share}" if rows and (by_hash or split is not Split.TRAIN) else ""
        )
        if not rows and (limits := self._limits_reached()):
            message += f", or raise {' or '.join(limits)}"
        if self.left_out:
            message += f". Rows left out: {self.left_out.told()}"
        return RecipeError(message)

    def _limits_reached(self) -> list[str]:
        """Return the limits of length that leave rows out."""
        named = (f"task.max_{what}_{unit}" for what in ("prompt", "answer") for unit in ("length", "tokens"))
        return [name for name in named if any(f"over {name}" in reason for reason in self.left_out)]

    def _read(self, trained: Sequence[Source], heldout: Sequence[Source]) -> dict[str, Row]:
        """Return the usable rows by key: those of `path`, then the held-out ones."""
        self._maker = RowMaker(self.settings)
        self._outside_seen: Counter[str] = Counter()
        self._total: Counter[bool] = Counter()
        self._unmatched: Counter[bool] = Counter()
        """Rows of `path` and, under True, of `heldout`: all of them, and those that `extract` does not match."""
        apart: dict[str, Row] = {}
        found = list(self._usable(heldout, "heldout", known=apart, apart={}))
        rows = {row.key: row for row in self._usable(trained, "", known={}, apart=apart)}
        rows |= {row.key: row for row in found}
        if self._outside_seen:
            self._name(self._outside_seen)
        allowed = self.settings.max_unreadable
        for is_heldout, unmatched in self._unmatched.items():
            if unmatched > allowed * (total := self._total[is_heldout]):
                raise RecipeError(
                    f"task.extract {self.settings.extract} finds no answer in {unmatched} of the {total} rows of "
                    f"{self._told(is_heldout=is_heldout)} ({unmatched / total:.1%}, at most {allowed:.1%} allowed): "
                    f"{self.left_out.told()}. Correct it for what column {self.settings.columns_of('answer')[0]} "
                    "holds, or raise task.max_unreadable"
                )
        self.without_levels = self._maker.no_level
        if self.without_levels and self._maker.has_levels:
            raise RecipeError(self.without_levels)
        return rows

    def _usable(
        self, sources: Sequence[Source], prefix: str, *, known: dict[str, Row], apart: Mapping[str, Row]
    ) -> Iterator[Row]:
        """Yield the rows that can serve, and count the others.

        `known`: filled with the rows by what they ask; `apart`: those of rows that are held out. Raises RecipeError for
        a broken row.
        """
        columns: set[str] = set()
        for place, source in enumerate(sources, start=1):
            begun = [prefix] if prefix else []
            begun += [str(place)] if place > 1 else []
            try:
                for number, data in rows_of(source, wanted=self.settings.column_names):
                    columns.update(data)
                    self._total[bool(prefix)] += 1
                    key = ":".join([*begun, str(number)])
                    if (row := self._made(data, source, number, key=key, is_heldout=bool(prefix))) is None:
                        continue
                    asked = row.asked if self.settings.split_rule == "question" else row.text
                    if reason := self._misfit(row) or self._asked_apart(asked, apart) or self._known(row, asked, known):
                        self._count(reason, source, number)
                        if reason == OUTSIDE:
                            self._outside_seen.update(self._outside(row))
                        continue
                    known[asked] = row
                    yield row
            except Broken as error:
                at = f"{source.told} " if error.number is None else f"{source.told}:{error.number}: "
                raise RecipeError(f"{at}{error}") from None
        if (level := self.settings.columns.get(LEVEL)) and columns and level not in columns:
            raise RecipeError(
                f"{self._told(is_heldout=bool(prefix))}: no row has the column {level}, which task.columns.{LEVEL} "
                f"names; the rows have {', '.join(sorted(columns))}. Name another, or write {LEVEL}: null for data "
                "without levels"
            )

    def _made(self, data: Mapping[str, Any], source: Source, number: int, *, key: str, is_heldout: bool) -> Row | None:
        """Return a row, or None for one that cannot serve, which is counted. Raises RecipeError for a broken one."""
        try:
            return self._maker.row(
                data, key=key, source=source.told, line=number, is_heldout=is_heldout, typed=source.kind != "csv"
            )
        except NotConvertible as reason:
            self._count(f"with tests that do not convert: {reason}", source, number)
        except NotFinite:
            self._count("with an answer that is no finite number", source, number)
        except TooManyDigits as error:
            self._count(f"with {error}", source, number)
        except Missing:
            self._count(MISSING, source, number)
        except NoMatch:
            self._unmatched[is_heldout] += 1
            self._count("in whose answer task.extract finds none", source, number)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RecipeError(f"{source.told}:{number}: the cases: {place}: {first['msg']}") from None
        except ValueError as error:
            raise RecipeError(f"{source.told}:{number}: {error}") from None
        return None

    def _count(self, reason: str, source: Source, number: int) -> None:
        self.left_out.add(reason, self._label(source.told, number))

    def _name(self, outside: Counter[str]) -> None:
        """Name the characters outside the alphabet in the reason, those of most rows first."""
        told = ", ".join(repr(character) for character, _ in outside.most_common(CHARACTERS_SHOWN))
        further = len(outside) - CHARACTERS_SHOWN
        reason = f"{OUTSIDE}: {told}" + (f" and {further} more" if further > 0 else "")
        self.left_out.retitle(OUTSIDE, reason)

    def _asked_apart(self, asked: str, apart: Mapping[str, Row]) -> str:
        """Return that a row asks what a held-out row asks, or ""."""
        return "with a question of the held-out rows" if asked in apart else ""

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
        longest = max(len(row.solution), len(row.answer))
        if not row.text or not row.answer:
            return MISSING
        if settings.max_prompt_length is not None and len(row.text) > settings.max_prompt_length:
            return f"with a prompt over task.max_prompt_length {settings.max_prompt_length}"
        if settings.max_answer_length is not None and longest > settings.max_answer_length:
            return f"with an answer over task.max_answer_length {settings.max_answer_length}"
        if self._alphabet is None:
            return HALF if _HALF.search(f"{row.text}{row.solution}{row.answer}") else ""
        return OUTSIDE if self._outside(row) else ""

    def _outside(self, row: Row) -> set[str]:
        return {*row.text, *row.solution, *row.answer} - (self._alphabet or frozenset())

    def _other_answers(self, row: Row) -> list[str]:
        """Return answers of other rows, from the next one on, that do not mean the same as the row's own."""
        own = meaning(row.reference)
        rows = [other for other in self._rows.values() if self._serves(other) or other is row]
        start = next(place for place, other in enumerate(rows) if other.key == row.key)
        others = dict.fromkeys(
            other.reference for other in (*rows[start + 1 :], *rows[:start]) if meaning(other.reference) != own
        )
        others = [*list(others)[: NUM_WRONG - 1], *(answer for answer in NO_ANSWERS if meaning(answer) != own)]
        return self._maker.answers(list(dict.fromkeys(others)))[:NUM_WRONG]
