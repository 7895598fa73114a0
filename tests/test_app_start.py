"""How the demo starts: with which models, where it is found, and what it says when it cannot."""

import os
import sys
from pathlib import Path

import pytest
import torch

gr = pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import demo as app  # noqa: E402
import network  # noqa: E402
from conftest import random_model  # noqa: E402
from models import Models, own_prompts  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models of a user's own: a BLT-D, and a plain BLT in transformers' layout."""
    place = tmp_path_factory.mktemp("models")
    random_model(0).float().save_pretrained(place / "mine")
    plain = random_model(1, block_size=None).float()
    plain.save_pretrained(place / "theirs", layout="transformers")
    (place / "mine" / "samples.jsonl").write_text('{"prompt": "ab c"}\n{"prompt": "cab"}\n')
    return place


def refusal(capsys, *arguments):
    """The last line that the start ends with."""
    with pytest.raises(SystemExit) as left:
        app.main([*arguments])
    *_, told = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and "Traceback" not in told
    return told


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model", "nowhere"], "nowhere is no model folder and no shipped name"),
        (["--model", "blt-nano", "--model", "nowhere"], "nowhere is no model folder"),
        (["--model", "{place}/broken"], "not JSON"),
        (["--model", "{place}/mine", "--device", "nothing"], "device must be auto, cpu, cuda"),
        (["--model", "{place}/mine", "--device", "cuda:77"], "device cuda:77 is not available"),
        (["--model", "{place}/mine", "--threads", "0"], "must be at least 1"),
        (["--model", "{place}/mine", "--queue", "0"], "must be at least 1"),
        (["--model", "{place}/mine", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["--model", "{place}/mine", "--port", "70000"], "port must be 0 to 65535"),
    ],
)
def test_what_cannot_start_is_one_sentence(folders, capsys, arguments, words):
    (folders / "broken").mkdir(exist_ok=True)
    (folders / "broken" / "config.json").write_text("no json")
    assert words in refusal(capsys, *[text.format(place=folders) for text in arguments])


def test_a_folder_of_ones_own_opens_with_its_own(folders):
    models = Models([str(folders / "mine"), folders / "theirs"])
    mine, theirs = models.get(), models.get("theirs")
    assert (models.first, mine.prompts) == ("mine", ["ab c", "cab"])
    assert {t.prompt for t in mine.traces} == {b"ab c"} and mine.reasons == {}
    assert theirs.methods == [t.method["name"] for t in theirs.traces] == ["ar", "blt-s"]
    for model in (mine, theirs):
        assert {t.model["name"] for t in model.traces} == {model.name}
        assert model.pace() > 0 and model.inside["model"]["name"] == model.name
        assert model.surveys[0]["threshold"] == model.model.config.patcher.threshold


def test_a_visitor_names_no_path_and_no_hub_id(folders, monkeypatch):
    models = Models([str(folders / "mine")])
    monkeypatch.setattr("bltlab.checkpoints.resolve", None)  # nothing is looked for
    for name in (str(folders / "mine"), "facebook/blt-1b", "../mine", "blt-d-nano/..", "x\0"):
        with pytest.raises(ValueError, match="model must be one of mine, "):
            models.get(name)


def test_two_models_of_one_name_are_told_apart_and_no_path_is_shown(folders):
    models = Models([random_model(0), random_model(1), folders / "mine"])
    assert models.names[:3] == ["blt", "blt (2)", "mine"]
    assert not any("/" in name for name in models.names)


def test_what_is_recorded_is_shown_only_for_the_weights_that_wrote_it(monkeypatch):
    """A folder that has the name of a shipped model and other weights decodes for itself."""
    model = random_model(0)
    model.name = "blt-d-nano"
    recorded = Models([model]).get().traces[:2]
    monkeypatch.setattr("models.recordings", lambda: recorded)
    assert Models([model]).get().traces == recorded
    other = random_model(1)
    other.name = "blt-d-nano"
    shown = Models([other]).get()
    assert len(shown.traces) == len(shown.methods) == 6
    assert shown.traces[0].model["threshold"] == other.config.patcher.threshold


def test_prompts_of_a_run_are_read_and_what_is_none_is_not(tmp_path):
    file = tmp_path / "samples.jsonl"
    assert own_prompts(tmp_path) == own_prompts("") == []
    for text in ("", "{", "[1]", '{"prompt": ""}', '{"other": 1}', '{"prompt": "' + "x" * 300):
        file.write_text(text)
        assert own_prompts(tmp_path) == []
    file.write_text('{"prompt": "a"}\n' * 3 + '{"prompt": "b"}\n')
    assert own_prompts(tmp_path) == ["a", "b"]


@pytest.fixture
def started(monkeypatch, capsys):
    """Starts the page, and gives (the page, what was said); it is closed afterwards."""
    pages = []

    def start(*arguments):
        monkeypatch.setattr(app, "Models", lambda names, place: Models([random_model(0)]))
        monkeypatch.setattr(gr.Blocks, "block_thread", lambda page: pages.append(page))
        app.main([*arguments])
        return pages[-1], capsys.readouterr().out

    yield start
    for page in pages:
        page.close()


def test_it_starts_behind_a_proxy_on_a_free_port_and_on_a_slow_machine(started, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    monkeypatch.setattr("gradio.networking.url_ok", lambda address: False)  # its three seconds
    page, said = started("--port", "0")
    assert page.server_port != 0
    assert f"Open http://127.0.0.1:{page.server_port} in a browser. Only this machine" in said
    assert os.environ["no_proxy"].startswith("example.org,127.0.0.1,localhost")


def test_a_shared_page_says_its_address_and_who_can_reach_it(started, monkeypatch):
    monkeypatch.setattr(network, "own_address", lambda: "192.168.1.5")
    page, said = started("--host", "0.0.0.0", "--port", "0")
    assert f"Share http://192.168.1.5:{page.server_port}: whoever reaches this machine" in said
    assert "without a password" in said


def test_the_address_on_the_network_is_found_without_sending_anything(monkeypatch):
    assert network.own_address()
    monkeypatch.setattr("socket.socket.connect", lambda *_: (_ for _ in ()).throw(OSError("none")))
    assert network.own_address() == network.socket.gethostname()


def test_numbers_are_as_the_command_line_says(folders, monkeypatch):
    made = []
    monkeypatch.setattr(app, "build", lambda models, queue: made.append((models, queue)) or (0, {}))
    given = ["--model", str(folders / "mine"), "--dtype", "bfloat16", "--queue", "7"]
    app.built(app.parser().parse_args(given))
    ((models, queue),) = made
    assert queue == 7 and models.get().model.dtype == torch.bfloat16
    app.built(app.parser().parse_args([]))
    assert made[-1][0].first == "blt-d-nano" and torch.get_num_threads() == 1
