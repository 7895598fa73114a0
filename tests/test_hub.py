"""Models from the hub, with the hub's own options, and a quick answer where there is none."""

import socket
import time
from pathlib import Path

import huggingface_hub
import pytest
from conftest import random_model
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

import bltlab
from bltlab import checkpoints, hub
from bltlab.__main__ import main


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a model and another in a subfolder; a list of what was asked of the hub."""
    folder, asked = tmp_path / "hub" / "3fd1c0", []
    random_model(1).save_pretrained(folder)
    random_model(2).save_pretrained(folder / "old" / "small")

    def snapshot_download(hub_id, **options):
        asked.append((hub_id, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    return folder, asked


def test_the_options_of_the_hub_are_those_of_the_ecosystem(repository, tmp_path):
    folder, asked = repository
    model = bltlab.BLT.from_pretrained(
        "owner/model", revision="v1", token="secret", cache_dir=tmp_path, local_files_only=True
    )
    assert model.config == random_model(1).config and model.name == "model"
    bltlab.BLT.from_pretrained("owner/model")
    patterns = ["*.json", "*.safetensors", checkpoints.ENTROPY_WEIGHTS]
    given = dict(revision="v1", token="secret", cache_dir=tmp_path, local_files_only=True)
    default = dict(revision=None, token=None, cache_dir=None, local_files_only=False)
    assert asked == [
        ("owner/model", dict(allow_patterns=patterns, **given)),
        ("owner/model", dict(allow_patterns=patterns, **default)),
    ]


def test_a_model_in_a_subfolder_is_found_on_the_hub_and_in_a_folder(repository):
    folder, asked = repository
    for name in ("owner/model", folder):
        model = bltlab.BLT.from_pretrained(name, subfolder="old/small")
        assert model.config == random_model(2).config and model.name == "small"
    assert asked[0][1]["allow_patterns"][0] == "old/small/*.json"
    with pytest.raises(FileNotFoundError, match="other holds no config.json"):
        bltlab.BLT.from_pretrained(folder, subfolder="other")
    for outside in ("../3fd1c0", "/etc"):
        with pytest.raises(ValueError, match="subfolder must lie in the model's folder"):
            bltlab.BLT.from_pretrained(folder / "old", subfolder=outside)


def test_a_folder_that_is_no_model_hides_no_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blt-nano" / "notes").mkdir(parents=True)
    (tmp_path / "blt-phrases").write_text("a file")
    for name in ("blt-nano", "blt-phrases"):
        assert checkpoints.resolve(name) == checkpoints.assets() / name
    random_model(1).save_pretrained(tmp_path / "blt-nano")
    assert checkpoints.resolve("blt-nano") == tmp_path / "blt-nano"
    (tmp_path / "other").mkdir()
    with pytest.raises(FileNotFoundError, match="other holds no config.json"):
        checkpoints.resolve("other")


def refuse(*arguments, **options):
    raise LocalEntryNotFoundError("not here")


def test_without_a_network_an_id_is_refused_in_under_two_seconds(monkeypatch, capsys):
    def hang(*arguments):
        time.sleep(3)
        raise OSError

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(socket, "create_connection", hang)
    for command in (["patch", "x", "--model", "owner/model"], ["evaluate", "owner/texts"]):
        began = time.perf_counter()
        assert main(command) == 2
        assert time.perf_counter() - began < 2
        error = capsys.readouterr().err
        assert "the hub cannot be reached" in error and error.count("\n") == 1


def test_without_a_network_what_was_downloaded_before_is_used(repository, monkeypatch):
    _, asked = repository
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    bltlab.BLT.from_pretrained("owner/model")
    assert asked[0][1]["local_files_only"] is True
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(FileNotFoundError, match="not downloaded before, and local_files_only"):
        bltlab.BLT.from_pretrained("owner/model", local_files_only=True)


def test_a_gated_or_unknown_id_is_said_to_be_one(repository, monkeypatch):
    def gated(*arguments, **options):
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    with pytest.raises(FileNotFoundError, match="owner/model is gated: ask for access"):
        bltlab.BLT.from_pretrained("owner/model")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **o: 1 / 0)
    with pytest.raises(FileNotFoundError, match="does not give it .*; shipped are .*blt-d-nano"):
        bltlab.BLT.from_pretrained("owner/model")


def test_the_hub_is_looked_for_behind_a_proxy(monkeypatch):
    stops = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(hub, "proxy_bypass", lambda host: False)

    class Connection:
        def close(self):
            pass

    def connect(where, seconds):
        stops.append(where)
        return Connection()

    monkeypatch.setattr(socket, "create_connection", connect)
    for proxies in ({}, {"https": "http://proxy.example:3128"}, {"all": "proxy.example:80"}):
        monkeypatch.setattr(hub, "getproxies", lambda proxies=proxies: proxies)
        assert hub.is_reachable()
    assert stops == [("hub.example", 443), ("proxy.example", 3128), ("proxy.example", 80)]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub.is_reachable()
    assert Path(constants.ENDPOINT).name == "hub.example"
