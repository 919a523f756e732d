"""Expressions of literals have the value that Python gives them; everything else has none here."""

import ast
import time

import pytest

from bootstrap.prompts.literals import NotLiteral, literal


def of(source: str) -> object:
    return literal(ast.parse(source, mode="eval").body)


@pytest.mark.parametrize(
    "source",
    [
        "1",
        "-1",
        "+1.5",
        "~5",
        "not 1",
        "2.0 / 3.0",
        "1.0 / 3",
        "3 * 19",
        "3 + 5 - 7",
        "7 // 2",
        "-7 % 3",
        "10 ** 6",
        "2 ** -1",
        "0 ** 0",
        "-2 + 2.4j",
        "(-1) ** 0.5",
        "1 << 10",
        "6 & 3 | 8 ^ 1",
        "True + 1",
        "'a' + 'b'",
        "'a' 'b'",
        "b'a' * 3",
        "3 * 'ab'",
        "'x' * 0",
        "[0] * 5",
        "[1] + [2, 3]",
        "(1,) * 3 + (2,)",
        "[-0, 1 ** 0]",
        "{1, 2} | {3}",
        "{1, 2} - {2}",
        "set()",
        "set([1, 2, 2])",
        "frozenset('abc')",
        "tuple([1, (2, 3)])",
        "list((1, 2))",
        "list(range(5))",
        "list(range(5, 0, -2))",
        "list(range(0))",
        "dict([(1, 2)])",
        "dict({'a': 1})",
        "float('inf')",
        "float('-inf')",
        "float(3)",
        "complex(1, 2)",
        "{'a' + 'b': [2 * 3], (1, 2): {3}}",
    ],
)
def test_an_expression_of_literals_has_python_s_value(source: str) -> None:
    expected = eval(source, {})
    assert of(source) == expected and type(of(source)) is type(expected)


@pytest.mark.parametrize(
    "source",
    [
        "x",
        "...",
        "f(1)",
        "exit()",
        "len([1])",
        "sorted([2, 1])",
        "__import__('os')",
        "(1).real",
        "[1][0]",
        "[*[1]]",
        "{**{'a': 1}}",
        "set(*[[1]])",
        "dict(a=1)",
        "[i for i in [1]]",
        "1 if True else 2",
        "1 < 2",
        "1 and 2",
        "f'{1}'",
        "lambda: 1",
        "'%d' % 1",
        "[1] - [1]",
        "'a' + 1",
        "'a' * 1.5",
        "{1} + {2}",
        "-'a'",
        "~1.5",
        "set(1)",
        "set([1], [2])",
        "set([[1]])",
        "{[1]: 2}",
        "1 / 0",
        "0 ** -1",
        "1.0 ** 10 ** 400",
        "10.0 ** 400",
        "1 << -1",
        "float('x')",
        "range(1, 2, 0)",
        "10 ** 5000",
        "10 ** 10 ** 10",
        "2 ** 13000 * 2 ** 13000",
        "1 << 10 ** 9",
        "'x' * 10 ** 6",
        "[[0] * 1000] * 1000",
        "[0] * 10 ** 18",
        "list(range(10 ** 9))",
        "list(range(10 ** 30))",
        "list(range(-10 ** 30, 10 ** 30, 7))",
        "[" + "[0] * 60000, " * 3 + "]",
        "'x' * 60000 + 'x' * 60000",
    ],
)
def test_anything_else_is_refused_before_it_costs_anything(source: str) -> None:
    start = time.process_time()
    with pytest.raises(NotLiteral):
        of(source)
    assert time.process_time() - start < 1.0
