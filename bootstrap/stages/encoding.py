"""Text examples -> tokens, in the driver, which counts completion tokens before it shards a batch.

The tokenizer's file travels with the weights; the workers use the same library.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from bootstrap.errors import RecipeError
from bootstrap.records import Checkpoint, Example
from bootstrap.store.model_folder import of_store
from bootstrap.training.chat import framing_of, taught_end, without_opening
from bootstrap.training.data_text import Letters
from bootstrap.training.special_tokens import end_id, rules_kept, tokenizer_of


class Encoder:
    """The tokenizer of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        with of_store(checkpoint.stored):
            self.tokenizer = tokenizer_of(checkpoint.files)
        settings = json.loads(checkpoint.files["tokenizer_config.json"])
        # An adapter's folder has no configuration; its base has been read by then.
        self.rows = json.loads(checkpoint.files.get("config.json", b"{}")).get("vocab_size")
        self.eos = end_id(self.tokenizer, taught_end(checkpoint.files), rows=self.rows)
        """What training teaches as the end of an answer: the chat template's end of turn, or the end of sequence."""
        match settings.get("unk_token"):
            case None:
                self.unknown = None
            # Older files write a token as an object.
            case {"content": unknown} | unknown:
                self.unknown = self.tokenizer.token_to_id(unknown)
        self.framing = framing_of(checkpoint.files)
        self.letters = Letters(self.tokenizer)

    def encode(self, examples: Sequence[Example]) -> list[Example]:
        """Return the text examples with tokens; each completion ends with `eos`.

        They keep the prompt's text, which the id of a reference does not lead to. Raises RecipeError for a text with a
        token that the model has no row for.
        """
        texts = [(e.prompt_text, e.completion_text) for e in examples]
        pairs = self.pairs(
            [(prompt, completion) for prompt, completion in texts if prompt is not None and completion is not None]
        )
        highest = max((max((*prompt, *completion)) for prompt, completion in pairs), default=0)
        if self.rows is not None and highest >= self.rows:
            raise RecipeError(
                f"an example holds {self.tokenizer.id_to_token(highest)!r}, token {highest} of the tokenizer, and the "
                f"model's embedding has {self.rows} rows; leave the example out, or remove the token from "
                "tokenizer.json"
            )
        return [
            replace(example, tokens=(*prompt, *completion), num_prompt_tokens=len(prompt), completion_text=None)
            for example, (prompt, completion) in zip(examples, pairs, strict=True)
        ]

    def pairs(self, texts: Sequence[tuple[str, str]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return the tokens of (prompt, completion) texts, framing and end of sequence included.

        A completion's reasoning tag is left out where the framing has opened it.
        """
        prompts = self._prompts([prompt for prompt, _ in texts])
        written = [without_opening(completion, self.framing.opening(prompt)) for prompt, completion in texts]
        completions = self._answers(written)
        return [(prompt, (*completion, self.eos)) for prompt, completion in zip(prompts, completions, strict=True)]

    def writes(self, text: str) -> bool:
        """Whether the tokenizer has tokens for all of a text."""
        return self.unknown is None or self.unknown not in self._answers([text])[0]

    def _prompts(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens of framed prompts; those without a control token's text go in one batch."""
        adds = self.framing.adds_special_tokens
        odd = {prompt for prompt in prompts if self.letters.are_in(prompt)}
        plain = iter(self._encoded([self.framing.text(prompt) for prompt in prompts if prompt not in odd], adds))
        return [self.letters.prompt(prompt, self.framing) if prompt in odd else next(plain) for prompt in prompts]

    def _answers(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens of unframed texts; those without a control token's text go in one batch."""
        odd = {text for text in texts if self.letters.are_in(text)}
        # A normalizer may turn other text into a control token.
        self.tokenizer.encode_special_tokens = True
        plain = iter(self._encoded([text for text in texts if text not in odd], False))
        self.tokenizer.encode_special_tokens = False
        return [self.letters.tokens(text, adds_special_tokens=False) if text in odd else next(plain) for text in texts]

    def _encoded(self, texts: Sequence[str], adds_special_tokens: bool) -> list[tuple[int, ...]]:
        with rules_kept():
            found = self.tokenizer.encode_batch(texts, add_special_tokens=adds_special_tokens)
        return [tuple(each.ids) for each in found]


def completion_tokens(examples: Sequence[Example]) -> int:
    """Return the number of completion tokens of encoded examples."""
    return sum(len(e.tokens) - e.num_prompt_tokens for e in examples)
