"""Python values across the sandbox's wall: what kinds arrive, what comes back, and how much of it."""

from collections.abc import Iterator

import pytest

from bootstrap.python_values import canonical, equal, write_value
from bootstrap.sandbox.job import CallJob, Ending, Level, Limits, Outcome, ScriptJob
from bootstrap.sandbox.pool import Sandbox

pytestmark = pytest.mark.sandbox

LIMITS = Limits(cpu_seconds=0.5, address_space=256 * 2**20, output_bytes=4096, value_bytes=1024, depth=8)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(level=Level.SEAL, processes=1, limits=LIMITS) as sandbox:
        yield sandbox


def called(sandbox: Sandbox, code: str, *args: object, depth: int = 64, value_bytes: int = 0) -> Outcome:
    inputs = [([write_value(argument) for argument in args], {})]
    job = CallJob(code=code, function="f", inputs=inputs, python=True, depth=depth, value_bytes=value_bytes)
    [outcome] = sandbox.run([job])
    return outcome


def returned(sandbox: Sandbox, expression: str, before: str = "") -> Outcome:
    return called(sandbox, f"{before}\ndef f():\n    return {expression}")


VALUES = [
    None,
    True,
    10**300,
    -0.5,
    float("inf"),
    "é\n",
    b"\x00\xff",
    1 - 2j,
    [1, (2, [3])],
    (),
    {1, "a", (2, 3)},
    frozenset({frozenset(), None}),
    {1: "x", (2, 3): {4}, None: {}},
    {"$tuple": [1], "a": {"$set": [1]}},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {len(repr(value))}")
def test_a_function_gets_the_very_value_and_gives_it_back(sandbox: Sandbox, value: object) -> None:
    outcome = called(sandbox, "def f(x):\n    return [x, repr(type(x)), repr(x)]", value)
    assert outcome.ending is Ending.DONE, outcome.detail
    ((back, kind, shown),) = outcome.values
    assert equal(write_value(value), back)
    assert kind == repr(type(value))
    if not isinstance(value, set | frozenset):
        assert shown == repr(value)


def test_keyword_arguments_are_python_values_too(sandbox: Sandbox) -> None:
    job = CallJob(
        code="def f(*, x, y):\n    return type(x) is tuple and y == {1}",
        function="f",
        inputs=[([], {"x": write_value((1,)), "y": write_value({1})})],
        python=True,
    )
    assert sandbox.run([job])[0].values == (True,)


@pytest.mark.parametrize(
    ("expression", "before", "value"),
    [
        ("I(3)", "class I(int): pass", 3),
        ("E.A", "import enum\nclass E(enum.IntEnum): A = 3", 3),
        ("F(0.5)", "class F(float): pass", 0.5),
        ("S('a')", "class S(str): pass", "a"),
        ("[S('a')]", "class S(str): pass", ["a"]),
        ("L([1])", "class L(list): pass", [1]),
        ("P(1, 2)", "from collections import namedtuple\nP = namedtuple('P', 'x y')", (1, 2)),
        ("Counter('aab')", "from collections import Counter", {"a": 2, "b": 1}),
        ("OrderedDict(b=1, a=2)", "from collections import OrderedDict", {"a": 2, "b": 1}),
        ("defaultdict(list, {1: [2]})", "from collections import defaultdict", {1: [2]}),
        ("{S('k'): 1}", "class S(str): pass", {"k": 1}),
        ("T({1})", "class T(set): pass", {1}),
        ("T({1})", "class T(frozenset): pass", {1}),
        ("B(b'x')", "class B(bytes): pass", b"x"),
        ("bytearray(b'x')", "", b"x"),
        ("C(1, 2)", "class C(complex): pass", 1 + 2j),
        ("{1: 2}.keys()", "", {1}),
        ("{1: 2}.items()", "", {(1, 2)}),
        ("Fraction(1, 2)", "from fractions import Fraction", 0.5),
        ("Decimal('2.50')", "from decimal import Decimal", 2.5),
        ("Decimal('inf')", "from decimal import Decimal", float("inf")),
    ],
)
def test_an_object_of_a_derived_class_is_what_it_is_without_the_class(
    sandbox: Sandbox, expression: str, before: str, value: object
) -> None:
    outcome = returned(sandbox, expression, before)
    assert outcome.ending is Ending.DONE, outcome.detail
    assert equal(write_value(value), outcome.values[0])


OVERRIDDEN = """
def lie(*_, **__): raise RuntimeError('asked')
names = ['__eq__', '__ne__', '__hash__', '__iter__', '__len__', '__getitem__', '__contains__', '__repr__', '__str__',
         '__int__', '__index__', '__float__', '__bool__', '__complex__', '__bytes__', '__reduce__', '__lt__',
         'items', 'keys', 'values', 'hex', 'bit_length', 'as_integer_ratio', 'startswith', 'isascii', 'adjusted']
def over(base):
    body = {name: lie for name in names if hasattr(base, name) and name != '__hash__'}
    return type('Over', (base,), body | {'__class__': property(lie), '__getattribute__': lie})
import decimal, fractions
"""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("over(int)(7)", 7),
        ("over(float)(0.5)", 0.5),
        ("over(str)('a')", "a"),
        ("over(bytes)(b'a')", b"a"),
        ("over(list)([1, 2])", [1, 2]),
        ("over(tuple)((1, 2))", (1, 2)),
        ("over(dict)({'a': 1, 2: 3})", {"a": 1, 2: 3}),
        ("over(dict)({'a': 1})", {"a": 1}),
        ("over(set)({1, 2})", {1, 2}),
        ("over(frozenset)({1, 2})", {1, 2}),
        ("over(complex)(1, 2)", 1 + 2j),
        ("over(decimal.Decimal)('0.5')", 0.5),
    ],
)
def test_no_method_of_the_program_s_is_asked_what_a_value_is(sandbox: Sandbox, expression: str, value: object) -> None:
    outcome = returned(sandbox, expression, OVERRIDDEN)
    assert outcome.ending is Ending.DONE, outcome.detail
    assert equal(write_value(value), outcome.values[0])


