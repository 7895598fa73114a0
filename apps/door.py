"""What stands in front of the page: what it answers, to whom, and who still listens.

A visitor is an address. Beside what Gradio limits itself: calls that wait or run, requests at the
same time, what is sent, and no answer from what is not part of the page or the API.
"""

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

MOST_CALLS = 16  # of one visitor that wait or run at the same time; one of them runs
MOST_REQUESTS = 16  # of one visitor that send something at the same time
MOST_UPLOADS = 60  # requests with files of one visitor in an hour
MOST_FILES = 16  # in one of them
MOST_SENT = 64 << 20  # bytes of one of them: a few files of 8 MB
MOST_ASKED = 8 << 20  # bytes of a call of the page: the traces that it shows
MOST_CALLED = 1 << 18  # bytes of a call of the API
HOUR = 3600.0
PATIENCE = 5.0  # seconds that a call runs although nobody listens
CALLS = ("call", "run", "api")  # in paths, in front of the name of an endpoint
# What is asked for behind Gradio's prefix; it has more, which fetches, records and edits
PREFIX = "gradio_api"
ANSWERED = {
    "GET": [
        "app_id",
        "call",
        "heartbeat",
        "info",
        "openapi.json",
        "queue",
        "startup-events",
        "upload_progress",
    ],
    "POST": ["api", "call", "cancel", "queue", "reset", "run", "upload"],
}
ELSEWHERE = "login", "logout", "monitoring", "deep_link"  # of what has no prefix: not answered
NO_FIT = (
    "this does not fit what the page answers: /gradio_api/info says which endpoints there are and"
    " what they take"
)
FILE = b"filename="  # stands once before each file of a request

Handler = Callable[..., Awaitable[None]]
Refusal = tuple[int, str]  # (status, one sentence); the sentence is "" for what is let in
LET_IN: Refusal = (200, "")


class Door:
    """Lets requests in, or refuses them in one sentence.

    callers: the address of each call that waits or runs. public: names of the endpoints that answer
    by name.
    """

    def __init__(self, callers: Callable[[], list[str]], public: Iterable[str] = ()) -> None:
        self.callers, self.public = callers, [*public]
        self._stands = False  # in front of an app
        self._listeners: Counter[str] = Counter()  # by session
        self._busy: Counter[str] = Counter()  # requests that send something, by visitor
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
            sender = _visitor(scope) if scope["method"] == "POST" else ""
            self._listeners[session] += 1
            self._busy[sender] += 1
            try:
                await _answered(app, scope, receive, send)
            finally:
                self._listeners[session] -= 1
                self._busy[sender] -= 1
                self._listeners += Counter()  # forget those of whom nobody is left
                self._busy += Counter()

        return guarded

    def refusal(self, scope: dict[str, Any]) -> Refusal:
        """Why a request is refused, if it is."""
        method, path = scope["method"], scope["path"].rstrip("/").split("/")
        if not _is_answered("GET" if method == "HEAD" else method, path):
            return 404, NO_FIT
        if method != "POST":
            return LET_IN
        if self._busy[_visitor(scope)] >= MOST_REQUESTS:
            return 429, f"{MOST_REQUESTS} requests of yours are under way: wait for one to end"
        name = _endpoint(path)
        if name is not None and name not in self.public:
            return 404, f"there is no endpoint of this name: there are {', '.join(self.public)}"
        if path[-1] == "upload":
            return self._refused_files(scope)
        return self._refused_call(scope, path, name)

    def _refused_call(self, scope: dict[str, Any], path: list[str], name: str | None) -> Refusal:
        """Why a call is refused, if it is."""
        most = MOST_ASKED if name is None else MOST_CALLED
        if _size(scope) > most:
            return 413, f"a call may send {most >> 10:,} kB"
        waits = name is not None or path[-2:] == ["queue", "join"]
        if waits and self.callers().count(_visitor(scope)) >= MOST_CALLS:
            return 429, f"{MOST_CALLS} calls of yours wait or run already: wait for one to end"
        return LET_IN

    def _refused_files(self, scope: dict[str, Any]) -> Refusal:
        """Why a request with files is refused, if it is; notes that it came."""
        if _size(scope) > MOST_SENT:
            return 413, f"files may have {MOST_SENT >> 20} MB together"
        now, sent = time.monotonic(), self._sent[_visitor(scope)]
        while sent and sent[0] < now - HOUR:
            sent.popleft()
        if len(sent) >= MOST_UPLOADS:
            return 429, f"files may be sent {MOST_UPLOADS} times in an hour"
        sent.append(now)
        return LET_IN

    def waits(self, session: str | None, since: float) -> bool:
        """Does anybody wait for a call that began at `since`, or may still come to?"""
        is_heard = not self._stands or self._listeners[session or ""] > 0
        return is_heard or time.monotonic() - since < PATIENCE


class TooManyFiles(Exception):
    """More files came in one request than are taken."""


async def _answered(app: Handler, scope: dict[str, Any], receive: Handler, send: Handler) -> None:
    """Let the app answer; where it fails before it began to, a sentence does."""
    began = False

    async def noted(message: dict[str, Any]) -> None:
        nonlocal began
        began = True
        await send(message)

    try:
        await app(scope, _counted(receive), noted)
    except TooManyFiles:
        await _answer(send, 413, f"at most {MOST_FILES} files can be opened together")
    except Exception:
        if began:
            raise
        await _answer(send, 400, NO_FIT)


def _counted(receive: Handler) -> Handler:
    """What is sent, until it has too many files. They are counted as they come."""
    found, end = 0, b""

    async def received() -> dict[str, Any]:
        nonlocal found, end
        message = await receive()
        part = end + message.get("body", b"")
        found += part.count(FILE)
        end = part[-len(FILE) + 1 :]
        if found > MOST_FILES:
            raise TooManyFiles
        return message

    return received


def _visitor(scope: dict[str, Any]) -> str:
    """The address of who asks."""
    return (scope.get("client") or [""])[0]


def _size(scope: dict[str, Any]) -> float:
    """How many bytes are sent; without an end where nothing says so."""
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() and len(said) < 20 else float("inf")


def _is_answered(method: str, path: list[str]) -> bool:
    """Is this part of the page or of the API?

    >>> _is_answered("GET", ["", "gradio_api", "info"]), _is_answered("GET", ["", "assets", "x.js"])
    (True, True)
    >>> _is_answered("GET", ["", "gradio_api", "file=http:", "", "elsewhere"])
    False
    """
    first, *rest = [*path, ""][1:]
    if first == PREFIX:
        return bool(rest) and rest[0] in ANSWERED.get(method, ())
    return method == "GET" and first not in ELSEWHERE


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
