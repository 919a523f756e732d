"""Verifiers: exact match, verdicts in order, the bound on UNVERIFIABLE, probes."""

from dataclasses import dataclass

import pytest
from support.rollouts import rollout

from bootstrap.config.answers import ExactVerifier, FormatVerifier, Whole
from bootstrap.config.tasks import AdditionTask, CopyTask, ReversalTask
from bootstrap.errors import VerifierError
from bootstrap.prompts.build import build_task
from bootstrap.records import Finish, Status
from bootstrap.scoring.sanity import Case, sanity_check
from bootstrap.scoring.verifier import Answer, AnswerVerifier, Judgement, build_verifier, score

EXACT = build_verifier(ExactVerifier())
STRIP = build_verifier(ExactVerifier(answer=Whole(strip=True)))


def judged(verifier, text, *, reference="20", truncated=False):
    [judgement] = verifier.judge([Answer(prompt="1+1=", text=text, reference=reference, truncated=truncated)])
    return judgement


def case(right="20", wrong=()):
    return Case(prompt="1+1=", reference=right, right=right, wrong=wrong)


def answered(identifier, text, **fields):
    return rollout(identifier, text=text, **{"prompt_id": "p", **fields})


class Fragile(AnswerVerifier):
    """Passes the reference, fails everything else, and cannot judge what holds a question mark."""

    name, version, judges = "fragile", "0", "answer"

    def judge_one(self, answer):
        if "?" in answer.text:
            raise ValueError(f"no number in {answer.text!r}")
        right = answer.text == answer.reference
        status = Status.PASS if right else Status.FAIL
        return Judgement(status=status, reward=float(right), breakdown={}, reason="")


def test_rollouts_are_judged_as_whole_answers():
    # Their texts hold the tag that a prompt ended with: what is missing was neither there nor written.
    verifier = build_verifier(FormatVerifier())
    begun = "so it is</think><answer>2</answer>"
    rollouts = [answered("a", begun), answered("b", f"<think>{begun}")]
    verdicts = score(rollouts, {"p": "2"}, verifier=verifier, max_unverifiable=0)
    assert [verdict.status for verdict in verdicts] == [Status.FAIL, Status.PASS]


@dataclass
class Constant(AnswerVerifier):
    """Says the same about everything."""

    status: Status
    reward: float | None
    name, version, judges = "constant", "0", "answer"

    def judge_one(self, answer):
        return Judgement(status=self.status, reward=self.reward, breakdown={}, reason="always")


@pytest.mark.parametrize(
    ("text", "status"), [("20", Status.PASS), ("21", Status.FAIL), ("", Status.FAIL), ("20 ", Status.FAIL)]
)
def test_exact_match_passes_the_reference_alone(text, status):
    judgement = judged(EXACT, text)
    assert judgement.status is status
    assert judgement.reward == judgement.breakdown["exact"] == (status is Status.PASS)


def test_strip_ignores_white_space_around_the_answer_and_nothing_else():
    assert judged(STRIP, " 20\n").status is Status.PASS
    assert judged(STRIP, "2 0").status is Status.FAIL


def test_an_answer_cut_by_the_length_limit_fails_even_if_its_text_is_right():
    judgement = judged(EXACT, "20", truncated=True)
    assert (judgement.status, judgement.reward, judgement.reason) == (Status.FAIL, 0.0, "truncated")


def test_a_version_depends_on_the_settings_and_is_stable():
    assert EXACT.version == build_verifier(ExactVerifier()).version
    assert EXACT.version != STRIP.version
    assert len(EXACT.version) == 16


def test_verdicts_come_in_order_with_the_verifiers_name_and_version():
    rollouts = [answered("a", "20"), answered("b", "30", prompt_id="q"), answered("c", "20", finish=Finish.LENGTH)]
    verdicts = score(rollouts, {"p": "20", "q": "20"}, verifier=EXACT, max_unverifiable=0.0)
    assert [(v.rollout_id, v.status, v.reward) for v in verdicts] == [
        ("a", Status.PASS, 1.0),
        ("b", Status.FAIL, 0.0),
        ("c", Status.FAIL, 0.0),
    ]
    assert {(v.verifier, v.version) for v in verdicts} == {("exact", EXACT.version)}


def test_an_answer_that_cannot_be_judged_is_unverifiable_with_the_reason_and_without_a_reward():
    verdicts = score([answered("a", "?"), answered("b", "20")], {"p": "20"}, verifier=Fragile(), max_unverifiable=0.5)
    assert verdicts[0].status is Status.UNVERIFIABLE
    assert verdicts[0].reward is None
    assert verdicts[0].reason == "ValueError: no number in '?'"
    assert verdicts[1].status is Status.PASS


