"""What stands in front of the page: how much one visitor may ask for, and who still listens.

A visitor is an address. Beside what Gradio limits itself: calls that wait or run, files sent, and
no answer from what is not part of the API.
"""

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

MOST_CALLS = 4  # of one visitor that wait or run at the same time
MOST_FILES = 60  # requests with files of one visitor in an hour
MOST_SENT = 64 << 20  # bytes of one such request: a few files of 8 MB
HOUR = 3600.0
PATIENCE = 5.0  # seconds that a call runs although nobody listens
CALLS = ("call", "run", "api")  # in paths, in front of the name of an endpoint

Handler = Callable[..., Awaitable[None]]


class Door:
    """Lets requests in, or refuses them in one sentence.

    callers: the address of each call that waits or runs. public: names of the endpoints that answer
    by name.
    """

    def __init__(self, callers: Callable[[], list[str]], public: Iterable[str] = ()) -> None:
        self.callers, self.public = callers, [*public]
        self._stands = False  # in front of an app
        self._listeners: Counter[str] = Counter()  # by session
        self._sent: defaultdict[str, deque[float]] = defaultdict(
            deque
        )  # when files came, by visitor

    def in_front_of(self, app: Handler) -> Handler:
        """The app behind this door, as a server calls it."""
        self._stands = True

        async def guarded(scope: dict[str, Any], receive: Handler, send: Handler) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            status, why = self.refusal(scope)
            if why:
                return await _answer(send, status, why)
            session = _listening(scope)
            self._listeners[session] += 1
            try:
                await app(scope, receive, send)
            finally:
                self._listeners[session] -= 1
                self._listeners += Counter()  # forget those of whom nobody is left

        return guarded

    def refusal(self, scope: dict[str, Any]) -> tuple[int, str]:
        """(status, one sentence) for a request that is refused; the sentence is "" for others."""
        visitor = (scope.get("client") or [""])[0]
        path = scope["path"].rstrip("/").split("/")
        if scope["method"] != "POST":
            return 200, ""
        name = _endpoint(path)
        if name is not None and name not in self.public:
            return 404, f"there is no endpoint of this name: there are {', '.join(self.public)}"
        if path[-1] == "upload":
            return self._refused_files(visitor, dict(scope["headers"]))
        is_call = name is not None or path[-2:] == ["queue", "join"]
        if is_call and self.callers().count(visitor) >= MOST_CALLS:
            return 429, f"{MOST_CALLS} calls of yours wait or run already: wait for one to end"
        return 200, ""

    def _refused_files(self, visitor: str, headers: dict[bytes, bytes]) -> tuple[int, str]:
        """As `refusal`, for a request with files; notes that it came."""
        size = headers.get(b"content-length", b"")
        if not size.isdigit() or int(size) > MOST_SENT:
            return 413, f"files may have {MOST_SENT >> 20} MB together"
        now, sent = time.monotonic(), self._sent[visitor]
        while sent and sent[0] < now - HOUR:
            sent.popleft()
        if len(sent) >= MOST_FILES:
            return 429, f"files may be sent {MOST_FILES} times in an hour"
        sent.append(now)
        return 200, ""

    def waits(self, session: str | None, since: float) -> bool:
        """Does anybody wait for a call that began at `since`, or may still come to?"""
        is_heard = not self._stands or self._listeners[session or ""] > 0
        return is_heard or time.monotonic() - since < PATIENCE


def _endpoint(path: list[str]) -> str | None:
    """The name of the endpoint that a path calls.

    The page calls its own functions by number, at run/predict.

    >>> _endpoint(["", "gradio_api", "call", "decode"]), _endpoint(["", "queue", "join"])
    ('decode', None)
    """
    parts = [part for part in path if part != "v2"]
    by_name = len(parts) > 1 and parts[-2] in CALLS and parts[-2:] != ["run", "predict"]
    return parts[-1] if by_name else None


def _listening(scope: dict[str, Any]) -> str:
    """The session whose events a request reads; of `call/NAME/EVENT` it is the event."""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [""])
    path = scope["path"].rstrip("/").split("/")
    if scope["method"] != "GET":
        return ""
    return asked[0] if path[-2:] == ["queue", "data"] else path[-1]


async def _answer(send: Handler, status: int, why: str) -> None:
    body = json.dumps({"detail": why, "error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
