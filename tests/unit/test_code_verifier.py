"""Judging programs: what a completion's code is, how values are compared, and which ending gives which verdict."""

import json
from collections.abc import Iterator

import pytest
from support.attack_programs import IDLE_LIMITS

from bootstrap import meaning
from bootstrap.config.code import CodeVerifier
from bootstrap.python_values import write_value
from bootstrap.records import Status
from bootstrap.references import MAX_EXPECTED_BYTES, Call, CallCases, Script, ScriptCases, read_code, write
from bootstrap.sandbox.job import Ending, Level, Outcome
from bootstrap.sandbox.pool import Sandbox
from bootstrap.scoring.code import Code, judgement_of, lines_of, program_of, same
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, Tools, build_verifier

pytestmark = pytest.mark.sandbox

DOUBLE = CallCases(function="f", cases=tuple(Call(args=(x,), expected=2 * x) for x in (3, -5, 40)))
ECHO = ScriptCases(cases=(Script(stdin="a b\n", stdout="b a\n"), Script(stdin="1 2\n", stdout="2 1\n")))
RIGHT = "def f(x):\n    return x + x\n"


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    verifier = Code(CodeVerifier(cpu_seconds=1.0), Tools(processes=2))
    yield verifier
    verifier.close()


def answer(text: str, reference: str = write(DOUBLE), *, truncated: bool = False) -> Answer:
    return Answer(prompt="", text=text, reference=reference, truncated=truncated)


# --- comparison -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [0, 1, -7, 10**300, True, False, None, "", "é", 0.5, [], [1, [2.0, "x"]], {}, {"a": [None, {"b": 1}]}]
)
def test_a_value_is_the_same_as_its_own_json(value: object) -> None:
    assert same(value, json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1, True),
        (True, 1),
        (0, False),
        (None, 0),
        (2, 2.0),
        (2.0, 2),
        ("1", 1),
        ([1], [True]),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([[1]], [1]),
        ([], {}),
        ([], None),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1.0}),
        ("a", "a "),
    ],
)
def test_another_type_or_value_is_not_the_same(expected: object, found: object) -> None:
    assert not same(expected, found)
    assert not same(found, expected)


def test_negative_zero_is_zero() -> None:
    assert same(0.0, -0.0)
    assert not same(0, -0.0)


def test_a_tolerance_acts_on_expected_floats_alone() -> None:
    assert same(0.5, 0.5 + 1e-7, tolerance=1e-6)
    assert not same(0.5, 0.5 + 1e-5, tolerance=1e-6)
    assert same([1.0, {"a": 2.0}], [1.0 + 1e-7, {"a": 2}], tolerance=1e-6)
    assert not same(2, 2.0, tolerance=1e-6)
    assert not same(2, 3, tolerance=5.0)
    assert not same(1.0, True, tolerance=5.0)
    assert not same(1.0, "1.0", tolerance=5.0)


def test_no_number_is_too_large_to_compare() -> None:
    assert not same(1.0, 10**400, tolerance=1.0)
    assert same(1e300, int(1e300), tolerance=1.0)
    assert not same(1.0, float("inf"), tolerance=1.0)
    assert not same(1.0, float("nan"), tolerance=1.0)


def test_white_space_at_line_ends_and_empty_lines_at_the_end_do_not_count() -> None:
    assert lines_of("a \r\nb\t\n\n \n") == lines_of("a\nb") == ["a", "b"]
    assert lines_of("\na") != lines_of("a")
    assert lines_of(" a") != lines_of("a")
    assert lines_of("") == lines_of("\n\n") == []


# --- which code is meant --------------------------------------------------------------------------------------------

FENCED = f"Here it is:\n```python\n{RIGHT}```\nDone."


@pytest.mark.parametrize(
    "completion",
    [FENCED, f"```\n{RIGHT}```", f"```py\n{RIGHT}```  \n", f"<think>\nhm\n</think>\n{FENCED}", f"hm</think>{FENCED}"],
)
def test_the_one_fenced_block_is_the_code(completion: str) -> None:
    assert program_of(completion, "fenced", max_bytes=2**16) == (RIGHT, "")


