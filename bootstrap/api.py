"""`Lineage`: questions about a lineage from Python, as the command line answers them.

    from bootstrap import Lineage

    lineage = Lineage("runs", "quickstart")
    print(lineage.why("champion").sentence)
    frame = lineage.samples("gen-3", order="worst", count=50).to_pandas()

Answers are frozen dataclasses. What they hold several of is `Records`: a tuple with `to_arrow`, `to_pandas` and
`to_dicts`. Only `reproduce` loads torch. Nothing but `reproduce` writes, and that into a folder of its own. Each
question loads what it needs when it is asked, since tables take a third of a second to load.

Left out: growing lineages (`bootstrap run`), and what a terminal shows (`cli/answers.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bootstrap import plugins
from bootstrap.errors import RecipeError
from bootstrap.ledger_records import Generation
from bootstrap.lineage.questions.grown import Grown
from bootstrap.store.ledger import Entry

if TYPE_CHECKING:
    from bootstrap.config.recipe import Recipe
    from bootstrap.lineage.questions.comparison import Comparison
    from bootstrap.lineage.questions.contamination import Contamination
    from bootstrap.lineage.questions.difference import Difference
    from bootstrap.lineage.questions.records import Records
    from bootstrap.lineage.questions.sampled import SampledAnswer
    from bootstrap.lineage.questions.taint import Taint
    from bootstrap.lineage.questions.trace import Trace
    from bootstrap.lineage.questions.why import Why
    from bootstrap.lineage.questions.words import Kind, Order, Origin
    from bootstrap.records import Event
    from bootstrap.reproduction import Reproduction
    from bootstrap.roles import Roles


class Lineage:
    """One lineage of a store, as it was when this object was made.

    A generation is named `gen-3`, `3`, `champion`, `base` or `last`; one of another lineage in the same store
    `other@gen-3`.
    """

    def __init__(self, store: str | Path = "runs", name: str | None = None) -> None:
        """Read the lineage called `name`, by default the only one of the folder `store`.

        Raises StoreError for a missing store or an unknown name, StoreCorrupt for a broken ledger.
        """
        from bootstrap.cli.stores import choose

        self._grown = Grown.read(choose(_path(store), None if name is None else str(name)))

    @classmethod
    def all(cls, store: str | Path = "runs") -> "list[Lineage]":
        """Return every lineage of a store, by name. Raises StoreError."""
        from bootstrap.cli.stores import lineages

        return [cls(store, name) for name in lineages(_path(store))]

    @classmethod
    def asked(
        cls, store: str | Path, name: str | None, subject: str, *, is_generation: bool = True
    ) -> "tuple[Lineage, str]":
        """Return the lineage that `gen-3` or `other@gen-3` means, and the name in it.

        `name`: the lineage of a subject that names none. `is_generation` False: the subject may be anything `taint`
        knows, where an @ separates a lineage only if the store holds one of that name. Raises RecipeError for a
        lineage's name alone, StoreError, StoreCorrupt.
        """
        from bootstrap.cli.stores import located

        if is_generation:
            found, inside = located(_path(store), name, subject)
            return cls(store, found.root.name), inside
        lineage, inside = _parted(_path(store), subject, is_generation=False)
        return cls(store, lineage or name), inside

    def __repr__(self) -> str:
        return f"Lineage({str(self.path.parent)!r}, {self.name!r}): {len(self)} generations"

    def __len__(self) -> int:
        """Return the number of generations."""
        return len(self._grown.entries)

    @property
    def name(self) -> str:
        """Its name: that of its folder."""
        return self._grown.name

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._grown.store.root

    @property
    def entries(self) -> Sequence[Entry]:
        """The ledger's records with their hashes and measurements."""
        return tuple(self._grown.entries)

    @property
    def generations(self) -> Sequence[Generation]:
        """The committed generations, generation 0 first."""
        return tuple(entry.generation for entry in self._grown.entries)

    def generation(self, name: str | int) -> Generation:
        """Return one generation. Raises RecipeError if there is none of that name."""
        grown, inside = self._located(name)
        return grown.find(inside)

    @property
    def champion(self) -> Generation:
        """The lineage's champion. Raises RecipeError for a lineage without generations."""
        return self.generation("champion")

    def why(self, generation: str | int = "champion") -> "Why":
        """Return the chain of gate decisions that made a generation champion, or the one that kept it from it.

        Raises RecipeError for an unknown generation.
        """
        from bootstrap.lineage.questions import why

        return why.why(*self._located(generation))

    def diff(self, a: str | int, b: str | int, *, prompts: bool = True) -> "Difference":
        """Return what differs between two generations: settings, data, verifiers, metrics, answers to the same prompts.

        `prompts`: make the texts of held-out prompts again from the recipe, except for tasks of plug-ins, of the hub,
        and of files whose content the lineage does not pin; other texts are known where an evaluation kept them.
        Raises RecipeError for an unknown generation and where both are the same one, StoreError, StoreCorrupt.
        """
        from bootstrap.lineage.questions import difference

        sides = self._located(a), self._located(b)
        texts: dict[str, str] = {}
        for grown, name in sides if prompts else ():
            levels = [row.level for row in grown.find(name).report.levels]
            texts |= _heldout_texts(grown, levels)
        return difference.difference(*sides, texts=texts)

    def samples(
        self,
        generation: str | int = "champion",
        *,
        order: "Order" = "best",
        dropped: str | None = None,
        origin: "Origin | None" = None,
        count: int = 10,
    ) -> "Records[SampledAnswer]":
        """Return `count` answers of a generation, by reward.

        `order`: `best` or `worst` first. `dropped`: only those that give no gradient for a reason with this text in it;
        "" takes every reason. `origin`: `training` or `heldout`; by default training where there is any. Raises
        RecipeError for an unknown generation, a reason that does not occur, a generation without such answers;
        StoreCorrupt.
        """
        from bootstrap.lineage.questions import sampled

        return sampled.samples(*self._located(generation), order=order, dropped=dropped, origin=origin, count=count)

    def trace(self, sample: str, *, generation: str | int | None = None) -> "Trace":
        """Return the model, prompt, seed and verdict that made a sample, and every generation trained on it.

        `sample`: the id of an answer, as `samples` gives it, or of a prompt whose reference was shown. `generation`:
        whose answer it is, for held-out answers. Raises RecipeError for an unknown id, StoreCorrupt.
        """
        from bootstrap.lineage.questions import trace

        grown, name = (self._grown, None) if generation is None else self._located(generation)
        return trace.trace(grown, str(sample), generation=name)

    def taint(self, subject: str | int, *, kind: "Kind | None" = None) -> "Taint":
        """Return everything downstream of a generation, a verifier, a data set or a model outside the lineage.

        `kind`: what the subject is, where its name has several meanings. Raises RecipeError for an unknown subject,
        StoreCorrupt.
        """
        from bootstrap.lineage.questions import taint

        return taint.taint(*self._located(subject, is_generation=False), kind=kind)

    def contamination(self, generation: str | int = "champion") -> "Contamination":
        """Return which held-out prompts a generation, or one whose weights it has, was trained on.

        Raises RecipeError for an unknown generation, StoreCorrupt.
        """
        from bootstrap.lineage.questions import contamination

        return contamination.contamination(*self._located(generation))

    def compare(self, *others: "Lineage | str") -> "Comparison":
        """Return this lineage and others side by side, which may lie in other stores.

        `others`: a text names one of the same store. Raises RecipeError for none and for one without generations,
        StoreError for an unknown name.
        """
        from bootstrap.lineage.questions import comparison

        found = [one if isinstance(one, Lineage) else Lineage(self.path.parent, one) for one in others]
        return comparison.compare([self._grown, *(one._grown for one in found)])

    def reproduce(
        self,
        generation: str | int = "champion",
        *,
        into: str | Path | None = None,
        trust_plugins: Iterable[str] = (),
        make_roles: "Callable[[Recipe, int, Path], Roles] | None" = None,
        observe: "Callable[[Event], None] | None" = None,
    ) -> "Reproduction":
        """Make a generation again from its record in a scratch store, and compare the two.

        `into`: folder of the scratch store, which stays; by default a temporary one, which does not. `trust_plugins`:
        code that may run with all your rights, as the stored recipe names it. `make_roles`: starts the workers, given
        the recipe, their number and the lineage's folder; by default they work in this process. `observe`: called with
        events of the progress. Raises, before anything is made, RecipeError for an unknown generation, one that servers
        answer for, a folder in use, a remembered recipe that is not the header's, or a plug-in that is not trusted, and
        WeightsFreed; StoreError, StoreCorrupt, VerifierError, WorkerError.
        """
        from bootstrap.reproduction import as_recorded, check_possible, check_scratch, reproduce

        folder = None if into is None else _path(into)
        grown, name = self._located(generation)
        node, recalled = grown.find(name), _recalled(grown)
        recipe = as_recorded(recalled, grown.entries[node.number])
        with plugins.trusting_only(trust_plugins):
            plugins.require_trust(plugins.plugins_of(recipe.model_dump(mode="json")))
            check_possible(grown, node, recipe)
        with plugins.trusting_only(trust_plugins), _folder(folder) as scratch:
            check_scratch(grown, scratch)
            with (make_roles or _local)(recipe, node.num_workers, scratch) as roles:
                return reproduce(
                    grown,
                    node.name,
                    recipe=recipe,
                    roles=roles,
                    scratch=scratch,
                    is_kept=into is not None,
                    observe=observe or _unwatched,
                )

    def _located(self, name: str | int, *, is_generation: bool = True) -> tuple[Grown, str]:
        """Return the lineage and the name in it of `gen-3` or `other@gen-3`, as `asked`."""
        lineage, inside = _parted(self.path.parent, str(name), is_generation=is_generation)
        if lineage in ("", self.name):
            return self._grown, inside
        from bootstrap.cli.stores import choose

        return Grown.read(choose(self.path.parent, lineage)), inside


