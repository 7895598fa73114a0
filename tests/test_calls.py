"""Calls that fit are answered, in turns; the others get one sentence, and nothing of them stays."""

import json
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import calls
import demo as app
import door as doors
import session
from api import Endpoints
from conftest import random_model
from turns import Turns

NUMBERS = [8, 0.0, 0, 1.0, 0, [], 0, None]
GOOD = {
    "decode": ["abc", "ar", {}, *NUMBERS],
    "race": ["abc", ["ar"], {}, *NUMBERS],
    "patches": ["abc", None],
    "inside": ["abc", 0, None],
}
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
PREFIX = "/gradio_api"


@pytest.fixture(scope="module")
def page():
    page, looks = app.build(session.Models([random_model(0)]))
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **looks)
    yield page
    page.close()


@pytest.fixture
def ask(page, capfd):
    """Send a request; (status, answer). No answer has a traceback in the terminal."""

    def asked(method, path, body=None, **headers):
        connection = HTTPConnection("127.0.0.1", page.server_port, timeout=100)
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body)
        headers = {"content-type": "application/json"} | headers
        connection.request(method, PREFIX + path, sent, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    yield asked
    assert "Traceback" not in capfd.readouterr().err


def said(ask, name, body, way="call"):
    """What a call of an endpoint ends with: ("complete" or "error", what it says)."""
    status, answer = ask("POST", f"/{way}/{name}", body)
    told = json.loads(answer)
    if status != 200:
        return "error", told["error"]
    _, stream = ask("GET", f"/call/{name}/{told['event_id']}")
    *_, event, data = stream.strip().splitlines()
    data = json.loads(data.removeprefix("data: "))
    return event.removeprefix("event: "), data["error"] if event.endswith("error") else data


@pytest.mark.parametrize("name", GOOD)
def test_every_endpoint_says_in_one_sentence_what_it_takes(ask, name):
    good = GOOD[name]
    assert said(ask, name, {"data": good})[0] == "complete"
    many = f"/{name} takes {len(good)} argument"
    listed = 'a call is {"data": [its arguments]} in JSON'
    by_name = "this does not fit what the page answers"
    for way, body, words in [
        ("call", {"data": []}, many),
        ("call", {"data": good[:-1]}, many),
        ("call", {"data": [*good, 1]}, many),
        ("call", {"data": [None] * len(good)}, "a text must be"),
        ("call", {"data": [{"a": 1}] * len(good)}, " must be "),
        ("call", {"data": [FILE] * len(good)}, "a file can be sent only with Open"),
        ("call", {"data": [[[FILE]]] * len(good)}, "a file can be sent only with Open"),
        ("call", {"data": [{"path": "x", "meta": "y"}] * len(good)}, "a file can be sent"),
        ("call", {"data": "abc"}, listed),
        ("call", {"data": None}, listed),
        ("call", {}, listed),
        ("call", [], listed),
        ("call/v2", {}, by_name),
        ("call/v2", {"what": 1}, by_name),
    ]:
        kind, told = said(ask, name, body, way)
        assert kind == "error" and words in told and "\n" not in told, (body, told)
        assert "passwd" not in told


@pytest.mark.parametrize(
    "data",
    [
        ["\ud800", "ar", {}, *NUMBERS],
        ["abc", "x" * 100_000, {}, *NUMBERS],
        ["abc", "ar", {"x" * 100_000: 1}, *NUMBERS],
        ["abc", "blt-d", {"block_size": 10**400}, *NUMBERS],
        ["abc", "blt-d", {"block_size": [[[]]]}, *NUMBERS],
        ["abc", "blt-d", {"unmasking": "topk:1e400"}, *NUMBERS],
        ["abc", "blt-d", {"unmasking": "topk:" + "9" * 5000}, *NUMBERS],
        ["abc", "blt-d", {"unmasking": "os:system"}, *NUMBERS],
        ["abc", "ar", {}, 2.5, *NUMBERS[1:]],
        ["abc", "ar", {}, float("nan"), *NUMBERS[1:]],
        ["abc", "ar", {}, 8, float("nan"), 0, 1.0, 0, [], 0, None],
        ["abc", "ar", {}, 8, 0.0, 0, 1.0, float("inf"), [], 0, None],
        ["abc", "ar", {}, 8, 0.0, 0, 1.0, 10**400, [], 0, None],
        ["abc", "ar", {}, 8, 0.0, 0, 1.0, 0.5, [], 0, None],
        ["abc", "ar", {}, 8, 0.0, 0, 1.0, 0, ["\ud800"], 0, None],
        ["abc", "ar", {}, *NUMBERS[:-1], "x" * 100_000],
        ["abc", "ar", {}, *NUMBERS[:-1], "/etc/passwd"],
    ],
)
def test_odd_values_are_one_short_sentence(ask, data):
    kind, told = said(ask, "decode", {"data": data})
    assert kind == "error" and len(told) < 400 and "\n" not in told and told != calls.UNKNOWN


def test_calls_by_number_are_looked_at_too(ask):
    for number in (-1, 10**6):
        body = {"data": [], "fn_index": number, "session_hash": "me"}
        status, answer = ask("POST", "/queue/join", body)
        assert status == 400 and "what the page answers" in answer
    status, answer = ask("POST", "/queue/join", {"data": [], "fn_index": "x", "session_hash": "me"})
    assert status == 422 and "fn_index: Input should be a valid integer" in answer


@pytest.mark.parametrize(
    "path",
    [
        "/file=http://example.com/x",
        "/file=/etc/passwd",
        "/proxy=http://x.hf.space/",
        "/monitoring",
        "/process_recording",
        "/component_server",
        "/vibe-code",
        "/run-history/connect",
    ],
)
def test_what_is_no_part_of_the_page_is_not_answered(ask, path):
    """Gradio would fetch an address, read a file, or edit its own program."""
    for method in ("GET", "POST"):
        status, answer = ask(method, path, None if method == "GET" else {})
        assert status == 404 and "what the page answers" in answer


def test_files_come_in_small_numbers(ask):
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.json"\r\n\r\n{}\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    few, many = (part * n + b"--x--\r\n" for n in (doors.MOST_FILES, doors.MOST_FILES + 1))
    status, answer = ask("POST", "/upload", few, **kind)
    assert status == 200 and len(json.loads(answer)) == doors.MOST_FILES
    status, answer = ask("POST", "/upload", many, **kind)
    assert status == 413 and "at most 16 files" in answer


def test_a_call_may_send_so_much(ask):
    status, answer = ask("POST", "/call/patches", {"data": ["a" * doors.MOST_CALLED, None]})
    assert status == 413 and "256 kB" in answer


@pytest.mark.parametrize("name, way", [("patches", "name"), ("survey", "number")])
def test_nothing_that_a_call_sent_is_kept(page, ask, name, way):
    number, fn = next((n, fn) for n, fn in page.fns.items() if name in (fn.api_name, fn.name))
    data = ["not to be kept", None][: len(fn.inputs)]
    if way == "name":
        assert said(ask, name, {"data": data})[0] == "complete"
    else:
        for sent in (data, [data, data]):  # the second is of a wrong kind
            body = {"data": sent, "fn_index": number, "session_hash": "me"}
            assert ask("POST", "/queue/join", body)[0] == 200
            assert "completed" in ask("GET", "/queue/data?session_hash=me")[1]
    sessions = page.app.state_holder.session_data.values()
    kept = [one.config_values[block._id] for one in sessions for block in fn.inputs]
    assert kept and "not to be kept" not in str(kept)


# -- turns -----------------------------------------------------------------------------------------


def test_a_turn_goes_to_who_asked_first():
    turns, order, threads = Turns(), [], []

    def wait(name):
        with turns:
            order.append(name)

    with turns:
        for name in range(5):
            threads.append(threading.Thread(target=wait, args=[name]))
            threads[-1].start()
            while len(turns._line) < name + 2:
                pass
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_short_decoding_ends_before_a_long_one_that_began_earlier():
    found = session.Demo(session.Models([random_model(0)]))
    api, began = Endpoints(found), threading.Event()
    ended = []

    def decode(name, max_new_bytes):
        for _ in api.decode("abc", max_new_bytes=max_new_bytes):
            began.set()
        ended.append(name)

    long = threading.Thread(target=decode, args=["long", 200])
    long.start()
    assert began.wait(60)
    decode("short", 8)
    long.join()
    assert ended == ["short", "long"]


def queue_of(*visitors, at_once=2):
    """As Gradio's: calls of these visitors wait for the model, none runs."""
    line = SimpleNamespace(queue=[], concurrency_limit=at_once, current_concurrency=0)
    for number, visitor in enumerate(visitors):
        request = SimpleNamespace(client=SimpleNamespace(host=visitor))
        line.queue.append(SimpleNamespace(n=number, request=request, concurrency_id="model"))
    return SimpleNamespace(active_jobs=[], event_queue_per_concurrency_id={"model": line})


def test_a_visitor_with_many_calls_runs_one_of_them():
    queue = queue_of("a", "a", "a", "b", "c")
    line = queue.event_queue_per_concurrency_id["model"]
    order = []
    next_call = calls.fair(queue)
    for _ in range(2):
        events, _, _ = next_call()
        queue.active_jobs.append(events)
        line.current_concurrency += 1
        order.append(events[0].n)
    assert order == [0, 3] and next_call() is None  # both places are taken
    queue.active_jobs.pop()
    line.current_concurrency -= 1
    assert next_call()[0][0].n == 4  # not another one of a's
    assert next_call() is None
    queue.active_jobs.clear()
    assert next_call()[0][0].n == 1