@pytest.mark.parametrize(
    "completion",
    [
        RIGHT,
        "",
        "```python\n```",
        "```python\n# nothing\n\n   # at all\n```",
        f"```python\n{RIGHT}",
        f"{FENCED}\n{FENCED}",
        f'```python\nx = """\n```\n"""\n{RIGHT}```',
        f'```python\nx = "```"\n{RIGHT}```',
        f"<think>{FENCED}</think>",
        f"<think>\n{FENCED}\n</think>\nSo that is it.",
        f"<think>\n{FENCED}\n</think>\n{FENCED}",
        f"<think>{FENCED}",
        f"<think>```python\n</think>\n{RIGHT}```",
        f"{FENCED}<think></think>",
        f"```python {RIGHT}```",
        f"```javascript\n{RIGHT}```",
        f"so ```python\n{RIGHT}```",
        f"```python\n{RIGHT}``` and so",
        f"````\n{RIGHT}````",
        f"~~~\n{RIGHT}~~~",
    ],
)
def test_anything_but_one_fenced_block_of_code_is_no_answer(completion: str) -> None:
    code, trouble = program_of(completion, "fenced", max_bytes=2**16)
    assert code == "" and trouble


@pytest.mark.parametrize("completion", ["", " \n\t\n", "# x = 1", "  # one\n\n# two\n"])
def test_nothing_or_comments_alone_are_no_code(completion: str) -> None:
    assert program_of(completion, "whole", max_bytes=2**16) == ("", "no code")


def test_a_completion_is_bounded_in_bytes() -> None:
    assert program_of("x" * 100, "whole", max_bytes=100) == ("x" * 100, "")
    assert program_of("x" * 101, "whole", max_bytes=100) == ("", "more than 100 bytes")
    assert program_of("é" * 51, "whole", max_bytes=100) == ("", "more than 100 bytes")


def test_what_utf_8_cannot_hold_is_no_code() -> None:
    assert program_of("x = '\ud800'", "whole", max_bytes=100) == ("", "characters that UTF-8 cannot hold")


def test_64_kib_are_judged_and_one_byte_more_is_a_format_failure(code: Code) -> None:
    full = RIGHT + "#" * (2**16 - len(RIGHT))
    passed, refused = code.judge([answer(full), answer(full + "#")])
    assert passed.status is Status.PASS
    assert (refused.status, refused.reason) == (Status.FAIL, "format: more than 65536 bytes")


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_a_right_program_passes_with_its_confinement_and_cost(code: Code) -> None:
    (judgement,) = code.judge([answer(RIGHT)])
    assert (judgement.status, judgement.reward, judgement.breakdown) == (Status.PASS, 1.0, {"code": 1.0})
    assert Level(judgement.sandbox).rank >= Level.SEAL.rank
    assert 0 < judgement.cpu_seconds < 1


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def f(x): return x", "wrong: 0 of 3 cases right"),
        ("def f(x): return 6", "wrong: 1 of 3 cases right"),
        ("def f(x: return", "format: "),
        ("def f(x):\n    return 2 * x\0", "format: "),
        ("1 / 0", "runtime_error: ZeroDivisionError"),
        ("def g(x): return x", "runtime_error"),
        ("def f(x):\n    while True: pass", "cpu_limit: "),
        ("def f(x):\n    return 'x' * 10**10", "memory: "),
        ("def f(x):\n    while True: print(x)", "output_limit: "),
        ("import os\nos.abort()", "crash: "),
        ("import os\nos._exit(0)", "protocol: "),
        ("def f(x): return object()", "type"),
    ],
)
def test_every_ending_of_a_program_is_a_failure_with_its_reason(code: Code, program: str, reason: str) -> None:
    (judgement,) = code.judge([answer(program)])
    assert (judgement.status, judgement.reward) == (Status.FAIL, 0.0)
    assert judgement.reason.startswith(reason), judgement.reason


def test_a_program_that_waits_is_a_failure_too() -> None:
    verifier = Code(CodeVerifier(), Tools())
    # With the usual limits it is waited for twice, six seconds each.
    verifier._sandbox = Sandbox(processes=1, limits=IDLE_LIMITS)
    (judgement,) = verifier.judge([answer("import time\ndef f(x): time.sleep(10**6)")])
    verifier.close()
    assert (judgement.status, judgement.reward) == (Status.FAIL, 0.0)
    assert judgement.reason.startswith("idle: "), judgement.reason


def test_a_truncated_answer_fails_even_if_it_is_right(code: Code) -> None:
    whole, cut = code.judge([answer(RIGHT), answer(RIGHT, truncated=True)])
    assert whole.status is Status.PASS
    assert (cut.status, cut.reason, cut.sandbox) == (Status.FAIL, "truncated", "")


