"""`bootstrap lineage --sync`: publish a lineage on request; and the addresses of what is published."""

from collections.abc import Sequence

from bootstrap.cli.command import command
from bootstrap.cli.render import warn
from bootstrap.cli.target import Target, agree, chosen, sync_to, unagreed, unchosen, without_credentials
from bootstrap.errors import RecipeError
from bootstrap.lineage import places, tracking
from bootstrap.lineage.outbox import Outbox, Receipt
from bootstrap.lineage.reach import check_reachable
from bootstrap.store import index
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

DEFAULT_PORT = 5000
"""Default port of `bootstrap ui`."""


def sync_lineage(
    store: LineageStore,
    *,
    tracking_uri: str | None,
    experiment: str | None,
    sample_rollouts: int | None,
    is_growing: bool = False,
) -> str:
    """Publish every committed generation that MLflow lacks; return where to see it.

    `is_growing`: more come soon, so the lineage page is drawn only if it is due (`lineage/whole_page.py`).
    None takes what is chosen without it (`target.py`). Raises TrackingError when MLflow cannot be reached, RecipeError
    for an address without a store, and where the store names one and nobody here does; StoreError.
    """
    lines = unchosen(store, tracking_uri)
    if unagreed(store, tracking_uri):
        own = sync_to(store, Target(uri=chosen(store).uri))
        raise RecipeError(f"nothing is published. {lines[0]}; or, to publish to this one: {own}")
    for line in lines:
        warn(line)
    found = chosen(store, tracking_uri)
    uri, experiment = found.uri, experiment or found.experiment
    # A server that is down is reported at once, before MLflow takes its seconds to load.
    check_reachable(uri)
    from bootstrap.lineage.live import settle
    from bootstrap.lineage.publisher import publish

    publish(
        store.root.absolute(),
        tracking_uri=uri,
        experiment=experiment,
        recipe={"name": store.root.name, **store.header().identity},
        sample_rollouts=found.sample_rollouts if sample_rollouts is None else sample_rollouts,
        is_growing=is_growing,
    )
    settle(store.root.absolute(), tracking_uri=uri, experiment=experiment)
    agree(store, found._replace(experiment=experiment))
    return where_to_look(store, tracking_uri=uri, experiment=experiment)


def where_to_look(store: LineageStore, *, tracking_uri: str, experiment: str | None) -> str:
    """Return the lineage's address in MLflow; for a database without a server, after the command that serves it."""
    shown = without_credentials(tracking_uri)
    base = shown if tracking.is_remote(tracking_uri) else f"http://127.0.0.1:{DEFAULT_PORT}"
    page = lineage_page(store, base=base, tracking_uri=tracking_uri, experiment=experiment) or base
    if tracking.is_remote(tracking_uri):
        return page
    other = () if tracking_uri == chosen(store).uri else ("--tracking-uri", shown)
    return f"`{command('ui', '--store', store.root.parent, *other)}`, then {page}"


def lineage_page(store: LineageStore, *, base: str, tracking_uri: str, experiment: str | None) -> str | None:
    """Return the pages of a lineage's runs and of its graph on the server `base`; None before the first publication."""
    newest = newest_receipt(store, index.recall(store), tracking_uri=tracking_uri, experiment=experiment)
    if newest is None:
        return None
    picture = tracking.lineage_url(base, newest.experiment_id, newest.lineage_run_id)
    return f"{tracking.experiment_url(base, newest.experiment_id, newest.lineage_run_id)} (the picture: {picture} )"


def newest_receipt(
    store: LineageStore, entries: Sequence[Entry], *, tracking_uri: str, experiment: str | None
) -> Receipt | None:
    """Return the receipt of the newest published generation; None before the first publication.

    In a store that has moved, markers and places follow first. Raises TrackingError where they cannot, StoreError.
    """
    places.follow(tracking_uri)
    name = tracking.experiment_name(store.root.name, experiment)
    return Outbox(store.root, tracking_uri=tracking_uri, experiment=name).published(entries).newest()


def sync_later(store: LineageStore, *, tracking_uri: str) -> str:
    """Return the command that publishes the rest of a lineage to this address, which it names where others go first."""
    other = () if tracking_uri == chosen(store).uri else ("--tracking-uri", without_credentials(tracking_uri))
    return command("lineage", "--sync", "--store", store.root.parent, "--lineage", store.root.name, *other)
