"""reasoning-gym's scorers as a verifier: only right answers pass, whatever the scorers would take for one."""

import json
import string
from fractions import Fraction
from importlib import metadata
from itertools import permutations, product

import pytest

from bootstrap import gym_items
from bootstrap.config.answers import Tagged
from bootstrap.config.gym import GymDataset, ReasoningGymTask, ReasoningGymVerifier
from bootstrap.errors import VerifierError
from bootstrap.prompts.gym import Gym
from bootstrap.records import Status
from bootstrap.scoring import gym
from bootstrap.scoring.gym import CONDITIONS, EVALUATING, FORMS, ReasoningGym
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, Tools, build_verifier

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def verifier():
    made = ReasoningGym(ReasoningGymVerifier(), Tools())
    yield made
    made.close()


def reference(name, seed=0, **config):
    found = gym_items.digest(gym_items.item(name, config, seed))
    return gym_items.canonical({"dataset": name, "config": config, "seed": seed, "digest": found})


def test_a_reference_is_read_where_its_item_can_be_judged(verifier):
    good = reference("chain_sum")
    stale = good.replace('"digest":"', '"digest":"0')
    told = verifier.reads([good, "no JSON", stale])
    assert told[0] == "" and "names no item" in told[1] and "makes another item here" in told[2]
    assert [judge(verifier, each, "x")[0].reward is None for each in (good, "no JSON", stale)] == [False, True, True]


def entry(written):
    read = gym_items.Reference.model_validate_json(written)
    return gym_items.item(read.dataset, read.config, read.seed)


def right(written):
    return gym_items.solution(json.loads(written)["dataset"], entry(written))


def own_score(written, text):
    read = gym_items.Reference.model_validate_json(written)
    return gym_items.score(read.dataset, read.config, entry(written), text)


def judge(verifier, written, *texts, **changes):
    return verifier.judge([Answer(prompt="", text=text, reference=written, **changes) for text in texts])


def statuses(verifier, written, *texts):
    return [judgement.status for judgement in judge(verifier, written, *texts)]


def task_of(name, levels=()):
    dataset = GymDataset(name=name, levels=levels)
    alphabet = string.printable + "".join(map(chr, range(0x2190, 0x2600))) + "\u00d7\u00ac"
    # It has four questions, whose hashes lie in the upper half.
    share = 0.9 if name == "propositional_logic" else 0.125
    return Gym(
        ReasoningGymTask(
            datasets=(dataset,),
            heldout_fraction=share,
            alphabet=alphabet,
            max_prompt_length=9000,
            max_answer_length=2000,
        )
    )


PLAIN = [
    "ab",
    "basic_arithmetic",
    "binary_alternation",
    "bitwise_arithmetic",
    "calendar_arithmetic",
    "chain_sum",
    "circuit_logic",
    "coin_flip",
    "color_cube_rotation",
    "complex_arithmetic",
    "count_bits",
    "course_schedule",
    "cryptarithm",
    "decimal_arithmetic",
    "dice",
    "fraction_simplification",
    "game_of_life",
    "gcd",
    "graph_color",
    "group_anagrams",
    "jugs",
    "knights_knaves",
    "letter_counting",
    "letter_jumble",
    "maze",
    "number_filtering",
    "number_sorting",
    "palindrome_generation",
    "path_star",
    "polynomial_equations",
    "power_function",
    "prime_factorization",
    "products",
    "propositional_logic",
    "rotate_matrix",
    "rubiks_cube",
    "shortest_path",
    "simple_equations",
    "spell_backward",
    "string_splitting",
    "survo",
    "kakurasu",
    "syllogism",
    "time_intervals",
    "tower_of_hanoi",
    "word_sorting",
]


@pytest.mark.parametrize("name", PLAIN)
def test_right_answers_pass_and_the_tasks_wrong_ones_fail(verifier, name):
    task = task_of(name)
    cases = [
        Case(prompt=p.text, reference=task.reference(p), right=task.solution(p), wrong=task.wrong_answers(p))
        for p in task.heldout(1, 6)
    ]
    assert sanity_check(verifier, cases) >= 5


