"""Verifiers of answers that are text: what each takes for right, and what it refuses."""

# Characters that look like others are what some of these tests are about.
# ruff: noqa: RUF001

import json
from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from bootstrap.config import answers
from bootstrap.config.answers import SCRIPTS, Tagged, Whole
from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring import language, numeric, pattern
from bootstrap.scoring.length import penalty
from bootstrap.scoring.verifier import Answer, Judgement, Tools, Verifier, build_verifier

PASS, FAIL, UNVERIFIABLE = Status.PASS, Status.FAIL, Status.UNVERIFIABLE
WHOLE = Whole()


def judged(verifier: Verifier, text: str, reference: str = "", **more: Any) -> Judgement:
    [judgement] = verifier.judge([Answer(prompt="?", text=text, reference=reference, **more)])
    assert judgement.breakdown == ({} if judgement.reward is None else {verifier.name: judgement.reward})
    return judgement


# --- numeric -----------------------------------------------------------------------------------------------------

NUMERIC = build_verifier(answers.NumericVerifier(answer=WHOLE))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-12", "-12"),
        ("+5", "5"),
        ("007", "7"),
        ("3.50", "7/2"),
        (".5", "1/2"),
        ("7/8", "7/8"),
        ("-14/16", "-7/8"),
        ("1.2e5", "120000"),
        ("1E-3", "1/1000"),
        ("12e+2", "1200"),
        ("-0", "0"),
        ("0.1e1", "1"),
        ("5.", "5"),
        ("1,234", "1234"),
        ("-1,234,567.50", "-2469135/2"),
        ("1{,}234", "1234"),
        (r"10,\!080", "10080"),
        ("12%", "12"),
        (r"12 \%", "12"),
        ("$5", "5"),
        (r"-\$1,000", "-1000"),
        ("€2.50", "5/2"),
    ],
)
def test_a_number_is_read_exactly(text: str, value: str):
    assert numeric.parse(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", "-", "+", ".", "5..", "1..2", "1.2.3", "--1", "+-1", "1e", "e5", "1e5.0", "1/-2", "1/2/3"),
        *("1/0", "1.5/2", "1/2e3", "1 234", "1_234", "1'234", "12%%", "$$5", "5 apples", "0x10", "1j", "(1)"),
        *("0,123", "1,23", "1,2345", "1234,567", "12,34,567", ",123", "1,234,", "$5%", "5 $", "$", "%", "$-5", "5 cm"),
        *("nan", "inf", "Infinity", "True", "None", "1e9999", "1e-9999", "1e999999999", "½", "²", "１２", "٣", "−5"),
        *("1\n", "\x001", "1\u200b", "1/2 or 3", "9" * 300),
    ],
)
def test_what_is_no_plain_number_is_refused(text: str):
    with pytest.raises(numeric.NotANumber):
        numeric.parse(text)
    assert judged(NUMERIC, text, "1").status is FAIL
    assert judged(NUMERIC, "1", text).status is UNVERIFIABLE


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ("12 %", ["12", "12%", r"12\%"], ["0.12", "$12", "13 %"]),
        ("$5", ["5", r"\$5.00", "$5"], ["5%", "€5", "$6", "-$5"]),
        ("1,234", ["1234", "1,234.0"], ["1.234", "1", "234", "1, 234", "$1,234"]),
    ],
)
def test_a_sign_beside_a_number_may_be_left_out_and_not_be_another(reference: str, right: list, wrong: list):
    assert {judged(NUMERIC, text, reference).status for text in right} == {PASS}
    assert {judged(NUMERIC, text, reference).status for text in wrong} == {FAIL}


