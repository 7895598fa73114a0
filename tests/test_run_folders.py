"""A run's folder may come from elsewhere, be damaged, or be written to by somebody else."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_setup import OPTIONS, write_corpus

from bltlab.__main__ import main
from bltlab.config import BLTConfig
from bltlab.training import train

STATE = "state/000012"
NEEDED = [f"{STATE}/progress.json", f"{STATE}/.metadata", f"{STATE}/__0_0.distcp"]
MADE_AGAIN = ["opens-*.npy", "config.json", "model.safetensors"]
FILES = [*NEEDED, *MADE_AGAIN, "log.csv", "samples.jsonl", "state/lock"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.jsonl")


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The folder of a whole short run."""
    out = tmp_path_factory.mktemp("finished") / "run"
    list(
        train(replace(OPTIONS, text=corpus, out=str(out), megabytes=0.003, entropy_megabytes=0.003))
    )
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, from elsewhere."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resume(run, capsys, *flags):
    """(exit code, the lines that were said on stderr) of going on with a run."""
    code = main(["train", "--resume", "--out", str(run), *flags])
    said = [x for x in capsys.readouterr().err.splitlines() if "bltlab: " in x]
    return code, said


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def pickled(thing):
    return pickle.dumps(thing)


def saved_by_torch(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def saved_by_numpy(thing):
    buffer = io.BytesIO()
    np.save(buffer, np.array([thing], dtype=object), allow_pickle=True)
    return buffer.getvalue()


# -- no file of a run folder runs code ------------------------------------------------------------


def test_a_run_from_elsewhere_goes_on(run, capsys):
    assert resume(run, capsys, "--megabytes", "0.005") == (None, [])
    assert {path.name for path in (run / "state").iterdir()} == {"000016", "lock"}


@pytest.mark.parametrize("written", [pickled, saved_by_torch, saved_by_numpy])
@pytest.mark.parametrize("name", FILES)
def test_a_pickle_in_the_place_of_any_file_runs_nothing(
    finished, run, tmp_path, name, written, capsys
):
    (file,) = run.glob(name)
    file.write_bytes(written(Hostile(tmp_path / "mark")))
    code, said = resume(run, capsys)
    assert not (tmp_path / "mark").exists()
    if name in NEEDED:
        assert (code, len(said)) == (2, 1)
        assert f"{run / STATE} is damaged or not a training state" in said[0]
    else:
        assert (code, said) == (None, [])
        assert name not in MADE_AGAIN or file.read_bytes() == (finished / file.name).read_bytes()


def test_these_are_all_files_of_a_run_folder(finished):
    found = {path for path in finished.rglob("*") if path.is_file()}
    assert {path for name in FILES for path in finished.glob(name)} == found
    assert len(found) == len(FILES)


@pytest.mark.parametrize(
    "name", ["optimisers.param_groups.0.lr", "weights.model.patcher.norm.weight"]
)
def test_a_pickle_inside_a_shard_runs_nothing(run, tmp_path, name, capsys):
    state = run / STATE
    metadata = pickle.loads((state / ".metadata").read_bytes())
    (place,) = (x for index, x in metadata.storage_data.items() if index.fqn == name)
    shard = (state / place.relative_path).read_bytes()
    hostile = saved_by_torch(Hostile(tmp_path / "mark"))
    place.offset, place.length = len(shard), len(hostile)
    (state / place.relative_path).write_bytes(shard + hostile)
    (state / ".metadata").write_bytes(pickle.dumps(metadata))
    code, (said,) = resume(run, capsys)
    assert code == 2 and f"{state} is damaged or not a training state" in said
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "name, value",
    [
        ("stage", 3),
        ("step", -1),
        ("step", 1.5),
        ("step", True),
        ("seconds", "long"),
        ("batches", []),
        ("batches", {"epoch": 0, "index": None}),
        ("options", "none"),
        ("options", {"text": 3}),
        ("options", {"length": -1}),
        ("config", "{}"),
        ("config", "[" * 100_000),
        ("config", BLTConfig.preset("nano").to_json()),
        ("config", BLTConfig.preset("nano").to_json().replace("2048", "1" + "0" * 400)),
        ("sizes", {"log.csv": -1, "samples.jsonl": 0}),
        ("sizes", {}),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_a_state_says_is_checked_before_it_is_used(run, name, value, capsys):
    progress = run / STATE / "progress.json"
    said = json.loads(progress.read_text()) | {name: value}
    progress.write_text(json.dumps(said))
    before = (run / "log.csv").read_bytes()
    code, lines = resume(run, capsys)
    assert code == 2 and len(lines) == 1 and len(lines[0]) < 400
    assert (run / "log.csv").read_bytes() == before


# -- what is not a file of the run's own ----------------------------------------------------------


@pytest.mark.parametrize("name", ["log.csv", "samples.jsonl"])
def test_a_log_that_is_a_link_or_a_folder_is_left_alone(run, tmp_path, name, capsys):
    notes = tmp_path / "notes"
    notes.write_text("mine")
    (run / name).unlink()
    (run / name).symlink_to(notes)
    code, (said,) = resume(run, capsys)
    assert code == 2 and f"{run / name} is no file of a run" in said
    assert notes.read_text() == "mine"
    (run / name).unlink()
    (run / name).mkdir()
    code, (said,) = resume(run, capsys)
    assert code == 2 and f"{run / name} is no file of a run" in said


def test_links_among_the_leftovers_are_removed_and_what_they_name_stays(run, tmp_path, capsys):
    mine = tmp_path / "2023"
    mine.mkdir()
    (mine / "photo").write_text("mine")
    for name in ("2023", "1.part", "7"):
        (run / "state" / name).symlink_to(mine)
    (run / "state" / "7").unlink()
    (run / "state" / "7").symlink_to(tmp_path / "nothing")
    assert resume(run, capsys)[0] == 2  # state/2023 reads as a later state, which it is not
    (run / "state" / "2023").unlink()
    assert resume(run, capsys) == (None, [])
    assert (mine / "photo").read_text() == "mine"
    assert {path.name for path in (run / "state").iterdir()} == {"000012", "lock"}


@pytest.mark.parametrize("name", ["999999", "²", "٣"])
def test_an_empty_folder_among_the_states_is_none(run, name, capsys):
    (run / "state" / name).mkdir()
    assert resume(run, capsys) == (None, [])


def test_a_shorter_log_is_not_filled_up(run, capsys):
    (run / "log.csv").write_text("stage\n")
    (run / "samples.jsonl").unlink(missing_ok=True)
    assert resume(run, capsys, "--megabytes", "0.005") == (None, [])
    assert "\0" not in (run / "log.csv").read_text()


def test_a_moved_run_goes_on_where_it_is_now(run, tmp_path, capsys, monkeypatch):
    progress = run / STATE / "progress.json"
    said = json.loads(progress.read_text())
    said["options"]["out"] = str(tmp_path / "elsewhere")
    progress.write_text(json.dumps(said))
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "nano")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume"]) is None
    assert not (tmp_path / "elsewhere").exists()


# -- one run at a time ----------------------------------------------------------------------------


def test_two_runs_do_not_write_to_one_folder(run, corpus, capsys):
    options = replace(OPTIONS, text=corpus, out=str(run), megabytes=0.01, entropy_megabytes=0.003)
    first = train(options, resume=True)
    next(first)
    before = sorted(path.name for path in run.rglob("*"))
    code, (said,) = resume(run, capsys, "--megabytes", "0.02")
    assert code == 2 and f"{run} is in use by another run" in said
    with pytest.raises(OSError, match="is in use by another run"):
        next(train(replace(options, megabytes=0.02), resume=True))
    assert sorted(path.name for path in run.rglob("*")) == before
    first.close()
    assert resume(run, capsys, "--megabytes", "0.02") == (None, [])


@pytest.mark.slow
def test_a_killed_run_leaves_no_lock(run, corpus, capsys):
    script = (
        "import sys, os, signal; sys.path.insert(0, sys.argv[1]);"
        "from training_setup import OPTIONS; from dataclasses import replace;"
        "from bltlab.training import train;"
        "run = train(replace(OPTIONS, text=sys.argv[2], out=sys.argv[3], megabytes=0.01,"
        "entropy_megabytes=0.003), resume=True);"
        "next(run); os.kill(os.getpid(), signal.SIGKILL)"
    )
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", script, here, corpus, str(run)])
    assert killed.returncode == -9
    assert resume(run, capsys, "--megabytes", "0.01") == (None, [])
