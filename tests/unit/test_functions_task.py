"""The task of one-line functions: texts, right and wrong answers, and hidden inputs that tell them apart."""

import itertools
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.config.code import CodeVerifier, FunctionsTask
from bootstrap.prompts.build import build_task
from bootstrap.prompts.functions import OPERANDS, OPERATORS, Functions, hidden_inputs
from bootstrap.records import Status
from bootstrap.references import CallCases, read_code
from bootstrap.scoring.code import Code
from bootstrap.scoring.verifier import Answer, Tools

FAMILY = Functions(FunctionsTask())
TASK = build_task(FunctionsTask())


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    verifier = Code(CodeVerifier(cpu_seconds=1.0), Tools(processes=2))
    yield verifier
    verifier.close()


def texts(level: int) -> st.SearchStrategy[str]:
    steps = st.lists(st.tuples(st.sampled_from(OPERATORS), st.sampled_from(OPERANDS)), min_size=level, max_size=level)
    return st.builds(lambda first, rest: first + "".join(map("".join, rest)) + ":", st.sampled_from(OPERANDS), steps)


def polynomial(text: str) -> Counter[str]:
    """Return the function as coefficients by monomial (sorted letters), zeros left out."""

    def operand(symbol: str) -> dict[str, int]:
        return {"": int(symbol)} if symbol.isdigit() else {symbol: 1}

    result = operand(text[0])
    for operator, symbol in zip(text[1:-1:2], text[2:-1:2], strict=True):
        if operator == "*":
            product: Counter[str] = Counter()
            for (one, x), (other, y) in itertools.product(result.items(), operand(symbol).items()):
                product["".join(sorted(one + other))] += x * y
            result = product
        else:
            total = Counter(result)
            for monomial, coefficient in operand(symbol).items():
                total[monomial] += coefficient if operator == "+" else -coefficient
            result = total
    return Counter({monomial: coefficient for monomial, coefficient in result.items() if coefficient})


def value(function: Counter[str], inputs: tuple[int, ...]) -> int:
    known = dict(zip("abc", inputs, strict=True))
    total = 0
    for monomial, coefficient in function.items():
        for letter in monomial:
            coefficient *= known[letter]
        total += coefficient
    return total


def judged(code: Code, text: str, *answers: str) -> list[Status]:
    asked = [Answer(prompt=text, text=answer, reference=FAMILY.reference(text)) for answer in answers]
    return [judgement.status for judgement in code.judge(asked)]


def test_a_description_is_read_from_left_to_right() -> None:
    assert FAMILY.answer("a+b*3:") == "x=a;x+=b;x*=3"
    inputs = hidden_inputs("a+b*3:")
    assert [case.expected for case in FAMILY.cases("a+b*3:").cases] == [(a + b) * 3 for a, b, _ in inputs]


@pytest.mark.parametrize("level", [1, 2])
def test_small_levels_list_every_text_once(level: int) -> None:
    listed = list(FAMILY.texts(level, easier_variant=False))
    assert len(set(listed)) == len(listed) == FAMILY.num_texts(level, easier_variant=False)


