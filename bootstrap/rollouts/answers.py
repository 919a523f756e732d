"""Texts of prompts and answers as tokens, and back; what ends an answer. The same for every sampling engine."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from transformers import GenerationConfig, PreTrainedTokenizerBase

from bootstrap.errors import RecipeError
from bootstrap.records import Finish, Request, Rollout, Sampling
from bootstrap.rollouts.stop import StopTexts


class AnswerTexts:
    """How one model's prompts and answers are tokens.

    `ends`: tokens that end an answer; `rows`: of its embedding; `encode`: prompt text -> tokens, by default the
    tokenizer's own; `opening`: prompt text -> the text before its completions, such as an open reasoning tag at the
    prompt's end, by default none; `stop`: texts that end an answer, which is what stands before them;
    `min_new_tokens`: before so many tokens no end token can be drawn.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        ends: Sequence[int],
        rows: int,
        encode: Callable[[str], tuple[int, ...]] | None = None,
        opening: Callable[[str], str] = lambda prompt: "",
        stop: Sequence[str] = (),
        min_new_tokens: int = 0,
    ) -> None:
        self.tokenizer = tokenizer
        self.ends = tuple(ends)
        self.rows = rows
        self.encode = encode or (lambda text: tuple(tokenizer.encode(text)))
        self.opening = opening
        self.stop = StopTexts(stop, self.decoded)
        self.min_new_tokens = min_new_tokens

    def require_room(self, sampling: Sampling) -> None:
        """Raise RecipeError where the limit of an answer comes before its first possible end."""
        if self.min_new_tokens >= sampling.max_new_tokens:
            raise RecipeError(
                f"min_new_tokens {self.min_new_tokens} of the model that is asked leaves no room for the end of an "
                f"answer of at most {sampling.max_new_tokens} tokens; lower it, or raise the limit (a task's "
                "max_answer_tokens, a verifier's max_tokens or voter_max_tokens)"
            )

    def encoded(self, requests: Iterable[Request]) -> dict[str, tuple[int, ...]]:
        """Return the tokens of each prompt's text. Raises RecipeError for a token without a row of the embedding."""
        return {text: self._encoded(text) for text in {request.prompt.text for request in requests}}

    def _encoded(self, text: str) -> tuple[int, ...]:
        tokens = self.encode(text)
        if (highest := max(tokens, default=0)) >= self.rows:
            raise RecipeError(
                f"a prompt holds {self.tokenizer.decode([highest])!r}, token {highest} of the tokenizer, and the "
                f"model's embedding has {self.rows} rows; leave the prompt out, or remove the token from tokenizer.json"
            )
        return tokens

    def rollouts(
        self,
        completions: Sequence[tuple[Request, list[int], Sequence[float], Sequence[float], bool]],
        encoded: dict[str, tuple[int, ...]],
        *,
        policy: str,
    ) -> list[Rollout]:
        """Return the rollouts of completions: request, tokens, log-probabilities, entropies, whether it ended."""
        texts = self.decoded([t[:-1] if s and t[-1] in self.ends else t for _, t, _, _, s in completions])
        openings = {text: self.opening(text) for text in {r.prompt.text for r, *_ in completions}}
        return [
            Rollout.to(
                request,
                prompt_tokens=encoded[request.prompt.text],
                tokens=tuple(tokens),
                logprobs=tuple(logprobs),
                entropies=tuple(entropies),
                text=openings[request.prompt.text] + self.stop.before(text),
                finish=Finish.STOP if ended else Finish.LENGTH,
                policy=policy,
            )
            for (request, tokens, logprobs, entropies, ended), text in zip(completions, texts, strict=True)
        ]

    def decoded(self, tokens: list[list[int]]) -> list[str]:
        """Return texts in which special tokens are visible, so that none hides inside an answer."""
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def ends_of(generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase, *, rows: int) -> list[int]:
    """Return the tokens that end an answer: those of the generation configuration, and the tokenizer's.

    Training teaches the tokenizer's; a base model's configuration may name another. `rows`: of the embedding. Raises
    RecipeError where there is none.
    """
    taught = cast("int | None", tokenizer.eos_token_id)
    match generation.eos_token_id if generation is not None else None:
        case list() | tuple() as several:
            named = [*several, taught]
        case one:
            named = [one, taught]
    if ends := [end for end in dict.fromkeys(named) if end is not None and 0 <= end < rows]:
        return ends
    raise RecipeError(
        "neither the model's tokenizer_config.json (eos_token) nor its generation_config.json (eos_token_id) names "
        "a token of the model that ends an answer; set tokenizer.eos_token and save the folder again with "
        "save_pretrained"
    )
