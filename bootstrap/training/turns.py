"""The end of an answer, as a chat template writes it: the token that follows the assistant's words.

A tokenizer's end of sequence may be another one: that of a base model ends documents, its chat template ends turns
with `<|im_end|>`, `<|eot_id|>`, `<end_of_turn>` or `<|end|>`. What the template writes is found by rendering a
conversation.
"""

from collections.abc import Callable, Mapping, Sequence

from bootstrap.training.rendering import TemplateFault

Message = Mapping[str, str]
Render = Callable[[Sequence[Message]], str]
"""Messages -> the conversation's text, without the beginning of another answer."""
_ASKED, _ANSWER = "What is six times seven?", "Six times seven is forty-two."


def end_of_turn(render: Render, tokens: Mapping[str, int]) -> str | None:
    """Return the token that a template writes after an answer; None where it writes none, or refuses the conversation.

    `tokens`: text -> id of the tokenizer's added tokens. Blanks between answer and token count for nothing.
    """
    try:
        text = render([{"role": "user", "content": _ASKED}, {"role": "assistant", "content": _ANSWER}])
    except TemplateFault:
        return None
    _, found, after = text.rpartition(_ANSWER)
    written = [token for token in tokens if found and token and after.lstrip().startswith(token)]
    return max(written, key=len, default=None)
