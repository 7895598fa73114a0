"""The command line's verbs, on the shipped weights."""

import inspect
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_player import Writer

import bltlab
from bltlab.__main__ import main, written_to
from bltlab.bench import BENCHES
from bltlab.decoding import METHODS
from bltlab.evaluation import TASKS
from bltlab.options import options_of
from bltlab.trace import Trace
from bltlab.unmasking import RULES

ECHO = '''
from dataclasses import dataclass
from bltlab.decoding import Method, chain, option, verify

@dataclass(frozen=True)
class Echo(Method):
    """The chain under another name."""

    name = "echo"
    title = "Echo"
    length: int = option(2, "bytes guessed, 50 % too many", min=1, max=9)
    seed: int = option(0, "an option whose flag is taken", min=0)

    def round(self, state, pick):
        proposed = yield from chain(state, pick, self.length)
        yield from verify(state, pick, proposed)

    @property
    def lookahead(self):
        return self.length + 1

@dataclass(frozen=True)
class Left:
    """Reveals the leftmost masked slots."""

    count: int = option(1, "slots", min=1)

    def __call__(self, probs, masked):
        return masked & (masked.cumsum(1) <= self.count)
'''


@pytest.fixture
def echo(tmp_path, monkeypatch):
    """A method that the library has never heard of, in a file of the working directory."""
    (tmp_path / "echoing.py").write_text(ECHO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for known, name in ((METHODS, "echo"), (RULES, "echoing:Left")):
        monkeypatch.setitem(known, name, None)  # so that the test leaves nothing behind
        del known[name]
    yield "echoing:Echo"
    sys.modules.pop("echoing", None)


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def refusal(capsys, *arguments):
    """The one line that stderr has after bad input."""
    try:
        code = main([*arguments])
    except SystemExit as end:
        code = end.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2 and line.startswith("bltlab: ")
    return line


# -- generate --------------------------------------------------------------------------------------


def test_generate_compiles_only_where_it_is_asked_to(capsys, monkeypatch):
    asked = []

    def compile_model(model, batches):
        asked.append((model.name, batches))

    monkeypatch.setattr(bltlab.compiled, "compile_model", compile_model)
    arguments = ["generate", "And ", "--max-new-bytes", "2"]
    main(arguments)
    assert asked == []
    main([*arguments, "--compile"])
    assert asked == [("blt-d-nano", False)]


@pytest.mark.parametrize("method", METHODS)
def test_generate_writes_text_and_a_trace(method, capsys, tmp_path):
    trace = tmp_path / "t.json"
    arguments = ["--method", method, "--max-new-bytes", "24", "--trace", str(trace)]
    assert main(["generate", "And he said ", *arguments]) is None
    printed = capsys.readouterr()
    model = bltlab.BLT.from_pretrained("blt-d-nano")
    again = bltlab.generate(model, "And he said ", method, max_new_bytes=24, temperature=0.8)
    assert printed.out.strip("\n") == again.text.strip("\n") and "decoder" in printed.err
    assert Trace.load(trace).bytes == again.bytes


def method_in_trace(tmp_path, *arguments):
    trace = tmp_path / "t.json"
    written = ["--max-new-bytes", "8", "--trace", str(trace)]
    assert main(["generate", "And ", *arguments, *written]) is None
    return Trace.load(trace).method


def test_flags_reach_the_method(tmp_path):
    flags = ["--method", "blt-dv", "--unmasking", "topk:3", "--own-byte", "none"]
    expected = dict(
        name="blt-dv", block_size=4, unmasking="topk:3", own_byte="none", latent="closed"
    )
    assert method_in_trace(tmp_path, *flags, "--block-size", "4") == expected
    assert method_in_trace(tmp_path, "--method", "blt-dv,block_size=4", *flags[2:]) == expected


def test_help_says_which_method_has_an_option_and_its_default(capsys):
    shown = help_of(capsys, "generate")
    for name, kind in METHODS.items():
        for option in options_of(kind).values():
            flag = "--" + option.name.replace("_", "-")
            (section,) = re.findall(rf" {flag} [A-Z{{]\S* (?=\w)(.*?)(?= --[a-z]| example:)", shown)
            told = re.search(rf"(?:^|; |, ){name}(?:, [\w-]+)*: (.*?)(?=; blt-|$)", section)
            assert told, f"{flag} does not name {name}: {section}"
            assert told[1].startswith(option.help)
            if option.default is not None:
                assert told[1].endswith(f"(default {option.plain(option.default)})")


def test_a_method_of_ones_own_takes_its_options_in_its_name_or_as_flags(echo, tmp_path, capsys):
    found = method_in_trace(tmp_path, "--method", f"{echo},length=3")
    assert found == dict(name="echo", length=3, seed=0)
    found = method_in_trace(tmp_path, "--method", f"{echo},seed=5", "--length", "4", "--seed", "7")
    assert found == dict(name="echo", length=4, seed=5)
    assert "--length INT echo: bytes guessed, 50 % too many (default 2)" in help_of(
        capsys, "generate", "--method", echo
    )


def test_a_rule_of_ones_own_is_a_flag_or_an_option_of_a_method(echo, tmp_path):
    for flags in (
        ["--unmasking", "echoing:Left:3"],
        ["--method", "blt-d,unmasking=echoing:Left:3"],
    ):
        assert method_in_trace(tmp_path, *flags)["unmasking"] == "echoing:Left:3"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--method", "nowhere:Echo"], "nowhere cannot be imported"),
        (["--method", "echoing:Ego"], "echoing has no class Ego"),
        (["--method", "echoing:Echo,width=3"], "'echo' has no option width; it has length, seed"),
        (["--method", "echoing:Echo", "--length", "10"], "length must be an int in 1..9, got 10"),
        (["--method", "echoing:Echo", "--draft-length", "4"], "'echo' has no option draft_length"),
        (["--method", "ar", "--unmasking", "topk:2"], "'ar' has no option unmasking; it has none"),
        (["--method", "blt-s", "--latent", "ajar"], "latent must be one of closed, open"),
        (["--unmasking", "echoing:Left:0"], "count must be an int of at least 1, got 0"),
        (
            ["--method", "fast"],
            f"method must be one of {', '.join(METHODS)}, or module:Class",
        ),
        (["--method"], "--method"),
        (["--length", "3"], "--length"),
    ],
)
def test_generate_refuses_in_one_sentence(echo, capsys, arguments, words):
    assert words in refusal(capsys, "generate", "abc", *arguments)


