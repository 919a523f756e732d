"""Polite ends: SIGTERM (Ray's, a container's) and SIGHUP (a closed terminal's) end a command as Ctrl-C does."""

import signal
from types import FrameType


def end_as_on_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, so that workers and locks are released and the end is told.

    A signal that is ignored, as SIGHUP is under `nohup`, stays ignored.
    """
    for number, handler in ((signal.SIGTERM, signal.default_int_handler), (signal.SIGHUP, _hang_up)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _hang_up(number: int, frame: FrameType | None) -> None:
    # A terminal that closes and its shell send one each; the second must not break off what the first ends.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt
