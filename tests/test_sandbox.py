"""Programs of ill will, run in the sandbox: none reaches anything, and none outlives its time.

Each ends well only where its attack worked, so one that passes has escaped.
"""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bltlab.evaluation import sandbox

SECONDS = 3.0  # for each program
# {folder} holds the files "secret" and "kept"; {port} listens; {pid} is this process.
HOSTILE = {
    # files
    "reads a file": "assert open('{folder}/secret').read()",
    "reads passwords": "assert open('/etc/passwd').read()",
    "lists the root": "import os; assert os.listdir('/')",
    "lists a home": "from pathlib import Path; assert list(Path.home().iterdir())",
    "goes up": "assert open('../' * 20 + 'etc/passwd').read()",
    "writes a file": "open('{folder}/new', 'w').write('x')",
    "writes where it stands": "open('new', 'w').write('x')",
    "fills the disk": "\nwith open('{folder}/new', 'wb') as f:\n    f.write(bytes(1 << 20))",
    "removes a file": "import os; os.remove('{folder}/kept')",
    "removes a folder": "import shutil; shutil.rmtree('{folder}')",
    "renames a file": "import os; os.rename('{folder}/kept', '{folder}/gone')",
    "opens a file to all": "import os; os.chmod('{folder}/kept', 511); os.stat('{folder}/kept')",
    "links": "import os; os.symlink('/', 'root'); assert os.listdir('root')",
    "makes a temporary file": "import tempfile; tempfile.mkdtemp()",
    "makes a pipe": "import os; os.mkfifo('{folder}/new')",
    "reads memory": "assert open('/proc/self/mem', 'rb')",
    "reads the kernel": "assert open('/proc/version').read()",
    "writes to a device": "open('/dev/null', 'w').write('x')",
    "takes a terminal": "open('/dev/tty', 'w').write('x')",
    # secrets
    "reads its environment": "import os; assert os.environ['BLTLAB_SECRET']",
    "has any environment": "import os; assert os.environ",
    "reads the worker's environment": "assert open('/proc/self/environ').read()",
    "reads the parent's": "assert open('/proc/{pid}/environ').read()",
    "reads standard input": "import sys; assert sys.stdin.read()",
    "asks for input": "assert input()",
    # processes and signals
    "forks": "import os; os.fork()",
    "forks for ever": "import os\nwhile True:\n    os.fork()",
    "starts a program": "import subprocess; subprocess.run(['true'], check=True)",
    "calls a shell": "import os; assert os.system('true') == 0",
    "becomes a program": "import os; os.execv('/bin/true', ['true'])",
    "spawns": "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
    "takes a pool": "import multiprocessing; multiprocessing.Pool(2)",
    "starts a thread": "import threading; threading.Thread(target=print).start()",
    "kills its parent": "import os; os.kill({pid}, 9)",
    "kills everything": "import os; os.kill(-1, 9)",
    "kills its group": "import os; os.killpg(0, 9)",
    "becomes root": "import os; os.setuid(0)",
    "lifts its limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "hides from signals": "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass",
    # the network
    "connects": "import socket; socket.create_connection(('127.0.0.1', {port}))",
    "listens": "import socket; socket.socket().bind(('127.0.0.1', 0))",
    "fetches": "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}')",
    "looks a name up": "import socket; assert socket.gethostbyname('localhost')",
    # time, memory, output
    "never ends": "while True: pass",
    "sleeps": "import time; time.sleep(10**6)",
    "swallows interrupts": "while 1:\n try:\n  while 1: pass\n except BaseException: pass",
    "takes memory at once": "x = bytes(1 << 30)",
    "takes memory bit by bit": "x = []\nwhile len(x) < 1 << 12: x.append(bytes(1 << 20))",
    "builds a large number": "x = 9 ** 9 ** 9",
    "matches for ever": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "writes without end": "while True: print('x' * 1000)",
    "writes much at once": "print('x' * (1 << 24))",
    "complains without end": "import sys\nwhile True: print('x' * 1000, file=sys.stderr)",
    "goes too deep": "def f(n): return f(n + 1)\nf(0)",
    "nests too deep": "eval('(' * 10**6)",
    # native code
    "loads a library": "import ctypes; ctypes.CDLL(None)",
    "reads address 0": "import ctypes; ctypes.string_at(0)",
    "maps memory": "import mmap; mmap.mmap(-1, 4096)",
    # the verdict
    "leaves early": "import os; os._exit(0)",
    "leaves politely": "import sys; sys.exit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "claims to have passed": "import os; os.write(1, b'passed\\n'); os._exit(0)",
    "guesses": "import os\nos.write(1, os.urandom(16).hex().encode() + b'\\n'); os._exit(0)",
    "looks for the word": "import os, sys\n"
    "os.write(1, ''.join(['\\n', *sys.argv[2:], '\\n']).encode()); os._exit(0)",
    "looks for it elsewhere": "import os, sys\n"
    "os.write(1, ''.join(['\\n', *sys.orig_argv[-1:], '\\n']).encode()); os._exit(0)",
    "closes the output": "import sys; sys.stdout.close()",
    "fails": "assert False",
    "is no Python": "def",
}


@pytest.fixture(scope="module")
def ready():
    """A sandbox, where this machine has one."""
    try:
        sandbox.prepare()
    except ValueError as error:
        pytest.skip(str(error))


def children():
    """The processes that this one has started and that are there still."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return path.read_text().split() if path.exists() else []


@pytest.mark.slow
def test_no_hostile_program_gets_anywhere(ready, tmp_path, monkeypatch):
    monkeypatch.setenv("BLTLAB_SECRET", "xyzzy")
    monkeypatch.chdir(tmp_path)
    for name in ("secret", "kept"):
        (tmp_path / name).write_text(name)
    before = children()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        names = dict(folder=tmp_path, port=port, pid=os.getpid())
        found = {}

        def attack(name):
            began = time.perf_counter()
            verdict = sandbox.run(HOSTILE[name].format(**names), SECONDS)
            found[name] = verdict, time.perf_counter() - began

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(attack, HOSTILE))
        server.settimeout(0.01)
        with pytest.raises(TimeoutError):
            server.accept()
    assert len(found) >= 45
    assert [name for name, (verdict, _) in found.items() if verdict.passed] == []
    assert [name for name, (_, seconds) in found.items() if seconds > 6] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "secret"]
    assert (tmp_path / "kept").stat().st_mode & 0o777 != 0o777
    assert children() == before


def test_honest_programs_pass_and_the_reasons_are_told(ready):
    assert sandbox.run("import re, math\nprint(math.pi)\nassert re.match('a+', 'aa')").passed
    late = sandbox.run("while True: pass", 0.5)
    assert not late.passed and "0.5 seconds" in late.why
    assert "65,536 bytes" in sandbox.run("print('x' * 10**5)").why
    assert "to its end" in sandbox.run("1 / 0").why


def test_without_wasmtime_code_is_refused_in_a_sentence(monkeypatch):
    sandbox.python_wasm.cache_clear()
    monkeypatch.setattr(sandbox, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'bltlab\[code\]'"):
        sandbox.run("1")
    sandbox.python_wasm.cache_clear()
