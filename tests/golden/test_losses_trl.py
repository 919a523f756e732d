"""Policy losses and divergences against TRL's own code on random inputs, in float64, gradients included.

TRL computes its losses inside its trainers' methods; they are called here on a plain object with the settings that they
read, in place of a trainer with a model and a data set. Advantages stand in the middle of TRL's sampling: of these it
is the deviation that is TRL's own here (`test_advantages.py` has the formulas). TRL takes seconds to load, which the
process that runs these tests alone pays.
"""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from bootstrap.config.policy_terms import OffPolicyCorrection
from bootstrap.learner_records import KlForm, RatioLevel, Surrogate
from bootstrap.training.algorithms import grpo
from bootstrap.training.algorithms.correction import weights
from bootstrap.training.algorithms.normalize import STD_EPSILON, deviation
from bootstrap.training.loss import divergence, kl_estimate, policy_gradient

pytestmark = pytest.mark.torch

B, T = 6, 9
LENGTHS = (9, 1, 4, 7, 2, 9)
LONGEST = 12


class Case:
    """Completions (B, T) of unequal length as TRL has them, and flattened (N) as the learner has them."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.mask = torch.arange(T) < torch.tensor(LENGTHS).unsqueeze(1)
        self.logprobs = -normal(B, T).abs()
        self.old = self.logprobs + 0.4 * normal(B, T)
        self.kl_target = self.logprobs + 0.6 * normal(B, T)
        self.advantages = normal(B)
        self.sampler = self.old + 0.5 * normal(B, T)

    def flat(self, values: torch.Tensor) -> torch.Tensor:
        return values[self.mask]

    @property
    def rows(self) -> torch.Tensor:
        return torch.arange(B).unsqueeze(1).expand(B, T)[self.mask]

    def trl(self, loss_type: str, *, level: str = "token", **settings) -> tuple[float, torch.Tensor]:
        """Return TRL's loss and its gradient by completion token."""
        logprobs = self.logprobs.clone().requires_grad_()
        inputs = {
            "prompt_ids": torch.zeros(B, 2, dtype=torch.long),
            "prompt_mask": torch.ones(B, 2, dtype=torch.long),
            "completion_ids": torch.zeros(B, T, dtype=torch.long),
            "completion_mask": self.mask.long(),
            "advantages": self.advantages,
            "old_per_token_logps": settings.get("old", self.old),
            "ref_per_token_logps": self.kl_target,
            "num_items_in_batch": self.mask.sum(),
            "importance_sampling_ratio": settings.get("importance"),
        }
        trainer = SimpleNamespace(
            args=SimpleNamespace(delta=settings.get("delta"), use_bias_correction_kl=False, steps_per_generation=1),
            beta=settings.get("beta", 0.0),
            epsilon_low=settings.get("low", 0.2),
            epsilon_high=settings.get("high", 0.28),
            loss_type=loss_type,
            importance_sampling_level=level,
            max_completion_length=LONGEST,
            top_entropy_quantile=1.0,
            off_policy_mask_threshold=None,
            use_vllm="importance" in settings,
            vllm_importance_sampling_correction=True,
            aux_loss_enabled=False,
            _entropy_bonus_enabled=False,
            current_gradient_accumulation_steps=1,
            model=SimpleNamespace(training=True),
            accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
            _metrics={"train": defaultdict(list)},
            _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, torch.zeros(B, T), None),
        )
        from trl.trainer import grpo_trainer

        loss = grpo_trainer.GRPOTrainer._compute_loss(trainer, None, inputs)
        loss.backward()
        return loss.item(), logprobs.grad[self.mask]

    def ours(
        self,
        aggregation: str,
        *,
        beta: float = 0.0,
        low: float | None = 0.2,
        high: float | None = 0.28,
        weight: torch.Tensor | float = 1.0,
        **form,
    ) -> tuple[float, torch.Tensor]:
        """Return our loss and its gradient, with the weights and the normalizer of `stream.rl_stream`."""
        logprobs = self.flat(self.logprobs).clone().requires_grad_()
        lengths = torch.tensor(LENGTHS, dtype=torch.float64)
        scale = (1 / lengths if aggregation == "sequence" else torch.ones(B, dtype=torch.float64))[self.rows]
        normalizer = {"token": sum(LENGTHS), "sequence": B, "constant": B * LONGEST}[aggregation]
        found = policy_gradient(
            logprobs,
            self.flat(self.old),
            self.advantages[self.rows] * scale * weight,
            clip_low=low,
            clip_high=high,
            row_N=self.rows,
            **form,
        )
        held = (beta * scale * kl_estimate(logprobs, self.flat(self.kl_target), estimator="k3")).sum()
        loss = (found.loss + held) / normalizer
        loss.backward()
        return loss.item(), logprobs.grad


