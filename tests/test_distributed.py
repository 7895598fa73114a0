"""Several processes learn what one learns, and one killed in the middle of a save loses nothing.

torchrun starts this file in two gloo processes; `__main__` below is what each of them does.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from training_setup import OPTIONS, write_corpus

from bltlab import checkpoints
from bltlab.training import train

pytestmark = pytest.mark.slow  # several processes
SHORT = replace(OPTIONS, megabytes=0.01, entropy_megabytes=0.01, sample_every=100)


def runs(folder, who):
    """A plain BLT from nothing, a BLT-D that starts from it, and that one on its own text.

    The plain one is not rounded to 16 bits, which would move a patch. The seed is one at which no
    byte's entropy stands so near the threshold that the order of sums decides.
    """
    plain = replace(
        SHORT,
        text=str(folder / "text.jsonl"),
        out=str(folder / f"{who}-plain"),
        block_size=0,
        sample_every=0,
        ship_dtype="float32",
        seed=1,
    )
    blocks = replace(
        SHORT,
        text=plain.text,
        out=str(folder / f"{who}-d"),
        start=str(folder / "one-plain"),
        entropy_megabytes=0.0,  # that of the model to start from
        parallel="fsdp",
        accumulate=2,
    )
    own = replace(
        blocks,
        out=str(folder / f"{who}-own"),
        start=str(folder / "one-d"),
        megabytes=0.0,
        own_text=0.01,
        own_refresh=0.01,  # written once, by the weights that both start from
        sample_every=0,
    )
    return {"plain": plain, "d": blocks, "own": own}


def note(path, reports):
    path.write_text(json.dumps([asdict(r) for r in reports]))


def torchrun(*arguments):
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            *arguments,
        ],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The runs of one process and of two.

    DDP for the plain BLT; FSDP for the BLT-D, which is killed while it saves, then resumed.
    """
    folder = tmp_path_factory.mktemp("runs")
    write_corpus(folder / "text.jsonl")
    for name, options in runs(folder, "one").items():
        note(folder / f"one-{name}.json", list(train(options)))
    killed = torchrun(__file__, str(folder), "kill")
    assert killed.returncode and "SIGKILL" in killed.stderr, killed.stderr[-3000:]
    (folder / "states").write_text(" ".join(p.name for p in (folder / "two-d" / "state").iterdir()))
    done = torchrun(__file__, str(folder), "whole")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", ["plain", "d", "own"])
def test_two_processes_learn_what_one_learns(folder, name):
    one, two = (json.loads((folder / f"{who}-{name}.json").read_text()) for who in ("one", "two"))
    assert [(r["stage"], r["step"]) for r in two] == [(r["stage"], r["step"]) for r in one][
        -len(two) :
    ] and len(two) >= 2
    for a, b in zip(one[-len(two) :], two, strict=True):
        numbers = [
            k
            for k in ("train_bits", "held_out_bits", "masked_bits", "gradient_norm")
            if a[k] is not None
        ]
        print(
            f"\n{name} step {a['step']}, two processes minus one:",
            *(f"{k} {b[k] - a[k]:+.1e}" for k in numbers),
            end="",
        )
        assert [b[k] for k in numbers] == pytest.approx([a[k] for k in numbers], abs=1e-4)
    a, b = (checkpoints.read_tensors(folder / f"{who}-{name}")[0] for who in ("one", "two"))
    assert max((a[n].float() - b[n].float()).abs().max().item() for n in a) < 1e-3


def test_a_process_killed_while_saving_leaves_the_last_state(folder):
    assert set((folder / "states").read_text().split()) == {"000008", "000012.part", "lock"}
    assert (
        json.loads((folder / "two-d.json").read_text())[0]["step"] == 10
    )  # and the run went on from step 8
    assert {p.name for p in (folder / "two-d" / "state").iterdir()} == {"000020", "lock"}


def test_only_the_first_process_speaks(folder):
    assert int((folder / "spoken-0").read_text()) > 0 and (folder / "spoken-1").read_text() == "0"
    for name in ("plain", "d"):
        a, b = (
            (folder / f"{who}-{name}" / "log.csv").read_text().splitlines()
            for who in ("one", "two")
        )
        assert [line.split(",")[:2] for line in a] == [line.split(",")[:2] for line in b]
    assert len((folder / "two-d" / "samples.jsonl").read_text().splitlines()) == 6


def test_what_two_processes_saved_in_pieces_one_resumes(folder):
    options = replace(runs(folder, "two")["d"], megabytes=0.012, parallel="ddp")
    last = list(train(options, resume=True))[-1]
    assert (
        last.step == 24
        and last.held_out_bits
        < json.loads((folder / "two-d.json").read_text())[-1]["held_out_bits"]
    )


def run_in_two(folder, kill):
    """What each process does. With `kill`, rank 1 dies while it writes its third state."""
    rank, spoken = int(os.environ["RANK"]), 0
    torch.distributed.init_process_group("gloo")
    if kill:
        from torch.distributed.checkpoint import FileSystemWriter

        write, saves = FileSystemWriter.write_data, []

        def write_and_die(self, *arguments):
            saves.append(1)
            done = write(self, *arguments)
            if rank == 1 and len(saves) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        FileSystemWriter.write_data = write_and_die
    for name, options in runs(folder, "two").items():
        if name == "d" or not kill:
            reports = list(train(options, resume=True))
            spoken += len(reports)
            if rank == 0:
                note(folder / f"two-{name}.json", reports)
    (folder / f"spoken-{rank}").write_text(str(spoken))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_in_two(Path(sys.argv[1]), sys.argv[2] == "kill")
