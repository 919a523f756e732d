"""`bootstrap chat`: ask generations as their evaluation does, answers side by side, verdicts where they can be had.

    --prompt, lines of standard input, or what is typed -> the task's prompt, if it is one -> answers -> verdicts

Answers are a model's text: control characters are shown escaped.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bootstrap.cli import render
from bootstrap.cli.remembered import recall_recipe
from bootstrap.errors import RecipeError
from bootstrap.lineage import queries
from bootstrap.lineage.text import visible
from bootstrap.records import Finish, Prompt, Rollout, Split, Verdict
from bootstrap.stages.asking import ChatJudge, Respondent, as_prompt, sampling_of
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

QUESTION = "prompt> "
Asked = tuple[LineageStore, str]
"""A lineage, and the name of a generation in it."""


class Chat:
    """One or two generations, and the judge of the first one's lineage."""

    def __init__(self, asked: Sequence[Asked], *, samples: int, max_tokens: int | None) -> None:
        """Load the generations. Raises RecipeError, WeightsFreed, StoreCorrupt."""
        ledgers = [store.ledger.read() for store, _ in asked]
        nodes = [queries.find(entries, name).generation for entries, (_, name) in zip(ledgers, asked, strict=True)]
        stores, names = [store for store, _ in asked], [name for _, name in asked]
        if len({(store.root, node.number) for store, node in zip(stores, nodes, strict=True)}) < len(nodes):
            raise RecipeError(f"{names[0]} and {names[1]} are both {nodes[0].name}; name another one after --against")
        self.recipe = recall_recipe(stores[0])
        levels = [row.level for row in nodes[0].report.levels]
        headline = queries.headline(nodes[0])
        self.level = 1 if headline is None else headline.level
        """Of held-out questions that are asked without being typed."""
        self.highest = max(levels, default=1)
        """Of texts that are no prompt of the task."""
        self.lineage, self.samples, self.max_tokens = stores[0].root.name, samples, max_tokens
        self.judge = ChatJudge(self.recipe)
        self.respondents = [
            self._respondent(store, entries, node.number)
            for store, entries, node in zip(stores, ledgers, nodes, strict=True)
        ]
        self.questions = self.judge.questions(self.level)

    def _respondent(self, store: LineageStore, entries: Sequence[Entry], number: int) -> Respondent:
        """Return a generation's model; one of another lineage is named `LINEAGE@gen-N`."""
        if store.root.name == self.lineage:
            return Respondent.of(store, entries, number, self.recipe)
        found = Respondent.of(store, entries, number, recall_recipe(store))
        return replace(found, name=f"{store.root.name}@{found.name}")

    def close(self) -> None:
        """Release the models and the judge."""
        self.judge.close()
        for respondent in self.respondents:
            respondent.pool.close()

    def ask(self, text: str) -> dict[str, Any]:
        """Return the answers to a prompt as JSON data. Raises RecipeError where a model cannot be asked it."""
        known = self.judge.prompt(text)
        prompt = known or as_prompt(text, level=self.highest)
        limit = self.max_tokens or self.judge.max_new_tokens(prompt.level)
        sampling = sampling_of(self.recipe.evaluation.sampled, max_new_tokens=limit, samples=self.samples)
        answers = []
        for respondent in self.respondents:
            rollouts = respondent.answer(prompt, sampling, samples=self.samples)
            verdicts = self.judge.verdicts(rollouts, known) if known is not None else [None] * len(rollouts)
            unknown = respondent.unknown(prompt.text)
            answers += [_answer(respondent.name, *pair, unknown) for pair in zip(rollouts, verdicts, strict=True)]
        return {
            "prompt": prompt.text,
            "level": None if known is None else known.level,
            "split": None if known is None else known.split.value,
            "right_answer": None if known is None else self.judge.reference(known),
            "no_verdict": self._no_verdict(known),
            "temperature": sampling.temperature,
            "max_new_tokens": limit,
            "answers": answers,
        }

    def _no_verdict(self, known: Prompt | None) -> str | None:
        if known is not None:
            return None
        return self.judge.why_not or "this is no prompt whose reference the lineage's task knows"


