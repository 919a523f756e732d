"""`bootstrap watch`: what a run elsewhere does, read from MLflow alone until the run ends.

    MLflow --- every few seconds: the lineage's run (tag bootstrap.live) and its generations ---> lines on this terminal

Each look is bounded, and so is the patience with a server that does not answer (`FAILURES`) and with a run that gives
no sign (`SILENT_SECONDS`). What is shown comes from MLflow's database, so control characters are shown escaped.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from bootstrap.cli import output
from bootstrap.cli.progress import PlainProgress
from bootstrap.cli.render import say
from bootstrap.errors import RecipeError, TrackingError, WaitTimeout
from bootstrap.lineage import tracking
from bootstrap.lineage.reach import check_reachable
from bootstrap.lineage.text import one_line
from bootstrap.lineage.watched import Look, WatchedRun

FAILURES = 10
"""Looks in a row that may fail."""
SILENT_SECONDS = 180.0
"""Longest time without a sign of the run; a living one gives several a minute."""
IDLE_SECONDS = 30.0
"""Longest wait for a first sign where no run of the lineage is RUNNING."""
LAST_SECONDS = 60.0
"""Longest wait, once the run has ended, for decisions that are still being published."""
EARLIER = 3
"""Decisions from before the watching that are printed."""
STAGE, REASON = 40, 2000
"""Characters of a stage's name and of a decision that are printed."""
_ID = re.compile(r"[0-9a-f]{32}")
_PAGE = re.compile(rf"(?P<server>https?://[^#]+?)/?#/experiments/[^/]+/runs/(?P<run>{_ID.pattern})")


def follow(
    run: str,
    *,
    tracking_uri: str | None,
    store: Path,
    every: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print what a run does until it ends, or until Ctrl-C.

    Raises RecipeError for what is no run, TrackingError when MLflow cannot be reached, WaitTimeout when the run gives
    no sign for `SILENT_SECONDS`.
    """
    run_id, uri = located(run, tracking_uri=tracking_uri, store=store)
    check_reachable(uri)
    try:
        _follow(run_id, uri, every=every, clock=clock, sleep=sleep)
    except KeyboardInterrupt:
        say("the run goes on; the same command watches it again")


def located(run: str, *, tracking_uri: str | None, store: Path) -> tuple[str, str]:
    """Return a run's id and the tracking URI where it is. Raises RecipeError for what is neither id nor address."""
    if (page := _PAGE.match(run)) is not None:
        return page["run"], tracking_uri or page["server"]
    if _ID.fullmatch(run) is None:
        raise RecipeError(
            f"'{one_line(run)}' is no MLflow run; give its id (32 hexadecimal digits) or the address of its page"
        )
    return run, tracking.resolve_tracking_uri(tracking_uri, store)


def _follow(run_id: str, uri: str, *, every: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    watched, failed = WatchedRun(run_id, tracking_uri=uri), 0
    told: int | None = None
    show: PlainProgress | None = None
    beat, heard, ended_at = -1, clock(), None
    while output.is_read():
        try:
            found = watched.look()
            failed = 0
        except TrackingError:
            failed += 1
            if failed >= FAILURES:
                raise
            sleep(every)
            continue
        told = _tell(found, max(len(found.decisions) - EARLIER, 0) if told is None else told)
        snapshot = found.snapshot
        if snapshot is not None and snapshot.beat != beat:
            beat, heard = snapshot.beat, clock()
            if snapshot.stage and not snapshot.ended:
                show = show or PlainProgress(output.stdout(), last=snapshot.last, expected=None, clock=clock)
                show(snapshot.model_copy(update={"stage": one_line(snapshot.stage, limit=STAGE)}).event)
        if snapshot is not None and snapshot.ended:
            ended_at = clock() if ended_at is None else ended_at
            if told >= snapshot.committed or clock() - ended_at >= LAST_SECONDS:
                say(f"ended: {one_line(snapshot.ended)}")
                return
        elif beat < 0 and found.is_over and clock() - heard >= IDLE_SECONDS:
            say("no run of the lineage is in progress: it has ended, or an older version grows it")
            return
        if clock() - heard >= SILENT_SECONDS:
            raise WaitTimeout(
                f"the run {run_id} has given no sign for {SILENT_SECONDS:.0f} s: it was killed or is cut off from "
                "MLflow; `bootstrap lineage --sync` on its machine brings the pages up to date"
            )
        sleep(every)


def _tell(found: Look, told: int) -> int:
    """Print the decisions after the first `told`; return how many are told then."""
    for name, outcome, reason in found.decisions[told:]:
        say(one_line(f"{name} {outcome}: {reason.removeprefix('rejected: ')}", limit=REASON))
    return max(len(found.decisions), told)
