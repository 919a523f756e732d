"""How the prompts of stored answers were shown, and what that says of the answers' beginning.

Where a chat template ends the prompt with an open reasoning tag, the stored text of an answer begins with that tag.
Earlier versions stored the completion alone. Neither the ledger nor the tables tell which version stored an answer, and
the tables can have no further column; but the template travels with a generation's weights. So an answer whose prompt
ended with a tag is whole exactly where it begins with that tag: a newer one always does. In any other, a reasoning that
is closed and never opened counts as opened by the prompt, as it was. Where no template opens a reasoning, every stored
text is whole, whoever stored it.
"""

from dataclasses import dataclass

from bootstrap.ledger_records import Generation
from bootstrap.store.lineage_store import LineageStore
from bootstrap.training.chat import PROMPTING, TEMPLATE, Framing, framing_of

FILES = ("tokenizer_config.json", PROMPTING, TEMPLATE)
"""What says how prompts are framed."""
WEIGHTS = "weights"
"""Role of the artifact that holds them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPrompts:
    """How one generation's prompts were shown."""

    framing: Framing | None
    """None where it is not known."""

    def is_whole(self, text: str, *, prompt: str) -> bool:
        """Whether a stored answer's text is known to begin where the answer does (`Answer.whole`)."""
        return self.framing is not None and text.startswith(self.framing.opening(prompt).rstrip())


def shown_by(store: LineageStore, generation: Generation) -> ShownPrompts:
    """Return how a committed generation's prompts were shown. Raises StoreCorrupt if its weights are broken."""
    if WEIGHTS not in generation.artifacts:
        return ShownPrompts(framing=None)
    artifact = store.artifact(generation.artifacts[WEIGHTS])
    return ShownPrompts(framing=framing_of({name: artifact.read(name) for name in FILES if name in artifact.files}))