def test_trouble_of_the_sandbox_is_no_verdict() -> None:
    verifier = Code(CodeVerifier(), Tools())
    verifier._sandbox = Sandbox(level=Level.REFUSE, min_level=Level.REFUSE)
    (judgement,) = verifier.judge([answer(RIGHT)])
    assert (judgement.status, judgement.reward) == (Status.UNVERIFIABLE, None)
    assert judgement.reason.startswith("trouble: ")
    verifier.close()


def test_one_run_in_trouble_makes_a_script_unverifiable_even_if_others_failed() -> None:
    outcomes = [Outcome(ending=Ending.CPU_LIMIT, level=Level.SEAL), Outcome(ending=Ending.TROUBLE, level=Level.SEAL)]
    assert judgement_of(ECHO, outcomes, reward="all").status is Status.UNVERIFIABLE


@pytest.mark.parametrize("values", [(), (6,), (6, -10), (6, -10, 80, 0)])
def test_fewer_or_more_results_than_inputs_fail(values: tuple[int, ...]) -> None:
    for reward in ("all", "share"):
        judgement = judgement_of(DOUBLE, [Outcome(ending=Ending.DONE, values=values)], reward=reward)
        assert (judgement.status, judgement.reward) == (Status.FAIL, 0.0)
        assert judgement.reason == f"protocol: {len(values)} values for 3 calls"


def test_reordered_results_fail() -> None:
    judgement = judgement_of(DOUBLE, [Outcome(ending=Ending.DONE, values=(-10, 6, 80))], reward="all")
    assert judgement.status is Status.FAIL


def test_a_shaped_reward_is_the_share_of_right_cases_and_no_pass() -> None:
    verifier = Code(CodeVerifier(reward="share"), Tools())
    one, all_, none = verifier.judge([answer("def f(x): return 6"), answer(RIGHT), answer("def f(x): exit()")])
    verifier.close()
    assert (one.status, one.reward, one.breakdown) == (Status.FAIL, 1 / 3, {"code": 1 / 3})
    assert (all_.status, all_.reward) == (Status.PASS, 1.0)
    assert (none.status, none.reward) == (Status.FAIL, 0.0)


def test_a_script_passes_when_every_run_prints_what_is_expected(code: Code) -> None:
    texts = {
        "print(*reversed(input().split()))": (Status.PASS, "right"),
        "print('b a')": (Status.FAIL, "wrong: 1 of 2 cases right"),
        "print(*reversed(input().split())); 1 / 0": (Status.FAIL, "runtime_error: ZeroDivisionError"),
        "print(*reversed(input().split()), end=' \\n\\n')": (Status.PASS, "right"),
    }
    judgements = code.judge([answer(text, write(ECHO)) for text in texts])
    assert [(judgement.status, judgement.reason) for judgement in judgements] == list(texts.values())


def test_a_script_that_should_print_nothing_must_still_end_well(code: Code) -> None:
    silent = write(ScriptCases(cases=(Script(stdin="", stdout=""),)))
    texts = ("x = 1", "1 / 0", "import os\nos._exit(1)", "while True: pass", "print(1)")
    statuses = [judgement.status for judgement in code.judge([answer(text, silent) for text in texts])]
    assert statuses == [Status.PASS, *[Status.FAIL] * 4]


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("expected", "program"),
    [
        (list(range(5000)), "def f(x): return list(range(5000))"),
        ("a" * 20_000, "def f(x): return 'a' * 20_000"),
        ("é" * 6000, "def f(x): return chr(233) * 6000"),
        (nested(39), "def f(x):\n    for _ in range(39): x = [x]\n    return x"),
        (nested(100), "def f(x):\n    for _ in range(100): x = [x]\n    return x"),
        ("a" * (MAX_EXPECTED_BYTES - 2), f"def f(x): return 'a' * {MAX_EXPECTED_BYTES - 2}"),
    ],
    ids=["list", "text", "escapes", "depth", "more depth", "the largest"],
)
@pytest.mark.parametrize("values", ["json", "python"])
def test_room_for_a_value_follows_what_is_expected(code: Code, expected: object, program: str, values: str) -> None:
    cases = CallCases(function="f", values=values, cases=(Call(args=(0,), expected=expected),))
    right, wrong = code.judge([answer(program, write(cases)), answer("def f(x): return 'b' * 10**7", write(cases))])
    assert right.status is Status.PASS, right.reason
    assert (wrong.status, wrong.reason) == (Status.FAIL, "protocol: a value longer than value_bytes")


