"""A reward model from preferences: a language model's body under one number, trained on pairs of answers.

For answers c and r to one prompt, of which c was preferred, with scores s (Bradley-Terry; InstructGPT,
arXiv:2203.02155, equation 1; the second term keeps scores near 0, arXiv:2312.09244, appendix B):

    loss = -log sigmoid(s(c) - s(r)) + CENTER * (s(c) + s(r))^2

Only differences are learned, so a score means nothing by itself: sigmoid(s) is no probability of being right. Left out:
tokenisation (the caller's, by the verifier's rules) and the origin of pairs (`stages/preferences.py`).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from bootstrap.canonical import json_file
from bootstrap.config.model_texts import check_texts_in
from bootstrap.errors import RecipeError
from bootstrap.reading import named_folder
from bootstrap.seeds import derive_seed, generator
from bootstrap.store.fingerprint import MODEL_WEIGHTS
from bootstrap.training.model import LIBRARY_FAULTS, brief, passed_on, weights_bytes

CENTER = 0.01
SCORED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two answers to one prompt."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """A trained reward model."""

    files: Mapping[str, bytes]
    """A Hugging Face folder for sequence classification, with one output."""
    accuracy: float
    """Share of the held-out pairs whose chosen answer has the higher score; ties count as wrong."""
    before: float
    """Held-out accuracy before training."""
    loss: float
    """Mean loss of the last updates, a tenth of all."""


def split(pairs: Sequence[Pair], *, held_out: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Return (trained on, held out): a share `held_out` of the prompts with all their pairs, and the others.

    Raises RecipeError when one side is empty.
    """
    prompts = sorted({pair.prompt for pair in pairs})
    kept = set(generator(seed, "held-out pairs").sample(prompts, round(held_out * len(prompts))))
    sides = [p for p in pairs if p.prompt not in kept], [p for p in pairs if p.prompt in kept]
    if not all(sides):
        raise RecipeError(
            f"{len(prompts)} prompts with pairs leave nothing to train on or nothing to measure by at a held-out share "
            f"of {held_out:g}; bring more pairs, or change --held-out"
        )
    return sides


def train(
    folder: Path,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    *,
    encode: Callable[[PreTrainedTokenizerBase, str, str], Sequence[int]],
    updates: int,
    batch_size: int,
    lr: float,
    seed: int,
) -> Preferences:
    """Return the reward model trained by AdamW from the language model in `folder`, with `batch_size` pairs an update.

    `encode`: (tokenizer, prompt, answer) -> tokens. The same arguments give the same weights. Raises RecipeError for a
    folder without a language model with a padding token, and for a text longer than its context.
    """
    torch.set_num_threads(1)
    tokenizer, model = _open(folder, seed=derive_seed(seed, "score head"))
    limit = getattr(model.config, "max_position_embeddings", None)

    def tokens(pair: Pair, answer: str) -> list[int]:
        found = list(encode(tokenizer, pair.prompt, answer))
        if limit is not None and len(found) > limit:
            raise RecipeError(f"a pair has {len(found)} tokens and the model in {folder} reads {limit}; leave it out")
        return found

    def rows(some: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
        return [(tokens(pair, pair.chosen), tokens(pair, pair.rejected)) for pair in some]

    shown, measured = rows(pairs), rows(held_out)
    before = _accuracy(model, measured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    losses = []
    for update in range(updates):
        rng = generator(seed, "preference batch", update)
        batch = [shown[rng.randrange(len(shown))] for _ in range(batch_size)]
        scores_P2 = _scores(model, [row for pair in batch for row in pair]).view(-1, 2)
        loss = preference_loss(scores_P2[:, 0], scores_P2[:, 1])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - update / updates)
        optimizer.step()
        losses.append(loss.item())
    last = losses[-max(updates // 10, 1) :]
    return Preferences(
        files=_files(folder, model), accuracy=_accuracy(model, measured), before=before, loss=sum(last) / len(last)
    )


def preference_loss(chosen_P: Tensor, rejected_P: Tensor) -> Tensor:
    """Return the mean loss of pairs by their scores."""
    return (-logsigmoid(chosen_P - rejected_P) + CENTER * (chosen_P + rejected_P) ** 2).mean()


def _open(folder: Path, *, seed: int) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    # The library warns that the head is new, as intended.
    logging.set_verbosity_error()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        check_texts_in(folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tokenizer = AutoTokenizer.from_pretrained(folder, **local)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, id2label={0: "score"}, label2id={"score": 0}, use_safetensors=True, dtype=torch.float32, **local
            )
    # The library's errors for a folder that it cannot read, or a model without a form for classification.
    except LIBRARY_FAULTS as error:
        raise RecipeError(
            f"{folder} cannot become a reward model: {brief(error)}; name a folder with a language model, for "
            "example one that bootstrap export wrote"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    pad, rows = tokenizer.pad_token_id, model.get_input_embeddings().weight.shape[0]
    if pad is None:
        raise RecipeError(f"the tokenizer in {folder} has no padding token; set tokenizer.pad_token and save it again")
    if not 0 <= pad < rows:
        raise RecipeError(
            f"the tokenizer in {folder} pads with token {pad}, and the model's embedding has {rows} rows; set "
            "tokenizer.pad_token to one of the model's tokens and save it again"
        )
    model.config.pad_token_id = pad
    # Dropout stays off in training too: it would draw from its own generator.
    return tokenizer, model.eval()


def _scores(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the score of each row of tokens; rows are padded on the right."""
    longest, pad = max(map(len, rows)), model.config.pad_token_id
    tokens_BT = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return model(input_ids=tokens_BT, attention_mask=mask_BT).logits.squeeze(-1)


@torch.no_grad()
def _accuracy(model: PreTrainedModel, pairs: Sequence[tuple[list[int], list[int]]]) -> float:
    rows = [row for pair in pairs for row in pair]
    scores = torch.cat([_scores(model, rows[at : at + SCORED_AT_ONCE]) for at in range(0, len(rows), SCORED_AT_ONCE)])
    chosen_P, rejected_P = scores.view(-1, 2).unbind(dim=1)
    return float((chosen_P > rejected_P).float().mean())


def _files(folder: Path, model: PreTrainedModel) -> dict[str, bytes]:
    config = copy.deepcopy(model.config).to_dict() | {"architectures": [type(model).__name__], "dtype": "float32"}
    with named_folder(folder) as place:
        given = place.contents(lambda name: not name.endswith(".safetensors"))
    return {
        "config.json": json_file(config, indent=2),
        MODEL_WEIGHTS: weights_bytes(model),
        **passed_on(given),
    }
