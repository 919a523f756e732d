"""Generations of the lineage that verifiers ask, as judge or voters: frozen samplers beside the weights in training.

`bind` says which generations the recipe's names mean in the generation to grow. `complete` loads each into the workers
when it is first asked, once per fingerprint. A generation reads prompts with its own tokenizer and continues them as
plain text, as it was trained to.

Left out: which names a verifier asks (`config.models.roles`) and what they mean (`resolver.py`).
"""

from collections.abc import Collection, Mapping, Sequence

from bootstrap.canonical import sha256
from bootstrap.compute import ModelShape, generate_flops
from bootstrap.config.models import LineageModel
from bootstrap.errors import VerifierError
from bootstrap.ids import SampleId
from bootstrap.ledger_records import Compute
from bootstrap.records import Checkpoint, Prompt, Request, Rollout, Sampling, Split
from bootstrap.roles import Samplers
from bootstrap.seeds import derive_seed

PHASE = "verify"


class LineageModels:
    """Implements `scoring.verifier.Models` over the samplers."""

    def __init__(self, samplers: Samplers) -> None:
        self._samplers = samplers
        self._named: dict[LineageModel, tuple[int, Checkpoint]] = {}
        self._loaded: dict[str, ModelShape] = {}
        self._flops = 0.0
        self._tokens = 0

    def bind(self, named: Mapping[LineageModel, tuple[int, Checkpoint]]) -> None:
        """Bind each name to (number, weights); unload others."""
        self._named = dict(named)
        kept = {checkpoint.fingerprint for _, checkpoint in self._named.values()}
        for fingerprint in self._loaded.keys() - kept:
            self._samplers.drop_frozen_sampler(fingerprint)
            del self._loaded[fingerprint]

    @property
    def loaded(self) -> Collection[str]:
        """Fingerprints of the generations that the workers hold for verifiers."""
        return self._loaded.keys()

    def complete(
        self,
        prompts: Sequence[str],
        *,
        model: LineageModel,
        samples: int,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[list[str]]:
        """Return up to `samples` completions of each prompt by a generation; truncated ones are left out.

        A completion depends on the weights, the prompt, the sample's number and `seed` alone. Raises VerifierError when
        the name means no generation yet, FingerprintMismatch when its weights are not the ledger's.
        """
        if model not in self._named:
            raise VerifierError(
                f"a verifier asks generation {model} of this lineage, which does not exist yet; let generation 0 and "
                "held-out answers be judged by another verifier (evaluation.verifier)"
            )
        fingerprint = self._load(self._named[model][1])
        distinct = list(dict.fromkeys(prompts))
        asked = [
            Request(id=str(SampleId(name, k)), prompt=prompt, seed=derive_seed(seed, "completion", name, k))
            for prompt, name in ((_prompt(text), _name(text)) for text in distinct)
            for k in range(samples)
        ]
        sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
        rollouts = self._samplers.generate(asked, sampling, by=fingerprint)
        self._count(rollouts, self._loaded[fingerprint])
        found: dict[str, list[str]] = {text: [] for text in distinct}
        for rollout in rollouts:
            if not rollout.finish.is_truncated:
                found[rollout.prompt_text].append(rollout.text)
        return [list(found[prompt]) for prompt in prompts]

    def take_compute(self) -> Compute:
        """Return the work since the last call, as phase `verify`."""
        done = Compute(flops={PHASE: self._flops}, tokens={PHASE: self._tokens}) if self._tokens else Compute()
        self._flops, self._tokens = 0.0, 0
        return done

    def _load(self, checkpoint: Checkpoint) -> str:
        if checkpoint.fingerprint not in self._loaded:
            self._loaded[checkpoint.fingerprint] = self._samplers.load_frozen_sampler(checkpoint)
        return checkpoint.fingerprint

    def _count(self, rollouts: Sequence[Rollout], shape: ModelShape) -> None:
        prefills = {rollout.prompt_id: len(rollout.prompt_tokens) for rollout in rollouts}
        completions = [(len(rollout.prompt_tokens), len(rollout.tokens)) for rollout in rollouts]
        self._flops += generate_flops(shape, prefills=prefills.values(), completions=completions)
        self._tokens += sum(len(rollout.tokens) for rollout in rollouts)


def _prompt(text: str) -> Prompt:
    return Prompt(id=_name(text), task="verifier", level=1, text=text, split=Split.TRAIN)


def _name(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass"))[:16]
