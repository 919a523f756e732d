"""Reward models from preferences: the loss, pairs from a lineage's answers, and what a verifier makes of them."""

import json
import math
from pathlib import Path

import pytest
import torch

from bootstrap.cli.reward_model import read_pairs, train_reward_model, write_pairs
from bootstrap.config.base_model import ScratchModel
from bootstrap.config.models import RewardModelVerifier
from bootstrap.config.working import Forms, WorkingTask
from bootstrap.errors import RecipeError
from bootstrap.prompts.build import build_task
from bootstrap.scoring.verifier import Answer, build_verifier
from bootstrap.store import durable
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.model import build_scratch, export
from bootstrap.training.preference import CENTER, Pair, preference_loss, split, train
from tests.support import tiny

pytestmark = [pytest.mark.torch, pytest.mark.training]

TASK = build_task(WorkingTask(base_level=3))
HOW = {"updates": 60, "batch_size": 16, "lr": 3e-3, "held_out": 0.25, "seed": 0}


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    settings = ScratchModel(hidden_size=32, intermediate_size=48, num_layers=2, num_heads=2)
    model, tokenizer = build_scratch(settings, TASK.characters, seed=0)
    durable.write_folder(folder, export(model, tokenizer, passed_on={}).files)
    return folder


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One language in the working is preferred to another."""
    foreign = TASK.showing(Forms(mixed_language=1)).demonstrate([2, 3], 400, seed=0)
    rows = [
        {"prompt": prompt.text, "chosen": TASK.solution(prompt), "rejected": completion}
        for prompt, completion in foreign
        if completion != TASK.solution(prompt)
    ]
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def reward_model(language_model: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "preferences"
    train_reward_model(pairs_file, folder, base=language_model, **HOW)
    return folder


def test_the_loss_is_bradley_terrys_with_scores_held_near_zero() -> None:
    chosen, rejected = torch.tensor([1.0, -0.5]), torch.tensor([0.0, 0.5])
    by_hand = [
        math.log(1 + math.exp(-1.0)) + CENTER * 1.0,
        math.log(1 + math.exp(1.0)) + CENTER * 0.0,
    ]
    assert preference_loss(chosen, rejected).item() == pytest.approx(sum(by_hand) / 2)


def test_it_learns_the_preference_and_holds_on_prompts_it_has_not_seen(reward_model: Path) -> None:
    facts = json.loads((reward_model / "preferences.json").read_bytes())
    assert facts["accuracy"] > 0.9 > facts["accuracy_before"]
    assert facts["held_out_pairs"] > 50


def test_the_same_seed_gives_the_same_weights_and_another_one_others(
    reward_model: Path, language_model: Path, pairs_file: Path, tmp_path: Path
) -> None:
    weights = (reward_model / "model.safetensors").read_bytes()
    for name, seed, same in (("again", 0, True), ("other", 1, False)):
        train_reward_model(pairs_file, tmp_path / name, base=language_model, **{**HOW, "seed": seed})
        assert ((tmp_path / name / "model.safetensors").read_bytes() == weights) is same


def test_a_model_that_knows_dropout_is_trained_without_it(language_model: Path, tmp_path: Path) -> None:
    config = json.loads((language_model / "config.json").read_bytes()) | {"attention_dropout": 0.5}
    for file in language_model.iterdir():
        data = json.dumps(config).encode() if file.name == "config.json" else file.read_bytes()
        durable.write_file(tmp_path / file.name, data)
    pairs = [Pair(prompt=prompt, chosen="12", rejected="21") for prompt in ("1+1=", "2+1=")]
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        made = train(
            tmp_path,
            pairs,
            pairs,
            encode=lambda tokenizer, prompt, answer: tokenizer.encode(prompt + answer),
            updates=4,
            batch_size=2,
            lr=1e-3,
            seed=3,
        )
        found.append(made.files["model.safetensors"])
    assert found[0] == found[1]


def test_the_verifier_reads_it_and_prefers_as_it_was_taught(reward_model: Path) -> None:
    settings = RewardModelVerifier.model_validate({"model": {"path": str(reward_model)}, "max_length": 128})
    verifier = build_verifier(settings)
    shown = TASK.showing(Forms(mixed_language=1)).demonstrate([3], 60, seed=9)
    pairs = [(p.text, TASK.solution(p), completion) for p, completion in shown if completion != TASK.solution(p)]
    rewards = [
        [j.reward for j in verifier.judge([Answer(prompt=p, text=text, reference="") for text in (one, other)])]
        for p, one, other in pairs
    ]
    assert sum(one > other for one, other in rewards) > 0.9 * len(rewards)


def test_all_pairs_of_a_prompt_are_on_one_side() -> None:
    pairs = [Pair(prompt=f"{n}", chosen=f"{k}", rejected="no") for n in range(40) for k in range(3)]
    shown, measured = split(pairs, held_out=0.25, seed=3)
    assert len(shown) + len(measured) == len(pairs)
    assert len(measured) == 30
    assert not {pair.prompt for pair in shown} & {pair.prompt for pair in measured}
    with pytest.raises(RecipeError, match="bring more pairs"):
        split(pairs[:3], held_out=0.25, seed=3)


def test_pairs_come_from_right_answers_to_one_prompt_that_differ_in_the_reward(tmp_path: Path) -> None:
    recipe = tiny.recipe(
        count=1,
        task={"type": "working", "base_level": 1, "heldout_fraction": 0.25, "forms": {"direct": 0.5}},
        verifier={"type": "exact", "answer": {"type": "tagged"}},
        base={"model": tiny.MODEL, "steps": [{**recipe_base_step(), "updates": 150}]},
        steps=[
            {
                **tiny.REJECTION,
                "source": {"type": "rejection", "prompts": 40, "samples_per_prompt": 8, "levels": "reached"},
            }
        ],
    )
    tiny.grow(recipe, tmp_path / "store")
    store = LineageStore(tmp_path / "store")
    assert "by brevity" in write_pairs(store, "1", tmp_path / "pairs.jsonl", by="brevity")
    pairs = read_pairs(tmp_path / "pairs.jsonl")
    assert pairs
    for pair in pairs:
        assert pair.chosen.startswith("<answer>")
        assert pair.rejected.startswith("<think>")
        assert pair.chosen in pair.rejected
    with pytest.raises(RecipeError, match="is there already"):
        write_pairs(store, "1", tmp_path / "pairs.jsonl", by="brevity")
    with pytest.raises(RecipeError, match="no answer of gen-1 has a reward called language; there is brevity, exact"):
        write_pairs(store, "1", tmp_path / "other.jsonl", by="language")


def recipe_base_step() -> dict[str, object]:
    return tiny.recipe().model_dump(mode="json")["base"]["steps"][0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is no JSON"),
        ('{"prompt": "a", "chosen": "b"}', "line 1 must hold texts called prompt, chosen, rejected"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "prefers an answer to itself"),
    ],
)
def test_a_file_that_holds_no_pairs_is_refused_by_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RecipeError, match=message):
        read_pairs(path)


def test_a_pair_may_hold_what_unicode_counts_as_the_end_of_a_line(tmp_path: Path) -> None:
    path, texts = tmp_path / "pairs.jsonl", {"prompt": "a", "chosen": "b\u2028c", "rejected": "d\x85e"}
    path.write_bytes(2 * (json.dumps(texts, ensure_ascii=False) + "\r\n").encode())
    assert read_pairs(path) == 2 * [Pair(**texts)]
    path.write_bytes(b"")
    assert not read_pairs(path)


def test_a_folder_without_a_language_model_is_refused(tmp_path: Path, pairs_file: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="cannot become a reward model"):
        train_reward_model(pairs_file, tmp_path / "made", base=tmp_path / "empty", **HOW)


def test_padding_without_a_row_in_the_embedding_is_refused(
    language_model: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "padded"
    files = {path.name: path.read_bytes() for path in language_model.iterdir()}
    settings = json.loads(files["tokenizer_config.json"]) | {"pad_token": "[PAD]"}
    durable.write_folder(folder, {**files, "tokenizer_config.json": json.dumps(settings).encode()})
    with pytest.raises(RecipeError, match=r"pads with token \d+, and the model's embedding has \d+ rows"):
        train_reward_model(pairs_file, tmp_path / "made", base=folder, **HOW)