@pytest.mark.parametrize(
    ("settings", "reference", "text", "status"),
    [
        ({}, "0.1", "1/10", PASS),
        ({}, "0.3", "0.30000000000000004", FAIL),
        ({}, "1e999", "1e999", PASS),
        ({"absolute_tolerance": "0.1"}, "1", "1.1", PASS),
        ({"absolute_tolerance": "0.1"}, "1", "1.1000000001", FAIL),
        ({"relative_tolerance": "0.01"}, "200", "202", PASS),
        ({"relative_tolerance": "0.01"}, "200", "197.99", FAIL),
        ({"relative_tolerance": "0.01"}, "-200", "-198", PASS),
        ({"relative_tolerance": "0.01"}, "0", "0.0001", FAIL),
        ({"relative_tolerance": "0.01", "absolute_tolerance": "5"}, "200", "205", PASS),
    ],
)
def test_the_wider_tolerance_decides_and_its_edge_is_inside(settings: dict, reference: str, text: str, status: Status):
    verifier = build_verifier(answers.NumericVerifier.model_validate({"answer": WHOLE, **settings}))
    assert judged(verifier, text, reference).status is status


@pytest.mark.parametrize("tolerance", ["-1", "NaN", "Infinity", "1e-999999999", "1e999999999"])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: str):
    with pytest.raises(ValidationError):
        answers.NumericVerifier.model_validate({"absolute_tolerance": tolerance})


# --- choice ------------------------------------------------------------------------------------------------------

CHOICE = build_verifier(answers.ChoiceVerifier())


IN_ANOTHER_TYPE = [
    *(r"\text{B}", r"\text{(B)}", r"\textbf{B}", r"\mathrm{B}", r"\mathbf{(B)}", "$B$", r"\(B\)", "**B**", "{B}"),
    *(r"\text{ B }", r"(\text{B})", r"$\textbf{(B)}$.", r"\boxed{B}"),
]


@pytest.mark.parametrize("text", ["B", "(B)", "B.", "B)", " B\n", *IN_ANOTHER_TYPE])
def test_one_letter_is_a_choice(text: str):
    assert judged(CHOICE, text, "B").status is PASS
    assert judged(CHOICE, text, "(B)").status is PASS
    assert judged(CHOICE, text, "C").status is FAIL


@pytest.mark.parametrize(
    "text", [r"\text{A}B", r"\text{A or B}", r"\text{B}\text{B}", "B, not A", "$A$ or $B$", r"\text{b}"]
)
def test_two_letters_or_words_are_no_choice_in_any_type(text: str):
    assert judged(CHOICE, text, "B").status is FAIL


def test_verifiers_say_which_references_they_cannot_read():
    assert CHOICE.reads(["A", r"\text{(C)}", "E", ""]) == [
        "",
        "",
        "none of the choices ABCD",
        "none of the choices ABCD",
    ]
    assert NUMERIC.reads(["1,234", "12 %", "5.", "four"]) == ["", "", "", "no number"]


@pytest.mark.parametrize("text", ["", "b", "E", "A B", "AB", "A or B", "(B", "B..", "[B]", "B because", "ABCD", "В"])
def test_what_is_no_single_letter_of_the_choices_is_wrong(text: str):
    assert judged(CHOICE, text, "B").status is FAIL


@pytest.mark.parametrize("reference", ["", "E", "AB", "b"])
def test_a_reference_that_is_no_choice_cannot_be_judged_against(reference: str):
    assert judged(CHOICE, "B", reference).status is UNVERIFIABLE


def test_other_choices_may_be_declared():
    verifier = build_verifier(answers.ChoiceVerifier(choices="12345"))
    assert judged(verifier, "(5)", "5").status is PASS
    assert judged(verifier, "6", "5").status is FAIL


@pytest.mark.parametrize("choices", ["A", "AA", "A-Z", "A]", "A B", "é!"])
def test_choices_are_distinct_letters_or_digits(choices: str):
    with pytest.raises(ValidationError):
        answers.ChoiceVerifier(choices=choices)


# --- regex -------------------------------------------------------------------------------------------------------


def test_a_pattern_matches_the_whole_completion_line_ends_included():
    verifier = build_verifier(answers.RegexVerifier(pattern=r"a.*b"))
    assert judged(verifier, "a\nb").status is PASS
    assert judged(verifier, "xa\nb").status is FAIL
    assert judged(verifier, "a\nbx").status is FAIL
    assert judged(verifier, "a\nb", truncated=True).status is FAIL