@pytest.mark.parametrize(
    "expression",
    [
        *("object()", "range(3)", "iter([])", "(x for x in [1])", "len", "int", "...", "{1: object()}", "[{object()}]"),
        *("10 ** 4300", "'\\ud800'", "__import__('decimal').Decimal('1e9999')"),
    ],
)
def test_what_no_literal_can_equal_is_refused(sandbox: Sandbox, expression: str) -> None:
    assert returned(sandbox, expression).ending is Ending.TYPE


def test_a_nan_comes_back_as_one_and_equals_nothing(sandbox: Sandbox) -> None:
    for expression in ("float('nan')", "__import__('decimal').Decimal('nan')"):
        (value,) = returned(sandbox, expression).values
        assert value == {"$float": "nan"} and not equal(value, value)


def test_a_set_comes_back_in_the_same_order_every_time(sandbox: Sandbox) -> None:
    values = {str(returned(sandbox, "{'a', 'b', 'c', 'd', 'e', (1, 'x')}").values) for _ in range(3)}
    assert len(values) == 1


def test_room_is_what_the_job_asks_for_where_that_is_more(sandbox: Sandbox) -> None:
    def fits(code: str, **room: int) -> bool:
        return called(sandbox, f"def f():\n    return {code}", **room).ending is Ending.DONE

    assert fits("'x' * 1022") and not fits("'x' * 1023")
    assert fits("'x' * 20000", value_bytes=20_002) and not fits("'x' * 40000", value_bytes=20_002)
    assert fits("'x' * 1022", value_bytes=10)
    deep = "(lambda x: [x := [x] for _ in range({})][-1])(0)"
    assert fits(deep.format(8), depth=1) and not fits(deep.format(9), depth=1)
    assert fits(deep.format(100), depth=100) and not fits(deep.format(130), depth=100)


def test_room_for_output_is_what_the_job_asks_for_where_that_is_more(sandbox: Sandbox) -> None:
    def printed(size: int, output_bytes: int = 0) -> int | Ending:
        code = f"import sys\nsys.stdout.write('x' * {size})"
        [outcome] = sandbox.run([ScriptJob(code=code, output_bytes=output_bytes)])
        return len(outcome.stdout) if outcome.ending is Ending.DONE else outcome.ending

    assert printed(4096) == 4096 and printed(4097) is Ending.OUTPUT_LIMIT
    assert printed(4096, output_bytes=1) == 4096
    assert printed(100_000, output_bytes=100_000) == 100_000
    assert printed(300_000, output_bytes=100_000) is Ending.OUTPUT_LIMIT


def test_values_of_the_json_vocabulary_are_as_strict_as_ever(sandbox: Sandbox) -> None:
    for expression in ("{1}", "{1: 2}", "b'x'", "type('I', (int,), {})(3)", "float('inf')"):
        job = CallJob(code=f"def f():\n    return {expression}", function="f", inputs=[([], {})])
        assert sandbox.run([job])[0].ending is Ending.TYPE
    job = CallJob(code="def f(x):\n    return [x, type(x).__name__]", function="f", inputs=[([{"$tuple": [1]}], {})])
    assert sandbox.run([job])[0].values == ([{"$tuple": [1]}, "dict"],)
    assert canonical({"$tuple": [1]}) == "(1)"
