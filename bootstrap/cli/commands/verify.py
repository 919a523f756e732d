"""`bootstrap verify`."""

from bootstrap.cli.commands import options


def verify(
    store: options.Store = options.DEFAULT_STORE, lineage: options.AnyLineage = None, as_json: options.AsJson = False
) -> None:
    """Recompute every hash in the store.

    Exit code 3 when something disagrees with the ledger.

    \b
    Examples:
      bootstrap verify
      bootstrap verify --lineage quickstart --json
    """
    from bootstrap.cli import render
    from bootstrap.cli.stores import several
    from bootstrap.errors import StoreCorrupt
    from bootstrap.store.verify import verify as check

    reports = {found.root.name: check(found.root) for found in several(store, lineage)}
    render.print_verifications(reports, as_json=as_json)
    if problems := sum(len(report.problems) for report in reports.values()):
        raise StoreCorrupt(f"{problems} of the checks failed; restore what is named above from a copy of the store")
