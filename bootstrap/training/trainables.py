"""What an update changes: the parameters of a model and its critic, and the optimizers that move them."""

from collections.abc import Mapping

import torch
from torch import nn

from bootstrap.training.optimizer import Optimizers


class Trainables:
    """The trained parameters of a model and, where there is one, its critic, with their optimizers by name."""

    def __init__(
        self, model: nn.Module, optimizers: Optimizers, *, critic: nn.Module | None, critic_optimizers: Optimizers
    ) -> None:
        self.optimizers, self.critic_optimizers = optimizers, critic_optimizers
        self.policy = [p for p in model.parameters() if p.requires_grad]
        self.critic = list(critic.parameters()) if critic is not None else []
        self.all = [*self.policy, *self.critic]
        """In order, the critic's last."""
        in_critic = critic.named_parameters(prefix="critic") if critic is not None else ()
        self.named = {**dict(model.named_parameters()), **dict(in_critic)}
        """Every parameter by name, frozen ones too."""
        self._lr = {name: [g["lr"] for g in o.param_groups] for name, o in self.all_optimizers.items()}

    @property
    def all_optimizers(self) -> Optimizers:
        """The optimizers of both, by name."""
        return {**self.optimizers, **self.critic_optimizers}

    def step(self, optimizers: Mapping[str, torch.optim.Optimizer], lr_factor: float) -> None:
        """Let some of the optimizers step by the gradients in their parameters, at their rates times a factor."""
        for name, optimizer in optimizers.items():
            for group, lr in zip(optimizer.param_groups, self._lr[name], strict=True):
                group["lr"] = lr * lr_factor
            optimizer.step()
