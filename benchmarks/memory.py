"""What a worker's memory is predicted to be (`bootstrap/memory.py`), and what it takes: models of random weights.

    python benchmarks/memory.py                       # 135 million parameters, LoRA in bf16
    python benchmarks/memory.py --shape 1.5b          # the shape of Qwen2.5-1.5B; opening it takes 12 GiB
    python benchmarks/memory.py --shape 1.5b --built  # the same, made in memory: 6 GiB
    python benchmarks/memory.py --whole --precision fp32

A process of its own opens the model, samples answers to a few prompts, trains on them and takes the optimizer's step,
twice; the second time everything is held that a run holds. Each part's peak is the process's resident memory (on a GPU
what torch has allocated), less what Python and torch take before. Columns: predicted and measured GiB, and their ratio.

Left out: several workers, teachers, tasks: texts are random, and so are rewards.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.worker import Worker

SHAPES = {
    # Hidden size, layers, query heads, key heads, intermediate size, vocabulary; tied embeddings.
    "tiny": (64, 2, 4, 2, 128, 512),
    "135m": (576, 30, 9, 3, 1536, 49152),
    "0.5b": (896, 24, 14, 2, 4864, 151936),
    "1.5b": (1536, 28, 12, 2, 8960, 151936),
    "1.7b": (2048, 24, 32, 32, 8192, 49152),
}
GIB = 2**30
CHARACTERS = "0123456789+="


def config_of(shape: str) -> dict[str, object]:
    """Return a shape as a Hugging Face configuration."""
    hidden, layers, heads, keys, intermediate, vocabulary = SHAPES[shape]
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "head_dim": hidden // heads,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
        "max_position_embeddings": 8192,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def make(shape: str, folder: Path) -> None:
    """Write a model folder with random weights in bf16."""
    import safetensors.torch
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from bootstrap.training.model import character_tokenizer

    config = AutoConfig.for_model(**config_of(shape))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: (torch.randn(p.shape, generator=generator) * 0.02 + (p.ndim == 1)).to(torch.bfloat16)
        for name, p in model.named_parameters()
    }
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    character_tokenizer(list(CHARACTERS), max_length=8192).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({**config_of(shape), "architectures": ["LlamaForCausalLM"]}))


class Peak:
    """The most memory of this process in each part, beyond what it takes now, in bytes."""

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._before = 0 if on_gpu else self._resident("VmRSS")
        self.of: dict[str, int] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        import torch

        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            # Freed memory is given back, and the peak set to what is resident then.
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        yield
        self.of[name] = (torch.cuda.max_memory_allocated() if self._on_gpu else self._resident("VmHWM")) - self._before

    @staticmethod
    def _resident(what: str) -> int:
        rows = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(row.split()[1]) for row in rows if row.startswith(f"{what}:"))


def practise(
    worker: "Worker", *, prompts: int, prompt_tokens: int, rows: int, new_tokens: int, peak: Peak | None
) -> None:
    """Sample, train and step twice; the second time all is held that a run holds."""
    from bootstrap.config.optimizers import AdamW
    from bootstrap.records import Batch, Example, Normalizers, Prompt, Request, Sampling, Split
    from bootstrap.training.group import together

    worker.begin(AdamW())
    text = (CHARACTERS * prompt_tokens)[: prompt_tokens - 1]
    asked = [Prompt(id=f"p{i}", task="x", level=1, text=text[i:] + text[:i], split=Split.TRAIN) for i in range(prompts)]
    requests = [
        Request(id=f"g1.s0.u0.p{i % prompts}.k{i // prompts}", prompt=asked[i % prompts], seed=i) for i in range(rows)
    ]

    def part(name: str) -> AbstractContextManager[None]:
        return nullcontext() if peak is None else peak.part(name)

    for _ in range(2):
        with part("sampling"):
            rollouts = worker.generate(requests, Sampling(temperature=1.0, max_new_tokens=new_tokens))
        examples = [
            Example(
                source=r.id,
                tokens=r.prompt_tokens + r.tokens,
                num_prompt_tokens=len(r.prompt_tokens),
                advantages=(1.0 - 2.0 * (i % 2),) * len(r.tokens),
                logprobs=r.logprobs,
            )
            for i, r in enumerate(rollouts)
        ]
        batch = Batch(examples=examples, normalizers=Normalizers(rl=100.0), clip_low=0.2, clip_high=0.2)
        with part("training"):
            gradient = worker.gradient(batch)
        with part("optimizer step"):
            together([worker.apply(gradient, 1.0, 1.0)])


def open_folder(worker: "Worker", folder: Path) -> None:
    """Let the worker take a folder's model, with a fresh adapter if it is to have one."""
    from bootstrap.store.fingerprint import fingerprint_model

    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    if worker.training.adapter is None:
        worker.load(files, None)
    else:
        fingerprint = fingerprint_model(files)
        worker.provide(files, fingerprint)
        worker.adapt(fingerprint, seed=0)


