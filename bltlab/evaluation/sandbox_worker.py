"""Runs one program in CPython inside WebAssembly. A process of its own, which sandbox.py starts.

It imports nothing of bltlab. The program gets no file, no environment, no socket and no other
process: WASI has none that it was not given. Its output goes to this process's own.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

# The verdict is the nonce on the last line. It is out of sight while the program runs.
CHECKER = """
import sys
program, nonce = sys.argv[1:]
del sys.argv[1:], sys.orig_argv[:]
exec(program, {"__name__": "__main__"})
print("\\n" + nonce, flush=True)
"""


def module_of(engine: Any, python: Path, compiled: Path) -> Any:
    """CPython, compiled once and kept: that takes seconds."""
    from wasmtime import Module

    try:
        return Module.deserialize_file(engine, str(compiled))
    except Exception:  # it is not there, or of another version of wasmtime
        module = Module.from_file(engine, str(python))
    compiled.parent.mkdir(parents=True, exist_ok=True)
    part = compiled.with_name(f"{compiled.name}.{os.getpid()}.part")
    part.write_bytes(module.serialize())
    os.replace(part, compiled)
    return module


def main() -> None:
    """Run the program that standard input names."""
    from wasmtime import Engine, Linker, Store, WasiConfig

    python, compiled, memory = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    asked = json.load(sys.stdin.buffer)
    engine = Engine()
    linker = Linker(engine)
    linker.define_wasi()
    wasi = WasiConfig()
    wasi.argv = ["python", "-I", "-c", CHECKER, asked["program"], asked["nonce"]]
    wasi.inherit_stdout()
    store = Store(engine)
    store.set_limits(memory_size=memory)
    store.set_wasi(wasi)
    instance = linker.instantiate(store, module_of(engine, python, compiled))
    instance.exports(store)["_start"](store)


if __name__ == "__main__":
    main()
