"""For each type of verifier: settings, and answers whose verdicts are known. The conformance test goes through all.

A verifier that needs a server, a model or files has a function instead, which gets an empty folder and yields a `Setup`
as a context manager does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.chat_server import answers_in, chat_server, honest

from bootstrap.config import verifiers
from bootstrap.config.answers import Boxed, LastLine, Tagged, Whole
from bootstrap.config.base_model import FolderModel
from bootstrap.config.gym import ReasoningGymTask
from bootstrap.config.models import Endpoint, GenerationJudge
from bootstrap.prompts.build import build_task
from bootstrap.references import Call, CallCases, write
from bootstrap.scoring.sanity import Case
from bootstrap.scoring.verifier import Tools
from bootstrap.stages.verifiers import sanity_cases


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A verifier to build, and the cases to check it with."""

    settings: verifiers.Verifier
    cases: tuple[Case, ...]
    tools: Tools = field(default_factory=Tools)


def case(reference: str, *wrong: str, right: str | None = None) -> Case:
    """Return a case whose right answer is the reference itself unless said otherwise."""
    return Case(
        prompt="What is it?", reference=reference, right=reference if right is None else right, wrong=list(wrong)
    )


def fenced(code: str) -> str:
    """Return code in a Markdown block."""
    return f"```python\n{code}\n```"


NUMBERS = (case("7/8", "8/7", "-7/8", "0.876", right="0.875"), case("-12", "12", "-13", "-12x"))
MATHS = (
    case(r"\frac{\sqrt{2}}{2}", r"\boxed{\sqrt{2}}", r"\boxed{-1/\sqrt{2}}", "x", right=r"so \boxed{1/\sqrt{2}}"),
    case("(1,2)", r"\boxed{(2,1)}", r"\boxed{\{1,2\}}", r"\boxed{(1,2,2)}", right=r"\boxed{(1,2)}"),
)
SQUARE = write(CallCases(function="square", cases=tuple(Call(args=(n,), expected=n * n) for n in (3, -4, 11, 0))))
SQUARES = case(
    SQUARE,
    "def square(x):\n    return x + x",
    "def square(x):\n    return 9",
    "print('[9, 16, 121, 0]')",
    right="def square(x):\n    return x ** 2",
)
FORM = "<think>\nfirst, then\n</think>\n<answer>42</answer>"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
RUBRIC = verifiers.RubricVerifier(
    combine="gate",
    components=(
        verifiers.Component(name="right", verifier=verifiers.ExactVerifier(answer=Tagged())),
        verifiers.Component(name="form", verifier=verifiers.FormatVerifier(), weight=0.5),
        verifiers.Component(
            name="length", verifier=verifiers.LengthVerifier(max_tokens=4096, soft_tokens=1024), decides=False
        ),
    ),
)

METAL = case("mercury", "iron", "mercuri", "quick silver", right="Hg")


@contextmanager
def judge_at_a_server(folder: Path) -> Iterator[Setup]:
    """A judge who knows all right answers."""
    with chat_server(honest(METAL.right, METAL.reference)) as server:
        endpoint = Endpoint(url=server.url, model="wise", concurrency=1, timeout_seconds=10)
        yield Setup(
            settings=verifiers.JudgeVerifier(model=endpoint, rubric="The same metal."),
            cases=(METAL,),
            tools=Tools(cache=folder),
        )


