"""A client for OpenAI's chat completions API: each distinct question is asked once, replies are kept by content.

    ask (caller) ---- questions not known yet ----> `concurrency` tasks of one event loop ---- HTTP ----> server
                 <--- replies, kept at once -------

    who waits           for whom                 bound, and what happens when it is hit
    a task              one reply, all of it     timeout_seconds -> tried again, then a reply without text
    a task              the next try             30 s of backoff, or Retry-After up to 120 s; longer -> VerifierError
    the caller          its tasks                the sum of the above

One bound covers a whole reply: resolving the name, connecting, headers and body, however slowly they arrive. Temporary
failures (no connection, a slow answer, 408, 429, 5xx) are tried again. A server that cannot be reached, refuses the
request, or fails question after question stops the run, because thousands of unverifiable answers would say less. Only
replies are kept, never failures. The key is read from the environment and appears in no message, file or log.

`httpx2` is used because its tasks can be cancelled at any moment: a blocking client bounds each read alone, and a
server that sends a byte now and then holds it for ever. The backoff is our own, so that it draws no global randomness.
Left out: the questions and the meaning of replies (`judge.py`); streaming, tools, several choices.
"""

import asyncio
import hashlib
import json
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2

from bootstrap import lookups
from bootstrap.config.models import Endpoint
from bootstrap.errors import VerifierError, system_reason
from bootstrap.reading import Root, parsed
from bootstrap.scoring.verifier import printable
from bootstrap.seeds import generator
from bootstrap.store import durable

BACKOFF_SECONDS = 0.5
"""Longest pause before the second try; it doubles with each further try, up to MAX_BACKOFF_SECONDS."""
MAX_BACKOFF_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 120.0
CONNECT_SECONDS = 10.0
CONNECT_SHARE = 0.9
"""Share of a short timeout that connecting may take, so that an unreachable server is told from a slow one."""
GIVE_UP_AFTER = 8
"""Failed questions in a row that stop the run."""
MAX_REPLY_BYTES = 2**20
PASSING_STATUS = {408, 429}

