"""The memory of a worker, from the shape of its model; and what fits into a given memory.

    what a plan prints        sampling, training, optimizer step, opening: the largest of them
    what a worker decides     most sequences decoded together, most tokens of a training pass

Bytes of activations are those that autograd keeps of a block of the Llama family in torch 2.11 (`ACTIVATIONS`);
`benchmarks/memory.py` compares predictions with what a process takes. Left out: Python and torch themselves, frozen
samplers, the driver.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from bootstrap.compute import MAX_LOGITS, MUON_COPIES, MUON_PORTION

Kind = Literal["rollout_rows", "train_tokens"]
"""A limit: most sequences decoded together, most tokens of a training pass."""
ACTIVATIONS = {
    # (adapter, bf16): bytes of the hidden size, of all heads, of grouped keys or values, of the intermediate size.
    (False, False): (24, 8, 8, 16),
    (False, True): (26, 10, 8, 8),
    (True, False): (16, 8, 8, 16),
    (True, True): (16, 8, 8, 10),
}
"""Kept for the backward pass of a token in a block; all but the last grow with attention and norms in float32."""
ADAPTER_BYTES = 28
"""The same for each rank of an adapter on all seven matrices of a block."""
LOGIT_BYTES = 20
"""Of each logit in training: logits, log-softmax, and their gradients."""
DECODE_LOGIT_BYTES = 28
"""Of each logit in sampling: logits and log-softmax in float32, the cumulative distribution in float64."""
ALLOCATION_ERRORS = (MemoryError, OSError, RuntimeError)
"""Types of a failed allocation: torch raises RuntimeError, of which OutOfMemoryError is one."""
MOMENTS = 2
"""Numbers that AdamW keeps of a parameter, the most of any optimizer: room for them is left while sampling too, so that
all steps split alike."""
ROW_TOKENS = 256
"""Tokens that a sequence counts as beside its own where its length matters: logits take memory whatever it is."""
DEVICE_TOLERANCE = 0.1
"""Share by which the memory of two machines of one kind may differ."""
FULLEST = {"cpu": 0.75, "cuda": 0.9}
"""Share of a device's memory that its workers may take, by type; a machine's main memory holds the driver too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The sizes of a model of the Llama family."""

    num_layers: int
    hidden: int
    intermediate: int
    heads: int
    """Width of all query heads together."""
    kv: int
    """Width of all key heads together; several query heads may share one."""
    vocabulary: int
    tied: bool

    @property
    def matrices(self) -> int:
        """Numbers in the matrices of all blocks."""
        attention = 2 * self.hidden * (self.heads + self.kv)
        return self.num_layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def outer(self) -> int:
        """Numbers in embedding and output matrix."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def of_adapter(self, rank: int) -> int:
        """Numbers of low-rank updates of all matrices inside the blocks."""
        attention = 2 * (self.hidden + self.heads) + 2 * (self.hidden + self.kv)
        return self.num_layers * rank * (attention + 3 * (self.hidden + self.intermediate))