def assert_same(mine: tuple[float, torch.Tensor], theirs: tuple[float, torch.Tensor]) -> None:
    assert mine[0] == pytest.approx(theirs[0], rel=1e-9)
    assert_same_gradient(mine, theirs)


def assert_same_gradient(mine: tuple[float, torch.Tensor], theirs: tuple[float, torch.Tensor]) -> None:
    assert torch.allclose(mine[1], theirs[1], rtol=1e-9, atol=1e-12)
    assert theirs[1].abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("loss_type", "aggregation"), [("grpo", "sequence"), ("dapo", "token"), ("dr_grpo", "constant")]
)
def test_the_clipped_surrogate_is_trls_in_every_aggregation(seed, loss_type, aggregation):
    case = Case(seed)
    assert_same(case.ours(aggregation), case.trl(loss_type))


@pytest.mark.parametrize("seed", range(3))
def test_the_dual_clip_is_trls_two_sided_clip(seed):
    case = Case(seed)
    case.old = case.old - 0.6
    clipped = case.ours("token", dual_clip=1.5)
    assert_same(clipped, case.trl("dapo", delta=1.5))
    assert not torch.allclose(clipped[1], case.ours("token")[1]), "the bound must act"


@pytest.mark.parametrize("seed", range(3))
def test_the_sequence_ratio_is_trls_gspo(seed):
    case = Case(seed)
    mine = case.ours("sequence", low=0.05, high=0.06, ratio_level=RatioLevel.SEQUENCE)
    assert_same(mine, case.trl("grpo", level="sequence", low=0.05, high=0.06))


@pytest.mark.parametrize("seed", range(3))
def test_the_truncated_surrogate_is_trls_cispo(seed):
    case = Case(seed)
    mine = case.ours("token", low=None, high=0.2, surrogate=Surrogate.TRUNCATED)
    assert_same(mine, case.trl("cispo", high=1.2))


@pytest.mark.parametrize("seed", range(3))
def test_k3_to_the_reference_is_trls_term_in_the_loss(seed):
    case = Case(seed)
    assert_same(case.ours("sequence", beta=0.3), case.trl("grpo", beta=0.3))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [RatioLevel.TOKEN, RatioLevel.PRODUCT])
@pytest.mark.parametrize("surrogate", [Surrogate.TRUNCATED, Surrogate.MASKED])
def test_importance_sampling_of_off_policy_rollouts_has_trls_gradient(seed, level, surrogate):
    case = Case(seed)
    difference = (case.logprobs - case.old) * case.mask
    # `_generate_and_score_completions`: ratio to the sampler, of the token or of the whole sequence, capped or masked.
    ratio = torch.exp(difference.sum(-1, keepdim=True) if level is RatioLevel.PRODUCT else difference)
    weight = ratio.clamp(max=1.3) if surrogate is Surrogate.TRUNCATED else ratio.masked_fill(ratio > 1.3, 0.0)
    theirs = case.trl("dapo", old=case.logprobs, importance=weight.expand(B, T))
    mine = case.ours("token", low=None, high=0.3, surrogate=surrogate, ratio_level=level)
    assert_same_gradient(mine, theirs)