class Elder:
    """Generations of a lineage, all of which know all right answers."""

    def complete(
        self,
        prompts: Sequence[str],
        *,
        model: str | int,
        samples: int,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[list[str]]:
        return [[self._answer(prompt)] * samples for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        if "answer A" not in prompt:
            return METAL.right
        a, b = (text in (METAL.right, METAL.reference) for text in answers_in(prompt))
        return " EQUAL" if a == b else " A" if a else " B"


@contextmanager
def reward_model(folder: Path) -> Iterator[Setup]:
    """A model that has learnt the case by heart."""
    # Here and not at the top, because it loads torch.
    from support import classifiers

    saved = classifiers.trained(folder / "model", METAL.prompt, good=[METAL.right], bad=METAL.wrong)
    model = FolderModel(path=str(saved))
    yield Setup(settings=verifiers.RewardModelVerifier(model=model, max_length=256), cases=(METAL,))


@contextmanager
def reasoning_gym(folder: Path) -> Iterator[Setup]:
    """A data set whose scorer, left to itself, gives part of the reward to answers that hold the right one."""
    task = build_task(
        ReasoningGymTask.model_validate(
            {"datasets": [{"name": "spell_backward", "levels": [{"min_word_len": 4, "max_word_len": 5}]}]}
        )
    )
    yield Setup(settings=verifiers.ReasoningGymVerifier(), cases=tuple(sanity_cases(task, prompts_per_level=2)))


SETUPS: dict[str, Setup | Callable[[Path], AbstractContextManager[Setup]]] = {
    "exact": Setup(settings=verifiers.ExactVerifier(), cases=(case("20", "02", "21", "", "20 "),)),
    "exact:stripped": Setup(
        settings=verifiers.ExactVerifier(answer=Whole(strip=True)), cases=(case("abc", "cba", "ab", right=" abc\n"),)
    ),
    "exact:tagged": Setup(
        settings=verifiers.ExactVerifier(answer=Tagged()),
        cases=(case("42", "42", "<answer>24</answer>", right="<think>so</think><answer>42</answer>"),),
    ),
    "exact:boxed": Setup(
        settings=verifiers.ExactVerifier(answer=Boxed()),
        cases=(case("42", "42", r"\boxed{24}", r"\boxed{42} \boxed{24}", right=r"it is \boxed{42}."),),
    ),
    "exact:last_line": Setup(
        settings=verifiers.ExactVerifier(answer=LastLine()),
        cases=(case("42", "42\nor so", "24", right="let me see\n42\n"),),
    ),
    "numeric": Setup(settings=verifiers.NumericVerifier(), cases=NUMBERS),
    "numeric:tolerant": Setup(
        settings=verifiers.NumericVerifier.model_validate({"relative_tolerance": "0.01"}),
        cases=(case("3.14159", "3.2", "-3.14", "3,14", right="3.14"),),
    ),
    "choice": Setup(settings=verifiers.ChoiceVerifier(), cases=(case("B", "A", "b", "A B", "BB", right="(B)"),)),
    "regex": Setup(
        settings=verifiers.RegexVerifier(pattern=r"(\w+ )*\w+\."), cases=(case("", "no", "a  b.", right="two words."),)
    ),
    "format": Setup(settings=verifiers.FormatVerifier(), cases=(case("", "42", f"{FORM}!", right=FORM),)),
    "language": Setup(
        settings=verifiers.LanguageVerifier(),
        cases=(
            case("", "<think>两个词</think>", "<think>one 两 two</think>", right="<think>only words, 12 x</think>"),
        ),
    ),
    "length": Setup(
        settings=verifiers.LengthVerifier(max_tokens=20, soft_tokens=10), cases=(case("", "x" * 25, right="short"),)
    ),
    "json_schema": Setup(
        settings=verifiers.JsonSchemaVerifier(json_schema=PERSON),
        cases=(
            case(
                '{"name": "Ada", "age": 36}',
                '{"name": "Ada"}',
                '{"name": "Ada", "age": 36.0}',
                '{"name": "Ada", "age": 37}',
                '{"name": "Ada", "age": 1, "age": 36}',
                right='{"age":36,"name":"Ada"}',
            ),
        ),
    ),
    "math": Setup(settings=verifiers.MathVerifier(), cases=MATHS),
    "code": Setup(settings=verifiers.CodeVerifier(cpu_seconds=0.5), cases=(SQUARES,), tools=Tools(processes=2)),
    "code:fenced": Setup(
        settings=verifiers.CodeVerifier(cpu_seconds=0.5, code="fenced", reward="share"),
        cases=(case(SQUARE, *(fenced(code) for code in SQUARES.wrong), SQUARES.right, right=fenced(SQUARES.right)),),
        tools=Tools(processes=2),
    ),
    "judge": judge_at_a_server,
    "judge:generation": Setup(
        settings=verifiers.JudgeVerifier(model=GenerationJudge(), rubric="The same metal."),
        cases=(METAL,),
        tools=Tools(models=Elder()),
    ),
    "majority": Setup(settings=verifiers.MajorityVerifier(), cases=(METAL,)),
    "majority:voters": Setup(
        settings=verifiers.MajorityVerifier(voters=("base", 1)), cases=(METAL,), tools=Tools(models=Elder())
    ),
    "reasoning_gym": reasoning_gym,
    "reward_model": reward_model,
    "plugin": Setup(
        settings=verifiers.PluginVerifier(uses="support.plugin_verifiers:same"), cases=(case("42", "24", "42 "),)
    ),
    "rubric": Setup(
        settings=RUBRIC,
        cases=(case("42", "42", "<answer>42</answer>", FORM.replace("42", "24"), right=FORM),),
    ),
}
"""By type, or by type and variant (`exact:tagged`)."""
