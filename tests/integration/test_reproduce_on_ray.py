"""A generation's hashes depend on the number of workers, not on whether they are Ray's or in this process."""

from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytest
from support import tiny

from bootstrap import Lineage
from bootstrap.cli.remembered import remember_recipe
from bootstrap.cluster.pool import RayPool
from bootstrap.roles import Roles, colocated
from bootstrap.store.lineage_store import LineageStore

pytestmark = [pytest.mark.ray, pytest.mark.torch, pytest.mark.training, pytest.mark.usefixtures("ray_cluster")]


def test_a_lineage_of_two_ray_workers_is_made_again_with_and_without_ray(tmp_path: Path) -> None:
    settings, root = tiny.recipe(count=1), tmp_path / "tiny"
    with RayPool(2, batch_rows=64, wait_seconds=120) as pool:
        tiny.grow(settings, root, pool=pool)
        remember_recipe(LineageStore(root), settings, folder=tmp_path)
        lineage = Lineage(tmp_path, "tiny")
        # The same workers once more, which starting others would take longer than all else here.
        on_ray = lineage.reproduce("last", make_roles=lambda *_: cast(Roles, nullcontext(colocated(pool))))
    here = lineage.reproduce("last")
    assert [[check.name for check in found.checks if not check.same] for found in (on_ray, here)] == [[], []]
    assert all(found.is_same and found.workers == 2 for found in (on_ray, here))