_MOVED = "set model.url to the address that the server redirects to"
_REMEDIES = {
    **dict.fromkeys((301, 302, 303, 307, 308), _MOVED),
    401: "set the environment variable that key_variable names to a valid key",
    403: "check that the key may use this model",
    404: "check model.url (it ends in /v1 on most servers) and model.model",
}
_OTHER_REMEDY = (
    "check model.model and the request's settings (temperature, max_tokens, length_field); if the server speaks of "
    "length, lower max_answer_length"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question; equal questions share one reply."""

    prompt: str
    round: int = 0
    """Number of the repetition of one prompt, where replies are sampled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A model's reply."""

    text: str | None
    """Never blank; None without a reply or with an empty one, for the reason in `problem`."""
    finished: bool = True
    """Whether it ended before the length limit."""
    problem: str = ""


class _MayPass(Exception):
    """A try failed, and another one may succeed."""

    def __init__(self, problem: str, *, unreachable: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(problem)
        self.problem, self.unreachable, self.retry_after = problem, unreachable, retry_after


class ChatClient:
    """Asks one model at one server.

    `cache`: folder of replies that outlive the process; None keeps them in memory. `budget`: questions that the client
    may ask over its life; known replies and repeated tries are free. Raises VerifierError when the environment variable
    for the key is missing or holds no key.
    """

    def __init__(
        self,
        settings: Endpoint,
        *,
        temperature: float,
        max_tokens: int,
        budget: int,
        cache: Path | None,
        system: str | None = None,
    ) -> None:
        self._settings = settings
        self._system = [{"role": "system", "content": system}] if system is not None else []
        self._url = f"{settings.url.rstrip('/')}/chat/completions"
        self._secret = _key(settings.key_variable)
        # Uncompressed, since a small compressed answer may expand to any size.
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._secret is not None:
            self._headers["Authorization"] = f"Bearer {self._secret}"
        self._parameters = {"temperature": temperature, settings.length_field: max_tokens}
        self._budget = budget
        self._asked = 0
        self._cache = cache
        if cache is not None:
            durable.make_folder(cache)
        self._known: dict[str, Reply] = {}
        self._failed_in_a_row = 0

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order.

        Raises VerifierError when the server cannot be reached, refuses a request, or fails question after question.
        """
        keys = [self._name(question) for question in questions]
        missing = {
            name: question
            for name, question in zip(keys, questions, strict=True)
            if name not in self._known and not self._recall(name)
        }
        allowed = dict(islice(missing.items(), max(self._budget - self._asked, 0)))
        self._asked += len(allowed)
        spent = Reply(text=None, problem=f"the budget of {self._budget} questions is spent")
        failed = dict.fromkeys(missing.keys() - allowed.keys(), spent)
        if allowed:
            failed |= lookups.run(self._ask_server(allowed))
        return [self._known.get(name) or failed[name] for name in keys]

    async def _ask_server(self, questions: dict[str, Question]) -> dict[str, Reply]:
        """Ask, keep the replies, and return the failures."""
        failed: dict[str, Reply] = {}
        waiting = iter(questions.items())
        try:
            async with self._opened() as client, asyncio.TaskGroup() as tasks:
                for _ in range(min(self._settings.concurrency, len(questions))):
                    tasks.create_task(self._work(client, waiting, failed))
        except BaseExceptionGroup as group:
            # The first failure has cancelled the other tasks.
            raise group.exceptions[0] from None
        return failed

    def _opened(self) -> httpx2.AsyncClient:
        timeout = self._settings.timeout_seconds
        try:
            # Only connecting has its own bound; the deadline covers the rest.
            return httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=min(CONNECT_SECONDS, CONNECT_SHARE * timeout)),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self._settings.concurrency),
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise VerifierError(
                f"{self._where()} cannot be asked: {self._told(error)}; check the environment's proxy (HTTP_PROXY, "
                "HTTPS_PROXY, ALL_PROXY), or name the server in NO_PROXY"
            ) from None

    async def _work(
        self, client: httpx2.AsyncClient, waiting: Iterator[tuple[str, Question]], failed: dict[str, Reply]
    ) -> None:
        """Ask one question after another. Raises VerifierError when too many fail in a row."""
        for name, question in waiting:
            reply = await self._ask_with_patience(client, name, question)
            if reply.text is not None:
                self._failed_in_a_row = 0
                self._keep(name, reply)
                continue
            failed[name] = reply
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= GIVE_UP_AFTER:
                raise VerifierError(
                    f"{self._where()} failed {self._failed_in_a_row} questions in a row, the last one so: "
                    f"{reply.problem}. Repair the server, or lower model.concurrency or raise model.timeout_seconds if "
                    "it is overloaded, and run again: replies so far are kept"
                )

    async def _ask_with_patience(self, client: httpx2.AsyncClient, name: str, question: Question) -> Reply:
        tries = self._settings.retries + 1
        problem = ""
        for number in range(1, tries + 1):
            try:
                return await self._ask_once(client, question)
            except _MayPass as failure:
                problem = failure.problem
                if number < tries:
                    await asyncio.sleep(max(_backoff(name, number), failure.retry_after))
                elif failure.unreachable:
                    raise VerifierError(
                        f"{self._where()} cannot be reached after {tries} tries: {problem}. Start the server, check "
                        "model.url and, where a proxy is set, NO_PROXY; then run again: replies so far are kept"
                    ) from None
        return Reply(text=None, problem=f"{problem} (tries: {tries})")

    async def _ask_once(self, client: httpx2.AsyncClient, question: Question) -> Reply:
        """Return the reply, without text where the server sends none. Raises _MayPass, VerifierError."""
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [*self._system, {"role": "user", "content": question.prompt}],
            **self._parameters,
        }
        if self._parameters["temperature"]:
            body["seed"] = question.round
        begun = False
        try:
            async with (
                asyncio.timeout(settings.timeout_seconds),
                # JSON is written here, as ASCII, since a prompt may hold lone surrogates.
                client.stream("POST", self._url, content=json.dumps(body).encode(), headers=self._headers) as response,
            ):
                begun = True
                content = await self._body(response)
        except TimeoutError:
            which = "whole answer" if begun else "answer"
            raise _MayPass(f"no {which} within {settings.timeout_seconds:g} s") from None
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
            raise VerifierError(f"{self._where()} cannot be asked: {self._told(error)}; check model.url") from None
        except httpx2.HTTPError as error:
            if (distrust := _distrust(error)) is not None:
                raise VerifierError(
                    f"{self._where()} has no valid certificate: {self._told(distrust)}; repair it, or begin model.url "
                    "with http:// if the server speaks no TLS"
                ) from None
            if begun:
                raise _MayPass(f"the answer broke off: {self._why(error)}") from None
            raise _MayPass(self._why(error), unreachable=True) from None
        return self._reply(response, content)

    async def _body(self, response: httpx2.Response) -> bytes:
        """Return the body, cut after the chunk that exceeds `MAX_REPLY_BYTES`."""
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_REPLY_BYTES:
                break
        return bytes(content)

    def _reply(self, response: httpx2.Response, content: bytes) -> Reply:
        status = response.status_code
        excerpt = self._told(content[:4096].decode(errors="replace"))
        if status in PASSING_STATUS or status >= 500:
            pause = _retry_after(response.headers.get("Retry-After", ""))
            if pause > MAX_RETRY_AFTER_SECONDS:
                raise VerifierError(
                    f"{self._where()} answers {status} and asks to wait {pause:.0f} s, longer than this run waits "
                    f"({MAX_RETRY_AFTER_SECONDS:.0f} s): {excerpt}. Run again later: replies so far are kept"
                )
            raise _MayPass(f"status {status}: {excerpt}", retry_after=pause)
        if status != 200:
            remedy = _REMEDIES.get(status, _OTHER_REMEDY)
            raise VerifierError(f"{self._where()} refuses with status {status}: {excerpt}; {remedy}")
        if len(content) > MAX_REPLY_BYTES:
            return Reply(text=None, problem=f"the answer is longer than {MAX_REPLY_BYTES} bytes")
        try:
            found = json.loads(content)
            choice = found["choices"][0]
            text, finish = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return Reply(text=None, problem=f"the answer is no chat completion: {excerpt}")
        if not isinstance(text, str) or finish not in ("stop", "length"):
            return Reply(text=None, problem=f"the model gave no text (finish_reason {printable(str(finish))})")
        if not text.strip():
            why = ", cut by max_tokens before its first word" if finish == "length" else ""
            return Reply(text=None, problem=f"the model answered nothing (finish_reason {finish}{why})")
        return Reply(text=text, finished=finish == "stop")

    def _name(self, question: Question) -> str:
        """Return a reply's key: SHA-256 over the model, the prompt and the parameters."""
        seed = question.round if self._parameters["temperature"] else 0
        parts = [self._settings.model, *self._system, question.prompt, *self._parameters.values(), seed]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _recall(self, name: str) -> bool:
        """Load a reply from the cache; return whether it is there."""
        if self._cache is None:
            return False
        try:
            found = parsed(Root(self._cache).read(f"{name}.json"), strict=False)
            if not found["text"].strip():
                return False
            self._known[name] = Reply(text=found["text"], finished=found["finished"])
        # An unreadable reply is asked for again.
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False
        return True

    def _keep(self, name: str, reply: Reply) -> None:
        self._known[name] = reply
        if self._cache is not None:
            kept = {"model": self._settings.model, "text": reply.text, "finished": reply.finished}
            durable.write_file(self._cache / f"{name}.json", json.dumps(kept).encode())

    def _where(self) -> str:
        return f"model {printable(self._settings.model)} at {self._settings.url}"

    def _why(self, error: Exception) -> str:
        """Return an error's cause, for a message."""
        return self._told(system_reason(error))

    def _told(self, what: object) -> str:
        """Return a foreign text as one bounded line without the key, for a message."""
        text = re.sub(r"\s+", " ", str(what)).strip() or "an empty answer"
        return printable(text.replace(self._secret, "***") if self._secret else text)


def _key(variable: str | None) -> str | None:
    """Return the key in an environment variable. Raises VerifierError where it holds none."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    # An error about a header that cannot be sent would show the key.
    if not re.fullmatch(r"[!-~]+", key):
        raise VerifierError(
            f"the environment variable {variable} holds no key; set it to the key of the model's server, or remove "
            "key_variable from the recipe if the server needs none"
        )
    return key


def _distrust(error: BaseException) -> ssl.SSLError | None:
    """Return the TLS error beneath an error; None where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _backoff(name: str, number: int) -> float:
    """Return the seconds to wait after try `number`: doubling, with jitter derived from the question."""
    longest = min(BACKOFF_SECONDS * 2 ** (number - 1), MAX_BACKOFF_SECONDS)
    return longest * (0.5 + 0.5 * generator(0, "backoff", name, number).random())


def _retry_after(value: str) -> float:
    """Return the seconds of a Retry-After header; 0 where it is missing or unreadable."""
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