def test_too_many_unverifiable_answers_stop_the_run_and_say_how_many_and_why():
    rollouts = [answered("a", "x?"), answered("b", "y?"), answered("c", "20"), answered("d", "20")]
    with pytest.raises(VerifierError, match=r"2 of 4 answers \(50.0%, at most 25.0% allowed\): .*'x\?'; .*'y\?'"):
        score(rollouts, {"p": "20"}, verifier=Fragile(), max_unverifiable=0.25)


def test_a_defect_in_a_verifier_is_not_swallowed():
    class Broken(Fragile):
        def judge_one(self, answer):
            raise KeyError("typo")

    with pytest.raises(KeyError):
        score([answered("a", "20")], {"p": "20"}, verifier=Broken(), max_unverifiable=1.0)


def test_nothing_to_score_gives_no_verdicts():
    assert score([], {}, verifier=EXACT, max_unverifiable=0.0) == []


@pytest.mark.parametrize("settings", [AdditionTask(), ReversalTask(), CopyTask()], ids=lambda s: s.type)
@pytest.mark.parametrize("verifier", [EXACT, STRIP], ids=["exact", "strip"])
def test_exact_match_passes_the_sanity_checks_of_every_task(settings, verifier):
    task = build_task(settings)
    prompts = [prompt for level in (1, 2, 6) for prompt in task.heldout(level, 20)]
    cases = [
        Case(prompt=p.text, reference=task.reference(p), right=task.solution(p), wrong=task.wrong_answers(p))
        for p in prompts
    ]
    assert sanity_check(verifier, cases) == sum(1 + len(case.wrong) for case in cases)


def test_a_verifier_that_passes_a_wrong_answer_gives_no_reward():
    with pytest.raises(VerifierError, match=r"the wrong answer '21' .* got PASS"):
        sanity_check(Constant(status=Status.PASS, reward=1.0), [case(wrong=["21"])])


def test_a_verifier_that_fails_the_right_answer_gives_no_reward():
    with pytest.raises(VerifierError, match="the right answer '20' got FAIL"):
        sanity_check(Constant(status=Status.FAIL, reward=0.0), [case(wrong=["21"])])


def test_a_verifier_that_cannot_judge_gives_no_reward():
    with pytest.raises(VerifierError, match="the right answer '20' got UNVERIFIABLE"):
        sanity_check(Constant(status=Status.UNVERIFIABLE, reward=None), [case(wrong=[])])
    with pytest.raises(VerifierError, match=r"the wrong answer '\?' .* got UNVERIFIABLE \(ValueError"):
        sanity_check(Fragile(), [case(wrong=["?"])])


def test_a_verifier_that_rewards_wrong_answers_like_right_ones_gives_no_reward():
    class Generous(Fragile):
        def judge_one(self, answer):
            status = Status.PASS if answer.text == answer.reference else Status.FAIL
            return Judgement(status=status, reward=1.0, breakdown={}, reason="")

    with pytest.raises(VerifierError, match=r"got reward 1.0, the right one 1.0"):
        sanity_check(Generous(), [case(wrong=["21"])])


def test_a_sanity_check_of_nothing_proves_nothing():
    with pytest.raises(AssertionError, match="at least one answer"):
        sanity_check(EXACT, [])


def test_a_verifier_of_form_alone_gives_no_reward():
    class Form(Fragile):
        judges = "form"

    with pytest.raises(VerifierError, match="put it into a rubric beside"):
        sanity_check(Form(), [case()])


def test_a_verifier_of_groups_sees_each_answer_among_right_ones():
    class Vote(Fragile):
        judges = "group"

        def judge(self, answers):
            groups = {}
            for answer in answers:
                groups.setdefault(answer.group, []).append(answer.text)
            winners = {name: max(set(texts), key=texts.count) for name, texts in groups.items()}
            right = [answer.text == winners[answer.group] for answer in answers]
            statuses = [Status.PASS if yes else Status.FAIL for yes in right]
            return [Judgement(status=s, reward=float(r), reason="") for s, r in zip(statuses, right, strict=True)]

    assert sanity_check(Vote(), [case(wrong=["21", "22"])]) == 3


def test_a_reason_with_a_models_words_is_one_bounded_line():
    hostile = [answered("a", "?\n\x1b[31m\ud800" + "x" * 1000)]
    [verdict] = score(hostile, {"p": "20"}, verifier=Fragile(), max_unverifiable=1.0)
    assert verdict.reason.isprintable()
    assert len(verdict.reason) == 300
