"""Forged values: what a program says its values are is plain data, and no data equals what it does not.

The evidence is outside: the verdict of the verifier, and what it costs.
"""

import time
from collections.abc import Iterator

import pytest

from bootstrap.config.code import CodeVerifier
from bootstrap.python_values import write_value
from bootstrap.records import Status
from bootstrap.references import Call, CallCases, write
from bootstrap.scoring.code import Code
from bootstrap.scoring.verifier import Answer, Judgement, Tools

pytestmark = pytest.mark.sandbox

PAIR = {"tuple": (7, {8}), "dict": {1: "x", (2, 3): [4.5]}, "number": 49, "bytes": b"ab", "none": None, "true": True}
"""What `solve` must return by the name that it is called with."""
HONEST = f"def solve(x):\n    return {PAIR!r}[x]\n"


def reference(*names: str) -> str:
    cases = tuple(
        Call(args=(name,), expected=write_value(PAIR[name]), identical=name in ("none", "true")) for name in names
    )
    return write(CallCases(function="solve", values="python", cases=cases))


ALL = reference(*PAIR)


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    verifier = Code(CodeVerifier(cpu_seconds=2.0), Tools(processes=2))
    yield verifier
    verifier.close()


def judge(code: Code, program: str, cases: str = ALL) -> Judgement:
    (judgement,) = code.judge([Answer(prompt="", text=program, reference=cases)])
    return judgement


FORGERIES = {
    "an object that equals everything": (
        "class Any:\n"
        "    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n"
        "    def __hash__(self): return 0\n"
        "def solve(x):\n    return Any()\n"
    ),
    **{
        f"a {base} that equals everything": (
            f"class Any({base}):\n"
            "    def __eq__(self, other): return True\n"
            "    def __hash__(self): return 0\n"
            "def solve(x):\n    return Any()\n"
        )
        for base in ("int", "float", "str", "list", "tuple", "dict", "set", "frozenset", "bytes", "complex")
    },
    "an object that says it is of another class": (
        "class Any:\n    __class__ = property(lambda self: tuple)\n    def __iter__(self): return iter((7, {8}))\n"
        "def solve(x):\n    return Any()\n"
    ),
    "a class whose metaclass says it derives from all": (
        "class Meta(type):\n"
        "    def __instancecheck__(cls, other): return True\n"
        "    def __subclasscheck__(cls, other): return True\n"
        "    def __eq__(cls, other): return True\n"
        "    def __hash__(cls): return 0\n"
        "    mro = lambda cls: [cls, object]\n"
        "class Any(metaclass=Meta): pass\n"
        "def solve(x):\n    return Any()\n"
    ),
    "dicts that look like tags": (
        "TAGS = {'tuple': {'$tuple': [7, {'$set': [8]}]}, 'dict': {'$dict': [[1, 'x'], [{'$tuple': [2, 3]}, [4.5]]]},\n"
        "        'number': {'$fraction': [49, 1]}, 'bytes': {'$bytes': '6162'}, 'none': {}, 'true': {}}\n"
        "def solve(x):\n    return TAGS[x]\n"
    ),
    "lists for tuples and sets": "def solve(x):\n    return {'tuple': [7, [8]], 'dict': [[1, 'x']]}.get(x)\n",
    "1 for True and 0 for None": f"def solve(x):\n    return {PAIR | {'true': 1, 'none': 0}!r}[x]\n",
    "a set that holds all it could be": "def solve(x):\n    return {7, 8, 49, None, True, (7, 8), b'ab'}\n",
    "a set that holds an element twice": (
        "class I(int):\n    __hash__ = lambda self: 1\n    __eq__ = lambda self, other: False\n"
        "def solve(x):\n    return (7, {I(8), I(8)})\n"
    ),
    "a nan": "def solve(x):\n    return float('nan')\n",
    "a view of a dict": "def solve(x):\n    return {7: 8}.items()\n",
    "a fraction of objects": (
        "from fractions import Fraction\nclass F(Fraction): pass\ndef solve(x):\n    made = F(1)\n"
        "    made._numerator = object()\n    return made\n"
    ),
    "a fraction that is none": (
        "from fractions import Fraction\ndef solve(x):\n    made = Fraction(49)\n    made._denominator = 0\n"
        "    return made\n"
    ),
    "patched classes": (
        "import fractions, decimal\n"
        "fractions.Fraction.__eq__ = lambda *_: True\n"
        "fractions.Fraction.numerator = property(lambda self: 49)\n"
        "def solve(x):\n    return fractions.Fraction(1)\n"
    ),
}


