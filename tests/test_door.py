"""What one visitor of the app may ask for, and that what nobody waits for ends."""

import asyncio
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import door as doors
import session
from api import Endpoints
from conftest import random_model

NAMES = ["decode", "race", "patches", "inside"]


def asked(door, path, method="POST", visitor="10.0.0.1", size="100", query=b"", app=None):
    """(status, body) of a request; those that are let in answer 200 unless `app` is given."""
    sent = []

    async def let_in(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    headers = [(b"content-length", size.encode())]
    scope = dict(type="http", path=path, method=method, client=(visitor, 1), headers=headers)
    scope["query_string"] = query
    asyncio.run(door.in_front_of(app or let_in)(scope, None, send))
    return (sent[0]["status"] if sent else None), b"".join(m.get("body", b"") for m in sent)


@pytest.mark.parametrize("way", ["call", "call/v2", "run", "api"])
@pytest.mark.parametrize("end", ["", "/"])
def test_only_the_endpoints_of_the_api_answer_by_name(way, end):
    door = doors.Door(list, NAMES)
    for name in ("decode_1", "survey", "lambda", "opened", "ready"):
        status, body = asked(door, f"/gradio_api/{way}/{name}{end}")
        assert status == 404 and "decode, race, patches, inside" in json.loads(body)["detail"]
    assert asked(door, "/gradio_api/run/predict")[0] == 200  # the page's own, by number
    for name in NAMES:
        assert asked(door, f"/gradio_api/{way}/{name}{end}")[0] == 200


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/call/decode"])
def test_a_visitor_has_so_many_calls_and_no_more_and_others_still_come_in(path):
    line = []
    door = doors.Door(lambda: line, NAMES)
    for _ in range(doors.MOST_CALLS):
        assert asked(door, path)[0] == 200
        line.append("10.0.0.1")
    status, body = asked(door, path)
    assert status == 429 and "wait for one to end" in json.loads(body)["detail"]
    assert asked(door, path, visitor="10.0.0.2")[0] == 200
    line.pop()
    assert asked(door, path)[0] == 200


def test_files_are_limited_in_number_and_size(monkeypatch):
    door, path = doors.Door(list, NAMES), "/gradio_api/upload"
    for size in (str(doors.MOST_SENT + 1), "", "-1", "x"):
        assert asked(door, path, size=size)[0] == 413
    for _ in range(doors.MOST_UPLOADS):
        assert asked(door, path)[0] == 200
    assert asked(door, path)[0] == 429
    assert asked(door, path, visitor="10.0.0.2")[0] == 200
    monkeypatch.setattr(doors, "HOUR", 0.0)
    assert asked(door, path)[0] == 200


@pytest.mark.parametrize(
    "path, query",
    [("/gradio_api/queue/data", b"session_hash=me"), ("/gradio_api/call/decode/me", b"")],
)
def test_the_door_knows_who_listens(path, query):
    door, long_ago, heard = doors.Door(list, NAMES), time.monotonic() - 1000, []

    async def listening(scope, receive, send):
        heard.append((door.waits("me", long_ago), door.waits("other", long_ago)))

    asked(door, path, "GET", query=query, app=listening)
    assert heard == [(True, False)]
    assert not door.waits("me", long_ago) and door.waits("me", time.monotonic())


@pytest.fixture(scope="module")
def demo():
    from test_app import session as of_app

    found = of_app.Demo()
    only = SimpleNamespace(name="blt", model=random_model(0), methods=["ar"])
    found.models = SimpleNamespace(names=[], get=lambda name=None: only)
    return found


def test_a_decoding_that_nobody_waits_for_ends(demo, monkeypatch):
    monkeypatch.setattr(session, "FRAME", 0.0)
    left = iter([True] * 6 + [False] * 10_000)
    api = Endpoints(demo, lambda session, since: next(left))
    traces = [*api.race("abc", ["ar", "ar"], request=SimpleNamespace(session_hash="me"))]
    assert len(traces) < 10 and len(traces[-1]) == 1
    assert traces[-1][0]["events"][-1]["reason"] == "interrupted"


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(prompt={"a": 1}), "a text must be"),
        (dict(prompt=["x"]), "a text must be"),
        (dict(prompt=[1] * 10**6), "at most 2,000"),
        (dict(method=5), "method must be a text, got int"),
        (dict(method=["ar"]), "method must be a text, got list"),
        (dict(model=["blt"]), "model must be a text, got list"),
        (dict(options=[1]), "options must be an object, got list"),
        (dict(max_new_bytes="9"), "max_new_bytes must be a number, got str"),
        (dict(max_new_bytes=10**9), "max_new_bytes must be 1 to 1024 here"),
        (dict(temperature=[1]), "temperature must be a number, got list"),
        (dict(top_k={}), "top_k must be a number, got dict"),
        (dict(top_p=True), "top_p must be a number, got bool"),
        (dict(seed="x"), "seed must be a number, got str"),
        (dict(stop=5), "stop must be a text or a list of texts, got int"),
        (dict(stop=["a", 5]), "stop must be a text or a list of texts, got list"),
        (dict(stop=["a"] * 17), "up to 16 texts"),
        (dict(stop=["a" * 201]), "at most 200 characters"),
        (dict(no_repeat_ngram_bytes=65), "no_repeat_ngram_bytes must be 0 to 64 here"),
        (dict(method="blt-s", options=dict(draft_length=10**9)), "draft_length must be an int"),
        (dict(method="blt-d", options=dict(block_size=20_000)), "block_size must be an int"),
    ],
)
def test_a_wrong_argument_is_one_sentence(demo, given, words):
    with pytest.raises(Exception, match=words) as error:
        next(Endpoints(demo).decode(**dict(prompt="abc") | given))
    assert type(error.value).__name__ == "Error" and "\n" not in str(error.value)


