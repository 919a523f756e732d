"""Builds torch optimizers from a recipe's settings."""

from pkgutil import resolve_name

import torch
from transformers import PreTrainedModel

from bootstrap.config.optimizers import AdamW, MuonAdamW, Optimizer
from bootstrap.training.model import embedding, output_matrix
from bootstrap.training.muon import Muon

Optimizers = dict[str, torch.optim.Optimizer]


def build_optimizers(model: PreTrainedModel, settings: Optimizer) -> Optimizers:
    """Return the optimizers by name; together they cover every trainable parameter once."""
    return resolve_name(settings.built_by)(model, settings)


def adamw(model: PreTrainedModel, settings: AdamW) -> Optimizers:
    """Return AdamW for all parameters (arXiv:1711.05101)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return {"adamw": _adamw(trained, settings.lr, settings.betas, settings.weight_decay)}


def muon_adamw(model: PreTrainedModel, settings: MuonAdamW) -> Optimizers:
    """Return Muon for the blocks' matrices, whose momentum it orthogonalises, and AdamW for the embedding, the head and
    all vectors."""
    trained = [p for p in model.parameters() if p.requires_grad]
    outer = {id(embedding(model)), id(output_matrix(model))}
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in outer]
    others = [p for p in trained if p.ndim != 2 or id(p) in outer]
    muon = Muon(matrices, lr=settings.muon_lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    # An adapter may have only matrices, and AdamW refuses an empty list.
    rest = {"adamw": _adamw(others, settings.adamw_lr, settings.betas, settings.weight_decay)} if others else {}
    return {"muon": muon, **rest}


def _adamw(
    parameters: list[torch.nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, foreach=True)
