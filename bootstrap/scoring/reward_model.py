"""A sequence-classification model scores prompt and answer together; its score is the reward.

The model comes from a local Hugging Face folder: safetensors alone, no code of the folder's, nothing from the network.
Prompt and answer reach it as one turn of user and assistant in the tokenizer's chat template, or, where there is none
(or with `input: pair`), as the tokenizer's two segments. Text that looks like a control token is broken up in both.

    activation   reward
    none         the label's output as it is, any real number
    sigmoid      1 / (1 + exp(-output)), for a single output trained on pairs or yes/no labels
    softmax      the label's share among all outputs, for a classifier of several classes

Answers that the length limit cut, and answers longer than `max_length`, are FAIL with `unfinished_reward`: whatever the
model thinks of them, endless answers must not pay. An output that is no finite number is UNVERIFIABLE.

Rows are batched in order of length and padded. How a batch is put together changes the last bits of an output, so
rewards are rounded to DIGITS decimals, far coarser than that; each distinct text is scored once and remembered.

The degenerate case: reward from a model is a target like any other, and longer training against it raises the score and
lowers what it stood for (R1 used it in its last 400 steps only, arXiv:2501.12948, supplement B.5). It judges form, so a
recipe needs a verifier of answers beside it. Left out: training such a model (`training/preference.py`), and the
process that holds it (the pool's `host`).
"""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from bootstrap.config.base_model import FolderModel
from bootstrap.config.models import RewardModelVerifier
from bootstrap.errors import StoreCorrupt, VerifierError
from bootstrap.scoring.judge import defused
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, unverifiable, version_of
from bootstrap.store.fingerprint import fingerprint_safetensors

DIGITS = 4
IDS = "input_ids"
INPUTS = (IDS, "attention_mask", "token_type_ids")
CHARACTERS_PER_TOKEN = 16
"""A text with more characters per token than this is too long without being tokenised."""
MODEL_SUFFIXES = {".json", ".jinja", ".txt", ".model"}


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
        # Without a padding token a model cannot tell padding from text, so it sees one text at a time.
        pad, rows = self._tokenizer.pad_token_id, self._model.get_input_embeddings().weight.shape[0]
        # A token that was added to the tokenizer alone has no row in the embedding.
        pad = pad if pad is not None and 0 <= pad < rows else None
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
        """Return the model's inputs by name, or nothing when the text is too long."""
        limit = self._settings.max_length
        if len(answer.prompt) + len(answer.text) > limit * CHARACTERS_PER_TOKEN:
            return {}
        found = encoded(self._tokenizer, answer.prompt, answer.text, as_chat=self._as_chat)
        return {name: found[name] for name in self._inputs if name in found} if len(found[IDS]) <= limit else {}

    @torch.inference_mode()
    def _scores(self, rows: Sequence[Mapping[str, list[int]]]) -> list[float]:
        """Return the reward of each row, or NaN; shorter rows are padded on the right."""
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
    """Return a model's inputs by name for one prompt and answer: a turn of each, or the tokenizer's two segments."""
    prompt, answer = defused(prompt), defused(answer)
    if not as_chat:
        return tokenizer(prompt, answer)
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False)


def _content(folder: Path) -> str:
    """Return what tells one model from another: its weights' fingerprints and the hashes of its other files."""
    names = sorted(path.name for path in folder.glob("*") if path.is_file())
    weights = [name for name in names if name.endswith(".safetensors")]
    if "config.json" not in names or not weights:
        raise VerifierError(
            f"{folder} holds no reward model: config.json and weights in safetensors are needed (pickled weights are "
            "refused); make one with `bootstrap reward-model`, or save model and tokenizer there with save_pretrained"
        )
    try:
        found = {name: fingerprint_safetensors((folder / name).read_bytes()) for name in weights}
    except StoreCorrupt as error:
        raise VerifierError(f"{folder}: {error}") from error
    for name in names:
        if Path(name).suffix in MODEL_SUFFIXES:
            found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return "\n".join(f"{name} {digest}" for name, digest in sorted(found.items()))


def _load(folder: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Return tokenizer and model (float32); raises VerifierError when they cannot be had, whole and finite."""
    logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
        )
    # What the library raises for a folder that it cannot read: a missing file, an unknown architecture, wrong shapes.
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        told = str(error).strip().partition("\n")[0]
        raise VerifierError(
            f"{folder} cannot be loaded as a sequence-classification model: {told}; save such a model and its "
            "tokenizer there with save_pretrained"
        ) from error
    _check_complete(folder, model, report)
    return tokenizer, model


def _most_tokens(model: PreTrainedModel) -> int | None:
    """Return the length of the longest text the model has positions for; None when its configuration does not say."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # With a padding index, as in RoBERTa, positions begin after it.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return getattr(model.config, "max_position_embeddings", None)


def _check_complete(folder: Path, model: PreTrainedModel, report: Mapping[str, object]) -> None:
    """Refuse weights that lack a part, which the library would fill with random numbers, or that are not finite."""
    missing = sorted(map(str, report["missing_keys"]))
    if missing:
        raise VerifierError(
            f"{folder} is no sequence-classification model: its weights lack {', '.join(missing[:3])}; name a model "
            "that was trained to score, not the language model it came from"
        )
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise VerifierError(f"{folder} has weights that are not finite: {', '.join(broken[:3])}; restore the model")
