"""The reference that a step's KL term holds the policy to, from round to round and across kills.

Left out: what the term does to a token (`training/loss.py`), and which model a name means (`resolve.py`).
"""

from typing import Any

from bootstrap.config.algorithms import ReferenceKl
from bootstrap.config.self_play import SelfPlayStep
from bootstrap.config.steps import RlStep
from bootstrap.records import Checkpoint, KlTarget
from bootstrap.stages.context import Context, Plan
from bootstrap.stages.step import MODEL_FOLDER, planned_inputs

FINGERPRINT = "fingerprint"
"""File that names a reference's weights, beside their folder."""


class ReferencePolicy:
    """The weights that a step's KL term holds the policy to: the recipe's, or those of its last refresh.

    Those that the step has made or started from are kept in the store's scratch area until the generation is committed,
    so that a killed run finds those of the round it goes on from.
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
        """Return the model that the recipe names, for the rounds before the first refresh; None where it names none."""
        model = self.settings.model
        return self.plan.references[model][1] if since == 0 and model != "start" else None

    def kl_targets(self, number: int) -> tuple[KlTarget, ...]:
        """Return the KL target of a round's examples; its weights are in every worker."""
        since = self._round_before(number)
        if since != self._since:
            self._take(since, number)
        return (KlTarget(model=self._fingerprint, weight=self.settings.weight, form=self.settings.form),)

    def _round_before(self, number: int) -> int:
        """Return the round before which the reference of a round was taken."""
        return number - number % self.settings.refresh_every if self.settings.refresh_every else 0

    def _key(self, number: int) -> dict[str, Any]:
        # With all that went into the weights: a run that was killed may have had another outside teacher.
        return self.context.in_progress({**self._inputs, "recipe": self.context.recipe.digest(), "round": number})

    def _take(self, since: int, number: int) -> None:
        store, pool = self.context.store, self.context.pool
        kept = store.find_work("reference", self._key(since))
        if (named := self._named(since)) is not None:
            checkpoint = named
        elif since == number:
            checkpoint = pool.export()
            if kept is None:
                contents = {f"{MODEL_FOLDER}{name}": data for name, data in checkpoint.files.items()}
                fingerprint = checkpoint.fingerprint.encode()
                store.put_work("reference", self._key(since), {**contents, FINGERPRINT: fingerprint})
        else:
            assert kept is not None, "a reference is stored before the rounds that it guides"
            contents = kept.read_all()
            fingerprint = contents.pop(FINGERPRINT).decode()
            files = {name.removeprefix(MODEL_FOLDER): data for name, data in contents.items()}
            checkpoint = Checkpoint(fingerprint=fingerprint, files=files)
        # Rounds are repeated from the last part at most, so nothing asks for references from before that, whether this
        # run left them or one that was killed.
        oldest = self._round_before(number - number % self.every)
        for past in range(self._swept, oldest, self.settings.refresh_every or 1):
            if (stale := store.find_work("reference", self._key(past))) is not None:
                store.remove_work(stale)
        self._swept = max(self._swept, oldest)
        pool.broadcast("drop_teachers")
        for held in (*(teacher for _, teacher in self.plan.teachers.values()), checkpoint):
            pool.broadcast("load_teacher", dict(held.files), held.fingerprint)
        self._since, self._fingerprint = since, checkpoint.fingerprint