def test_a_wrong_argument_of_a_race_is_one_sentence(demo):
    for given, words in [
        (dict(methods="ar"), "methods must be a list of texts, got str"),
        (dict(methods=[5]), "methods must be a list of texts"),
        (dict(methods=["ar"], options={"ar": 5}), "options must be an object, got int"),
    ]:
        with pytest.raises(Exception, match=words):
            next(Endpoints(demo).race("abc", **given))


# -- five victims ----------------------------------------------------------------------------------


def arguments(methods, max_new_bytes):
    """Those of `decode` or `race`, in order."""
    return ["abc", methods, {}, max_new_bytes, 0.0, 0, 1.0, 0, [], 0, None]


def post(port, path, body, visitor):
    """(status, answer) of a request from an address of this machine."""
    connection = HTTPConnection("127.0.0.1", port, timeout=100, source_address=(visitor, 0))
    headers = {"content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"{}")


def seconds_of(port, visitor):
    """How long a visitor waits for a short decoding, from asking to the last event."""
    began = time.monotonic()
    call = "/gradio_api/call/decode"
    status, said = post(port, call, {"data": arguments("ar", 8)}, visitor)
    assert status == 200, said
    connection = HTTPConnection("127.0.0.1", port, timeout=100, source_address=(visitor, 0))
    connection.request("GET", f"{call}/{said['event_id']}")
    assert b"event: complete" in connection.getresponse().read()
    return time.monotonic() - began


ABUSE = {
    "call/decode": {"data": arguments("ar", 400)},
    "call/race": {"data": arguments(["ar", "blt-s", "blt-dv"], 400)},
    "call/patches": {"data": ["abc" * 600, None]},
    "call/inside": {"data": ["abcabcabc", 0, None]},
    "call/survey": {"data": ["abc", None]},
    "run/decode": {"data": arguments("ar", 400)},
    "queue/join": {"data": arguments("ar", 400), "fn_index": 0, "session_hash": "abuse"},
    "upload": {"data": ["abc"]},
}


REFUSED = {  # how the forty are refused, at least some of them
    "call/decode": {429},
    "call/race": {429},
    "call/survey": {404},
    "run/decode": {404, 429},  # too many wait already, or it is no endpoint
}
NO_PLACE = ("call/survey", "run/decode", "upload")  # never answered


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="one machine with many addresses")
def test_five_visitors_are_answered_while_another_abuses_an_endpoint():
    """Forty calls that nobody listens to, to each endpoint; prints the victims' seconds."""
    import demo as app

    page, looks = app.build(session.Models([random_model(0)]))
    ABUSE["queue/join"]["fn_index"] = next(
        n for n, fn in page.fns.items() if fn.api_name == "decode"
    )
    _, address, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **looks
    )
    port = int(address.rstrip("/").rpartition(":")[2])
    try:
        alone = seconds_of(port, "127.0.0.2")
        print(f"\nalone {alone:.1f} s")
        for path, body in ABUSE.items():
            said = [post(port, f"/gradio_api/{path}", body, "127.0.0.9")[0] for _ in range(40)]
            with ThreadPoolExecutor(5) as pool:
                addresses = [f"127.0.0.{n}" for n in range(2, 7)]
                waited = [*pool.map(partial(seconds_of, port), addresses)]
            print(path, Counter(said), [f"{n:.1f}" for n in sorted(waited)], "s")
            assert path not in NO_PLACE or 200 not in said
            assert 429 in said or 200 not in said, "forty are more than one visitor may send"
            assert REFUSED.get(path, {*said}) & {*said}
            assert max(waited) < 60
    finally:
        page.close()