@pytest.mark.parametrize("name", sorted(EVALUATING - gym_items.HASH_ORDERED))
def test_scorers_that_evaluate_answers_judge_inside_the_sandbox(verifier, name):
    task = task_of(name)
    cases = [
        Case(prompt=p.text, reference=task.reference(p), right=task.solution(p), wrong=task.wrong_answers(p))
        for p in task.heldout(1, 2)
    ]
    assert sanity_check(verifier, cases) >= 10
    judgement = judge(verifier, cases[0].reference, cases[0].right)[0]
    assert judgement.status is Status.PASS
    assert judgement.sandbox in ("seal", "seal+ns", "bwrap")
    assert judgement.cpu_seconds > 0


def test_the_right_answer_inside_other_text_is_wrong_and_worth_nothing(verifier):
    written = reference("count_bits")
    answer = right(written)
    found = judge(verifier, written, answer, f"{answer} bits", f"it is {answer}", answer + "0", "")
    assert [judgement.status for judgement in found] == [Status.PASS] + [Status.FAIL] * 4
    assert own_score(written, f"{answer} bits") > 0
    assert [judgement.reward for judgement in found] == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_partial_credit_is_the_scorers_score_and_never_a_pass():
    shaped = ReasoningGym(ReasoningGymVerifier(partial_credit=True), Tools())
    written = reference("count_bits")
    text = f"{right(written)} bits"
    judgement = judge(shaped, written, text)[0]
    assert judgement.status is Status.FAIL
    assert judgement.reward == own_score(written, text) == pytest.approx(len(right(written)) / len(text))


def test_partial_credit_pays_nothing_for_what_only_the_scorer_takes_for_right():
    shaped = ReasoningGym(ReasoningGymVerifier(partial_credit=True), Tools())
    written = reference("spell_backward", min_word_len=9, max_word_len=9)
    assert judge(shaped, written, right(written) + "xx")[0].reward == 0.0


def test_the_threshold_is_the_recipes(verifier):
    lenient = ReasoningGym(ReasoningGymVerifier(pass_score=0.2), Tools())
    written = reference("count_bits")
    text = right(written) + " ."
    assert statuses(verifier, written, text) == [Status.FAIL]
    assert statuses(lenient, written, text) == [Status.PASS]
    assert lenient.version != verifier.version


@pytest.mark.parametrize(
    ("name", "config", "forged"),
    [
        # Rounding lets the share of right letters miss 1 by so little that the scorer's own guard does not act.
        ("spell_backward", {"min_word_len": 9, "max_word_len": 9}, lambda e: e["answer"] + "zz"),
        ("letter_jumble", {}, lambda e: e["answer"] + " zz"),
        ("number_sorting", {"min_numbers": 3, "max_numbers": 3}, lambda e: "[NaN, NaN, NaN]"),
        ("complex_arithmetic", {}, lambda e: "nan"),
        ("game_of_life", {"grid_size_x": 12, "grid_size_y": 12}, lambda e: flipped(e["answer"])),
        ("coin_flip", {}, lambda e: "0"),
        ("puzzle24", {}, lambda e: "6*4*1*1"),
        ("word_sorting", {}, lambda e: e["answer"] + ", zz"),
        ("polynomial_equations", {}, lambda e: e["answer"] + ", zz"),
        ("knights_knaves", {}, lambda e: e["answer"] + " zz"),
        ("fraction_simplification", {}, lambda e: e["answer"] + " or 1/2"),
        ("kakurasu", {}, lambda e: e["answer"] + " zz"),
        ("survo", {}, lambda e: "zz " + e["answer"]),
        ("time_intervals", {"task_types": ["date"]}, lambda e: f"{int(e['answer'].split()[0]) + 1} days"),
    ],
)
def test_answers_that_a_scorer_wrongly_takes_for_right_fail(verifier, name, config, forged):
    seen = 0
    for seed in range(8):
        written = reference(name, seed, **config)
        text = forged(entry(written))
        if own_score(written, text) >= 0.99 and text != right(written):
            seen += 1
            assert statuses(verifier, written, text, right(written)) == [Status.FAIL, Status.PASS]
    assert seen, "the scorer no longer takes the forgery for right, so this test proves nothing"


def flipped(board):
    """Return a board of game_of_life with one cell changed."""
    cells = json.loads(board)
    cells[0][0] = 1 - cells[0][0]
    return json.dumps(cells)


