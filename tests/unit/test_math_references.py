r"""What data sets hold as answers: each kind is read, equal to itself in its usual spellings, and to nothing else."""

from collections.abc import Iterator

import pytest

from bootstrap.config.answers import Boxed, MathVerifier, Whole
from bootstrap.records import Status
from bootstrap.scoring import math_algebra, math_separation, math_units
from bootstrap.scoring.math_nodes import flattened, rebuilt
from bootstrap.scoring.math_text import scalar
from bootstrap.scoring.verifier import Answer, Tools, Verifier, build_verifier

pytestmark = pytest.mark.sandbox

KINDS: dict[str, tuple[list[str], list[str]]] = {
    # reference: (the same in other words, something else)
    # --- thousands ---
    "1,152": (
        ["1152", "1{,}152", r"1,\!152", r"1\,152", "$1,152$", "1,152.", "1152.0"],
        ["1, 152", "1.152", "(1,152)", "152", r"\{1,152\}", "1,153", "1,1520"],
    ),
    r"10,\!080": (["10080", "10,080", "10{,}080"], ["10, 80", "10,80", "(10,80)", "1080", "10, 080"]),
    r"11,\! 111,\! 100": (["11111100", "11,111,100"], ["11, 111, 100", "11111101"]),
    "(1,234)": (["(1, 234)", r"\left(1,234\right)"], ["1,234", "1234", "(1234)", "(234,1)"]),
    "100, 200": (["100,200", "100, 200"], ["100200", "200, 100", "100"]),
    # --- signs and units ---
    r"\$36": (
        ["36", "$36", r"$\$36$", "36 dollars", r"36\text{ dollars}", r"\$36.00"],
        [r"36 \text{ cents}", "36%", r"\$37"],
    ),
    r"\$1,\!250.50": (["1250.5", "$1,250.50"], ["1, 250.50", "€1250.50"]),
    r"12.5\%": (["12.5", "12.5%", r"\frac{25}{2}\%", "12.5 percent"], ["0.125", r"12.5^\circ", r"12\%"]),
    r"90^\circ": (
        ["90", r"90^{\circ}", "90°", "90 degrees", r"90\text{ degrees}"],
        [r"90\text{ radians}", "90%", r"91^\circ", "90^2"],
    ),
    r"15\mbox{ cm}^2": (
        ["15", "15 cm^2", r"15\text{ cm}^2", r"15 \text{ square centimeters}", r"15\,\mathrm{cm}^{2}"],
        ["15 cm", r"15\text{ m}^2", "15 cm^3", "16 cm^2", "15mc^2"],
    ),
    r"10 \text{ m}^2": (["10 m^2", "10 square meters"], ["10 mm", "10 m", "10m^2n"]),
    "5 kg": (["5", r"5\text{ kg}", "5 kilograms"], ["5 gk", "5 g", "6 kg"]),
    r"36\pi \text{ cm}^3": ([r"36\pi cm^3", r"36\pi"], [r"36\pi cm^2", "36 cm^3"]),
    "5 ms": (["5", r"5 \text{ ms}"], ["5 sm", "5 s"]),
    "3 cm, 4": (["3 cm, 4", "3, 4"], ["3 cm, 4 kg", "3 kg, 4"]),
    "8 m/s": (["8", r"8\text{ m/s}", "8 meters per second"], ["8 m", "8ms^{-1} s^{0} s^{-1} s", "8 s/m"]),
    r"60 \text{ miles per hour}": (["60 mph", r"60 \text{ mph}"], ["60 miles", "60 km/h"]),
    r"\$4.50 \text{ per pound}": (
        [r"\$4.50 per pound", "$4.50/lb"],
        [r"\$4.50 \text{ per ounce}", r"\$4.05 \text{ per pound}"],
    ),
    r"1.5 \text{ million}": (["1500000", "1,500,000", "1.5 million"], ["1.5", "1.5 billion"]),
    r"\frac{270}7\text{ degrees}": ([r"\frac{270}{7}", r"\dfrac{270}{7}^\circ"], [r"\frac{7}{270}\text{ degrees}"]),
    r"6 \text{ feet } 2 \text{ inches}": (["6 feet 2 inches", "6 ft and 2 in"], ["6 feet 3 inches", "2 feet 6 inches"]),
    # --- words ---
    r"\text{Evelyn}": (
        ["Evelyn", "evelyn", r"\textbf{Evelyn}", r"\mathrm{Evelyn}", "Evelyn."],
        ["Evely", "nylevE", "Evelyn or Bob"],
    ),
    r"\text{June 20}": (["June 20", r"\text{June } 20", "june  20"], ["June 21", "20 July", "June"]),
    r"\text{(C)}": (["C", "(C)", r"\text{C}", r"\textbf{(C)}", "C."], ["B", "c", "C, D", r"\text{(B)}"]),
    "C": ([r"\text{C}", "(C)"], ["D", "c", r"\text{(D)}"]),
    "no": (["No", r"\text{no}"], ["on", "n", "not"]),
    "Tom": (["tom", r"\text{Tom}"], ["moT", "Tim"]),
    "AB": (["AB"], ["ab", "BA"]),
    "12:30 p.m.": (["12:30 pm", r"12:30 \text{ p.m.}", "12:30 PM"], ["12:30 a.m.", "12:31 p.m.", "1:30 p.m."]),
    # --- numbers ---
    r"1\frac{4}{5}": (
        [r"\frac{9}{5}", "1.8", "1 4/5", r"1\dfrac45", r"1 + \frac{4}{5}"],
        [r"\frac{4}{5}", r"1\frac{5}{6}", r"-1\frac{4}{5}"],
    ),
    r"-2\frac{1}{2}": (["-5/2", "-2.5"], ["-3/2", "2.5"]),
    "100000": (["1e5", "1E5", "1.0e5", "1e+5", "1e05", "10e4", "x=1e5"], ["1e4", "1e-5", "15", "e^5", "1e5x", "5e1"]),
    "1500": (["1.5e3", "15e2", "150000e-2", r"1.5 \times 10^3"], ["1.5e2", "1.5", "-1.5e3", "1.5e3%"]),
    "2.5e-4": (["0.00025", ".25e-3", r"\frac{1}{4000}", r"2.5 \cdot 10^{-4}"], ["2.5e4", "2.5e - 4", "2.5"]),
    "3e8 m/s": (["3e8", "300000000", "3e8 meters per second"], ["3e7 m/s", "3e8 m"]),
    "(1e3, 2)": (["(1000, 2)"], ["(1, 2)"]),
    "2e": (["e+e", "2*e"], ["2", "2e1", "2e0", "20", "2e+0"]),
    "1e5_{16}": (["1E5_{16}"], ["485", "100000", "1e6_{16}"]),
    "4210_{5}": (
        ["4210_5", r"4210_{\text{five}}", r"4210 \text{ (base 5)}"],
        ["4210", "555", "4210_6", "4211_5", "421_5"],
    ),
    "1A_{16}": (["1a_{16}"], ["26", "1A_{15}", "1B_{16}"]),
    r"0.\overline{36}": ([r"\frac{4}{11}", r"0.36\overline{36}"], ["0.36", r"0.\overline{63}"]),
    "3:2": (["3 : 2", r"3\colon 2"], ["2:3", "3/2", "3:2:1"]),
    r"\binom{5}{2}": (["10", r"\dbinom52"], ["20"]),
    ".5": (["0.5", r"\frac12", "1/2", "5/10"], ["5", "0.05", "-.5"]),
    r"\infty": ([r"+\infty"], [r"-\infty", "0"]),
    # --- values with a name ---
    "x=5": (["5", "x = 5", "5 = x"], ["y=5", "x=-5", "x=6", r"x \ge 5", "x"]),
    "5": (
        ["x=5", r"\boxed{5}", "f(2) = 5", r"\angle ABC = 5", r"\text{Area} = 5"],
        ["x=6", "5 cm", "5%", r"\$5", "5x", "5, 5", "x>5", "five", "5 or 6", "5!"],
    ),
    "x^2-1": (["f(x) = x^2-1", "y = x^2-1", "(x-1)(x+1)"], ["f(x) = x^2+1", "x^2-1=0"]),
    "x=1, y=2": (["1, 2", "x=1,y=2", r"x=1 \text{ and } y=2", "y=2, x=1"], ["x=2, y=1", "y=1, x=2", "2, 1", "1"]),
    "a=1, b=2, c=x": (["c=x, a=1, b=2", "1, 2, x"], ["c=1, a=x, b=2", "c=x, a=1", "c=x, a=1, d=2", "c=x, a=1, 2"]),
    "x=1, x=2": (["1, 2"], ["x=2, x=1"]),
    r"x=\sqrt{2}, y=\sqrt{3}": ([r"y=\sqrt{3}, x=\sqrt{2}"], [r"y=\sqrt{2}, x=\sqrt{3}"]),
    "y = 2x + 3": (
        ["y=2x+3", "y - 2x = 3", "2x - y + 3 = 0", "2y = 4x + 6", "2x+3", "3 + 2x"],
        [
            "y = 2x - 3",
            "y = 3x + 2",
            "x = 2y + 3",
            "2x-3",
            "3x+2",
            "2y+3",
            "y",
            "z = 2x + 3",
            "f(x) = 2x + 3",
            "0",
            "2x+3=0",
            "y = y",
        ],
    ),
    "2x+3": (
        ["y=2x+3", "3 + 2x = y", "y_1 = 2x + 3", r"\text{Area} = 2x+3"],
        ["y = 2x - 3", "x = 2x + 3", "x=2y+3", "2x+3=0", "y - 2x = 3", "2x+3 = 2x+3", "2y = 2x+3", "y=2x+3, 5"],
    ),
    "x^2 + y^2 = 1": (["y^2+x^2=1"], ["1", "x^2+y^2", "y^2"]),
    "x = 2x + 3": (["x+3=0"], ["2x+3", "-3"]),
    "y_1 = 2x": (["2x", "2x - y_1 = 0"], ["2y_1", "y_2 = 2x"]),
    "AB = x + 1": (["x+1", "BA = 1 + x"], ["x", "A+1"]),
    "AB = A + 1": (["BA = 1 + A"], ["A+1"]),
    "x_1 = x_1 x_2": (["x_1 = x_2x_1"], ["x_1x_2"]),
    r"y = \pm 2x + 1": ([], ["2x+1", "-2x+1"]),
    "y = x^2 + 1": (
        ["x^2+1"],
        ["x^2", r"y = \sin^{9}(\sin^{9}(\sin^{9}(\sin^{9}(\sin^{9}(\sin^{9}(\sin^{9}(\sin^{9}(x))))))))"],
    ),
    r"y = \pm 2x": ([r"y=\pm2x"], ["y = 2x", "y = -2x", r"y = \pm 3x"]),
    # --- several values ---
    r"1 \pm \sqrt{19}": (
        [r"1+\sqrt{19}, 1-\sqrt{19}", r"1-\sqrt{19},1+\sqrt{19}", r"x = 1 \pm \sqrt{19}", r"1 \mp \sqrt{19}"],
        [r"1+\sqrt{19}", r"\pm\sqrt{19}", r"1 \pm \sqrt{18}", r"-1 \pm \sqrt{19}", r"1+\sqrt{19}, 1+\sqrt{19}"],
    ),
    r"\{1\pm\sqrt{5},-2\}": ([r"\{-2, 1+\sqrt{5}, 1-\sqrt{5}\}"], [r"\{1+\sqrt{5},-2\}", r"1\pm\sqrt{5},-2"]),
    "3, 5, 7": (["3,5,7", r"3, 5 \text{ and } 7"], ["3, 7, 5", "3, 5", "(3,5,7)", r"\{3,5,7\}"]),
    r"\left( 3, \frac{\pi}{2} \right)": (
        [r"(3,\pi/2)", r"(3, \dfrac{\pi}{2})"],
        [r"(\frac{\pi}{2}, 3)", r"(3, \frac{\pi}{3})", r"3, \frac{\pi}{2}"],
    ),
    # --- intervals and inequalities ---
    "(3,4]": ([r"\left(3,4\right]", r"3 < x \le 4", r"x \in (3,4]"], ["(3,4)", "[3,4]", "(4,3]", r"3 \le x \le 4"]),
    "(1,2)": (["(1, 2)", "1 < x < 2"], ["[1,2]", "(1,2]", "(2,1)", r"1 < x \le 2", "2 < x < 1"]),
    r"x \in [-2,7]": (["[-2,7]", r"-2 \le x \le 7", r"7 \ge x \ge -2"], ["(-2,7)", r"y \in [-2,7]", "[-2,8]", "-2, 7"]),
    "x > 3": ([r"(3,\infty)", "3 < x"], [r"x \ge 3", "x < 3", r"[3,\infty)", "x > 4", "3"]),
    r"x < -2 \text{ or } x > 3": ([r"(-\infty,-2)\cup(3,\infty)"], ["x < -2", r"(-\infty,-2)\cup[3,\infty)"]),
    r"(-\infty, 2) \cup (3, \infty)": ([r"(3,\infty)\cup(-\infty,2)"], [r"(-\infty,2)", r"(-\infty,2]\cup(3,\infty)"]),
    r"\mathbb{R}": ([r"(-\infty,\infty)"], [r"[0,\infty)", r"\emptyset"]),
    "a < b": (["b > a"], ["b < a", r"a \le b"]),
    # --- matrices and vectors ---
    r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}": (
        [
            r"\begin{bmatrix} 0.2 \\ -3.6 \end{bmatrix}",
            r"\begin{pmatrix}\frac{1}{5}\\[4pt]-\frac{18}{5}\\\end{pmatrix}",
            r"\frac{1}{5} \begin{pmatrix} 1 \\ -18 \end{pmatrix}",
            r"\left(\begin{array}{c} 1/5 \\ -18/5 \end{array}\right)",
        ],
        [
            r"\begin{pmatrix} 1/5 & -18/5 \end{pmatrix}",
            r"\begin{pmatrix} -18/5 \\ 1/5 \end{pmatrix}",
            r"\begin{pmatrix} 1/5 \\ 18/5 \end{pmatrix}",
            "(1/5, -18/5)",
        ],
    ),
    r"\mathbf{i} + 2 \mathbf{j}": (
        [r"2\mathbf{j}+\mathbf{i}"],
        [r"\mathbf{i} - 2\mathbf{j}", r"2\mathbf{i} + \mathbf{j}", "i + 2j"],
    ),
    # --- expressions ---
    "x + 4ms": (["4sm + x"], ["x + 4m", "x + 4"]),
    "AB_1": (["AB_{1}"], ["AB_2", "A_1B"]),
    r"\sin 2x": ([r"\sin(2x)"], [r"2\sin(x)", r"\sin(x)", r"\sin(2)x"]),
    r"\tan 60^\circ": (
        [r"\sqrt{3}", r"\tan(60^{\circ})", r"\tan(\pi/3)"],
        [r"\tan(60)", r"-\sqrt{3}", r"\tan(60) \text{ degrees}"],
    ),
    r"180^\circ - x^\circ": ([r"180° - x°"], ["180 - x", r"180^\circ - x"]),
    "|x-2|": (["|2-x|", r"\left|x-2\right|", r"\lvert x-2 \rvert"], ["x-2", "|x+2|"]),
    r"2\frac{\sqrt{3}}{3}": ([r"\frac{2\sqrt{3}}{3}", r"\frac{2}{\sqrt{3}}"], [r"2+\frac{\sqrt{3}}{3}"]),
}
AROUND = ["{}", "${}$", r"\({}\)", " {} ", "{}.", r"\boxed{{{}}}", r"$\boxed{{{}}}$"]