def test_a_completion_over_the_bound_is_wrong_unmatched():
    verifier = build_verifier(answers.RegexVerifier(pattern=r"(a|a)*b", max_characters=20))
    assert judged(verifier, "a" * 5000).reason == "longer than 20 characters"


def test_a_pattern_that_backtracks_without_end_is_no_verdict():
    settings = answers.RegexVerifier(pattern=r"(?:(a+)+\1)+b")
    verifier = pattern.Pattern(settings, Tools(), match_seconds=0.05)
    judgement = judged(verifier, "a" * 2000)
    assert judgement.status is UNVERIFIABLE
    assert "atomic" in judgement.reason


def test_a_pattern_that_does_not_compile_is_refused():
    with pytest.raises(VerifierError, match=r"does not compile.*correct it"):
        build_verifier(answers.RegexVerifier(pattern="("))


# --- format ------------------------------------------------------------------------------------------------------

FORMAT = build_verifier(answers.FormatVerifier())


@pytest.mark.parametrize(
    "text", ["<think>a</think><answer>b</answer>", " <think>\na\n</think>\n\n<answer> b < c </answer>\n"]
)
def test_reasoning_then_answer_is_well_formed(text: str):
    assert judged(FORMAT, text).status is PASS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 <think>"),
        ("<think>a</think>", "0 <answer>"),
        ("<think>a</think><answer>b", "0 </answer>"),
        ("<answer>b</answer><think>a</think>", "too early"),
        ("<think><answer>b</answer></think>", "too early"),
        ("</think>a<think><answer>b</answer>", "too early"),
        ("<think>a</think><think>a</think><answer>b</answer>", "2 <think>"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "2 <answer>"),
        ("<think>a</think>so<answer>b</answer>", "outside"),
        ("so <think>a</think><answer>b</answer>", "outside"),
        ("<think>a</think><answer>b</answer>.", "outside"),
        ("<think> </think><answer>b</answer>", "nothing"),
        ("<think>a</think><answer>\n</answer>", "nothing"),
    ],
)
def test_anything_else_is_not_well_formed(text: str, reason: str):
    judgement = judged(FORMAT, text)
    assert judgement.status is FAIL
    assert reason in judgement.reason


BEGUN = "first, then\n</think>\n<answer>4</answer>"


@pytest.mark.parametrize("settings", [answers.FormatVerifier(), answers.LanguageVerifier()])
def test_a_reasoning_that_the_prompt_opened_is_judged_as_if_opened_here(settings: Any):
    verifier = build_verifier(settings)
    assert judged(verifier, f"<think>\n{BEGUN}", whole=True).reward == 1.0
    # It is not known how the prompt was shown, so its end may have opened the reasoning.
    assert judged(verifier, BEGUN).reward == 1.0
    # It is known, and nothing opened the reasoning.
    assert judged(verifier, BEGUN, whole=True).reward == 0.0
    assert judged(verifier, f"a</think>{BEGUN}").reward == 0.0


def test_an_answer_is_never_opened_by_a_prompt():
    verifier = build_verifier(answers.ExactVerifier(answer=Tagged()))
    assert judged(verifier, "4</answer>", "4").status is FAIL


def test_the_tags_may_be_others_but_not_one():
    verifier = build_verifier(answers.FormatVerifier(think_tag="reason", answer_tag="result"))
    assert judged(verifier, "<reason>a</reason><result>b</result>").status is PASS
    with pytest.raises(ValidationError, match="tags of their own"):
        answers.FormatVerifier(think_tag="answer")


# --- language ----------------------------------------------------------------------------------------------------