def test_a_neighbouring_list_of_numbers_is_not_the_sorted_one(verifier):
    written = reference("number_sorting", min_numbers=3, max_numbers=3, min_value=0, max_value=5)
    numbers = [float(number) for number in json.loads(right(written).replace("'", '"'))]
    shifted = json.dumps([str(number + 1) for number in numbers])
    assert own_score(written, shifted) == 1.0
    assert statuses(verifier, written, shifted, json.dumps(numbers)) == [Status.FAIL, Status.PASS]


def test_a_value_that_only_rounds_down_to_the_target_is_wrong(verifier):
    for seed in range(60):
        written = reference("puzzle24", seed)
        numbers = entry(written)["metadata"]["numbers"]
        near = [
            text
            for a, b, c, d in permutations(numbers)
            for first, second, third in product("+-*/", repeat=3)
            if 24.01 < eval(text := f"(({a}{first}{b}){second}{c}){third}{d}") < 25
        ]
        if near:
            assert own_score(written, near[0]) == 1.0
            assert statuses(verifier, written, near[0], right(written)) == [Status.FAIL, Status.PASS]
            return
    raise AssertionError("no question has such a value")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2*(3+4)/7", 2),
        ("-3+-4", -7),
        ("1/3", Fraction(1, 3)),
        ("1/(2-2)", None),
        ("(1", None),
        ("", None),
        ("-" * 2000 + "1", None),
        ("2(3)", None),
        ("x", None),
        ("1.5", None),
    ],
)
def test_arithmetic_has_an_exact_value(expression, value):
    assert gym._value(expression) == value


HOSTILE = [
    "__import__('os').system('touch planted')",
    "().__class__.__base__.__subclasses__()",
    "entry['answer']",
    "[entry['answer']]",
    "x.diff",
    "1. n",
    "9**9**9**9",
    "lambda: 0",
    "0x18 + 0*(3)",
    "exec('')",
    "f'{entry}'",
    "nan",
    "NaN",
    "R" + "9" * 12,
    "1e999999999",
    "[" * 2000,
    "(" * 2000,
    "-" * 2000,
    "\x00",
    "\ud800",
    "٣",
    " " * 2048,
]


