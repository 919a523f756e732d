"""Text examples -> tokens, in the driver: it must count completion tokens before a batch is sharded.

Uses the tokenizer file that travels with the weights, through the same library that the workers use.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from bootstrap.records import Checkpoint, Example
from bootstrap.training.chat import framing_of
from bootstrap.training.special_tokens import end_of_sequence


class Encoder:
    """The tokenizer of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.tokenizer = Tokenizer.from_str(checkpoint.files["tokenizer.json"].decode())
        end = end_of_sequence(json.loads(checkpoint.files["tokenizer_config.json"]))
        self.eos = self.tokenizer.token_to_id(end)
        self.framing = framing_of(checkpoint.files)

    def encode(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples with tokens; each text completion ends with the end-of-sequence token."""
        prompts = self.tokenizer.encode_batch(
            [self.framing.text(e.prompt_text) for e in examples],
            add_special_tokens=self.framing.adds_special_tokens,
        )
        completions = self.tokenizer.encode_batch([e.completion_text for e in examples], add_special_tokens=False)
        return [
            replace(
                example,
                tokens=(*prompt.ids, *completion.ids, self.eos),
                num_prompt_tokens=len(prompt.ids),
                prompt_text=None,
                completion_text=None,
            )
            for example, prompt, completion in zip(examples, prompts, completions, strict=True)
        ]


def completion_tokens(examples: Sequence[Example]) -> int:
    """Return the number of completion tokens of encoded examples."""
    return sum(len(e.tokens) - e.num_prompt_tokens for e in examples)