# -- the other verbs -------------------------------------------------------------------------------


def test_patch_and_view(tmp_path, capsys):
    main(["patch", "In the beginning"])
    shown, counted = capsys.readouterr().out.splitlines()
    assert shown.replace(" | ", "") == "In the beginning" and counted.startswith("16 bytes, ")
    path = tmp_path / "t.json"
    bltlab.generate(
        bltlab.BLT.from_pretrained("blt-d-nano"), "And ", "blt-s", max_new_bytes=20
    ).trace.save(path)
    main(["view", str(path)])
    assert capsys.readouterr().out.startswith("blt-s: And ")
    main(["view", str(path), "--html", str(tmp_path / "t.html")])
    assert "bltlabPlayer" in (tmp_path / "t.html").read_text()


def test_evaluate_counts_bits_over_all_texts(tmp_path, capsys):
    texts = ["And he said to them", "In the beginning God made the heaven"]
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps(dict(text=t, split="test")) for t in texts)
    )
    main(["evaluate", str(tmp_path / "t.jsonl")])
    model = bltlab.BLT.from_pretrained("blt-d-nano")
    bits = sum(len(t) * bltlab.score(model, t) for t in texts) / sum(map(len, texts))
    assert capsys.readouterr().out.startswith(f"{bits:.4f} bits a byte on 55 bytes")


def test_evaluate_and_bench_take_a_method_of_ones_own(echo, tmp_path, capsys):
    text = "And he said to them, Go into the town and get bread. "
    records = [dict(text=text * 2 + str(i), split="train" if i else "test") for i in range(2)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, records)))
    method = ["--method", f"{echo},length=3"]
    sampled = ["--task", "words", "--limit", "1"]
    assert main(["evaluate", "plain-english", *sampled, *method]) is None
    assert f"\n{echo},length=3 " in capsys.readouterr().out
    few = ["--prompts", "1", "--prompt-bytes", "20", "--max-new-bytes", "8", "--repeats", "1"]
    assert main(["bench", "trace", "--prompts-from", "t.jsonl", *few, *method, "--json"]) is None
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["method"] for row in rows} == {"ar", f"{echo},length=3"}


def test_every_task_and_every_benchmark_says_what_it_is(capsys):
    shown = help_of(capsys, "evaluate")
    for name, task in TASKS.items():
        assert f"{name}: {task.help}" in shown
    shown = help_of(capsys, "bench")
    for name, bench in BENCHES.items():
        assert f"{name} {bench.help}" in shown
        assert f"example: python -m bltlab bench {bench.example}" in help_of(capsys, "bench", name)
        assert inspect.getdoc(bench.run)


