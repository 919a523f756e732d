"""Whether the stored text of an answer is whole, by how its prompt was shown.

A chat template may end the prompt with an open reasoning tag. The stored answer then begins with that tag; versions of
the program before that stored the completion alone. Neither ledger nor tables tell which version stored an answer, but
the template travels with the generation's weights:

| template | stored answer | whole |
|---|---|---|
| opens a reasoning | begins with the tag | yes |
| opens a reasoning | does not | no: a reasoning that it closes counts as opened by the prompt |
| opens none | any | yes |
"""

from dataclasses import dataclass

from bootstrap.ledger_records import Generation
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.chat import TEMPLATE, Framing, framing_of
from bootstrap.training.choices import PROMPTING

FILES = ("tokenizer_config.json", PROMPTING, TEMPLATE)
"""Files of the weights' artifact that say how prompts are framed."""
WEIGHTS = "weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPrompts:
    """How one generation's prompts were shown."""

    framing: Framing | None
    """None where it is not known."""

    def is_whole(self, text: str, *, prompt: str) -> bool:
        """Whether a stored answer is known to be whole (`Answer.whole`)."""
        return self.framing is not None and text.startswith(self.framing.opening(prompt).rstrip())


def shown_by(store: LineageStore, generation: Generation) -> ShownPrompts:
    """Return how a committed generation's prompts were shown. Raises StoreCorrupt if its weights are broken."""
    if WEIGHTS not in generation.artifacts:
        return ShownPrompts(framing=None)
    artifact = store.artifact(generation.artifacts[WEIGHTS])
    return ShownPrompts(framing=framing_of(artifact.model(lambda name: name in FILES)))
