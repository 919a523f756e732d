"""The value function of PPO: a linear head on the policy's last hidden state, with its own optimizer.

It is no part of the model: its weights are kept with the optimizer's state, start at zero in every step and end with
it. Left out: a critic with its own layers, and one that outlives its step.
"""

import torch
from torch import Tensor, nn

from bootstrap.config.algorithms import ValueHead


class Critic(nn.Module):
    """Value of each token's state, from the hidden state that predicts the token."""

    def __init__(self, settings: ValueHead, *, hidden_size: int, device: torch.device) -> None:
        super().__init__()
        self.trunk_weight = settings.trunk_weight
        self.head = nn.Linear(hidden_size, 1, device=device)
        # Zero is the same in every worker, and makes the first advantages plain rewards.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden_ND: Tensor) -> Tensor:
        """Return the values (N); their gradient reaches the hidden states (N, D) scaled by `trunk_weight`."""
        fixed_ND = hidden_ND.detach()
        if self.trunk_weight:
            fixed_ND = fixed_ND + self.trunk_weight * (hidden_ND - fixed_ND)
        return self.head(fixed_ND).squeeze(-1)


def build_optimizer(critic: Critic, settings: ValueHead) -> torch.optim.AdamW:
    """Return the critic's optimizer: AdamW (arXiv:1711.05101) without decay, at `lr` divided by the hidden size.

    Adam moves every weight by about its rate, and a value sums one product per hidden dimension.
    """
    rate = settings.lr / critic.head.in_features
    return torch.optim.AdamW(critic.parameters(), lr=rate, weight_decay=0.0, foreach=True)
