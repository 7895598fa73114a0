"""Is the new code as fast as the old? The decoding time of two checkouts, side by side.

    python .ci/compare.py ../before . --checkpoint blt-d-nano --method ar blt-s blt-d blt-dv
    --rounds 7

A process for each checkout, one thread each, on the same core, with its own copy of the package and
of the shipped weights. After a warm-up the two write the same new bytes after the same prompts, in
turn: old new, new old, old new, ... For each checkpoint and method there is one line: the median
over the rounds of (new seconds / old seconds), the lowest and the highest, each round's sum over
all prompts, and whether both wrote the same bytes. The last line is the median over all of these.

Only the package's public names are used, so that any two versions can be compared. Leave the
machine alone meanwhile: what else runs on it is in the times.
"""

import argparse
import json
import lzma
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

OLD, NEW = "old", "new"
PROMPTS, PROMPT_BYTES = 4, 128  # for each checkpoint


# -- the process of one checkout -----------------------------------------------------------------


def work() -> None:
    """Do what each line of stdin asks for, and answer with a line of JSON on stdout."""
    import torch

    import bltlab

    torch.set_num_threads(1)
    model: Any = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "checkpoint" in asked:
            model = bltlab.BLT.from_pretrained(asked["checkpoint"], device="cpu")
            answer = {"package": str(Path(bltlab.__file__).parent)}
        else:
            answer = write(bltlab, model, asked)
        print(json.dumps(answer), flush=True)


def write(bltlab: Any, model: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Seconds for the new bytes after one prompt, and these bytes."""
    settings = dict(max_new_bytes=asked["new_bytes"], record=False)
    began = time.perf_counter()
    out = bltlab.generate(model, asked["prompt"], asked["method"], **settings)
    return {"seconds": time.perf_counter() - began, "bytes": out.bytes.hex()}


class Worker:
    """The process of one checkout, which answers one question at a time."""

    def __init__(self, checkout: Path, core: int | None) -> None:
        if not (checkout / "bltlab" / "__init__.py").is_file():
            raise SystemExit(f"{checkout} is no checkout: it has no folder bltlab")
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={**os.environ, **threads, "PYTHONPATH": str(checkout)},
        )
        if core is not None:
            os.sched_setaffinity(self.process.pid, {core})

    def ask(self, **question: Any) -> dict[str, Any]:
        """The worker's answer. Exits where it has died; its error stands above."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a worker died")
        return json.loads(answer)

    def load(self, checkpoint: str, checkout: Path) -> None:
        """Load a model. Exits where the package is not that of the checkout."""
        package = Path(self.ask(checkpoint=checkpoint)["package"])
        if package != checkout / "bltlab":
            raise SystemExit(f"{package} was imported, not {checkout / 'bltlab'}")

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


# -- the comparison ------------------------------------------------------------------------------


def prompts_for(checkpoint: str, checkout: Path) -> list[str]:
    """Held-out prompts of the shipped text that the checkpoint was trained on."""
    pairs = "phrases" in checkpoint
    corpus = checkout / "assets" / "text" / f"{'phrases' if pairs else 'plain-english'}.jsonl.xz"
    with lzma.open(corpus, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    texts = [record["text"] for record in records if record["split"] == "test"]
    texts = texts[:: max(1, len(texts) // PROMPTS)][:PROMPTS]
    if not pairs:
        return [text[:PROMPT_BYTES] for text in texts]
    return [text.partition("\nen:")[0] + "\nen:" for text in texts]


def in_turn(
    workers: dict[str, Worker], method: str, prompts: list[str], new_bytes: int, rounds: int
) -> tuple[list[float], bool]:
    """(new seconds / old seconds of each round, whether the bytes were always the same)."""
    ratios, same = [], True
    order = [OLD, NEW]
    for turn in range(-1, rounds):  # -1 warms up
        seconds = {OLD: 0.0, NEW: 0.0}
        for prompt in prompts:
            question = dict(method=method, prompt=prompt, new_bytes=new_bytes)
            answers = {name: workers[name].ask(**question) for name in order}
            for name, answer in answers.items():
                seconds[name] += answer["seconds"]
            same = same and answers[OLD]["bytes"] == answers[NEW]["bytes"]
            order.reverse()
        if turn >= 0:
            ratios.append(seconds[NEW] / seconds[OLD])
    return ratios, same


def shared_core() -> int | None:
    """The last core that this process may use; None where a process cannot be held on one."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return max(os.sched_getaffinity(0))


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout to compare with")
    parser.add_argument("new", type=Path, help="checkout that is compared")
    parser.add_argument(
        "--checkpoint", action="append", help="shipped name; may be given repeatedly"
    )
    parser.add_argument("--method", nargs="+", default=["ar", "blt-s", "blt-d", "blt-dv"])
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    parser.add_argument(
        "--new-bytes", type=int, default=128, help="after each prompt (default 128)"
    )
    parser.add_argument("--json", type=Path, help="write all ratios to this file")
    return parser.parse_args(argv)


def main() -> None:
    """Compare, and print a line for each checkpoint and method."""
    arguments = arguments_of()
    checkouts = {OLD: arguments.old.resolve(), NEW: arguments.new.resolve()}
    core = shared_core()
    workers = {name: Worker(checkout, core) for name, checkout in checkouts.items()}
    found: dict[str, list[float]] = {}
    print(f"{'checkpoint':18}  {'method':8}  new/old   lowest  highest  same bytes")
    for checkpoint in arguments.checkpoint or ["blt-d-nano"]:
        for name, worker in workers.items():
            worker.load(checkpoint, checkouts[name])
        prompts = prompts_for(checkpoint, checkouts[NEW])
        for method in arguments.method:
            ratios, same = in_turn(workers, method, prompts, arguments.new_bytes, arguments.rounds)
            found[f"{checkpoint} {method}"] = ratios
            print(
                f"{checkpoint:18}  {method:8}  {statistics.median(ratios):7.3f}  {min(ratios):7.3f}"
                f"  {max(ratios):7.3f}  {'yes' if same else 'NO'}",
                flush=True,
            )
    medians = [statistics.median(ratios) for ratios in found.values()]
    print(f"median of all: {statistics.median(medians):.3f}")
    for worker in workers.values():
        worker.stop()
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        work()
    else:
        main()