@pytest.mark.parametrize("size", [65_537, 300_000, MAX_EXPECTED_BYTES])
def test_room_for_output_follows_what_is_expected(code: Code, size: int) -> None:
    reference = write(ScriptCases(cases=(Script(stdin="", stdout="x" * size),)))
    texts = (f"print('x' * {size})", f"print('x' * {size - 1})", "while True: print('x' * 1000)")
    right, short, endless = code.judge([answer(text, reference) for text in texts])
    assert right.status is Status.PASS, right.reason
    assert short.status is Status.FAIL
    assert endless.status is Status.FAIL and endless.reason.startswith("output_limit: ")


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        (
            ScriptCases(cases=(Script(stdin="", stdout="1"), Script(stdin="", stdout="x" * (MAX_EXPECTED_BYTES + 1)))),
            f"case 2 expects output of {MAX_EXPECTED_BYTES + 1} bytes, over {MAX_EXPECTED_BYTES}",
        ),
        (
            CallCases(function="f", cases=(Call(expected="x" * MAX_EXPECTED_BYTES),)),
            f"case 1 expects a value of {MAX_EXPECTED_BYTES + 2} bytes, over {MAX_EXPECTED_BYTES}",
        ),
        (CallCases(function="f", cases=(Call(expected=nested(121)),)), "case 1 expects a value nested over 120 deep"),
    ],
)
def test_what_no_answer_may_return_is_unverifiable_with_the_reason(
    code: Code, cases: CallCases | ScriptCases, reason: str
) -> None:
    (judgement,) = code.judge([answer("def f(): pass", write(cases))])
    assert (judgement.status, judgement.reason) == (Status.UNVERIFIABLE, f"no answer could be judged: {reason}")


def test_answers_alike_run_once_and_each_gets_its_verdict(code: Code) -> None:
    other = write(CallCases(function="f", cases=(Call(args=(1,), expected=3),)))
    answers = [answer(RIGHT), answer(RIGHT), answer(RIGHT, other), answer("def f(x): return 3"), answer(RIGHT)]
    judgements = code.judge(answers)
    assert [judgement.status is Status.PASS for judgement in judgements] == [True, True, False, False, True]
    assert [judgement.cpu_seconds > 0 for judgement in judgements] == [True, False, True, True, False]


def test_the_same_answers_get_the_same_judgements_in_any_order(code: Code) -> None:
    answers = [answer(text) for text in (RIGHT, "def f(x): return 6", "raise ValueError(id(f))", "def f(: ")]
    first, second = code.judge(answers), code.judge(answers[::-1])[::-1]
    assert [(j.status, j.reward, j.reason) for j in first] == [(j.status, j.reward, j.reason) for j in second]


def test_a_reference_that_is_no_program_s_cannot_be_judged(code: Code) -> None:
    for reference in ("046", "", "{}", '{"kind":"calls","function":"f","cases":[]}'):
        (judgement,) = code.judge([answer(RIGHT, reference)])
        assert judgement.status is Status.UNVERIFIABLE


def test_without_answers_no_sandbox_is_opened() -> None:
    verifier = Code(CodeVerifier(), Tools())
    assert verifier.judge([]) == []
    assert verifier.judge([answer("# nothing")])[0].status is Status.FAIL
    assert verifier._sandbox is None


def test_it_can_be_closed_twice_and_used_again() -> None:
    verifier = Code(CodeVerifier(), Tools())
    for _ in range(2):
        assert verifier.judge([answer(RIGHT)])[0].status is Status.PASS
        verifier.close()
        verifier.close()


def test_it_is_built_from_settings_and_passes_its_sanity_check() -> None:
    verifier = build_verifier(CodeVerifier())
    assert (
        sanity_check(
            verifier, [Case(prompt="", reference=write(DOUBLE), right=RIGHT, wrong=["", "x", "def f(x): pass"])]
        )
        == 4
    )
    verifier.close()


def test_settings_are_part_of_the_version() -> None:
    versions = {Code(settings, Tools()).version for settings in (CodeVerifier(), CodeVerifier(reward="share"))}
    assert len(versions) == 2
    assert Code(CodeVerifier(), Tools(processes=7)).version in versions


# --- references -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cases", [DOUBLE, ECHO])
def test_a_reference_survives_being_written_down(cases: CallCases | ScriptCases) -> None:
    assert read_code(write(cases)) == cases


@pytest.mark.parametrize("value", [float("inf"), float("nan"), {1, 2}, {1: 2}, b"x", 1j, "\ud800", [1, [object()]]])
def test_a_reference_holds_json_values_alone(value: object) -> None:
    with pytest.raises(ValueError, match=r"no JSON value|surrogates"):
        Call(expected=value)
    with pytest.raises(ValueError, match=r"no JSON value|surrogates"):
        Call(args=(value,), expected=0)


