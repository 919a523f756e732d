"""Which frozen models can teach a student whole distributions, whichever process holds what of them."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bootstrap.errors import RecipeError
from bootstrap.training.model import output_width


def check_teacher(
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    student: PreTrainedModel,
    student_tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Raise RecipeError where the vocabularies differ, or the teacher lacks outputs for what the student can draw.

    The output matrices may be padded to different widths.
    """
    if tokenizer.get_vocab() != student_tokenizer.get_vocab():
        raise RecipeError(
            "the teacher's vocabulary differs from the student's, so their distributions cannot be compared; "
            "use distillation.loss: ce, or a teacher with the same tokenizer"
        )
    # A tokenizer may have tokens that neither model has an output for; neither draws them.
    needed = min(max(tokenizer.get_vocab().values()) + 1, output_width(student))
    if (width := output_width(teacher)) < needed:
        raise RecipeError(
            f"the teacher has outputs for {width} of the {needed} tokens that the student can draw; use "
            "distillation.loss: ce, or a teacher whose output matrix is as wide as its tokenizer"
        )