MODES = {"token": RatioLevel.TOKEN, "sequence": RatioLevel.PRODUCT}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", MODES)
@pytest.mark.parametrize("outside", ["truncate", "mask"])
@pytest.mark.parametrize(("low", "high"), [(None, 1.4), (0.6, 2.0), (0.7, 1e6)])
def test_the_two_ratios_of_decoupled_ppo_are_trls_importance_sampling_correction(seed, level, outside, low, high):
    case = Case(seed)
    # `_generate_and_score_completions`, `vllm_importance_sampling_mode` `{level}_{outside}`, in its own words.
    difference = (case.old - case.sampler) * case.mask
    ratio = torch.exp(difference.sum(dim=-1, keepdim=True) if level == "sequence" else difference)
    if outside == "truncate":
        ratio = torch.clamp(ratio, min=low, max=high)
    else:
        invalid = (ratio < (-math.inf if low is None else low)) | (ratio > high)
        ratio = ratio.masked_fill(invalid, value=0.0)
    settings = OffPolicyCorrection(level=MODES[level], outside=outside, low=low, high=high)
    mine = [
        weights(old[keep].tolist(), sampler[keep].tolist(), settings)
        for old, sampler, keep in zip(case.old, case.sampler, case.mask, strict=True)
    ]
    flat = torch.tensor([value for row in mine for value in row], dtype=torch.float64)
    assert torch.allclose(flat, case.flat(ratio.expand(B, T)), rtol=1e-12)
    assert len(set(flat.tolist())) > 2, "some are within the bounds and some are not"
    assert_same(case.ours("token", weight=flat), case.trl("dapo", importance=ratio.expand(B, T)))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_normalised_advantages_are_trls_times_the_root_of_bessels_correction(size):
    from trl.trainer.utils import nanstd

    rewards = torch.randn(5, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    rewards[4] = 0.5
    # `_generate_and_score_completions`, `scale_rewards` "group" and "batch"; the correction is a float32 there.
    centred = rewards - rewards.mean(1, keepdim=True)
    group, batch = nanstd(rewards, dim=1).unsqueeze(1), nanstd(rewards)
    mine = torch.tensor([grpo.advantages(row.tolist(), normalize_std=True) for row in rewards], dtype=torch.float64)
    theirs, factor = centred / (group + 1e-4), math.sqrt(size / (size - 1))
    assert torch.allclose(mine * (group / factor + STD_EPSILON), theirs * (group + 1e-4), rtol=1e-6)
    # Beside a deviation this large the epsilon is nothing.
    scaled = torch.tensor(grpo.advantages((1e4 * rewards[0]).tolist(), normalize_std=True), dtype=torch.float64)
    assert torch.allclose(scaled, factor * centred[0] / group[0], rtol=1e-5)
    assert not mine[4].any() and not theirs[4].any(), "equal rewards"
    assert deviation(rewards.flatten().tolist()) * math.sqrt(5 * size / (5 * size - 1)) == pytest.approx(batch.item())


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_divergence_is_trls_generalised_jensen_shannon(beta):
    from trl.experimental.gkd import gkd_trainer

    generator = torch.Generator().manual_seed(1)
    teacher = 2 * torch.randn(7, 11, generator=generator)
    mine = 2 * torch.randn(7, 11, generator=generator)
    theirs = mine.clone().requires_grad_()
    mine.requires_grad_()
    loss = divergence(mine, teacher, torch.ones(7), beta=beta)
    expected = gkd_trainer.GKDTrainer.generalized_jsd_loss(
        theirs.unsqueeze(0), teacher.unsqueeze(0), beta=beta, reduction="sum"
    )
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(mine.grad, theirs.grad, atol=1e-6)


def test_every_form_of_kl_target_has_an_estimator():
    values = torch.zeros(2)
    for form in KlForm:
        assert torch.equal(kl_estimate(values, values, estimator=form.estimator), values)