def test_an_expected_tuple_is_a_list() -> None:
    assert Call(expected=(1, (2, 3))).expected == [1, [2, 3]]


EARLIER = (
    '{"cases":[{"args":[{"a":1,"b":2}],"expected":[1,2.0],"kwargs":{"z":0},"tolerance":0.0}],'
    '"function":"f","kind":"calls","prefix":"","suffix":""}'
)
"""As references were written before values could be Python's."""


def test_an_earlier_reference_is_read_and_written_as_it_was_and_means_what_it_meant(code: Code) -> None:
    cases = read_code(EARLIER)
    assert isinstance(cases, CallCases) and cases.values == "json"
    assert write(cases) == EARLIER
    programs = {
        "def f(x, z): return [1, 2.0]": Status.PASS,
        "def f(x, z): return (1, 2.0)": Status.PASS,
        "def f(x, z): return [1, 2]": Status.FAIL,
        "def f(x, z): return [True, 2.0]": Status.FAIL,
        "class L(list): pass\ndef f(x, z): return L([1, 2.0])": Status.FAIL,
    }
    judgements = code.judge([answer(program, EARLIER) for program in programs])
    assert [judgement.status for judgement in judgements] == list(programs.values())


PYTHON = CallCases(
    function="f",
    values="python",
    cases=(
        Call(args=(write_value({"b": (1,), "a": {2}}),), expected=write_value([("b", (1,)), ("a", {2})])),
        Call(args=(1,), kwargs={"x": write_value({3: b"x"})}, expected=None, identical=True),
        Call(args=(0.5,), expected=0.5, tolerance=0.25),
    ),
)


def test_a_reference_of_python_values_survives_being_written_down_with_the_order_of_its_keys() -> None:
    again = read_code(write(PYTHON))
    assert again == PYTHON and write(again) == write(PYTHON)
    assert isinstance(again, CallCases)
    assert list(again.cases[0].args[0]) == ["b", "a"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"expected": {"$list": [1]}}, "no tag"),
        ({"expected": {"$set": [1, 1]}}, "an element twice"),
        ({"expected": {"$float": "nan"}}, "a NaN equals nothing"),
        ({"args": [{"$tuple": 1}], "expected": 1}, "no list"),
        ({"kwargs": {"x": {"$bytes": "?"}}, "expected": 1}, "hexadecimal"),
        ({"expected": 1, "identical": True}, "None, True or False"),
    ],
)
def test_a_reference_of_what_are_no_python_values_is_refused(call: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_code(json.dumps({"kind": "calls", "function": "f", "values": "python", "cases": [call]}))
    read_code(json.dumps({"kind": "calls", "function": "f", "values": "python", "cases": [{"expected": 1}]}))


def test_a_nan_may_be_an_argument() -> None:
    read_code('{"kind":"calls","function":"f","values":"python","cases":[{"args":[{"$float":"nan"}],"expected":1}]}')


def test_each_case_is_compared_by_what_it_says(code: Code) -> None:
    programs = {
        "def f(a, x=None): return [*a.items()] if x is None and a.__class__ is dict else None if x else a + 0.2": 1.0,
        "def f(a, x=None): return [*a.items()] if a.__class__ is dict else 0 if x else a": 2 / 3,
        "def f(a, x=None): return sorted(a.items()) if a.__class__ is dict else None if x else a": 2 / 3,
        "def f(a, x=None): return [*map(list, a.items())] if a.__class__ is dict else False if x else a + 0.3": 0.0,
    }
    verifier = Code(CodeVerifier(reward="share"), Tools())
    judgements = verifier.judge([answer(program, write(PYTHON)) for program in programs])
    verifier.close()
    assert [judgement.reward for judgement in judgements] == list(programs.values())


def test_how_python_values_compare_is_part_of_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Code(CodeVerifier(), Tools()).version
    followed = tuple(name for name in meaning.FOLLOWED if name != "bootstrap.python_values")
    monkeypatch.setattr(meaning, "FOLLOWED", followed)
    assert Code(CodeVerifier(), Tools()).version != before


def test_what_no_program_may_return_is_unreadable_at_load():
    verifier = build_verifier(CodeVerifier())
    cases = CallCases(function="f", cases=(Call(args=(1,), expected="x" * (2 * MAX_EXPECTED_BYTES)),))
    found = verifier.reads([write(cases), "no cases", '{"kind": "calls"}'])
    verifier.close()
    assert "case 1 expects" in found[0]
    assert found[1:] == ["no cases to run"] * 2
