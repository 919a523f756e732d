"""Event loops whose deadlines hold while a name is resolved.

`asyncio` resolves names in threads of an executor, and waits for these when a loop is closed and when the process ends.
A resolver that hears nothing takes half a minute, whatever deadline its caller has. Here each look-up has a thread that
nobody waits for: who gave up is told so at once, and the thread ends when the system's resolver does.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, as `asyncio.run` does, without waiting for look-ups that it has given up."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


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