def share(text: str, code: str) -> float | None:
    verifier = build_verifier(answers.LanguageVerifier(language=code, within=WHOLE))
    return judged(verifier, text).reward


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("en", "We add them", 1.0),
        ("en", "We add 两 them", 3 / 4),
        ("en", "We don’t know, naïve café", 1.0),
        ("en", "Wir wissen es nicht", 1.0),
        ("en", "Мы знаем", 0.0),
        ("ru", "Мы знаем it", 2 / 3),
        ("zh", "我们知道 it", 4 / 5),
        ("ja", "これは本です", 1.0),
        ("zh", "これは本です", 1 / 6),
        ("ko", "우리는 안다", 1.0),
        ("hi", "हम जानते हैं", 1.0),
        ("ar", "نحن نعلم", 1.0),
        ("el", "ξέρουμε πως x = α", 1.0),
        ("zh", r"设 x = \frac{a}{b} + 12", 1.0),
        ("en", "wоrd", 0.0),
        ("en", "コーヒー", 0.0),
        ("ja", "コーヒーをのむ", 1.0),
        ("ja", "ﾃﾞｰﾀｰ", 1.0),
        ("en", "ﾃﾞｰﾀｰ", 0.0),
        ("ru", "ーー слово", 1 / 3),
        ("ru", "𝐓𝐡𝐞 𝐚𝐧𝐬𝐰𝐞𝐫 слово", 1 / 3),
        ("en", "𝐓𝐡𝐞 answer", 1 / 2),
        ("zh", "µµ 我们", 2 / 3),
        ("uk", "комп\u02bcютер", 1.0),
        ("en", "\u02c8sun", 1.0),
        ("en", "\u02c8\u02c8 sun", 1 / 2),
    ],
)
def test_the_reward_is_the_share_of_words_in_the_languages_script(code: str, text: str, expected: float):
    assert share(text, code) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", " ", "12 + 3 = 15", "x", "...", r"\frac{1}{2}", "\x00"])
def test_a_reasoning_without_words_has_no_reward(text: str):
    verifier = build_verifier(answers.LanguageVerifier(within=WHOLE))
    judgement = judged(verifier, text)
    assert (judgement.status, judgement.reward) == (FAIL, 0.0)


def test_from_the_declared_share_the_verdict_is_pass():
    verifier = build_verifier(answers.LanguageVerifier(within=WHOLE, min_share=0.75))
    assert judged(verifier, "one two three 四").status is PASS
    assert judged(verifier, "one two 四").status is FAIL


def test_only_the_reasoning_is_looked_at():
    verifier = build_verifier(answers.LanguageVerifier())
    assert judged(verifier, "<think>words</think><answer>词词词</answer>").reward == 1.0
    assert judged(verifier, "words").reward == 0.0
    assert judged(verifier, "<think>words</think>", truncated=True).reward == 0.0


def test_a_reasoning_over_the_bound_has_no_reward():
    verifier = build_verifier(answers.LanguageVerifier(within=WHOLE))
    assert judged(verifier, "a" * (language.MAX_CHARACTERS + 1)).reward == 0.0


@pytest.mark.parametrize(("text", "expected"), [("12,13", 1.0), ("bc, bd", 0.2), ("bc,13", 0.6), ("", 0.0), (" ", 0.0)])
def test_with_an_alphabet_the_reward_is_the_share_of_its_characters(text: str, expected: float):
    verifier = build_verifier(answers.LanguageVerifier(alphabet="0123456789,", within=WHOLE))
    assert judged(verifier, text).reward == pytest.approx(expected)


def test_an_alphabet_beside_a_language_is_refused():
    with pytest.raises(ValueError, match="remove one of them"):
        answers.LanguageVerifier(alphabet="0123456789", language="ru")


def test_an_unknown_language_is_refused_with_the_known_ones():
    with pytest.raises(ValidationError, match="'xx' is not known; known are af, am, ar"):
        answers.LanguageVerifier(language="xx")


@pytest.mark.parametrize("code", sorted(SCRIPTS))
def test_every_language_has_scripts_that_unicode_knows(code: str):
    assert share("12", code) == 0.0


