"""A sequence-classification model scores prompt and answer together; its score is the reward.

The model comes from a local Hugging Face folder: weights in safetensors, no code of the folder's, no network. It reads
prompt and answer as a user's and an assistant's turn of the tokenizer's chat template, or as the tokenizer's two
segments where there is no template or `input: pair` is set. Text that looks like a control token is broken up.

    activation   reward
    none         the label's output as it is, any real number
    sigmoid      1 / (1 + exp(-output)), for a single output trained on pairs or yes/no labels
    softmax      the label's share among all outputs, for a classifier of several classes

Truncated answers and answers longer than `max_length` FAIL with `unfinished_reward`: endless answers must not pay,
whatever the model thinks of them. An output that is not finite is UNVERIFIABLE.

Rows are batched by length and padded. The batch changes the last bits of an output, so rewards are rounded to DIGITS
decimals, far coarser than that. Each distinct text is scored once and remembered.

The degenerate case: long training against a reward model raises the score and lowers the quality that it stood for (R1
used one in its last 400 steps only, arXiv:2501.12948, supplement B.5). It judges form, so a recipe needs a verifier of
answers beside it. Left out: training such a model (`training/preference.py`), and the process that holds it (the
pool's `host`).
"""

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from bootstrap.config.base_model import FolderModel
from bootstrap.config.models import RewardModelVerifier
from bootstrap.errors import StoreCorrupt, StoreError, VerifierError
from bootstrap.reading import named_folder
from bootstrap.scoring.judge import defused
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, unverifiable, version_of
from bootstrap.store.fingerprint import fingerprint_safetensors

DIGITS = 4
IDS = "input_ids"
INPUTS = (IDS, "attention_mask", "token_type_ids")
CHARACTERS_PER_TOKEN = 16
"""A text of more characters per allowed token is too long; it is not tokenised."""
MODEL_SUFFIXES = {".json", ".jinja", ".txt", ".model"}
_MAKE = "make one with `bootstrap reward-model`, or save model and tokenizer there with save_pretrained"


