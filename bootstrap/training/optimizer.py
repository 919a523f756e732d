"""From a recipe's optimizer settings to torch optimizers."""

import torch
from transformers import PreTrainedModel

from bootstrap.config.optimizers import Optimizer
from bootstrap.training.model import embedding, output_matrix
from bootstrap.training.muon import Muon


def build_optimizers(model: PreTrainedModel, settings: Optimizer) -> dict[str, torch.optim.Optimizer]:
    """Return the optimizers by name; together they cover every trainable parameter once.

    Muon orthogonalises the momentum of matrices and is meant for those inside the blocks. The embedding, the head and
    all vectors go to AdamW (arXiv:1711.05101).
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if settings.type == "adamw":
        return {"adamw": _adamw([p for _, p in trained], settings.lr, settings.betas, settings.weight_decay)}
    outer = {id(embedding(model)), id(output_matrix(model))}
    matrices = [p for _, p in trained if p.ndim == 2 and id(p) not in outer]
    others = [p for _, p in trained if p.ndim != 2 or id(p) in outer]
    muon = Muon(matrices, lr=settings.muon_lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    # An adapter may have only matrices, and AdamW refuses an empty list.
    rest = {"adamw": _adamw(others, settings.adamw_lr, settings.betas, settings.weight_decay)} if others else {}
    return {"muon": muon, **rest}


def _adamw(
    parameters: list[torch.nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, foreach=True)