# --- length ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    # DAPO's own setting: 20,480 tokens at most, the last 4,096 of them punished.
    [
        (0, 0.0),
        (16_384, 0.0),
        (16_385, -1 / 4096),
        (18_432, -0.5),
        (20_479, -4095 / 4096),
        (20_480, -1.0),
        (99_999, -1.0),
    ],
)
def test_the_penalty_is_dapos(num_tokens: int, expected: float):
    assert penalty(num_tokens, max_tokens=20_480, soft_tokens=4_096) == expected
    verifier = build_verifier(answers.LengthVerifier(max_tokens=20_480, soft_tokens=4_096))
    judgement = judged(verifier, "text", num_tokens=num_tokens)
    assert judgement.reward == expected
    assert judgement.status is (PASS if num_tokens <= 20_480 else FAIL), "in the soft zone an answer stays right"


def test_a_truncated_completion_has_the_whole_penalty():
    verifier = build_verifier(answers.LengthVerifier(max_tokens=100, soft_tokens=10))
    assert judged(verifier, "text", num_tokens=5, truncated=True).reward == -1.0


@pytest.mark.parametrize("soft", [100, 101])
def test_the_soft_zone_must_leave_lengths_without_penalty(soft: int):
    with pytest.raises(ValidationError, match="make it smaller"):
        answers.LengthVerifier(max_tokens=100, soft_tokens=soft)


# --- json_schema -------------------------------------------------------------------------------------------------

ANY = build_verifier(answers.JsonSchemaVerifier(json_schema={}, answer=WHOLE))


@pytest.mark.parametrize(
    ("reference", "text", "status"),
    [
        ('{"a": 1, "b": [true, null]}', '{"b":[true,null],"a":1}', PASS),
        ('{"a": 1}', '{"a": 1.0}', FAIL),
        ('{"a": 1}', '{"a": true}', FAIL),
        ('{"a": 1}', '{"a": "1"}', FAIL),
        ('{"a": 0}', '{"a": false}', FAIL),
        ('{"a": null}', "{}", FAIL),
        ("[1, 2]", "[2, 1]", FAIL),
        ("1.5", "15e-1", PASS),
        ('"é"', '"\\u00e9"', PASS),
    ],
)
def test_json_is_equal_by_exact_type(reference: str, text: str, status: Status):
    assert judged(ANY, text, reference).status is status


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "nan", "NaN", "Infinity", "-Infinity", "1e999", "01", "+1", "1.", ".5", "'a'", "None", "1 2"),
        *('{"a": 1, "a": 1}', '{"a": 1,}', "[1,]", "// x\n1", '"\n"', "9" * 65, "0." + "1" * 65, "\ufeff1"),
        *("[" * 33 + "]" * 33, "[" * 100_000, "[" + "0," * 1000 + "0]", '"' + "x" * 20_000 + '"', '{"a":' * 33),
    ],
)
def test_what_is_no_strict_bounded_json_is_wrong(text: str):
    assert judged(ANY, text, "1").status is FAIL
    assert judged(ANY, "1", text).status is UNVERIFIABLE


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}\n```',
        '  ```JSON \n{\n  "a": 1\n}\n```\n',
        '{"a": 1}',
    ],
)
def test_json_may_stand_in_one_code_fence(text: str):
    assert judged(ANY, text, '{"a": 1}').status is PASS
    assert judged(ANY, '{"a": 1}', text).status is PASS, "and so may a reference"
    assert judged(ANY, text, '{"a": 2}').status is FAIL


@pytest.mark.parametrize(
    "text",
    [
        'so: ```json\n{"a": 1}\n```',
        '```json\n{"a": 1}\n``` as asked',
        '```json\n{"a": 1}\n```\n```json\n{"a": 1}\n```',
        '```json {"a": 1}```',
        '```python\n{"a": 1}\n```',
        '```json\n{"a": 1}',
        '````\n```json\n{"a": 1}\n```\n````',
    ],
)
def test_what_stands_beside_a_code_fence_makes_it_no_json(text: str):
    assert judged(ANY, text, '{"a": 1}').status is FAIL


def test_a_string_may_hold_a_code_fence():
    text = json.dumps({"a": "```json\n1\n```"}, indent=1)
    assert judged(ANY, f"```json\n{text}\n```", text).status is PASS