class RewardModel:
    """Holds the model, on a GPU where there is one."""

    name, judges = "reward_model", RewardModelVerifier.judges

    def __init__(self, settings: RewardModelVerifier, tools: Tools) -> None:
        """Raise VerifierError when the folder holds no model that can score."""
        torch.set_num_threads(1)
        self._settings = settings
        folder = Path(settings.model.path)
        content = _content(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer, self._model = _load(folder)
        self._model.to(self.device).eval().requires_grad_(False)
        num_labels = self._model.config.num_labels
        if settings.label >= num_labels:
            raise VerifierError(
                f"{folder} gives {num_labels} output(s), there is none with the number {settings.label}; set label to "
                f"{num_labels - 1} or less"
            )
        if settings.activation == "softmax" and num_labels == 1:
            raise VerifierError(f"{folder} gives one output, whose softmax is always 1; set activation: sigmoid")
        most = _most_tokens(self._model)
        if most is not None and settings.max_length > most:
            raise VerifierError(
                f"{folder} reads at most {most} tokens, fewer than max_length {settings.max_length}; set max_length: "
                f"{most} or less"
            )
        template = self._tokenizer.chat_template
        if settings.input == "chat" and not template:
            raise VerifierError(f"the tokenizer in {folder} has no chat template; set input: pair")
        self._as_chat = bool(template) and settings.input != "pair"
        self._inputs = [name for name in INPUTS if name in inspect.signature(self._model.forward).parameters]
        # A model without a padding token cannot tell padding from text, so its batches hold one text.
        pad, rows = self._tokenizer.pad_token_id, self._model.get_input_embeddings().weight.shape[0]
        # A token that only the tokenizer was given has no row in the embedding.
        pad = pad if pad is not None and 0 <= pad < rows else None  # pyright: ignore[reportOperatorIssue]  # an int
        self._batch_size = 1 if pad is None else settings.batch_size
        self._padding = {} if pad is None else {IDS: pad}
        if pad is not None:
            self._model.config.pad_token_id = pad
        self._known: dict[str, float | None] = {}
        neutral = settings.model_copy(update={"model": FolderModel(path="model"), "batch_size": 1})
        self.version = version_of(__name__, settings=neutral, also=content)

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement per answer."""
        keys = [self._key(answer) for answer in answers]
        fresh = {key: a for key, a in zip(keys, answers, strict=True) if key not in self._known and not a.truncated}
        tokens = {key: self._tokens(answer) for key, answer in fresh.items()}
        self._known |= dict.fromkeys(tokens, None)
        rows = sorted((key for key in tokens if tokens[key]), key=lambda key: (len(tokens[key][IDS]), key))
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            self._known |= dict(zip(batch, self._scores([tokens[key] for key in batch]), strict=True))
        return [self._judgement(answer, key) for answer, key in zip(answers, keys, strict=True)]

    def close(self) -> None:
        pass

    def _key(self, answer: Answer) -> str:
        digest = hashlib.sha256()
        for part in (answer.prompt, answer.text):
            data = part.encode(errors="surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    def _tokens(self, answer: Answer) -> Mapping[str, list[int]]:
        """Return the model's inputs by name; empty where the text is too long."""
        limit = self._settings.max_length
        if len(answer.prompt) + len(answer.text) > limit * CHARACTERS_PER_TOKEN:
            return {}
        found = encoded(self._tokenizer, answer.prompt, answer.text, as_chat=self._as_chat)
        return {name: found[name] for name in self._inputs if name in found} if len(found[IDS]) <= limit else {}

    @torch.inference_mode()
    def _scores(self, rows: Sequence[Mapping[str, list[int]]]) -> list[float]:
        """Return each row's reward, perhaps NaN; shorter rows are padded on the right."""
        longest = max(len(row[IDS]) for row in rows)
        columns = {
            name: [row[name] + [self._padding.get(name, 0)] * (longest - len(row[name])) for row in rows]
            for name in rows[0]
        }
        inputs_BT = {name: torch.tensor(column, device=self.device) for name, column in columns.items()}
        logits_BL = self._model(**inputs_BT).logits.float()
        return self._activated(logits_BL)[:, self._settings.label].tolist()

    def _activated(self, logits_BL: Tensor) -> Tensor:
        match self._settings.activation:
            case "sigmoid":
                return logits_BL.sigmoid()
            case "softmax":
                return logits_BL.softmax(dim=-1)
        return logits_BL

    def _judgement(self, answer: Answer, key: str) -> Judgement:
        settings = self._settings
        if answer.truncated:
            return failed(self.name, "truncated", reward=settings.unfinished_reward)
        score = self._known[key]
        if score is None:
            return failed(self.name, f"longer than {settings.max_length} tokens", reward=settings.unfinished_reward)
        if not abs(score) < float("inf"):
            return unverifiable("the reward model's output is no finite number")
        reward = round(score, DIGITS)
        if reward >= settings.pass_score:
            return passed(self.name, f"at least {settings.pass_score:g}", reward=reward)
        return failed(self.name, f"below {settings.pass_score:g}", reward=reward)


def encoded(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, *, as_chat: bool) -> Mapping[str, list[int]]:
    """Return a model's inputs by name: prompt and answer as two chat turns, or as the tokenizer's two segments."""
    prompt, answer = defused(prompt), defused(answer)
    if not as_chat:
        return tokenizer(prompt, answer)
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return tokenizer(
        tokenizer.apply_chat_template(turns, tokenize=False),  # pyright: ignore[reportArgumentType]  # text
        add_special_tokens=False,
    )


def _content(folder: Path) -> str:
    """Return a model's identity as text: the fingerprints of its weights and the hashes of its other files."""
    try:
        with named_folder(folder) as place:
            files = place.contents(lambda name: name.endswith(".safetensors") or Path(name).suffix in MODEL_SUFFIXES)
    except StoreError as error:
        raise VerifierError(f"{folder} holds no reward model: {error}; {_MAKE}") from error
    weights = [name for name in files if name.endswith(".safetensors")]
    if "config.json" not in files or not weights:
        raise VerifierError(
            f"{folder} holds no reward model: config.json and weights in safetensors are needed (pickled weights are "
            f"refused); {_MAKE}"
        )
    try:
        found = {name: fingerprint_safetensors(files[name]) for name in weights}
    except StoreCorrupt as error:
        raise VerifierError(f"{folder}: {error}") from error
    found |= {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in found}
    return "\n".join(f"{name} {digest}" for name, digest in sorted(found.items()))


def _load(folder: Path) -> tuple[PreTrainedTokenizerBase, Any]:
    """Return the tokenizer and the model, in float32. The model is `Any`, since transformers types it too loosely.

    Raises VerifierError where either cannot be loaded, or the model's weights are incomplete or not finite.
    """
    logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
        )
    # The library raises these for a missing file, an unknown architecture or wrong shapes.
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        told = str(error).strip().partition("\n")[0]
        raise VerifierError(
            f"{folder} cannot be loaded as a sequence-classification model: {told}; save such a model and its "
            "tokenizer there with save_pretrained"
        ) from error
    _check_complete(folder, model, report)
    return tokenizer, model


def _most_tokens(model: PreTrainedModel) -> int | None:
    """Return the model's number of positions, in tokens; None where its configuration does not say."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # Positions begin after a padding index, as in RoBERTa.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return getattr(model.config, "max_position_embeddings", None)


def _check_complete(folder: Path, model: PreTrainedModel, report: Mapping[str, Iterable[str]]) -> None:
    """Raise VerifierError for missing weights, which the library fills with random numbers, and for infinite ones."""
    missing = sorted(map(str, report["missing_keys"]))
    if missing:
        raise VerifierError(
            f"{folder} is no sequence-classification model: its weights lack {', '.join(missing[:3])}; name a model "
            "that was trained to score, not the language model it came from"
        )
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise VerifierError(f"{folder} has weights that are not finite: {', '.join(broken[:3])}; restore the model")
