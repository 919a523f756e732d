"""The reference of a step's KL term, from round to round and across kills.

Left out: the term itself (`training/loss.py`), and which model a name means (`resolver.py`).
"""

from typing import Any

from bootstrap.config.policy_terms import ReferenceKl
from bootstrap.config.self_play import SelfPlayStep
from bootstrap.config.steps import RlStep
from bootstrap.records import Checkpoint, KlTarget
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.step import in_folder, out_of_folder, planned_inputs

FINGERPRINT = "fingerprint"
"""File that holds the fingerprint of a reference, beside its folder."""


class ReferencePolicy:
    """The weights that a step's KL term holds the policy to: the model that the recipe names, or the last refresh.

    Refreshes are kept in the store's scratch area until the generation is committed, so that a killed run finds the one
    of the round it goes on from.
    """

    def __init__(self, context: Context, plan: Plan, step: RlStep | SelfPlayStep, *, index: int) -> None:
        assert step.algorithm.kl is not None, "a step without a KL term has no reference"
        self.context, self.plan = context, plan
        self.settings: ReferenceKl = step.algorithm.kl
        self._inputs = planned_inputs(context, plan, step, index=index)
        self.every = step.checkpoint_every
        self._since: int | None = None
        self._fingerprint = ""
        self._swept = 0

    def _named(self, since: int) -> Checkpoint | None:
        """Return the model that the recipe names, for rounds before the first refresh; None for `start` and later."""
        model = self.settings.model
        return self.plan.references[model][1] if since == 0 and model != "start" else None

    def kl_targets(self, number: int) -> tuple[KlTarget, ...]:
        """Return the KL target of a round's examples, whose weights every worker holds then."""
        since = self._round_before(number)
        if since != self._since:
            self._take(since, number)
        return (KlTarget(model=self._fingerprint, weight=self.settings.weight, form=self.settings.form),)

    def _round_before(self, number: int) -> int:
        """Return the round at whose start the reference of a round was taken."""
        return number - number % self.settings.refresh_every if self.settings.refresh_every else 0

    def _key(self, number: int) -> dict[str, Any]:
        # The recipe's digest too: the killed run may have had another outside teacher.
        return self.context.in_progress({**self._inputs, "recipe": self.context.recipe.digest(), "round": number})

    def _take(self, since: int, number: int) -> None:
        store, learners = self.context.store, self.context.learners
        kept = store.find_work("reference", self._key(since))
        if (named := self._named(since)) is not None:
            checkpoint = named
        elif since == number:
            checkpoint = learners.export()
            if kept is None:
                contents = in_folder(checkpoint.files) | {FINGERPRINT: checkpoint.fingerprint.encode()}
                store.put_work("reference", self._key(since), contents)
        else:
            assert kept is not None, "a reference is stored before the rounds that use it"
            fingerprint = kept.read(FINGERPRINT).decode()
            checkpoint = Checkpoint(fingerprint=fingerprint, files=out_of_folder(kept), stored=str(kept.path))
        # A killed run repeats rounds from the last part at most, so older references, of any run, are not asked for.
        oldest = self._round_before(number - number % self.every)
        for past in range(self._swept, oldest, self.settings.refresh_every or 1):
            if (stale := store.find_work("reference", self._key(past))) is not None:
                store.remove_work(stale)
        self._swept = max(self._swept, oldest)
        learners.teach_by([*(teacher for _, teacher in self.plan.teachers.values()), checkpoint])
        self._since, self._fingerprint = since, checkpoint.fingerprint
