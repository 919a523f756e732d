"""Muon's step is torch's, up to the rounding of bf16."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bootstrap import compute
from bootstrap.compute import MUON_COPIES, MUON_PORTION
from bootstrap.config.load import load_recipe
from bootstrap.training import muon
from bootstrap.training.muon import Muon, orthogonalise, portions

pytestmark = pytest.mark.torch

SHAPES = [(24, 24), (48, 24), (24, 48), (24, 24), (24, 48)]
COEFFICIENTS = (3.4445, -4.775, 2.0315)


def moved(kind: type[torch.optim.Muon], *, steps: int) -> list[torch.Tensor]:
    """Return matrices after some steps with given gradients, one of which is missing in the first step."""
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]
    optimizer = kind(matrices, lr=0.02, weight_decay=0.1, momentum=0.95)
    for step in range(steps):
        for place, matrix in enumerate(matrices):
            gradient = torch.randn(matrix.shape, generator=generator)
            matrix.grad = None if step == 0 and place == 2 else gradient
        optimizer.step()
    return matrices


def test_a_step_moves_matrices_as_torchs_does() -> None:
    for own, theirs, start in zip(
        moved(Muon, steps=4), moved(torch.optim.Muon, steps=4), moved(Muon, steps=0), strict=True
    ):
        distance = (theirs - start).norm()
        assert distance > 0.1
        assert (own - theirs).norm() < 0.02 * distance


@pytest.mark.parametrize("shape", [(16, 16), (32, 16), (16, 32)])
def test_matrices_keep_their_singular_vectors_and_get_singular_values_near_one(shape: tuple[int, int]) -> None:
    given = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalise(given, COEFFICIENTS, steps=5, eps=1e-7)
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.3 and values.median() > 0.6
    u, _, vh = torch.linalg.svd(given, full_matrices=False)
    turned = u.mT @ found @ vh.mT
    assert (turned - torch.diag_embed(torch.diagonal(turned, dim1=1, dim2=2))).abs().max() < 1e-3


def test_matrices_together_become_what_each_becomes_alone() -> None:
    given = torch.randn(4, 12, 20, generator=torch.Generator().manual_seed(2))
    together = orthogonalise(given, COEFFICIENTS, steps=5, eps=1e-7)
    for place in range(len(given)):
        alone = orthogonalise(given[place : place + 1], COEFFICIENTS, steps=5, eps=1e-7)
        torch.testing.assert_close(alone[0], together[place], atol=1e-5, rtol=1e-5)


def test_a_gradient_of_zero_moves_nothing_but_the_decay() -> None:
    matrix = torch.ones(4, 4, requires_grad=True)
    optimizer = Muon([matrix], lr=0.1, weight_decay=0.5)
    matrix.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((4, 4), 0.95))


@pytest.mark.parametrize("size", [1, 24 * 24, 2 * 24 * 48])
def test_portions_bound_what_is_copied_and_give_what_all_together_give(monkeypatch, size: int) -> None:
    together = moved(Muon, steps=4)
    seen: list[int] = []

    def watched(matrices_MRC: Tensor, *settings: object, **more: object) -> Tensor:
        seen.append(matrices_MRC.numel() if len(matrices_MRC) > 1 else 0)
        return orthogonalise(matrices_MRC, *settings, **more)

    monkeypatch.setattr(compute, "MUON_PORTION", size)
    monkeypatch.setattr(muon, "orthogonalise", watched)
    for own, whole in zip(moved(Muon, steps=4), together, strict=True):
        torch.testing.assert_close(own, whole, atol=1e-5, rtol=1e-5)
    assert seen and max(seen) <= size


def test_the_quickstarts_matrices_of_one_shape_go_through_together() -> None:
    model = load_recipe(Path(__file__).parents[2] / "pipelines" / "quickstart.yaml").base.model
    for rows, columns, number in ((model.intermediate_size, model.hidden_size, 2), (model.hidden_size, 96, 4)):
        matrices = [torch.empty(rows, columns, device="meta")] * number * model.num_layers
        assert list(portions(matrices)) == [matrices]


@pytest.mark.parametrize("shape", [(512, 512), (768, 256)])
def test_a_step_holds_no_more_copies_than_are_planned_for(shape: tuple[int, int]) -> None:
    matrices = [torch.zeros(shape).requires_grad_() for _ in range(4)]
    optimizer = Muon(matrices)
    for matrix in matrices:
        matrix.grad = torch.randn(shape)
    optimizer.step()
    with torch.profiler.profile(profile_memory=True) as profile:
        optimizer.step()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    size = 4 * sum(matrix.numel() for matrix in matrices)
    assert 2 * size < peak <= MUON_COPIES * size
    assert size < 4 * MUON_PORTION
