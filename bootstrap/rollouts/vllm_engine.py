"""Sampling with vLLM: continuous batching over a paged cache, in a process of its own (`vllm_process.py`).

Prompts and answers are turned into tokens and back as for `TransformersEngine`, here, so a stop text is found by the
same rule. A sample depends on its prompt, its seed and the weights; the same seed gives other tokens than another
engine's, and vLLM tells no entropies.
"""

from collections.abc import Sequence
from typing import Any

from bootstrap.errors import FingerprintMismatch, RecipeError
from bootstrap.memory import Room
from bootstrap.records import Request, Rollout, Sampling
from bootstrap.rollouts.answers import AnswerTexts
from bootstrap.rollouts.vllm_process import VllmProcess


class VllmEngine:
    """Asks a process that holds vLLM. `max_length`: most tokens of a prompt and its answer."""

    def __init__(
        self, process: VllmProcess, answers: AnswerTexts, *, max_length: int, room: Room | None = None
    ) -> None:
        self.process = process
        self.answers = answers
        self.max_length = max_length
        self.room = room or Room()

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, policy: str) -> list[Rollout]:
        """Return one rollout per request, in order, without entropies.

        Log-probabilities are those of the distribution that vLLM drew from: temperature, then top-k, then top-p, each
        renormalised. Those of greedy completions (temperature 0) are of temperature 1. Raises FingerprintMismatch when
        vLLM holds other weights than `policy`, WorkerError when its process dies, WaitTimeout.
        """
        self.answers.require_room(sampling)
        if not requests:
            return []
        encoded = self.answers.encoded(requests)
        self._require_length(max(map(len, encoded.values())), sampling)
        number_of = {text: number for number, text in enumerate(encoded)}
        self.process.send(
            "generate",
            policy=policy,
            prompts=list(encoded.values()),
            asked=[(number_of[request.prompt.text], request.seed) for request in requests],
            sampling=self._settings(sampling),
        )
        tokens: list[list[int]] = [[] for _ in requests]
        logprobs: list[list[float]] = [[] for _ in requests]
        ended = [False] * len(requests)
        try:
            while "step" in (message := self.process.receive()):
                self.process.reply(self._taken(message["step"], tokens, logprobs, ended))
                self.room.beat(answered=sum(ended))
        except BaseException:
            # In the middle of a call the next one would get this one's messages.
            self.process.close()
            raise
        found = self.process.result(message)
        if found != policy:
            raise FingerprintMismatch(f"vLLM answered with weights {found[:16]}, the plan names {policy[:16]}")
        rows = zip(requests, tokens, logprobs, ended, strict=True)
        return self.answers.rollouts([(r, t, lp, (), e) for r, t, lp, e in rows], encoded, policy=policy)

    def _taken(
        self, news: Sequence[Any], tokens: list[list[int]], logprobs: list[list[float]], ended: list[bool]
    ) -> list[int]:
        """Add a step's tokens to the answers, up to their ends; return the requests that a stop text ended."""
        stopped = []
        for number, new, their_logprobs in news:
            for token, logprob in zip(new, their_logprobs, strict=True):
                if ended[number]:
                    break
                tokens[number].append(token)
                logprobs[number].append(logprob)
                ended[number] = token in self.answers.ends
                if not ended[number] and self.answers.stop.ends(tokens[number]):
                    ended[number] = True
                    stopped.append(number)
        return stopped

    def _settings(self, sampling: Sampling) -> dict[str, Any]:
        return {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "min_tokens": self.answers.min_new_tokens,
            "stop_token_ids": list(self.answers.ends),
        }

    def _require_length(self, longest: int, sampling: Sampling) -> None:
        if longest + sampling.max_new_tokens > self.max_length:
            raise RecipeError(
                f"a prompt of {longest} tokens and an answer of up to {sampling.max_new_tokens} exceed the "
                f"{self.max_length} positions that vLLM has by the model's config.json (max_position_embeddings); "
                "lower the limit of an answer (a task's max_answer_tokens), leave out long prompts, or sample with "
                "samplers.engine: transformers"
            )