@given(level=st.integers(1, 30), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_bounds_on_length_are_exact(level: int, seed: int) -> None:
    text = FAMILY.sample(Random(seed), level=level, easier_variant=False)
    answer = FAMILY.answer(text)
    assert len(answer) == FAMILY.max_answer_length(level)
    assert 1 + len(text) + len(answer) + 1 == FunctionsTask().longest_sequence(level)
    assert set(text + answer) <= set(TASK.characters)


@given(data=st.data(), level=st.integers(1, 6))
@settings(max_examples=60)
def test_hidden_results_are_those_of_the_polynomial(data: st.DataObject, level: int) -> None:
    text = data.draw(texts(level))
    cases = FAMILY.cases(text).cases
    assert len(cases) >= 6
    assert len({case.args for case in cases}) == len(cases)
    assert [case.expected for case in cases] == [value(polynomial(text), case.args) for case in cases]


def test_hidden_inputs_tell_all_functions_of_one_operation_apart() -> None:
    functions = {text: polynomial(text) for text in FAMILY.texts(1, easier_variant=False)}
    for text, function in functions.items():
        inputs = hidden_inputs(text)
        results = [value(function, each) for each in inputs]
        for other in functions.values():
            alike = all(value(other, each) == result for each, result in zip(inputs, results, strict=True))
            assert alike == (function == other)


@given(data=st.data(), level=st.integers(2, 5))
@settings(max_examples=300)
def test_hidden_inputs_tell_functions_apart_or_they_are_one_polynomial(data: st.DataObject, level: int) -> None:
    text, other = data.draw(texts(level)), data.draw(texts(level))
    inputs = hidden_inputs(text)
    alike = all(value(polynomial(text), each) == value(polynomial(other), each) for each in inputs)
    assert alike == (polynomial(text) == polynomial(other))


def test_inputs_depend_on_the_text_and_nothing_else() -> None:
    assert hidden_inputs("a+b:") == hidden_inputs("a+b:")
    assert hidden_inputs("a+b:") != hidden_inputs("b+a:")
    seen = [tuple(hidden_inputs(text)) for text in FAMILY.texts(1, easier_variant=False)]
    assert len(set(seen)) == len(seen)


def test_the_reference_holds_inputs_and_results_but_no_answer() -> None:
    reference = FAMILY.reference("a+b*3:")
    cases = read_code(reference)
    assert isinstance(cases, CallCases)
    assert FAMILY.answer("a+b*3:") not in reference
    assert cases.prefix + FAMILY.answer("a+b*3:") + cases.suffix == "def f(a, b, c):\n x=a;x+=b;x*=3\n return x\n"


@pytest.mark.sandbox
@pytest.mark.parametrize("level", [1, 2, 3, 4, 9])
def test_right_answers_pass_and_wrong_ones_fail(code: Code, level: int) -> None:
    for prompt in TASK.heldout(level, 6):
        wrong = TASK.wrong_answers(prompt)
        assert len(set(wrong)) == len(wrong) >= 4
        assert judged(code, prompt.text, TASK.solution(prompt), *wrong) == [Status.PASS, *[Status.FAIL] * len(wrong)]


@pytest.mark.sandbox
def test_functions_that_are_zero_have_wrong_answers_too(code: Code) -> None:
    for text in ("a-a:", "a-a*b:", "2-2*c*c:", "2+2:", "2*2:", "a-a+2:"):
        wrong = FAMILY.wrong_answers(text)
        assert len(wrong) >= 4
        assert judged(code, text, FAMILY.answer(text), *wrong) == [Status.PASS, *[Status.FAIL] * len(wrong)]


@pytest.mark.sandbox
def test_every_program_that_computes_the_function_is_right(code: Code) -> None:
    answers = [
        "x=(a+b)*3",
        "x=b+a;x=3*x",
        "x=3*a+3*b",
        "x=a;x-=-b;x+=x+x",
        "return (a+b)*3",
        "x=0\n for y in a,b: x+=3*y",
    ]
    assert judged(code, "a+b*3:", *answers) == [Status.PASS] * len(answers)
    wrong = [
        "x=a+b*3",
        "x=a+b*3.0",
        "x=(a+b)*3.0",
        "x=abs(a+b)*3",
        "x=(a+b)*3,",
        "print((a+b)*3);x=0",
        "x=a;x+=b;x**=3",
    ]
    assert judged(code, "a+b*3:", *wrong) == [Status.FAIL] * len(wrong)


@pytest.mark.sandbox
def test_a_tower_of_powers_costs_no_more_than_its_limit(code: Code) -> None:
    (judgement,) = code.judge([Answer(prompt="", text="x=9**9**9**9", reference=FAMILY.reference("a+b:"))])
    assert judgement.status is Status.FAIL
    assert judgement.cpu_seconds < 3


def test_other_levels_are_refused_to_demonstrations() -> None:
    shown = TASK.demonstrate([1, 2, 3, 4], 40, seed=0)
    assert {prompt.level for prompt, _ in shown} == {1, 2, 3, 4}
    assert all(answer == FAMILY.answer(prompt.text) for prompt, answer in shown)
    with pytest.raises(ValueError, match="references of functions end at level 4"):
        TASK.demonstrate([5], 1, seed=0)