@pytest.mark.parametrize("name", sorted(FORMS.keys() - gym_items.HASH_ORDERED))
def test_hostile_text_fails_and_nothing_else_happens(verifier, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = reference(name)
    for text, judgement in zip(HOSTILE, judge(verifier, written, *HOSTILE), strict=True):
        assert judgement.status is Status.FAIL, text
        assert judgement.reward == 0.0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", PLAIN)
def test_hostile_text_fails_where_the_scorer_runs_beside_us(verifier, name):
    written = reference(name)
    for text, judgement in zip(HOSTILE, judge(verifier, written, *HOSTILE), strict=True):
        assert judgement.status is Status.FAIL, text


def test_code_in_an_answer_does_not_reach_a_scorer_that_evaluates(verifier):
    for name in EVALUATING - gym_items.HASH_ORDERED:
        found = judge(verifier, reference(name), "__import__('os').getpid()")[0]
        assert found.status is Status.FAIL and found.sandbox == ""
        assert found.reason == f"no answer of the form that {name} asks for"


def test_an_answer_that_uses_up_its_cpu_time_fails():
    brief = ReasoningGym(ReasoningGymVerifier(cpu_seconds=0.3), Tools())
    try:
        written = reference("simple_integration")
        endless = "sin(" * 40 + entry(written)["metadata"]["variable"] + ")" * 40
        found = judge(brief, written, endless, right(written))
        assert [judgement.status for judgement in found] == [Status.FAIL, Status.PASS]
        assert "cpu_limit" in found[0].reason
    finally:
        brief.close()


def test_an_exception_of_the_scorer_is_a_wrong_answer_when_the_right_one_scores(verifier):
    judgement = judge(verifier, reference("prime_factorization"), "two times three")[0]
    assert (judgement.status, judgement.reason) == (Status.FAIL, "scorer raised ValueError")


def test_an_item_whose_right_answer_does_not_score_cannot_be_judged(monkeypatch):
    broken = ReasoningGym(ReasoningGymVerifier(), Tools())
    monkeypatch.setitem(CONDITIONS, "count_bits", lambda answer, entry: False)
    judgement = judge(broken, reference("count_bits"), "3")[0]
    assert (judgement.status, judgement.reward) == (Status.UNVERIFIABLE, None)
    assert "gets 1.0 from its own scorer" in judgement.reason


def test_an_item_that_comes_out_differently_cannot_be_judged(verifier):
    written = json.loads(reference("count_bits"))
    judgement = judge(verifier, gym_items.canonical({**written, "digest": "0" * 16}), "3")[0]
    assert judgement.status is Status.UNVERIFIABLE
    assert "makes another item here than where the prompt was drawn" in judgement.reason


def test_an_integral_that_the_data_set_could_not_solve_cannot_be_judged(verifier):
    written = next(
        written
        for written in (reference("intermediate_integration", seed) for seed in range(60))
        if "Integral(" in entry(written)["answer"]
    )
    judgement = judge(verifier, written, entry(written)["answer"])[0]
    assert judgement.status is Status.UNVERIFIABLE
    assert "the item's own answer is an unsolved integral" in judgement.reason


def test_a_reference_of_another_task_cannot_be_judged(verifier):
    judgement = judge(verifier, "42", "42")[0]
    assert judgement.status is Status.UNVERIFIABLE
    assert "names no item of reasoning-gym" in judgement.reason


def test_the_answer_may_stand_between_tags():
    tagged = ReasoningGym(ReasoningGymVerifier(answer=Tagged()), Tools())
    written = reference("count_bits")
    assert statuses(tagged, written, f"so <answer>{right(written)}</answer>", right(written)) == [
        Status.PASS,
        Status.FAIL,
    ]


def test_a_truncated_answer_and_one_beyond_the_bound_fail_without_being_scored(verifier, monkeypatch):
    written = reference("count_bits")
    judge(verifier, written, "warm")
    monkeypatch.setattr(gym_items, "score", None)
    assert judge(verifier, written, right(written), truncated=True)[0].reason == "truncated"
    assert judge(verifier, written, "7" * 2049)[0].reason == "longer than 2048 characters"


def test_nothing_of_an_answer_reaches_the_terminal(verifier, capfd):
    written = reference("tower_of_hanoi")
    assert statuses(verifier, written, "Move disk 1 from Peg 1 to Peg 8 \x1b[2J") == [Status.FAIL]
    assert capfd.readouterr() == ("", "")


def test_an_answer_cannot_change_the_item_for_the_next_one(verifier):
    written = reference("number_sorting")
    before = gym_items.canonical(entry(written))
    judge(verifier, written, *HOSTILE, right(written))
    assert gym_items.canonical(entry(written)) == before


def test_the_tables_name_data_sets_that_exist():
    from reasoning_gym.factory import DATASETS

    named = {*FORMS, *CONDITIONS, *EVALUATING, *gym_items.REFUSED, *gym_items.HASH_ORDERED, *gym_items.GLOBALLY_RANDOM}
    assert named <= set(DATASETS)
    assert set(FORMS) >= EVALUATING


def test_every_right_answer_has_the_form_that_is_asked_for():
    for name in FORMS.keys() - gym_items.HASH_ORDERED:
        task = task_of(name)
        for prompt in task.heldout(1, 4):
            assert FORMS[name].fullmatch(task.solution(prompt)), name


def test_every_scorer_that_reads_text_as_code_is_named():
    """A scorer whose source evaluates anything is in the table, or evaluates the item's own text alone."""
    import inspect

    from reasoning_gym.factory import DATASETS

    own_text_alone = {"number_sorting"}
    for name, (kind, _) in DATASETS.items():
        source = inspect.getsource(kind.score_answer)
        if any(word in source for word in ("eval(", "exec(", "parse_expr(", "sympify(")):
            assert name in EVALUATING | own_text_alone, name


def test_the_registry_builds_it():
    assert isinstance(build_verifier(ReasoningGymVerifier()), ReasoningGym)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(VerifierError, match=r"pip install 'bootstrap-lm\[gym\]'"):
        gym.ReasoningGym(ReasoningGymVerifier(), Tools())