def _parted(store: Path, name: str, *, is_generation: bool) -> tuple[str, str]:
    """Return (`other`, `gen-3`) for `other@gen-3`, and no lineage for a name without one.

    `is_generation` False: nor for one whose text before the @ is no lineage of the store, as of an address.
    """
    from bootstrap.cli.stores import lineages, parted

    lineage, inside = parted(name)
    if lineage and not is_generation and lineage not in lineages(store):
        return "", name
    return lineage, inside


def _recalled(grown: Grown) -> "Recipe":
    """Return the recipe that a lineage remembers, of which its header's hash proves every setting of its results.

    Raises RecipeError where there is none of this version or it is another one than the header's, StoreError,
    StoreCorrupt.
    """
    from bootstrap.cli.remembered import FILE_NAME, recall_recipe

    recipe = recall_recipe(grown.store)
    if recipe.digest() != grown.header.digest:
        raise RecipeError(
            f"{FILE_NAME} of lineage {grown.name} is another recipe than the one that the lineage grows from; restore "
            "it from a copy of the store, or remove it, so that the lineage's header counts"
        )
    return recipe


def _heldout_texts(grown: Grown, levels: Sequence[int]) -> dict[str, str]:
    """Return prompt id -> text of held-out prompts as the lineage's recipe makes them; empty without a sound one."""
    from bootstrap.stages.heldout_texts import heldout_texts

    try:
        return heldout_texts(_recalled(grown), levels)
    except RecipeError:
        return {}


def _local(recipe: "Recipe", workers: int, folder: Path) -> "Roles":
    """Return workers in this process, or those of Ray that share a model."""
    from bootstrap.cli.workers import make_roles

    return make_roles(recipe, workers, local=recipe.resources.shard == 1, root=folder)


def _path(folder: str | Path) -> Path:
    """Return the path of a folder. Raises RecipeError for what is no path."""
    try:
        return Path(folder)
    except TypeError:
        raise RecipeError(f"{folder!r} names no folder; give its path, as 'runs'") from None


@contextmanager
def _folder(into: Path | None) -> Iterator[Path]:
    """Yield the folder of a scratch store: the one asked for, or a temporary one."""
    if into is not None:
        yield into
        return
    with TemporaryDirectory(prefix="reproduced-") as folder:
        yield Path(folder)


def _unwatched(event: "Event") -> None:
    """See nothing of the progress."""
