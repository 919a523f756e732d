"""Sampling with a transformers model: batched decoding over a key-value cache.

Each distinct prompt runs once, and its samples share its cache; finished rows leave the batch. Prompts are batched by
length and padded on the left only where lengths differ. Left out: paged caches, speculative decoding and continuous
batching across calls, which serving engines do better.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from bootstrap.memory import ALLOCATION_ERRORS, Room
from bootstrap.records import Request, Rollout, Sampling
from bootstrap.rollouts.answers import AnswerTexts, ends_of
from bootstrap.rollouts.cache import key_value_cache
from bootstrap.rollouts.sampling import distribution, draw, entropy, uniform

COMPACT_SHARE = 0.125
"""Share of finished rows from which they are removed; removal copies the cache."""


class Engine(Protocol):
    """A sampling backend: completions with the log-probability of every sampled token."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, policy: str) -> list[Rollout]:
        """Return one rollout per request, in order, each stamped with the fingerprint `policy`."""
        ...


class TransformersEngine:
    """Samples from a model in memory; the learner may change the same weights between calls.

    `compute`: context of the model's blocks, such as autocast; `room`: bounds of memory, asked before each batch; the
    others as of `AnswerTexts`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_rows: int,
        encode: Callable[[str], tuple[int, ...]] | None = None,
        opening: Callable[[str], str] = lambda prompt: "",
        stop: Sequence[str] = (),
        min_new_tokens: int = 0,
        compute: Callable[[], AbstractContextManager[Any]] = nullcontext,
        room: Room | None = None,
    ) -> None:
        self.model = model
        self.room = room or Room()
        self.batch_rows = batch_rows
        self.compute = compute
        self.rows = model.get_input_embeddings().get_parameter("weight").shape[0]
        ends = ends_of(model.generation_config, tokenizer, rows=self.rows)
        self.answers = AnswerTexts(
            tokenizer,
            ends=ends,
            rows=self.rows,
            encode=encode,
            opening=opening,
            stop=stop,
            min_new_tokens=min_new_tokens,
        )
        self.eos = torch.tensor(ends)
        self.device = next(model.parameters()).device
        pads = (cast("int | None", tokenizer.pad_token_id), ends[0])
        self.pad = next(pad for pad in pads if pad is not None and 0 <= pad < self.rows)
        head = model.get_output_embeddings()
        assert head is not None, "a causal language model has an output matrix"
        self.head = head

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], sampling: Sampling, *, policy: str) -> list[Rollout]:
        """Return one rollout per request, in order.

        Beyond float rounding a result depends on its prompt, its seed and the weights alone. Log-probabilities of
        greedy completions (temperature 0) are those of temperature 1.
        """
        self.answers.require_room(sampling)
        was_training = self.model.training
        self.model.eval()
        encoded = self.answers.encoded(requests)
        order = sorted(range(len(requests)), key=lambda i: (len(encoded[requests[i].prompt.text]), requests[i].id))
        rollouts: dict[int, Rollout] = {}
        while len(rollouts) < len(order):
            waiting = [requests[i] for i in order[len(rollouts) :][: self.batch_rows]]
            batch = waiting[: self._num_together(waiting, encoded, sampling)]
            longest = len(encoded[batch[-1].prompt.text])
            self.room.decoding(len(batch), length=longest + sampling.max_new_tokens)
            try:
                decoded = self._decode(batch, encoded, sampling, policy, len(rollouts))
            except ALLOCATION_ERRORS as error:
                # Raises it again unless memory ran out, and fewer sequences may do.
                self.room.ran_out(error)
            else:
                rollouts.update(zip(order[len(rollouts) :], decoded, strict=False))
                continue
            self.room.clear()
        self.model.train(was_training)
        return [rollouts[i] for i in range(len(requests))]

    def _num_together(self, waiting: Sequence[Request], encoded: dict[str, tuple[int, ...]], sampling: Sampling) -> int:
        """Return how many of the requests, whose prompts ascend in length, are decoded together: at least one."""
        prompts = set[str]()
        for count, request in enumerate(waiting):
            prompts.add(request.prompt.text)
            longest = len(encoded[request.prompt.text])
            if count and not self.room.fits(
                rows=count + 1, prompts=len(prompts), prompt_length=longest, new_tokens=sampling.max_new_tokens
            ):
                return count
        return len(waiting)

    def _prefill(
        self, prompts: list[tuple[int, ...]], *, max_new_tokens: int
    ) -> tuple[Tensor, DynamicCache, Tensor | None]:
        """Run each prompt once: next-token logits (P, V), the cache, and the mask (P, T) if lengths differ."""
        longest = max(map(len, prompts))
        mask_PT = None
        if any(len(p) < longest for p in prompts):
            mask_PT = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        tokens_PT = torch.tensor([[self.pad] * (longest - len(p)) + list(p) for p in prompts], device=self.device)
        cache = key_value_cache(self.model.config, max_length=longest + max_new_tokens)
        logits_PV = self._forward(tokens_PT, mask_PT, cache)
        return logits_PV, cache, mask_PT

    def _forward(self, tokens_BT: Tensor, mask_BT: Tensor | None, cache: DynamicCache) -> Tensor:
        """Return the logits (B, V) after the last token; `cache` grows by T."""
        positions = {}
        if mask_BT is not None:
            positions["position_ids"] = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -tokens_BT.shape[1] :]
        with self.compute():
            hidden = self.model.base_model(
                input_ids=tokens_BT, attention_mask=mask_BT, past_key_values=cache, use_cache=True, **positions
            ).last_hidden_state
        return self.head(hidden[:, -1].float())

    def _decode(
        self,
        requests: list[Request],
        encoded: dict[str, tuple[int, ...]],
        sampling: Sampling,
        policy: str,
        done: int,
    ) -> list[Rollout]:
        """Return the rollouts of requests that are decoded together; `done`: those of the call before them."""
        texts = list(dict.fromkeys(r.prompt.text for r in requests))
        logits_BV, cache, mask_BT = self._prefill(
            [encoded[text] for text in texts], max_new_tokens=sampling.max_new_tokens
        )
        row_of = {text: row for row, text in enumerate(texts)}
        share_B = torch.tensor([row_of[r.prompt.text] for r in requests], device=self.device)
        logits_BV = logits_BV[share_B]
        if len(texts) < len(requests):
            cache.batch_select_indices(share_B)
            mask_BT = mask_BT[share_B] if mask_BT is not None else None
        # Results stay on the CPU; per step only the drawn tokens and their figures come from the device.
        num_rows, limit = len(requests), sampling.max_new_tokens
        tokens_BR = torch.full((num_rows, limit), self.pad)
        logprobs_BR = torch.zeros(num_rows, limit)
        entropies_BR = torch.zeros(num_rows, limit)
        lengths_B = torch.full((num_rows,), limit)
        stopped_B = torch.zeros(num_rows, dtype=torch.bool)
        alive = torch.arange(num_rows)
        seeds_B = np.array([r.seed for r in requests], dtype=np.uint64)
        ends_E = self.eos.to(self.device)
        for position in range(limit):
            self.room.beat(answered=done + num_rows - len(alive))
            if position < self.answers.min_new_tokens:
                logits_BV = logits_BV.index_fill(-1, ends_E, -torch.inf)
            dist_BV = distribution(
                logits_BV, temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p
            )
            if sampling.temperature == 0:
                token_B = dist_BV.argmax(dim=-1)
            else:
                token_B = draw(dist_BV, uniform(seeds_B[alive.numpy()], position))
            drawn_B = token_B.cpu()
            tokens_BR[alive, position] = drawn_B
            logprobs_BR[alive, position] = dist_BV.gather(-1, token_B.unsqueeze(-1)).squeeze(-1).cpu()
            entropies_BR[alive, position] = entropy(dist_BV).cpu()
            ended_B = torch.isin(drawn_B, self.eos) & ~stopped_B[alive]
            if stop := self.answers.stop:
                open_B = (~stopped_B[alive] & ~ended_B).nonzero().squeeze(-1)
                ended_B[open_B[stop.reached(tokens_BR[alive[open_B], : position + 1])]] = True
            lengths_B[alive[ended_B]] = position + 1
            stopped_B[alive[ended_B]] = True
            running_B = ~stopped_B[alive]
            num_running = int(running_B.sum())
            if num_running == 0 or position + 1 == limit:
                break
            if num_running <= (1 - COMPACT_SHARE) * len(alive):
                kept = running_B.nonzero().squeeze(-1)
                there = kept.to(self.device)
                cache.batch_select_indices(there)
                alive, token_B = alive[kept], token_B[there]
                mask_BT = mask_BT[there] if mask_BT is not None else None
            if mask_BT is not None:
                mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(alive), 1)], dim=-1)
            logits_BV = self._forward(token_B.unsqueeze(-1), mask_BT, cache)
        rows = zip(
            requests,
            tokens_BR.tolist(),
            logprobs_BR.tolist(),
            entropies_BR.tolist(),
            lengths_B.tolist(),
            stopped_B.tolist(),
            strict=True,
        )
        return self.answers.rollouts(
            [(r, t[:n], lp[:n], e[:n], s) for r, t, lp, e, n, s in rows], encoded, policy=policy
        )