@pytest.mark.parametrize(
    ("reference", "text", "status"),
    [
        ("9007199254740993.0", "9007199254740992.0", FAIL),
        ("9007199254740993.0", "9007199254740993.00", PASS),
        ("0.1000000000000000055", "0.1", FAIL),
        ("[0.1]", "[1e-1]", PASS),
        ("0.0", "-0.0", PASS),
        ("1.0", "1", FAIL),
        ("0e-99999999999999999999", "0.0", PASS),
    ],
)
def test_decimals_are_equal_by_the_value_that_is_written(reference: str, text: str, status: Status):
    assert judged(ANY, text, reference).status is status


def test_a_number_that_a_float_takes_for_nothing_is_out_of_range():
    assert judged(ANY, "1e-400", "0.0").status is FAIL
    assert judged(ANY, "0.0", "1e-400").status is UNVERIFIABLE


def test_the_schema_sees_decimals_as_numbers():
    schema = {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 0, "enum": [1.5, 2.0]}
    verifier = build_verifier(answers.JsonSchemaVerifier(json_schema=schema, answer=WHOLE))
    assert judged(verifier, "15e-1", "1.5").status is PASS
    assert judged(verifier, "2.25", "1.5").status is FAIL


def test_brackets_inside_strings_are_no_nesting():
    text = json.dumps("[{" * 100 + '\\"')
    assert judged(ANY, text, text).status is PASS


def test_the_schema_decides_before_equality_and_the_reference_must_fulfil_it():
    verifier = build_verifier(
        answers.JsonSchemaVerifier(
            json_schema={"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
        )
    )
    assert judged(verifier, "[1, 2]", "[1,2]").status is PASS
    assert judged(verifier, '[1, "2"]', "[1,2]").reason == "against the schema: $[1] (type)"
    assert judged(verifier, "[1]", '["1"]').status is UNVERIFIABLE


@pytest.mark.parametrize(
    ("schema", "remedy"),
    [
        ({"type": "strin"}, "no JSON Schema: at type.*correct it"),
        ({"$ref": "http://127.0.0.1:1/x"}, "never fetched; put that schema under"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "never fetched"),
        ({"patternProperties": {"a": {}}}, "propertyNames"),
        ({"pattern": "("}, "correct it"),
        ({"pattern": r"(?P<a>x)(?P=b)"}, "correct it"),
    ],
)
def test_a_schema_that_cannot_serve_is_refused(schema: dict, remedy: str):
    with pytest.raises(VerifierError, match=remedy):
        build_verifier(answers.JsonSchemaVerifier(json_schema=schema))


@pytest.mark.parametrize(("schema", "remedy"), [({"$ref": "#"}, "circle"), ({"$ref": "#/$defs/a"}, "add it")])
def test_a_reference_that_leads_nowhere_stops_the_run(schema: dict, remedy: str):
    verifier = build_verifier(answers.JsonSchemaVerifier(json_schema=schema))
    with pytest.raises(VerifierError, match=remedy):
        judged(verifier, "1", "1")


def test_a_pattern_of_the_schema_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bootstrap.scoring.json_schema.MATCH_SECONDS", 0.05)
    verifier = build_verifier(answers.JsonSchemaVerifier(json_schema={"pattern": r"^(?:(a+)+\1)+b$|^ok$"}))
    assert judged(verifier, '"ok"', '"ok"').status is PASS
    assert judged(verifier, json.dumps("a" * 2000), '"ok"').status is UNVERIFIABLE
    assert verifier.reads(['"ok"']) == [""]
    with pytest.raises(VerifierError, match="backtracks without end"):
        verifier.reads([json.dumps("a" * 2000)])


# --- all ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [answers.NumericVerifier, answers.ChoiceVerifier, answers.ExactVerifier])
def test_an_answer_may_stand_between_tags(settings: type):
    verifier = build_verifier(settings(answer=Tagged()))
    reference = "B" if settings is answers.ChoiceVerifier else "7"
    assert judged(verifier, f"<answer>{reference}</answer>", reference).status is PASS
    assert judged(verifier, reference, reference).status is FAIL