def chat(
    asked: Sequence[Asked],
    *,
    prompts: Sequence[str],
    samples: int,
    max_tokens: int | None,
    as_json: bool,
) -> None:
    """Ask and print until the prompts, standard input or the person come to an end; Ctrl-C is such an end.

    `prompts`: empty reads standard input, line by line or typed. Raises RecipeError, WeightsFreed, StoreCorrupt.
    """
    typed = not prompts and sys.stdin.isatty()
    try:
        found = Chat(asked, samples=samples, max_tokens=max_tokens)
        try:
            if not as_json:
                _print_head(found, typed=typed)
            for text in prompts or (_typed(found) if typed else _lines()):
                _ask(found, text, as_json=as_json, goes_on=typed)
        finally:
            found.close()
    except KeyboardInterrupt:
        print(file=sys.stderr)


def _ask(found: Chat, text: str, *, as_json: bool, goes_on: bool) -> None:
    try:
        told = found.ask(text)
    except RecipeError as error:
        if not goes_on:
            raise
        render.say(f"error: {error}")
        return
    if as_json:
        render.print_json(told, indent=None)
    else:
        _print(told, [respondent.name for respondent in found.respondents], samples=found.samples)


def _typed(found: Chat) -> Iterator[str]:
    """Yield what is typed, until Ctrl-D; an empty line asks the next held-out question."""
    with suppress(ImportError):
        # Lines can be edited and come back where Python has it.
        import readline  # noqa: F401
    while True:
        try:
            text = input(QUESTION)
        except EOFError:
            print()
            return
        if text:
            yield text
        elif (question := next(found.questions, None)) is not None:
            yield question.text


def _lines() -> Iterator[str]:
    return filter(None, (line.rstrip("\r\n") for line in sys.stdin))


def _answer(name: str, rollout: Rollout, verdict: Verdict | None, unknown: Sequence[str]) -> dict[str, Any]:
    return {
        "generation": name,
        "text": rollout.text,
        "tokens": len(rollout.tokens),
        "finish": rollout.finish.value,
        "verdict": None if verdict is None else verdict.status.value,
        "reward": None if verdict is None else verdict.reward,
        "reason": None if verdict is None else verdict.reason,
        "unknown_characters": list(unknown),
    }


def _print_head(found: Chat, *, typed: bool) -> None:
    names = " beside ".join(respondent.name for respondent in found.respondents)
    drawn = "greedy" if found.samples == 1 else f"{found.samples} samples each"
    render.say(f"lineage {found.lineage}: {names}; {drawn}, as in the evaluation")
    forms = {respondent.how.form: respondent.how for respondent in found.respondents}
    for form, how in forms.items():
        render.say(f"prompt format: {visible(form)}")
        if how.alphabet:
            render.say(f"characters:    {visible(' '.join(how.alphabet))}")
        ends = [repr(text) for text in (how.end, *how.stops) if text]
        render.say(f"answers end:   {' or '.join(ends) or 'at the limit'}")
    if found.judge.why_not:
        render.say(f"no verdicts:   {found.judge.why_not}")
    if typed:
        empty = "an empty line asks the next held-out question; " if found.judge.task is not None else ""
        render.say(f"type a prompt; {empty}Ctrl-D ends")


def _print(told: dict[str, Any], names: Sequence[str], *, samples: int) -> None:
    render.say(f"prompt: {visible(told['prompt'])}")
    if told["no_verdict"]:
        render.say(f"no verdict: {visible(told['no_verdict'])}")
    else:
        seen = {Split.TRAIN: "of the training split", Split.HELDOUT: "held out", Split.FINAL: "of the final set"}
        right = visible(told["right_answer"])
        render.say(f"level {told['level']}, {seen[Split(told['split'])]}; a right answer: {right}")
    answers = {name: [one for one in told["answers"] if one["generation"] == name] for name in names}
    for name, given in answers.items():
        if unknown := given[0]["unknown_characters"]:
            render.say(f"{name} has no token for {', '.join(map(repr, unknown))}")
    rows = []
    for place in range(samples):
        one = {name: given[place] for name, given in answers.items()}
        label = "answer" if samples == 1 else f"answer {place + 1}"
        rows.append({"": label, **{name: visible(each["text"]) for name, each in one.items()}})
        if not told["no_verdict"]:
            rows.append({"": "verdict", **{name: _verdict(each) for name, each in one.items()}})
        rows.append({"": "tokens", **{name: _length(each) for name, each in one.items()}})
    render.print_rows("", rows, keep="\n")


def _verdict(one: dict[str, Any]) -> str:
    return f"{one['verdict']}: {visible(one['reason'])}"


def _length(one: dict[str, Any]) -> str:
    cut = ", cut at the limit" if Finish(one["finish"]).is_truncated else ""
    return f"{one['tokens']}{cut}"
