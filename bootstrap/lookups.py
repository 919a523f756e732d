"""An event loop, and a test connection, whose deadlines hold while a name is looked up.

`asyncio` looks names up in an executor's threads, and waits for them when a loop is closed and when the process ends. A
resolver without an answer takes half a minute, whatever its caller's deadline. Here each look-up has a thread that
nobody waits for: the deadline holds, and the thread ends with the system's resolver.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and return its result, as `asyncio.run`, without a wait for abandoned look-ups."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


def reach(host: str, port: int, *, seconds: float) -> None:
    """Return once any address of a host accepts a connection, which is closed at once.

    Raises OSError with the system's words, TimeoutError after `seconds` in all, UnicodeError for an impossible name.
    """
    try:
        run(_any_connection(host, port, seconds=seconds))
    except TimeoutError as error:
        # The system's own timeout has a number and says as much.
        raise error if error.errno else TimeoutError(f"no answer within {seconds:g} s") from None


async def _any_connection(host: str, port: int, *, seconds: float) -> None:
    refused = OSError(f"{host} has no address")
    async with asyncio.timeout(seconds):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # All at once, so that a silent address does not use up the time of another.
        attempts = [
            asyncio.create_task(_connection(family, kind, protocol, place))
            for family, kind, protocol, _, place in found
        ]
        try:
            for attempt in asyncio.as_completed(attempts):
                failure = await attempt
                if failure is None:
                    return
                refused = failure
        finally:
            for attempt in attempts:
                attempt.cancel()
    raise refused


async def _connection(family: int, kind: int, protocol: int, place: Any) -> OSError | None:
    """Return why one address did not accept a connection; None where it did."""
    try:
        with socket.socket(family, kind, protocol) as connection:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, place)
    except OSError as error:
        return error
    return None


class _Loop(asyncio.SelectorEventLoop):
    async def getaddrinfo(self, host: Any, port: Any, **how: int) -> Any:
        """Return what `socket.getaddrinfo` returns, and raise what it raises."""
        found = self.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if found.done():
                return
            if error is None:
                found.set_result(result)
            else:
                found.set_exception(error)

        def look_up() -> None:
            result, error = None, None
            try:
                result = socket.getaddrinfo(host, port, **how)
            except Exception as failure:
                error = failure
            # The loop may be closed by now.
            with suppress(RuntimeError):
                self.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
        return await found