@pytest.fixture(scope="module")
def math() -> Iterator[Verifier]:
    verifier = build_verifier(MathVerifier(answer=Whole()), tools=Tools(processes=2))
    yield verifier
    verifier.close()


def statuses(math: Verifier, reference: str, texts: list[str], *, prompt: str = "?") -> dict[str, Status]:
    judged = math.judge([Answer(prompt=prompt, text=text, reference=reference) for text in texts])
    return {text: judgement.status for text, judgement in zip(texts, judged, strict=True)}


def fits(around: str, text: str) -> bool:
    """Whether a text with that around it means the same: another dollar sign or full stop may not."""
    return not ("$" in around and "$" in text) and not (around == "{}." and text.endswith("."))


@pytest.mark.parametrize("reference", KINDS)
def test_an_answer_is_what_it_says_in_every_usual_spelling_and_nothing_else(math: Verifier, reference: str):
    right, wrong = KINDS[reference]
    texts = [around.format(text) for text in (reference, *right) for around in AROUND if fits(around, text)]
    expected = dict.fromkeys(texts, Status.PASS) | dict.fromkeys(wrong, Status.FAIL)
    assert statuses(math, reference, [*texts, *wrong]) == expected


def test_a_reference_is_read_or_the_reason_told(math: Verifier):
    references = [*KINDS, "?", "sqrt2", "1/0", r"\ln(0)", r"e^{\log_{x}(7)}", "x" * 300]
    told = dict(zip(references, math.reads(references), strict=True))  # type: ignore[attr-defined]
    assert {reference for reference, why in told.items() if why} == set(references) - set(KINDS)
    assert "division by zero" in told["1/0"]
    assert "two readers" in told[r"e^{\log_{x}(7)}"]


@pytest.mark.parametrize(
    ("text", "prompt", "status"),
    [
        ("5 dollars", "How many dollars is it?", Status.PASS),
        (r"\$5", "It costs $3 a day. What in all?", Status.PASS),
        (r"\$5", "How many cents is $0.05?", Status.FAIL),
        (r"\$5", "How many apples?", Status.FAIL),
        (r"5^\circ", "Find the angle, in degrees.", Status.PASS),
        (r"5\%", "What percent is it?", Status.PASS),
        (r"5\%", "What is a twentieth?", Status.FAIL),
        ("5 cm", "How many cm?", Status.PASS),
        ("5 cm", "How many cm is 1 m?", Status.FAIL),
        ("5 apples", "How many apples?", Status.FAIL),
        ("6 dollars", "How many dollars is it?", Status.FAIL),
    ],
)
def test_a_unit_that_the_reference_lacks_must_be_the_one_that_is_asked_for(
    math: Verifier, text: str, prompt: str, status: Status
):
    assert statuses(math, "5", [text], prompt=prompt) == {text: status}


COMMUTED = [
    (r"\frac{\sqrt{\sqrt{11}+\sqrt{194}}}{2\sqrt{33}+15}", r"\frac{\sqrt{\sqrt{194}+\sqrt{11}}}{15+2\sqrt{33}}"),
    (r"\frac{\sqrt{\sqrt{2}+\sqrt{3}}}{\sqrt{5}+\sqrt{7}}", r"\frac{\sqrt{\sqrt{3}+\sqrt{2}}}{\sqrt{7}+\sqrt{5}}"),
    (r"\sqrt{\sqrt{\sqrt{2}+1}+3}", r"\sqrt{3+\sqrt{1+\sqrt{2}}}"),
    (r"\frac{\sqrt{x+1}+\sqrt{y}}{x^2+y}", r"\frac{\sqrt{y}+\sqrt{1+x}}{y+x^2}"),
    (r"\frac{1}{x+1}+\frac{1}{x-1}", r"\frac{2x}{x^2-1}"),
    (r"\frac{2}{\sqrt{5}-1}", r"\frac{\sqrt{5}+1}{2}"),
    (r"\ln 8 + \log_2 9", r"3\ln 2 + \frac{2\ln 3}{\ln 2}"),
    (r"\tan(x)\cos(x) + \sin^2(y)", r"1 - \cos^2(y) + \sin(x)"),
    ("(1+i)^2", "2i"),
    (r"\sqrt{-4}", "2i"),
    (r"x^{3/2}", r"\sqrt{x}x"),
]
NESTED = [
    (r"\sqrt{5+2\sqrt{6}}", r"\sqrt{2}+\sqrt{3}"),
    (r"\sqrt[3]{2+\sqrt{5}}", r"\frac{1+\sqrt{5}}{2}"),
    (r"\sqrt{3+\sqrt{5+2\sqrt{6}}-\sqrt{2}}", r"\sqrt{3+\sqrt{3}}"),
]
DIFFERENT = [
    (r"\sqrt{x^2}", "x"),
    (r"\sqrt{xy}", r"\sqrt{x}\sqrt{y}"),
    (r"\ln(x^2)", r"2\ln(x)"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}"),
    (r"\sqrt{5+2\sqrt{6}}", r"\sqrt{2}+\sqrt{3}+10^{-60}"),
    ("x^2", "x^3"),
    ("a-b", "b-a"),
]


