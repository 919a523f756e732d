"""Rows in the shapes that HumanEval and MBPP have: what Python's own `assert` accepts passes, and little else does."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bootstrap.config.base import identity_of
from bootstrap.config.code import CodeVerifier
from bootstrap.config.files import FileTask
from bootstrap.config.task import completed
from bootstrap.config.tasks import SPLIT_KINDS
from bootstrap.errors import RecipeError
from bootstrap.prompts.files import Rows
from bootstrap.records import Status
from bootstrap.references import MAX_EXPECTED_BYTES, CallCases, read_code
from bootstrap.scoring.code import Code
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, Tools

pytestmark = pytest.mark.sandbox

ROWS: dict[str, tuple[str, list[str]]] = {
    "a float for a whole number": ("def f(a, b):\n    return a * b / 2", ["f(4, 3) == 6", "f(2, 2) == 2"]),
    "a whole number for a float": ("def f(a):\n    return a // 2", ["f(4) == 2.0"]),
    "a number for a truth value": ("def f(x):\n    return x and not x & (x - 1) or 0", ["f(8) == 1", "f(9) == 0"]),
    "a truth value for a number": ("def f(x):\n    return x > 3", ["f(4) == 1", "f(3) == 0"]),
    "a tuple as argument": ("def f(t):\n    return t + (1,)", ["f((3, 4)) == (3, 4, 1)", "f(()) == (1,)"]),
    "tuples in lists": ("def f(p):\n    return [b + a for a, b in p]", ["f([('x', 'y'), ('a', 'b')]) == ['yx', 'ba']"]),
    "a tuple tells itself from a list": (
        "def f(x):\n    return type(x).__name__",
        ["f((1,)) == 'tuple'", "f([1]) == 'list'"],
    ),
    "a set": ("def f(x):\n    return set(x)", ["f((3, 1, 3)) == {1, 3}", "f([]) == set()", "f('a') == set(['a'])"]),
    "a set as argument": ("def f(x):\n    return tuple(sorted(x))", ["f({2, 1}) == (1, 2)", "f(set([4])) == (4,)"]),
    "keys that are no text": (
        "def f(d):\n    return {v: k for k, v in d.items()}",
        ["f({1: 'a', 2: (3,)}) == {'a': 1, (3,): 2}"],
    ),
    "keys in their order": ("def f(d, n):\n    return list(d)[n]", ["f({'phi': 1, 'chi': 2, 'a': 3}, 0) == 'phi'"]),
    "a Counter": (
        "from collections import Counter\ndef f(x):\n    return Counter(x)",
        ["f('aab') == {'a': 2, 'b': 1}"],
    ),
    "a defaultdict": (
        "from collections import defaultdict\ndef f(w):\n    d = defaultdict(list)\n    for x in w:\n"
        "        d[len(x)].append(x)\n    return d",
        ["f(['a', 'bb', 'c']) == {1: ['a', 'c'], 2: ['bb']}"],
    ),
    "a named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(x):\n    return P(x, x)",
        ["f(2) == (2, 2)"],
    ),
    "complex numbers": (
        "import cmath\ndef f(x, y):\n    return cmath.polar(complex(x, y)), complex(x, y)",
        ["f(3, 0) == ((3.0, 0.0), 3 + 0j)"],
    ),
    "bytes": ("def f(x):\n    return x.decode()", ["f(b'ab') == 'ab'"]),
    "arithmetic": ("def f(n):\n    return n * 19", ["f(3) == 3 * 19", "f(-1) == -19", "f(10) == 10 ** 2 + 90"]),
    "a quotient": ("def f(x):\n    return sum(x) / len(x)", ["f([1, 0, 1]) == 2.0 / 3.0"]),
    "text put together": ("def f(x):\n    return x.upper()", ["f('ab' + 'cd') == 'AB' + 'CD'", "f('a' * 3) == 'AAA'"]),
    "infinity": (
        "def f(x):\n    return max(x, default=float('-inf'))",
        ["f([]) == float('-inf')", "f([1e999]) == 1e999"],
    ),
    "None": ("def f(x):\n    return None if x else False", ["f(1) is None", "f(0) is False"]),
    "a bare call": ("def f(x):\n    return x == 1", ["f(1)", "not f(2)"]),
}


def mbpp(name: str, variant: int = 0) -> dict[str, Any]:
    code, tests = ROWS[name]
    return {"text": f"Variant {variant} of {name}.", "code": code, "test_list": [f"assert {test}" for test in tests]}


def task_of(folder: Path, rows: Sequence[Any], **settings: Any) -> Rows:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Rows(FileTask(path=str(path), max_answer_length=500, heldout_fraction=0.5, **settings))


def cases_of(task: Rows) -> dict[str, Case]:
    prompts = [*task.draw(1, 1000, seed=0), *task.heldout(1, 1000)]
    return {
        prompt.text: Case(
            prompt=prompt.text,
            reference=task.reference(prompt),
            right=task.solution(prompt),
            wrong=task.wrong_answers(prompt),
        )
        for prompt in prompts
    }


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    verifier = Code(CodeVerifier(cpu_seconds=1.0), Tools(processes=2))
    yield verifier
    verifier.close()


def test_every_solution_that_keeps_its_own_asserts_passes(tmp_path: Path, code: Code) -> None:
    for solution, tests in ROWS.values():
        scope: dict[str, Any] = {}
        exec(solution, scope)
        for test in tests:
            exec(f"assert {test}", scope)
    task = task_of(tmp_path, [mbpp(name) for name in ROWS], form="mbpp")
    assert not task.left_out
    cases = list(cases_of(task).values())
    assert len(cases) == len(ROWS)
    judgements = code.judge([Answer(prompt="", text=case.right, reference=case.reference) for case in cases])
    assert {case.prompt: judgement.reason for case, judgement in zip(cases, judgements, strict=True)} == {
        case.prompt: "right" for case in cases
    }
    # Also that programs which return a constant fail.
    assert sanity_check(code, cases) == sum(1 + len(case.wrong) for case in cases)


def test_a_check_function_is_read_by_the_same_rules(tmp_path: Path, code: Code) -> None:
    rows = [
        {
            "prompt": f'def pair(t):\n    """Return t {n} times, and a third of it."""\n',
            "entry_point": "pair",
            "canonical_solution": f"    return t * {n}, {n} / 3\n",
            "test": "METADATA = {}\ndef check(candidate):\n"
            f"    assert candidate((1, 2)) == ((1, 2) * {n}, {n}.0 / 3.0)\n    assert candidate(()) == ((), {n} / 3)\n",
        }
        for n in range(1, 13)
    ]
    task = task_of(tmp_path, rows, form="humaneval")
    cases = list(cases_of(task).values())
    assert len(cases) == len(rows)
    assert sanity_check(code, cases) > len(rows)
    lists = [case.right.replace("t *", "list(t) *") for case in cases]
    judgements = code.judge(
        [Answer(prompt="", text=text, reference=case.reference) for text, case in zip(lists, cases, strict=True)]
    )
    assert {judgement.status for judgement in judgements} == {Status.FAIL}, "a list is no tuple"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("a float for a whole number", "def f(a, b):\n    return str(a * b // 2)"),
        ("a float for a whole number", "def f(a, b):\n    return a * b / 2 + 1e-9"),
        ("a tuple as argument", "def f(t):\n    return list(t) + [1]"),
        ("a set", "def f(x):\n    return sorted(set(x))"),
        ("a set", "def f(x):\n    return dict.fromkeys(x)"),
        ("keys that are no text", "def f(d):\n    return {str(v): k for k, v in d.items()}"),
        ("keys in their order", "def f(d, n):\n    return sorted(d)[n]"),
        ("None", "def f(x):\n    return None if x else 0"),
        ("a bare call", "def f(x):\n    return x == 1 or None"),
        ("bytes", "def f(x):\n    return x"),
    ],
)
def test_what_an_assert_refuses_fails(tmp_path: Path, code: Code, name: str, wrong: str) -> None:
    task = task_of(tmp_path, [mbpp(name, variant) for variant in range(12)], form="mbpp")
    case = next(iter(cases_of(task).values()))
    (judgement,) = code.judge([Answer(prompt="", text=wrong, reference=case.reference)])
    assert judgement.status is Status.FAIL, judgement.reason


def test_a_row_that_expects_more_than_any_answer_may_return_is_left_out_with_the_reason(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "prompt": f"Print {n}.",
            "solution": f"print({n})",
            "reference": {"cases": [{"stdin": "", "stdout": f"{n}\n"}]},
        }
        for n in range(12)
    ]
    size = MAX_EXPECTED_BYTES + 1
    huge = {"prompt": "Much.", "solution": "pass", "reference": {"cases": [{"stdin": "", "stdout": "x" * size}]}}
    task = task_of(tmp_path, [*rows, huge], form="scripts")
    reason = f"case 1 expects output of {size} bytes, over {MAX_EXPECTED_BYTES}"
    assert task.left_out == {f"with tests that do not convert: {reason}": 1}
    assert len(cases_of(task)) == len(rows)


def test_cases_of_one_s_own_may_hold_python_values(tmp_path: Path, code: Code) -> None:
    cases = [{"args": [{"$tuple": [1, 2]}], "expected": {"$set": [1, 2]}}, {"args": [[]], "expected": {"$set": []}}]
    rows = [
        {
            "prompt": f"Elements, {n}.",
            "solution": "def f(x):\n    return set(x)",
            "reference": {"function": "f", "values": "python", "cases": cases},
        }
        for n in range(12)
    ]
    task = task_of(tmp_path, rows, form="calls")
    assert sanity_check(code, list(cases_of(task).values())[:2]) > 2
    rows[0]["reference"]["cases"] = [{"expected": {"$set": [1, 1]}}]
    with pytest.raises(RecipeError, match=r"rows\.jsonl:1: the cases: calls: .*an element twice"):
        task_of(tmp_path, rows, form="calls")


# --- lineages grown by earlier versions -----------------------------------------------------------------------------


def test_a_new_recipe_s_asserts_mean_equality_and_a_stored_one_s_what_they_meant() -> None:
    new = FileTask(path="rows.jsonl", form="mbpp")
    assert identity_of(new)["asserts"] == "equal"
    stored = {name: value for name, value in identity_of(new).items() if name not in ("asserts", "split_by")}
    read = FileTask.model_validate(completed({**stored, "path": "rows.jsonl"}, kinds=SPLIT_KINDS))
    assert read.asserts == "exact"
    assert identity_of(read) == stored, "its identity is as it was"
    assert FileTask.model_validate(read.model_dump()) == read
    again = FileTask.model_validate(completed({**identity_of(new), "path": "rows.jsonl"}, kinds=SPLIT_KINDS))
    assert again.asserts == "equal" and identity_of(again) == identity_of(new)


def test_forms_without_asserts_say_nothing_of_them() -> None:
    task = FileTask(path="rows.jsonl", form="calls")
    assert "asserts" not in identity_of(task)
    assert FileTask.model_validate(task.model_dump()) == task
    with pytest.raises(ValueError, match="form calls has no asserts"):
        FileTask(path="rows.jsonl", form="calls", asserts="equal")


def test_exact_asserts_give_the_references_of_earlier_lineages(tmp_path: Path) -> None:
    rows = [mbpp("a float for a whole number", n) for n in range(12)] + [mbpp("a tuple as argument")]
    task = task_of(tmp_path, rows, form="mbpp", asserts="exact")
    (reference,) = {case.reference for case in cases_of(task).values()}
    assert reference == (
        '{"cases":[{"args":[4,3],"expected":6,"kwargs":{},"tolerance":0.0},'
        '{"args":[2,2],"expected":2,"kwargs":{},"tolerance":0.0}],'
        '"function":"f","kind":"calls","prefix":"","suffix":""}'
    )
    assert len(task.left_out) == 1 and "an argument is a tuple" in next(iter(task.left_out))
    equal = task_of(tmp_path, rows, form="mbpp")
    found = read_code(next(iter(cases_of(equal).values())).reference)
    assert isinstance(found, CallCases) and found.values == "python"
