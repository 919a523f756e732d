"""One process's share of an optimizer update: the gradient of a shard.

The learner knows no algorithm: it sums three weighted streams (`Batch`). Each worker divides its shard's gradient by
the whole batch's normalizers, so that the sum over workers is the gradient of the whole batch. Left out: that sum and
the step that it makes (`update.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bootstrap.compute import MAX_LOGITS, ModelShape, forward_flops, train_flops
from bootstrap.config.algorithms import ValueHead
from bootstrap.config.optimizers import Optimizer
from bootstrap.learner_records import KlForm, TokenScores
from bootstrap.memory import Room
from bootstrap.records import Batch, Example
from bootstrap.training import packable
from bootstrap.training.batch import MicroBatch, micro_batches
from bootstrap.training.completion import completion
from bootstrap.training.critic import Critic, build_optimizer
from bootstrap.training.late_ends import ANYTIME, LateEnds
from bootstrap.training.loss import (
    anchor_penalty,
    cross_entropy,
    divergence,
    kl_estimate,
    kl_reward,
    logprob_difference,
    policy_gradient,
    value_loss,
)
from bootstrap.training.model import model_shape, output_matrix, output_width, readable
from bootstrap.training.optimizer import Optimizers, build_optimizers
from bootstrap.training.precision import recompute_blocks
from bootstrap.training.sums import Sums
from bootstrap.training.trainables import Trainables
from bootstrap.training.update import Gradient, Updater


class Learner:
    """Weights under training: model, optional critic, optimizers, and the frozen models of its streams (`teachers`).

    `compute`: context of a model's blocks, such as autocast; `recompute`: keep only the blocks' inputs for the backward
    pass; `late_ends`: end tokens that the policy cannot draw at first; `room`: bounds of memory, asked before each
    pass; `rank`: this process's place among the `num_ranks` that train the model together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        optimizer: Optimizer,
        *,
        shape: ModelShape,
        max_rows: int,
        teachers: Mapping[str, PreTrainedModel],
        compute: Callable[[], AbstractContextManager[Any]] = nullcontext,
        recompute: bool = False,
        critic: ValueHead | None = None,
        packed: bool = False,
        late_ends: LateEnds = ANYTIME,
        room: Room | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.model = model
        self.late_ends = late_ends
        self.room = room or Room()
        self.pad = model.config.pad_token_id or 0
        self.shape = shape
        self.max_rows = max_rows
        self.teachers = teachers
        self.compute = compute
        self.recompute = recompute
        self.packed = packed
        if packed:
            packable.check(model, compute)
        self.device = next(model.parameters()).device
        self.max_targets = max(MAX_LOGITS[self.device.type] // model.config.vocab_size, 1)
        self.critic: Critic | None = None
        critic_optimizers: Optimizers = {}
        if critic is not None:
            width = output_matrix(model).shape[1]
            self.critic = Critic(critic, hidden_size=width, device=self.device)
            critic_optimizers = {"critic": build_optimizer(self.critic, critic)}
        optimizers = build_optimizers(model, optimizer)
        self.trainables = Trainables(model, optimizers, critic=self.critic, critic_optimizers=critic_optimizers)
        self.updater = Updater(self.trainables, rank=rank, num_ranks=num_ranks)

    def gradient(self, batch: Batch) -> Gradient:
        """Return the gradient of this shard's examples; an empty shard gives zeros."""
        sums = self.accumulate(batch)
        flat = torch.cat([_grad(p).reshape(-1) for p in self.trainables.all]).float().cpu().numpy()
        for parameter in self.trainables.all:
            parameter.grad = None
        return Gradient(flat=flat, **asdict(sums))

    def accumulate(self, batch: Batch) -> Sums:
        """Leave the gradient of this shard's examples in the parameters, and return its sums."""
        # Dropout stays off: it would draw from its own generator, and sampling has none.
        self.model.eval()
        if self.recompute:
            recompute_blocks(self.model)
        for parameter in self.trainables.all:
            parameter.grad = None
        totals = {"rl": 0.0, "ce": 0.0, "kl": 0.0, "value": 0.0}
        ratio_max, difference, num_clipped, num_rl, num_tokens, flops = 1.0, 0.0, 0, 0, 0, 0.0
        hidden_square, value_square = 0.0, 0.0
        for examples, host in self._passes(batch.examples):
            micro = host.to(self.device)
            hidden_ND, logits_NV = self._completion(micro)
            hidden_ND.retain_grad()
            logprobs_N = _logprobs(logits_NV, micro.targets_N)
            is_rl_N = micro.is_rl_N
            policy_N = logprobs_N
            if batch.temperature != 1 or self.late_ends.first:
                policy_N = _logprobs(self.late_ends.without(logits_NV, micro) / batch.temperature, micro.targets_N)
            advantages_N, held = self._with_kl_targets(examples, micro, policy_N, temperature=batch.temperature)
            policy = policy_gradient(
                policy_N[is_rl_N],
                micro.old_logprobs_N[is_rl_N],
                (advantages_N * micro.importance_N)[is_rl_N],
                clip_low=batch.clip_low,
                clip_high=batch.clip_high,
                surrogate=batch.surrogate,
                ratio_level=batch.ratio_level,
                dual_clip=batch.dual_clip,
                row_N=micro.row_N[is_rl_N],
            )
            rl = (policy.loss + held) / batch.normalizers.rl
            ce = cross_entropy(logprobs_N, micro.ce_weights_N) / batch.normalizers.ce
            kl = self._kl(examples, micro, logits_NV, batch) / batch.normalizers.kl
            loss, values_N = rl + ce + kl, hidden_ND.new_zeros(0)
            if (critic := self.critic) is not None:
                mine_N = micro.is_valued_N
                values_N = critic(hidden_ND[mine_N])
                values_N.retain_grad()
                value = value_loss(values_N, micro.values_N[mine_N], micro.returns_N[mine_N], clip=batch.value_clip)
                value = value / batch.normalizers.value
                totals["value"] += float(value.detach())
                loss = loss + value
            loss.backward()
            hidden_square += _square(hidden_ND)
            value_square += _square(values_N)
            for name, value in (("rl", rl), ("ce", ce), ("kl", kl)):
                totals[name] += float(value.detach())
            ratio_max = max(ratio_max, float(policy.ratio_max))
            apart_N = (policy_N.detach() - micro.old_logprobs_N)[is_rl_N]
            difference = max(difference, logprob_difference(apart_N, micro.row_N[is_rl_N]))
            num_clipped += int(policy.num_clipped)
            num_rl += int(micro.is_rl_N.sum())
            num_tokens += sum(micro.lengths)
            flops += train_flops(self.shape, micro.lengths)
            flops += self._teacher_flops(examples, micro)
        return Sums(
            rl_loss=totals["rl"],
            ce_loss=totals["ce"],
            kl_loss=totals["kl"],
            value_loss=totals["value"],
            ratio_max=ratio_max,
            logprob_difference=difference,
            hidden_square=hidden_square,
            value_square=value_square,
            num_clipped=num_clipped,
            num_rl_tokens=num_rl,
            num_tokens=num_tokens,
            flops=flops,
        )

    def _completion(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        """Return the model's last hidden state (N, D) and logits (N, V) at each completion token's predictor."""
        places = (micro.place_S[micro.row_N], micro.position_N)
        return completion(self.model, micro.tokens_BT, micro.sequence_BT, places, self.compute)

    def _micro_batches(self, examples: Sequence[Example]) -> Iterator[tuple[list[Example], MicroBatch]]:
        return micro_batches(
            examples,
            pad=self.pad,
            max_rows=self.max_rows,
            max_targets=self.max_targets,
            max_tokens=self.room.tokens(),
            packed=self.packed,
        )

    def _passes(self, examples: Sequence[Example]) -> Iterator[tuple[list[Example], MicroBatch]]:
        for part, micro in self._micro_batches(examples):
            self.room.passing(micro.tokens_BT.numel(), sequences=len(micro.lengths))
            yield part, micro

    @torch.no_grad()
    def recompute_logprobs(self, examples: Sequence[Example], *, temperature: float) -> list[TokenScores]:
        """Return the current weights' token scores of each example, in no particular order."""
        self.model.eval()
        found = []
        for part, host in self._passes(examples):
            micro = host.to(self.device)
            hidden_ND, logits_NV = self._completion(micro)
            logits_NV = self.late_ends.without(logits_NV, micro)
            logprobs_N = _logprobs(logits_NV / temperature, micro.targets_N)
            values_N = self.critic(hidden_ND) if self.critic is not None else None
            rewards_N = self._token_rewards(part, micro, logprobs_N, temperature=temperature)
            for row, example in enumerate(part):
                mine_N = micro.row_N == row
                kl_targets = {
                    kl_target.model: model_shape(self.teachers[kl_target.model]) for kl_target in example.kl_targets
                }
                shapes = (self.shape, *kl_targets.values())
                found.append(
                    TokenScores(
                        source=example.source,
                        logprobs=tuple(logprobs_N[mine_N].tolist()),
                        values=tuple(values_N[mine_N].tolist()) if values_N is not None else (),
                        rewards=tuple(rewards_N[mine_N].tolist()),
                        flops=sum(forward_flops(shape, [micro.lengths[row]]) for shape in shapes),
                    )
                )
        return found

    def _token_rewards(
        self, examples: list[Example], micro: MicroBatch, logprobs_N: Tensor, *, temperature: float
    ) -> Tensor:
        """Return each token's reward (N) from the KL targets in the reward."""
        rewards_N = torch.zeros_like(logprobs_N)
        for fingerprint, rows in self._turns(rows_by_kl_target, examples):
            mine_N, logits_NV = self._frozen_logits(fingerprint, rows, micro)
            logits_NV = self.late_ends.without(logits_NV.float(), micro, mine_N)
            kl_target_N = _kl_target_logprobs(logits_NV / temperature, micro.targets_N[mine_N])
            own_N, form = logprobs_N[mine_N], KlForm.REWARD_K1
            weight_R = logprobs_N.new_tensor([_weight(example, fingerprint, form) for example in examples])
            estimate_N = kl_estimate(own_N, _mask_unknown_tokens(kl_target_N, own_N), estimator="k1")
            rewards_N[mine_N] -= weight_R[micro.row_N[mine_N]] * estimate_N
        return rewards_N

    def _with_kl_targets(
        self, examples: list[Example], micro: MicroBatch, logprobs_N: Tensor, *, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return the advantages (N) with the KL targets' rewards, and the sum of their loss terms and the anchor
        penalty."""
        advantages_N, held = micro.advantages_N, logprobs_N.new_zeros(())
        if any(example.anchor_penalty_weights for example in examples):
            held = held + anchor_penalty(logprobs_N, micro.old_logprobs_N, micro.anchor_penalty_weights_N)
        for fingerprint, rows in self._turns(rows_by_kl_target, examples):
            mine_N, logits_NV = self._frozen_logits(fingerprint, rows, micro)
            logits_NV = self.late_ends.without(logits_NV.float(), micro, mine_N)
            kl_target_N = _kl_target_logprobs(logits_NV / temperature, micro.targets_N[mine_N])
            row_N, scale_N = micro.row_N[mine_N], micro.loss_scale_N[mine_N]
            for form in KlForm:
                weight_R = logprobs_N.new_tensor([_weight(example, fingerprint, form) for example in examples])
                if not weight_R.any():
                    continue
                weight_N = weight_R[row_N] * scale_N
                if form.in_loss:
                    own_N = logprobs_N[mine_N]
                    estimate_N = kl_estimate(own_N, _mask_unknown_tokens(kl_target_N, own_N), estimator=form.estimator)
                    held = held + (weight_N * estimate_N).sum()
                else:
                    old_N = micro.old_logprobs_N[mine_N]
                    reward_N = kl_reward(old_N, _mask_unknown_tokens(kl_target_N, old_N), row_N, form=form)
                    advantages_N = advantages_N.index_put((mine_N,), advantages_N[mine_N] + weight_N * reward_N)
        return advantages_N, held

    def _kl(self, examples: list[Example], micro: MicroBatch, logits_NV: Tensor, batch: Batch) -> Tensor:
        """Return the summed divergence to the examples' teachers; one forward pass per distinct teacher."""
        total = logits_NV.new_zeros(())
        for fingerprint, rows in self._turns(rows_by_teacher, examples):
            mine_N, teacher_logits_NV = self._frozen_logits(fingerprint, rows, micro)
            weights_N = micro.kl_weights_N[mine_N]
            total = total + divergence(
                logits_NV[mine_N], teacher_logits_NV, weights_N, beta=batch.kl_beta, top_k=batch.kl_top_k
            )
        return total

    @torch.no_grad()
    def _frozen_logits(self, fingerprint: str, rows: list[int], micro: MicroBatch) -> tuple[Tensor, Tensor]:
        """Return the mask (N) of the tokens of some rows, and a frozen model's logits at these tokens.

        One forward pass, also without any rows. Outputs that the student lacks are cut off.
        """
        mine_N = torch.isin(micro.row_N, torch.tensor(rows, dtype=torch.long, device=self.device))
        places_R = micro.place_S[rows or [0]].unique()
        # Places ascend, so `searchsorted` gives a row's place among the teacher's rows.
        place_N = torch.searchsorted(places_R, micro.place_S[micro.row_N[mine_N]])
        model = self.teachers[fingerprint]
        sequence_RT = micro.sequence_BT[places_R] if micro.sequence_BT is not None else None
        tokens_RT = readable(micro.tokens_BT[places_R], model)
        _, logits_NV = completion(model, tokens_RT, sequence_RT, (place_N, micro.position_N[mine_N]), self.compute)
        return mine_N, logits_NV[:, : output_width(self.model)]

    def _turns(
        self, rows_of: Callable[[list[Example]], dict[str, list[int]]], examples: list[Example]
    ) -> Iterable[tuple[str, list[int]]]:
        """Yield the frozen models that are called in a pass, each with its rows, in the order of the calls."""
        return rows_of(examples).items()

    def _teacher_flops(self, examples: list[Example], micro: MicroBatch) -> float:
        return sum(
            forward_flops(model_shape(self.teachers[fingerprint]), [micro.lengths[row] for row in rows])
            for passes in (rows_by_teacher(examples), rows_by_kl_target(examples))
            for fingerprint, rows in passes.items()
        )


def _logprobs(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return the log-probability of each target in float32."""
    return torch.log_softmax(logits_NV, dim=-1).gather(-1, targets_N.unsqueeze(-1)).squeeze(-1)


def _kl_target_logprobs(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return a KL target's log-probability of each token, -inf where it lacks the output.

    The policy samples over the full width of its output matrix, padding included.
    """
    last = logits_NV.shape[-1] - 1
    logprobs_N = _logprobs(logits_NV, targets_N.clamp(max=last))
    return logprobs_N.masked_fill(targets_N > last, -torch.inf)


def _mask_unknown_tokens(kl_target_logprobs_N: Tensor, own_logprobs_N: Tensor) -> Tensor:
    """Return the KL target's log-probabilities, with the policy's own where the target lacks the output (padding)."""
    return torch.where(kl_target_logprobs_N.isneginf(), own_logprobs_N.detach(), kl_target_logprobs_N)


def rows_by_teacher(examples: list[Example]) -> dict[str, list[int]]:
    """Map each teacher of the `kl` stream to its rows, ascending."""
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        if example.kl_weight:
            assert example.teacher is not None, f"{example.source} has a kl weight and no teacher"
            rows.setdefault(example.teacher, []).append(row)
    return rows


def rows_by_kl_target(examples: list[Example]) -> dict[str, list[int]]:
    """Map each KL target of the `rl` stream to its rows, ascending."""
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        assert example.advantages or not example.kl_targets, f"{example.source} has a KL target and no advantages"
        for model in dict.fromkeys(kl_target.model for kl_target in example.kl_targets):
            rows.setdefault(model, []).append(row)
    return rows


def _weight(example: Example, model: str, form: KlForm) -> float:
    return sum(
        kl_target.weight for kl_target in example.kl_targets if kl_target.model == model and kl_target.form is form
    )


def _square(activations: Tensor) -> float:
    """Return the squared norm of the gradient at activations, in double precision: small ones would vanish."""
    grad = activations.grad
    return float(grad.double().square().sum()) if grad is not None else 0.0


def _grad(parameter: torch.nn.Parameter) -> Tensor:
    return parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
