"""`chat` answers as the evaluation did, says who is right, and ends when its reader does."""

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from bootstrap.canonical import canonical_json
from bootstrap.cli.main import main
from bootstrap.lineage import samples
from bootstrap.store import durable, gc
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.torch, pytest.mark.training]

START_SECONDS = 600


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LineageStore:
    return tiny.lineage(tmp_path_factory.mktemp("runs"), count=1)


def asked(capsys: pytest.CaptureFixture[str], store: LineageStore, *arguments: object) -> str:
    assert main(["chat", *map(str, arguments), "--store", str(store.root.parent)]) == 0
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], store: LineageStore, *arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in asked(capsys, store, *arguments, "--json").splitlines()]


def test_it_answers_what_the_evaluation_answered_with_its_verdict(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, entry in enumerate(store.ledger.read()):
        rows = samples.greedy(store, entry.generation)
        assert len(rows) > 8
        prompts = [word for row in rows for word in ("--prompt", row["prompt"])]
        found = told(capsys, store, number, *prompts)
        given = [(one["prompt"], one["answers"][0]["text"], one["answers"][0]["verdict"]) for one in found]
        assert given == [(row["prompt"], row["answer"], row["verdict"]) for row in rows]
        assert all(
            one["split"] == "heldout" and one["level"] == row["level"] for one, row in zip(found, rows, strict=True)
        )
        assert all(one["right_answer"] == one["prompt"].removesuffix("=") for one in found)


def test_a_generation_of_another_lineage_answers_beside_it(
    store: LineageStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tiny", "other"):
        shutil.copytree(store.root, tmp_path / name)
    copied = LineageStore(tmp_path / "tiny")
    [one] = told(capsys, copied, "tiny@base", "--against", "other@base", "--prompt", "abca=")
    assert [answer["generation"] for answer in one["answers"]] == ["gen-0", "other@gen-0"]
    assert len({answer["text"] for answer in one["answers"]}) == 1


def test_two_generations_answer_side_by_side(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    text = asked(capsys, store, "last", "--against", "base", "--prompt", "abca=")
    assert "gen-1 beside gen-0; greedy, as in the evaluation" in text
    assert "prompt format: <bos>{prompt}" in text
    assert "characters:    a b c =" in text
    assert "level 4, " in text and "a right answer: abca" in text
    [head] = [line for line in text.splitlines() if line.split() == ["gen-1", "gen-0"]]
    [answer] = [line for line in text.splitlines() if line.strip().startswith("answer ")]
    assert head and len(answer.split()) == 3
    assert text.count("PASS") + text.count("FAIL") == 2


def test_several_samples_are_drawn_and_judged_each(store: LineageStore, capsys: pytest.CaptureFixture[str]) -> None:
    [found] = told(capsys, store, "base", "--prompt", "abcab=", "--samples", 6)
    assert found["temperature"] == 1.0
    assert len(found["answers"]) == 6 and len({one["text"] for one in found["answers"]}) > 1
    assert {one["verdict"] for one in found["answers"]} <= {"PASS", "FAIL"}
    text = asked(capsys, store, "base", "--prompt", "abcab=", "--samples", 6)
    assert "answer 6" in text and "6 samples each" in text


def test_a_text_that_is_no_prompt_is_answered_without_a_verdict(
    store: LineageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    [found] = told(capsys, store, "base", "--prompt", "ab", "--max-tokens", 3)
    assert found["answers"][0]["verdict"] is None and found["right_answer"] is None
    assert "no prompt whose reference" in found["no_verdict"]
    assert found["answers"][0]["tokens"] <= 3
    text = asked(capsys, store, "base", "--prompt", "hello")
    assert "gen-0 has no token for 'h', 'e', 'l', 'o'" in text


def test_lines_of_a_pipe_are_prompts(
    store: LineageStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ab=\n\nabc=\r\nca="))
    assert [one["prompt"] for one in told(capsys, store, "base")] == ["ab=", "abc=", "ca="]


def test_a_plug_in_of_a_stored_recipe_is_not_imported(
    store: LineageStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = tmp_path / "trapped_module.py"
    trap.write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = store.root / "recipe.json"
    before = path.read_bytes()
    remembered = json.loads(before)
    plugin = {"type": "plugin", "uses": "trapped_module:Trap"}
    lengths = {"levels": 4, "base_level": 4, "alphabet": "abc=", "max_prompt_length": 8, "max_answer_length": 8}
    try:
        for change, why in (
            ({"verifier": plugin}, "its verifier (plugin) is a plug-in"),
            ({"task": {**plugin, **lengths}}, "its task is a plug-in"),
        ):
            recipe = {**remembered["recipe"], **change}
            durable.write_file(path, canonical_json({**remembered, "recipe": recipe}))
            [found] = told(capsys, store, "base", "--prompt", "abc=")
            assert found["answers"][0]["verdict"] is None and found["answers"][0]["text"]
            assert why in found["no_verdict"]
            assert "trapped_module" not in sys.modules
    finally:
        durable.write_file(path, before)


def test_freed_weights_are_named(store: LineageStore, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tmp_path / "runs" / "tiny"
    shutil.copytree(store.root, root)
    entries = store.ledger.read()
    number = 1 - entries[-1].generation.champion
    held = gc.weights_of_lineage(LineageStore(root), entries, {})
    gc.free(LineageStore(root), [one for one in held if one.generations == (number,)])
    assert main(["chat", str(number), "--prompt", "a=", "--store", str(root.parent)]) == 3
    assert f"gen-{number} of lineage tiny were freed" in capsys.readouterr().err


class Typing:
    """A chat on a terminal of its own."""

    def __init__(self, store: LineageStore) -> None:
        self.terminal, theirs = pty.openpty()
        command = [sys.executable, "-m", "bootstrap", "chat", "last", "--store", str(store.root.parent)]
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "dumb"},
            start_new_session=True,
            # A test suite started in the background ignores Ctrl-C, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)
        self.text = ""

    def await_text(self, wanted: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while wanted not in self.text:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.text!r}"
            self.text += os.read(self.terminal, 4096).decode()

    def say(self, keys: str) -> None:
        self.text = ""
        os.write(self.terminal, keys.encode())

    def press_enter(self) -> None:
        os.write(self.terminal, b"\n")

    def end(self) -> int:
        try:
            return self.process.wait(timeout=START_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            os.close(self.terminal)


def test_ctrl_c_ends_what_is_typed_on_a_terminal(store: LineageStore) -> None:
    chat = Typing(store)
    try:
        chat.await_text("prompt> ")
        assert "an empty line asks the next held-out question" in chat.text
        chat.say("abc=\n")
        chat.await_text("a right answer: abc")
        chat.await_text("prompt> ")
    finally:
        chat.process.send_signal(signal.SIGINT)
        # readline does not see a signal that comes between its prompt and its wait for a key; Enter ends that wait.
        chat.press_enter()
        code = chat.end()
    assert code == 0
    assert "Traceback" not in chat.text


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_ctrl_d_and_ctrl_c_end_it_cleanly(
    store: LineageStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    lines = iter(["", "abc=", ""])

    def typed(shown: str) -> str:
        if (line := next(lines, None)) is None:
            raise end
        return line

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    text = asked(capsys, store, "base")
    assert text.count("held out") >= 2 and text.count("verdict ") == 3
    questions = [line for line in text.splitlines() if line.startswith("prompt: ")]
    assert len(set(questions)) == 3, "each empty line asks another question"