@pytest.mark.parametrize("pair", COMMUTED)
def test_what_rearranging_makes_equal_is_proven_without_search(math: Verifier, pair: tuple[str, str]):
    assert math_algebra.equal(*map(scalar, pair))
    [judgement] = math.judge([Answer(prompt="?", reference=pair[0], text=pair[1])])
    assert judgement.status is Status.PASS


def difference(pair: tuple[str, str]) -> str:
    return f"({pair[0]}) - ({pair[1]})"


@pytest.mark.parametrize("pair", NESTED)
def test_algebraic_numbers_below_their_separation_bound_are_zero(math: Verifier, pair: tuple[str, str]):
    assert not math_algebra.equal(*map(scalar, pair)), "it takes the bound"
    assert math_separation.bits(scalar(difference(pair)))
    [judgement] = math.judge([Answer(prompt="?", reference=pair[0], text=pair[1])])
    assert judgement.status is Status.PASS


@pytest.mark.parametrize("pair", DIFFERENT)
def test_nothing_that_differs_anywhere_is_proven_equal(math: Verifier, pair: tuple[str, str]):
    assert not math_algebra.equal(*map(scalar, pair))
    [judgement] = math.judge([Answer(prompt="?", reference=pair[0], text=pair[1])])
    assert judgement.status is Status.FAIL