def sizes_of(config: Mapping[str, Any]) -> Sizes | None:
    """Return the sizes in a Hugging Face configuration.

    None where it names them otherwise or wrongly, and for a mixture of experts, whose matrices are not counted so.
    """
    nested = config.get("text_config")
    config = {**config, **(nested if isinstance(nested, Mapping) else {})}
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    layers, hidden, intermediate, count, vocabulary = (_size(config.get(name)) for name in names)
    if not (layers and hidden and intermediate and count and vocabulary) or _has_experts(config):
        return None
    # Configurations write null for what follows from the other sizes.
    each, shared = (config.get(name) for name in ("head_dim", "num_key_value_heads"))
    each = _size(hidden // count if each is None else each)
    shared = _size(count if shared is None else shared)
    if not (each and shared):
        return None
    return Sizes(
        num_layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=each * count,
        kv=each * shared,
        vocabulary=vocabulary,
        tied=bool(config.get("tie_word_embeddings")),
    )


def _size(found: object) -> int:
    """Return a positive whole number; 0 for anything else."""
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def _has_experts(config: Mapping[str, Any]) -> bool:
    """Whether a block has several feed-forward layers, of which each token takes some."""
    names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    return any(_size(config.get(name)) > 1 for name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a worker does with a model; bytes of its parts."""

    sizes: Sizes
    device: Literal["cpu", "cuda"] = "cpu"
    bf16: bool = False
    adapter_rank: int | None = None
    """None trains all weights."""
    recomputes: bool = False
    """Gradient checkpointing: only each block's input is kept."""
    moments: int = 2
    """Numbers that the optimizer keeps of a parameter."""
    copies_matrices: bool = False
    """Whether its step works on copies of a portion of the matrices."""
    shard: int = 1
    """Learners that hold one model together; above 1 they do not answer."""

    @property
    def trained(self) -> int:
        """Numbers that are trained."""
        if self.adapter_rank is not None:
            return self.sizes.of_adapter(self.adapter_rank)
        return self.sizes.matrices + self.sizes.outer

    @property
    def weights(self) -> int:
        """Weights; an adapter's base has its matrices in bf16, and of trained ones bf16 copies answer."""
        sizes, low = self.sizes, 2 * self.bf16
        if self.adapter_rank is not None:
            return (low or 4) * sizes.matrices + 4 * sizes.outer + 4 * self.trained
        return (4 + low) * sizes.matrices + 4 * sizes.outer

    @property
    def state(self) -> int:
        """What is held between calls: weights, optimizer state, and the last gradient with its copy.

        Of a shared model a part of each without copies, and what a pass gathers: the outer matrices and a block.
        """
        if self.shard == 1:
            return self.weights + 4 * self.trained * (self.moments + 2)
        sizes, matrix = self.sizes, self._matrix_bytes
        weights = matrix * sizes.matrices + 4 * sizes.outer
        weights += 4 * self.trained if self.adapter_rank is not None else 0
        gathered = 4 * sizes.outer + matrix * sizes.matrices // sizes.num_layers
        return -(-(weights + 4 * self.trained * (self.moments + 1)) // self.shard) + gathered

    @property
    def gathered(self) -> int:
        """Bytes of all weights as ranks that share a model send them for a pass."""
        sizes = self.sizes
        own = 4 * self.trained if self.adapter_rank is not None else 0
        return (2 if self.bf16 else 4) * sizes.matrices + 4 * sizes.outer + own

    @property
    def _matrix_bytes(self) -> int:
        """Of each number in a matrix inside the blocks, as a rank holds it."""
        return 2 if self.bf16 and self.adapter_rank is not None else 4

    @property
    def step(self) -> int:
        """The optimizer step: beside the state two gradients on their way, or copies of a portion of the matrices."""
        copies = 4 * self.trained // self.shard
        if self.copies_matrices and self.adapter_rank is None:
            # The two matrices into the SwiGLU layer are the largest group of one shape.
            matrix = self.sizes.hidden * self.sizes.intermediate
            group = min(2 * self.sizes.num_layers * matrix, max(MUON_PORTION, matrix))
            copies = max(copies, 4 * MUON_COPIES * group)
        return self.state + 4 * self.trained // self.shard + copies

    @property
    def hashing(self) -> int:
        """What a fingerprint takes beside the state: a copy of the trained weights, and a file of it in memory.

        Of a shared model one tensor at a time, no larger than what a pass gathers.
        """
        return 8 * self.trained if self.shard == 1 else 0

    def opening(self, *, stored_bytes: int) -> int:
        """A model folder being opened: its weights in float32, its file and the tensors in it; then the fingerprint.

        `stored_bytes`: of each number in the file. Of a shared model a rank reads its own part alone.
        """
        if self.shard > 1:
            return self.state
        files = stored_bytes if self.adapter_rank is None else 2 * stored_bytes
        hashing = self.hashing if self.adapter_rank is None else 0
        return (4 + files) * (self.sizes.matrices + self.sizes.outer) + hashing

    def sampling(self, *, rows: int, prompts: int, prompt_length: int, new_tokens: int) -> int:
        """Bytes while `rows` answers of up to `new_tokens` tokens to `prompts` distinct prompts are decoded."""
        sizes = self.sizes
        # On a CPU attention and its cache are in float32.
        number = 2 if self.bf16 and self.device == "cuda" else 4
        cache = 2 * sizes.num_layers * sizes.kv * number * (prompt_length + new_tokens)
        reading = prompts * prompt_length * (12 * sizes.hidden + 12 * sizes.heads + 12 * sizes.intermediate)
        one_layer = cache // sizes.num_layers * max(rows, prompts)
        decoding = rows * sizes.vocabulary * DECODE_LOGIT_BYTES + rows * 21 * new_tokens
        return max(prompts * cache + reading, max(rows, prompts) * cache + max(one_layer, decoding))

    @property
    def per_token(self) -> int:
        """Bytes of a token of a training pass, its logits left out."""
        sizes, adapted = self.sizes, self.adapter_rank is not None
        of_hidden, of_heads, of_kv, of_intermediate = ACTIVATIONS[adapted, self.bf16]
        block = of_hidden * sizes.hidden + of_heads * sizes.heads + of_kv * sizes.kv
        block += of_intermediate * sizes.intermediate + ADAPTER_BYTES * (self.adapter_rank or 0)
        kept = 4 * sizes.num_layers * sizes.hidden + block if self.recomputes else sizes.num_layers * block
        # The backward pass through a block holds the gradients of its widest tensors.
        return kept + 16 * sizes.intermediate + 16 * sizes.hidden

    @property
    def pass_extra(self) -> int:
        """Bytes of a training pass whatever its size: trained matrices rounded to bf16."""
        return 2 * self.sizes.matrices if self.bf16 and self.adapter_rank is None and self.shard == 1 else 0

    def training(self, *, tokens: int, targets: int) -> int:
        """Bytes of a training pass over `tokens`, padding included, of which `targets` are predicted."""
        most = max(MAX_LOGITS[self.device], self.sizes.vocabulary)
        return tokens * self.per_token + self.pass_extra + min(targets * self.sizes.vocabulary, most) * LOGIT_BYTES

    def tokens_within(self, room: float, *, taught: bool = False) -> int:
        """Return most tokens of a training pass in `room` bytes, at least 1, if all of them may be predicted.

        `taught`: beside each distribution stands a teacher's.
        """
        logits = self.sizes.vocabulary * LOGIT_BYTES * (2 if taught else 1)
        most = max(MAX_LOGITS[self.device] // self.sizes.vocabulary, 1)
        room -= self.pass_extra
        tokens = room // (self.per_token + logits)
        if tokens > most:
            tokens = (room - most * logits) // self.per_token
        return max(int(tokens), 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What holds a worker's model: `cpu` with the machine's main memory, or a GPU by name."""

    kind: str
    memory: int
    """Bytes, free or not."""

    def is_like(self, other: "Device") -> bool:
        """Whether limits for one do for the other; what a system keeps for itself varies a little."""
        return self.kind == other.kind and abs(self.memory - other.memory) <= DEVICE_TOLERANCE * self.memory


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimits:
    """What a worker may take at once; None is no limit. All workers of a lineage have the same."""

    memory: int | None = None
    """Bytes of one worker, with its model; the automatic limits follow from it."""
    rollout_rows: int | None = None
    """Most sequences decoded together."""
    train_tokens: int | None = None
    """Most tokens, padding included, in one training pass."""
    halved: Mapping[Kind, int] = field(default_factory=dict)
    """Limits that a shortage of memory has halved."""
    length: int = 0
    """Tokens, prompt and answer, of the sequences that the halved `rollout_rows` are of: of shorter ones more are
    decoded together, of longer ones fewer."""

    def most(self, kind: Kind) -> int | None:
        """Return the smaller of the limit that is set and the one that was halved."""
        found = [one for one in (getattr(self, kind), self.halved.get(kind)) if one is not None]
        return min(found, default=None)

    def admits(self, rows: int, *, length: int) -> bool:
        """Whether so many sequences of `length` tokens, prompt and answer, may be decoded together."""
        half = self.halved.get("rollout_rows")
        if half is not None and rows * (length + ROW_TOKENS) > half * (self.length + ROW_TOKENS):
            return False
        return self.rollout_rows is None or rows <= self.rollout_rows

    def halve(self, shortage: "Shortage") -> Self:
        """Return the limits after a shortage; of several the lowest holds."""
        return self.lowest(replace(self, halved={shortage.kind: max(shortage.used // 2, 1)}, length=shortage.length))

    def lowest(self, other: "MemoryLimits") -> Self:
        """Return these limits, with what either of both has halved."""
        halved = dict(self.halved)
        for kind, most in other.halved.items():
            halved[kind] = min(most, halved.get(kind, most))
        found = [one for one in (self, other) if "rollout_rows" in one.halved]
        fewest = min(found, key=lambda one: one.halved["rollout_rows"] * (one.length + ROW_TOKENS), default=None)
        if fewest is None:
            return replace(self, halved=halved)
        return replace(self, halved={**halved, "rollout_rows": fewest.halved["rollout_rows"]}, length=fewest.length)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Memory that ran out in a worker, and is tried again with half."""

    kind: Kind
    used: int
    length: int = 0
    """Tokens of each sequence that was sampled, prompt and answer."""

    @property
    def size(self) -> int:
        """Tokens of all sequences, for comparison with others of the kind."""
        return self.used * (self.length + ROW_TOKENS if self.kind == "rollout_rows" else 1)

    def told(self, worker: int) -> str:
        """Return it in words."""
        match self.kind:
            case "rollout_rows":
                what = f"sampling {self.used} sequences together"
            case "train_tokens":
                what = f"training {self.used} tokens in one pass"
        return f"worker {worker} ran out of memory {what}; {self.halved()}"

    def halved(self) -> str:
        """Return in words what follows."""
        of = f" of up to {self.length} tokens" if self.length else ""
        return f"all workers go on with at most {max(self.used // 2, 1)}{of} (resources.{self.kind})"


class Room:
    """What samples or trains asks it before each pass; this one has no bounds (`bootstrap/room.py` has a worker's)."""

    def fits(self, *, rows: int, prompts: int, prompt_length: int, new_tokens: int) -> bool:
        """Whether so many answers may be decoded together (`Work.sampling`)."""
        return True

    def tokens(self) -> int | None:
        """Return most tokens of a training pass, padding included; None without a limit."""
        return None

    def beat(self, answered: int = 0) -> None:
        """Take note that work goes on; `answered`: answers that are finished in this call."""

    def decoding(self, rows: int, *, length: int) -> None:
        """Take note that so many sequences of up to `length` tokens, prompt and answer, are decoded together."""

    def passing(self, tokens: int, *, sequences: int) -> None:
        """Take note that a training pass of so many tokens begins, of so many sequences."""

    def ran_out(self, error: Exception) -> None:
        """Lower the limit of what began last after its error, so that the caller tries again.

        Raises where that does not help.
        """
        raise error

    def clear(self) -> None:
        """Give back what a failed pass held; to be called once its error is gone, whose frames hold it."""