@pytest.mark.parametrize(
    "verb", ["generate", "patch", "data", "train", "evaluate", "bench", "convert", "view"]
)
def test_every_verb_shows_an_example(verb, capsys):
    assert f"example: python -m bltlab {verb} " in help_of(capsys, verb)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 46.9 GiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_is_said_in_one_line(error, monkeypatch, capsys):
    def use_all(*arguments, **options):
        raise error

    monkeypatch.setattr(bltlab.BLT, "from_pretrained", use_all)
    assert main(["patch", "abc"]) == 2
    assert capsys.readouterr().err.startswith("bltlab: the memory of this machine is not enough")


def test_another_error_of_torch_is_a_mistake_and_shows_where(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(bltlab.BLT, "from_pretrained", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["patch", "abc"])


@pytest.mark.slow  # a process
def test_a_machine_that_is_too_small_says_so(tmp_path):
    """A limit that leaves room for what is imported, and none for a batch of 1 GB."""
    code = (
        "import resource, sys, datasets, torch._dynamo; from bltlab.__main__ import main;"
        "from bltlab.training import train;"
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096;"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28));"
        "sys.exit(main(['train', '--text', sys.argv[1], '--out', sys.argv[2], '--batch-size',"
        "'65536', '--length', '2048', '--megabytes', '0.01']))"
    )
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "some words " * 5000}))
    done = subprocess.run(
        [sys.executable, "-c", code, str(text), str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "the memory of this machine is not enough" in done.stderr
    assert "Traceback" not in done.stderr


# -- any terminal ----------------------------------------------------------------------------------


class Terminal(io.TextIOWrapper):
    """A terminal of any encoding that remembers its bytes."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")

    def isatty(self):
        return True

    @property
    def bytes(self):
        self.flush()
        return self.buffer.getvalue()


VERBS = {
    "generate": ["generate", "大きさ é", "--max-new-bytes", "9", "--trace", "大.json"],
    "patch": ["patch", "大きさ é \udcff"],
    "view": ["view", "大.json"],
    "evaluate": ["evaluate", "大.txt"],
    "train": ["train", "--preset", "tiny", "--out", "大"],
}


def test_the_demo_needs_a_package_or_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "demo", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert refusal(capsys, "demo").endswith("the demo needs gradio: pip install 'bltlab[app]'")


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_output_kills_a_run_or_loses_text(verb, encoding, terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("大.txt").write_text("大きさ é", encoding="utf-8")
    Writer("大".encode(), "é").trace("大\x1b", "budget").save("大.json")
    reports = iter(["after '大きさ'"])
    monkeypatch.setattr("bltlab.training.train", lambda options, resume: reports)
    file = open("out.txt", "w", encoding=encoding, newline="\n")  # noqa: SIM115
    out = Terminal(encoding) if terminal else file
    monkeypatch.setattr(sys, "stdout", out)
    assert main(VERBS[verb]) is None
    monkeypatch.undo()
    file.close()
    written = out.bytes if terminal else (tmp_path / "out.txt").read_bytes()
    if verb == "generate":
        new = Trace.load(tmp_path / "大.json").bytes
        assert len(new) == 9
        assert terminal or written == new + os.linesep.encode()
    else:
        text = written.decode(encoding)
        assert "\x1b" not in text
        shown = "大" if encoding == "utf-8" else "\\u5927"
        assert shown in text or "\\xe5" in text


@pytest.mark.parametrize("cut", range(1, 9))
def test_what_a_model_writes_steers_no_terminal_and_is_whole_in_a_file(cut, tmp_path):
    data = "né \x1b[31m\r\x07\t大\x9b2J\u202e\ufeff\n".encode() + b"\xff\xe5\xa4"
    parts = [data[at : at + cut] for at in range(0, len(data), cut)]
    path, terminal = tmp_path / "out.txt", Terminal("utf-8")
    with open(path, "w", encoding="ascii") as file:
        for out in (terminal, file):
            write = written_to(out)
            for part in parts:
                write(part, False)
            write(b"", True)
    assert path.read_bytes() == data + os.linesep.encode()
    assert terminal.bytes.decode() == (
        "né \\x1b[31m\\x0d\\x07\t大\\xc2\\x9b2J\\xe2\\x80\\xae\\xef\\xbb\\xbf\n\\xff\\xe5\\xa4\n"
    )


def test_patch_shows_control_bytes_as_hex(capsys):
    main(["patch", "a\x1b[31mb\r\x07\n\u202ec"])
    shown = capsys.readouterr().out.splitlines()[0].replace(" | ", "")
    assert shown == "a\\x1b[31mb\\x0d\\x07\\x0a\\xe2\\x80\\xaec"


def test_an_interrupt_while_torch_is_imported_ends_without_a_word(tmp_path):
    (tmp_path / "torch.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    paths = os.pathsep.join([str(tmp_path), str(Path(bltlab.__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "bltlab", "patch", "a"],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