@pytest.mark.parametrize(
    ("text", "smallest"),
    # The bound must lie below the value: 2^-bits <= |value|.
    [
        (r"\sqrt{2}-1", 0.41),
        (r"\sqrt{2}+\sqrt{3}-\pi^0*3.14", 0.006),
        (r"\frac{1}{7}-\sqrt{3}/12", 0.0014),
        ("i^{1/2}-1", 0.7),
    ],
)
def test_a_separation_bound_lies_below_the_number(text: str, smallest: float):
    bits = math_separation.bits(scalar(text.replace(r"\pi^0*", "")))
    assert bits is not None
    assert 2.0**-bits < smallest


@pytest.mark.parametrize("text", [r"\pi", "e^2", "x", r"\sin(1)", r"2^{\sqrt{2}}", r"\sqrt{2}^{99999}"])
def test_what_is_not_algebraic_or_too_large_has_no_bound(text: str):
    assert math_separation.bits(scalar(text)) is None


def test_an_expression_beyond_the_steps_is_not_proven():
    large = scalar("(a+b+c+d+h+j)^{60}")
    assert not math_algebra.equal(large, scalar("(b+a+c+d+h+j)^{60}+x-x"))


def test_equations_beyond_the_steps_are_not_proven_the_same():
    left, right = scalar("(a+b+c+d+h+j)^{60}"), scalar("(j+h+d+c+b+a)^{60}")
    assert not math_algebra.proportional((left, scalar("y")), (right, scalar("y")))
    assert math_algebra.proportional((scalar("2y"), scalar("4x+2")), (scalar("1+2x"), scalar("y")))


def test_a_tree_survives_being_flattened_however_deep():
    node = scalar("1" + "+x" * 120)
    assert rebuilt(flattened(node)) == node


@pytest.mark.parametrize(
    ("phrase", "unit"),
    [
        ("cm ^2", "cm^2"),
        ("square centimeters", "cm^2"),
        ("miles per hour", "h^-1 mi"),
        ("mph", "h^-1 mi"),
        ("m/s^2", "m s^-2"),
        ("apples", "apple"),
        ("glass", "glass"),
        ("per", None),
        ("5 cm", None),
        ("cm/", None),
        ("", None),
    ],
)
def test_a_unit_has_one_form(phrase: str, unit: str | None):
    assert math_units.unit_of(phrase) == unit


def test_an_answer_in_a_box_keeps_its_currency():
    verifier = build_verifier(MathVerifier(answer=Boxed()), tools=Tools(processes=1))
    try:
        assert statuses(verifier, r"\$18.90", [r"So \boxed{\$18.90}.", r"$\boxed{18.90}$"]) == {
            r"So \boxed{\$18.90}.": Status.PASS,
            r"$\boxed{18.90}$": Status.PASS,
        }
    finally:
        verifier.close()
