"""Tiny sequence-classification models, made on the spot, as folders that a reward model is read from."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

torch.set_num_threads(1)  # As everywhere in this program; more of them wait for one another on a busy machine.

CHARACTERS = "".join(map(chr, range(32, 127))) + "\n"
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>")
CHAT = (
    "{% for turn in messages %}{{ '<|' + turn['role'] + '|>' + turn['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(
    *, chat: bool = True, pad: bool = True, pair: bool = False, words: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per character and per word; `pair` puts `</s>` after each segment."""
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *CHARACTERS))}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    found.add_special_tokens(list(SPECIAL))
    found.pre_tokenizer = pre_tokenizers.Split(Regex("(?m:.)"), "isolated")
    found.decoder = decoders.Fuse()
    if pair:
        found.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> $B:1 </s>:1",
            special_tokens=[(token, vocabulary[token]) for token in ("<s>", "</s>")],
        )
    extra = {"pad_token": "<pad>"} if pad else {}
    made = PreTrainedTokenizerFast(
        tokenizer_object=found, bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="left", **extra
    )
    made.add_tokens([AddedToken(word, normalized=False, special=False) for word in words])
    made.chat_template = CHAT if chat else None
    return made


def bert(*, labels: int = 1, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=len(SPECIAL) + len(CHARACTERS),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=256,
            num_labels=labels,
            initializer_range=0.5,
        )
    )


def llama(*, labels: int = 1, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=len(SPECIAL) + len(CHARACTERS),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=256,
            num_labels=labels,
            initializer_range=0.5,
        )
    )


def save(folder: Path, model: PreTrainedModel, words: PreTrainedTokenizerFast) -> Path:
    """Write a folder as `save_pretrained` does, and return it."""
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def trained(folder: Path, prompt: str, *, good: Sequence[str], bad: Sequence[str]) -> Path:
    """Write a reward model that was taught in a moment to give good answers to one prompt 1 and bad ones 0."""
    # In evaluation mode, without dropout, a few texts are learnt by heart.
    model, words = bert().eval(), tokenizer(chat=False, pair=True)
    texts = [*good, *bad]
    labels = torch.tensor([1.0] * len(good) + [0.0] * len(bad))
    # Padded as the reward model pads, because what a text says also depends on where it stands.
    inputs = words([prompt] * len(texts), texts, padding=True, padding_side="right", return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(**inputs).logits[:, 0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1, f"the texts were not learnt, loss {loss.item():.3f}"
    return save(folder, model, words)