def build(worker: "Worker", shape: str) -> None:
    """Give the worker the base of an adapter without a file, on a machine whose memory does not suffice to open one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    from bootstrap.training.model import character_tokenizer
    from bootstrap.training.precision import lower_frozen, matrices
    from bootstrap.worker import _Base

    with no_init_weights():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config_of(shape)), dtype=torch.float32)
    model.tie_weights()
    if worker.training.precision == "bf16":
        # Their memory is reserved and not yet taken.
        for module in matrices(model).values():
            module.weight = torch.nn.Parameter(torch.empty_like(module.weight, dtype=torch.bfloat16))
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02) if parameter.ndim == 2 else parameter.data.fill_(1)
    model = worker._prepared(model.requires_grad_(False).eval())
    if worker.training.precision == "bf16":
        lower_frozen(model)
    tokenizer = character_tokenizer(list(CHARACTERS), max_length=8192)
    worker.bases["built"] = _Base(fingerprint="built", model=model, tokenizer=tokenizer, passed_on={})
    worker.adapt("built", seed=0)


def work(settings: argparse.Namespace, folder: Path) -> None:
    """Do the work in this process and print predictions and peaks as JSON."""
    from bootstrap.config.base_model import ScratchModel
    from bootstrap.config.training import LoraAdapter, Training
    from bootstrap.memory import MemoryLimits, Work, sizes_of
    from bootstrap.worker import Worker

    training = Training(
        adapter=None if settings.whole else LoraAdapter(),
        precision=settings.precision,
        gradient_checkpointing=settings.checkpointing,
    )
    worker = Worker(batch_rows=512)
    worker.configure(training)
    worker.limit(MemoryLimits(train_tokens=settings.train_tokens))
    on_gpu = worker.device.type == "cuda"
    sizes = sizes_of(config_of(settings.shape))
    assert sizes is not None
    planned = Work(
        sizes=sizes,
        device="cuda" if on_gpu else "cpu",
        bf16=settings.precision == "bf16",
        adapter_rank=None if training.adapter is None else training.adapter.rank,
        recomputes=settings.checkpointing,
    )
    # What the first use of each library takes is none of the model's.
    warm = Worker(batch_rows=8)
    warm.build(ScratchModel(hidden_size=64, intermediate_size=128, num_layers=1, num_heads=1), CHARACTERS, 0)
    practise(warm, prompts=1, prompt_tokens=8, rows=2, new_tokens=4, peak=None)
    del warm
    peak = Peak(on_gpu=on_gpu)
    with peak.part("opening"):
        if settings.built:
            build(worker, settings.shape)
        else:
            open_folder(worker, folder)
    practise(
        worker,
        prompts=settings.prompts,
        prompt_tokens=settings.prompt_tokens,
        rows=settings.rows,
        new_tokens=settings.new_tokens,
        peak=peak,
    )
    length = settings.prompt_tokens + settings.new_tokens
    together = min(max(settings.train_tokens // length, 1), settings.rows)
    tokens, targets = together * length, together * settings.new_tokens
    sampling = planned.sampling(
        rows=settings.rows,
        prompts=settings.prompts,
        prompt_length=settings.prompt_tokens,
        new_tokens=settings.new_tokens,
    )
    predicted = {
        "opening": planned.state if settings.built else planned.opening(stored_bytes=2),
        # Whole weights are hashed before they sample.
        "sampling": planned.state + max(sampling, 0 if planned.adapter_rank else planned.hashing),
        "training": planned.state + planned.training(tokens=tokens, targets=targets),
        "optimizer step": planned.step,
    }
    print(json.dumps({name: (predicted[name], peak.of[name]) for name in predicted}))


def child(role: str, folder: str) -> str:
    """Run one part of this program in a process of its own and return what it prints."""
    command = [sys.executable, __file__, *sys.argv[1:], "--role", role, "--folder", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, capture_output=False, stdout=subprocess.PIPE, env=environment).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--whole", action="store_true", help="train all weights instead of an adapter")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--built", action="store_true", help="no file: an adapter's base made in memory")
    parser.add_argument("--rows", type=int, default=32, help="sequences decoded together")
    parser.add_argument("--prompts", type=int, default=4, help="distinct prompts among them")
    parser.add_argument("--prompt-tokens", type=int, default=96)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--train-tokens", type=int, default=1024, help="tokens of a training pass")
    parser.add_argument("--role", choices=("make", "work"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.role == "make":
        make(settings.shape, Path(settings.folder))
    elif settings.role == "work":
        work(settings, Path(settings.folder))
    else:
        with tempfile.TemporaryDirectory() as folder:
            if not settings.built:
                child("make", folder)
            found = json.loads(child("work", folder))
        kind = "all weights" if settings.whole else "LoRA"
        print(f"{settings.shape}, {kind}, {settings.precision}{', checkpointing' * settings.checkpointing}")
        print(f"{'':16}{'predicted':>10}{'measured':>10}{'ratio':>8}   GiB")
        for name, (predicted, measured) in found.items():
            print(f"{name:16}{predicted / GIB:10.2f}{measured / GIB:10.2f}{predicted / measured:8.2f}")


if __name__ == "__main__":
    main()
