"""A learner spread over several processes makes the updates of one that is whole."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.pretrained import small_folder, write
from support.ranks import together
from support.sharded_cases import Case, Trained, broken, by_one, by_ranks, cases_of, lost, resumed

from bootstrap.config.base_model import ScratchModel
from bootstrap.errors import WorkerError
from bootstrap.store.fingerprint import digests_of, fingerprint_digests, fingerprint_model
from bootstrap.worker import Worker

pytestmark = [pytest.mark.torch, pytest.mark.training, pytest.mark.slow]


def scratch(seed: int) -> dict[str, bytes]:
    worker = Worker(batch_rows=4, device="cpu")
    worker.build(ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2), "0123456789+=", seed)
    return dict(worker.export().files)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return cases_of(scratch(1), small_folder(), (scratch(2), small_folder(seed=1)))


@pytest.fixture(scope="module")
def whole(cases: list[Case]) -> dict[str, Trained]:
    return {case.name: by_one(case) for case in cases}


@pytest.fixture(scope="module")
def folder(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sharded")
    for case in cases:
        write(case.files, made / case.name / "base")
    return made


@pytest.fixture(scope="module")
def by_two(cases: list[Case], folder: Path) -> list[dict[str, Trained]]:
    return answers(together(2, by_ranks, folder / "two", cases, folder))


def answers(found: list) -> list[dict[str, Trained]]:
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found


def assert_same(case: Case, found: Trained, expected: Trained, *, updates: slice = slice(None)) -> None:
    """Two updates move a weight by 0.015 at most; in bf16 each pass rounds its gradient.

    AdamW moves a weight with a gradient near its epsilon by what the processor's rounding makes of it, so the mean
    over a tensor is compared.
    """
    bound = 1e-3 if case.bf16 else 2e-5
    for name, tensor in expected.weights.items():
        assert (found.weights[name] - tensor).abs().mean() < (bound if case.bf16 else 1e-6), name
    share = 0.02 if case.bf16 else 1e-3
    for mine, one in zip(found.metrics, expected.metrics[updates], strict=True):
        for name in ("loss", "rl_loss", "ce_loss", "kl_loss", "value_loss", "grad_norm", "ratio_max", "clip_fraction"):
            assert getattr(mine, name) == pytest.approx(getattr(one, name), rel=share, abs=bound), name
        assert mine.num_tokens == one.num_tokens and mine.flops == pytest.approx(one.flops)


def test_two_ranks_make_the_updates_of_one(by_two, whole, cases):
    for case in cases:
        assert_same(case, by_two[0][case.name], whole[case.name])
    streams = whole["untied"].metrics[0]
    assert min(abs(streams.rl_loss), streams.ce_loss, streams.kl_loss, streams.value_loss) > 0.005
    assert streams.grad_norm > 0.5, "clipping acts"


def test_two_ranks_give_the_token_scores_of_one(by_two, whole, cases):
    for case in cases:
        for name in ("logprobs", "values"):
            found = getattr(by_two[0][case.name], name) | getattr(by_two[1][case.name], name)
            expected = getattr(whole[case.name], name)
            assert found.keys() == expected.keys()
            for source, values in expected.items():
                # Rows of other lengths beside it round a sequence otherwise in bf16.
                assert found[source] == pytest.approx(values, abs=0.05 if case.bf16 else 1e-4)


def test_two_ranks_find_the_divergence_of_one(by_two, whole, cases):
    for case in cases:
        found = sum(one[case.name].nats for one in by_two)
        assert found == pytest.approx(whole[case.name].nats, rel=0.02 if case.bf16 else 1e-3) and found > 0.01


def test_an_export_is_the_folder_that_a_whole_model_gives(by_two, whole, cases):
    for case in cases:
        mine, one = by_two[0][case.name], whole[case.name]
        assert mine.files.keys() == one.files.keys()
        different = {name for name in one.files if mine.files[name] != one.files[name]}
        assert len(different) == 1 and different.pop().endswith(".safetensors"), "weights agree but for rounding"
        assert mine.fingerprint == fingerprint_model(mine.files)


@pytest.mark.parametrize(("size", "shard", "names"), [(1, 1, "untied"), (4, 4, "untied tied lora"), (4, 2, "untied")])
def test_other_numbers_of_ranks_continue_from_what_two_saved(size, shard, names, by_two, whole, cases, folder):
    cases = [case for case in cases if case.name in names.split()]
    found = answers(
        together(
            size,
            resumed,
            folder / f"resumed{size}.{shard}",
            cases,
            folder,
            2,
            f"{size}.{shard}",
            shard=shard,
        )
    )
    for case in cases:
        assert_same(case, found[0][case.name], whole[case.name], updates=slice(1, None))
        assert len({(one[case.name].fingerprint, one[case.name].second) for one in found}) == 1


def test_a_version_2_fingerprint_is_that_of_the_file(by_two):
    for one in by_two:
        data = one["tied"].files["model.safetensors"]
        assert one["tied"].second == fingerprint_digests(digests_of(data)[::-1])


def test_every_rank_refuses_broken_weights_that_one_of_them_reads(tmp_path):
    files = small_folder()
    tensors = safetensors.torch.load(files["model.safetensors"])
    name = "model.embed_tokens.weight"
    endless, twice = dict(tensors), {**tensors, "lm_head.weight": tensors[name].clone()}
    endless[name] = tensors[name].clone()
    endless[name][-1, 0] = torch.inf
    twice["lm_head.weight"][-1, 0] += 1
    folders = [{**files, "model.safetensors": safetensors.torch.save(one)} for one in (endless, twice)]
    for found in together(2, broken, tmp_path, folders):
        assert [error.partition(":")[0].partition(" ties")[0] for error in found] == [
            "weights with a wrong shape or values that are not finite",
            "config.json",
        ]


def test_a_rank_that_dies_ends_the_others_with_one_error(cases, tmp_path):
    alive, dead = together(2, lost, tmp_path, cases[0])
    assert dead is None
    assert isinstance(alive, WorkerError) and "rank 0 of 2" in str(alive)