def test_a_program_that_computes_the_values_passes(code: Code) -> None:
    assert judge(code, HONEST).reason == "right"


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_fails_every_case_that_it_does_not_compute(code: Code, name: str) -> None:
    judgement = judge(code, FORGERIES[name])
    assert (judgement.status, judgement.reward) == (Status.FAIL, 0.0), judgement.reason
    for value in PAIR:
        if name != "1 for True and 0 for None" or value in ("none", "true"):
            judgement = judge(code, FORGERIES[name], reference(value))
            assert judgement.status is Status.FAIL or (name, value) in HONEST_IN_PART, (value, judgement.reason)


HONEST_IN_PART = {("lists for tuples and sets", "none")}
"""What a forgery computes rightly, as `None` for what it does not know."""


@pytest.mark.parametrize(
    "line",
    [
        b'{"$tuple":[7,{"$set":[8,8]}]}',
        b'{"$tuple":[7,{"$set":[8]}],"a":1}',
        b'{"$tuple":{"a":7}}',
        b'{"$list":[7]}',
        b'{"$dict":[[1,"x"],[1,"x"]]}',
        b'{"$fraction":[49,0]}',
        b'{"$fraction":[49,1,1]}',
        b'{"$complex":[49.0]}',
        b'{"$float":"49"}',
        b'{"$bytes":"616"}',
        b'{"$set":[[7]]}',
        b'{"$set":[{"$dict":[]}]}',
        b'{"$tuple":[7, {"$set":[8]}]}',
        b'{"$float":"nan"}',
    ],
)
def test_a_forged_report_of_tagged_values_is_wrong(code: Code, line: bytes) -> None:
    program = f"import os\ndef solve(x):\n    os.write(3, {b'done' + chr(10).encode() + line + chr(10).encode()!r})\n"
    program += "    os._exit(0)\n"
    for value in PAIR:
        assert judge(code, program, reference(value)).status is Status.FAIL


def test_a_forged_report_of_the_right_value_is_the_right_value(code: Code) -> None:
    """It is no more than an answer that knows it by heart, and says so in another way."""
    line = b'done\\n{"$tuple":[7,{"$set":[8]}]}\\n'.decode()
    program = f"import os\ndef solve(x):\n    os.write(3, b'{line}')\n    os._exit(0)\n"
    assert judge(code, program, reference("tuple")).status is Status.PASS
    assert judge(code, program, reference("dict")).status is Status.FAIL


COSTLY = {
    "sets of numbers that hash alike": "{n * (2**61 - 1) for n in range(1, 300)}",
    "tuples of them": "{(n * (2**61 - 1), 0) for n in range(1, 300)}",
    "a whole number of 4,299 digits, many times": "[10**4299] * 3",
    "a whole number without end": "10**10**6",
    "a decimal without end": "__import__('decimal').Decimal('1e1000000')",
    "a decimal close to nothing": "__import__('decimal').Decimal('1e-4000')",
    "floats at the ends of their range": "[1e308, 5e-324] * 500",
    "frozen sets in one another": "[s := frozenset(), *(s := frozenset([s]) for _ in range(30))]",
    "a list in itself": "(lambda x: x.append(x) or x)([])",
    "tuples in one another without end": "[t := (), *(t := (t,) for _ in range(5000))][-1]",
    "one list very many times": "[[0] * 100] * 100_000_000",
    "text without end": "'x' * 10**8",
    "bytes without end": "b'x' * 10**8",
    "very many keys": "dict.fromkeys(range(3000))",
}


@pytest.mark.parametrize("name", COSTLY)
def test_no_value_costs_the_one_who_compares_more_than_its_length(code: Code, name: str) -> None:
    judge(code, HONEST)
    seconds = []
    for number in range(2):
        start = time.process_time()
        # The comment makes another program of it: answers alike run once.
        judgement = judge(code, f"def solve(x):  # {number}\n    return {COSTLY[name]}\n", reference("tuple"))
        seconds.append(time.process_time() - start)
        assert judgement.status is Status.FAIL, judgement.reason
    # The least, because the collector may take its turn in any one of them.
    assert min(seconds) < 0.5
