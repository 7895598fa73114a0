"""Somebody's own method and rule, in files of theirs, through every door; and what is refused
there.
"""

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_model

import bltlab
from bltlab import decoding, options
from bltlab.__main__ import main
from bltlab.decoding import METHODS, method_from_header, method_of, register, why_not
from bltlab.options import build, option, plain_options
from bltlab.trace import Trace
from bltlab.unmasking import TopK, format_rule, parse_rule

ROOT = Path(__file__).parent.parent


def documented(name):
    """An example of the docstring of `bltlab.decoding`: the indented lines that define a class."""
    lines = decoding.__doc__.split("\n")
    at = next(n for n, line in enumerate(lines) if f"class {name}" in line)
    first = max(n for n in range(at) if not lines[n].startswith("    ") and lines[n].strip()) + 1
    after = [
        n for n in range(at, len(lines)) if lines[n].strip() and not lines[n].startswith("    ")
    ]
    return textwrap.dedent("\n".join(lines[first : after[0]])).strip() + "\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The two documented files in a folder outside the repository, the working directory."""
    (tmp_path / "lookup.py").write_text(documented("Lookup"))
    (tmp_path / "ramp.py").write_text(documented("Ramp"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    METHODS.pop("lookup", None)
    for module in ("lookup", "ramp"):
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def model():
    return random_model(3)


def test_the_documented_method_is_twenty_lines_and_writes_the_bytes_of_autoregression(files, model):
    code = [line for line in documented("Lookup").split("\n") if line.strip()]
    assert len(code) <= 30 and sum(line.startswith("    ") for line in code) <= 26
    for spec in ("lookup:Lookup,length=6,context=2", f"{files}/lookup.py:Lookup,length=3"):
        for temperature in (0.0, 0.9):
            settings = dict(max_new_bytes=60, temperature=temperature, seed=[1, 2, 3])
            prompts = ["abcabcabc", "", "khg" * 7]
            wanted = bltlab.generate(model, prompts, **settings)
            got = bltlab.generate(model, prompts, spec, **settings)
            assert [o.bytes for o in got] == [o.bytes for o in wanted]
        assert got[0].trace.method["name"] == "lookup"
    greedy = bltlab.generate(model, "abc" * 9, "lookup", max_new_bytes=60).trace.totals
    assert greedy.acceptance_rate is not None and greedy.rounds < 60


def test_a_trace_of_it_is_saved_loaded_and_restored(files, model, tmp_path):
    trace = bltlab.generate(model, "abcabc", "lookup:Lookup,length=5", max_new_bytes=20).trace
    trace.save(tmp_path / "t.json")
    loaded = Trace.load(tmp_path / "t.json")
    assert loaded.method == {"name": "lookup", "length": 5, "context": 3}
    assert method_from_header(loaded.method) == method_of("lookup,length=5")
    assert bltlab.view(loaded) is not None and loaded.to_text()
    METHODS.pop("lookup")
    with pytest.raises(ValueError, match="'lookup' is not known here"):
        method_from_header(loaded.method)


def test_the_documented_rule_works_by_name_with_any_number_of_values(files, model):
    rule = parse_rule("ramp:Ramp:0.4:0.95")
    assert (rule.first, rule.last) == (0.4, 0.95) and format_rule(rule) == "ramp:Ramp:0.4:0.95"
    assert parse_rule("ramp:Ramp:last=0.8") == type(rule)(0.5, 0.8)
    method = method_of("blt-d,unmasking=ramp:Ramp:0.05:0.2")
    out = bltlab.generate(model, "abc", method, max_new_bytes=24)
    assert len(out.bytes) == 24 and out.trace.method["unmasking"] == "ramp:Ramp:0.05:0.2"
    assert method_from_header(out.trace.method) == method.fit(model)


@pytest.fixture
def folder(model, files):
    model.save_pretrained(files / "m")
    return str(files / "m")


def test_generate_and_bench_on_the_command_line(files, folder, capsys):
    common = ["--model", folder, "--max-new-bytes", "12", "--temperature", "0"]
    trace = str(files / "t.json")
    code = main(
        ["generate", "abcabc", "--method", "lookup:Lookup,length=5", "--trace", trace, *common]
    )
    assert not code and json.loads(Path(trace).read_text())["method"]["length"] == 5
    wanted = Trace.load(trace).bytes
    assert not main(["generate", "abcabc", "--method", "ar", "--trace", trace, *common])
    assert Trace.load(trace).bytes == wanted
    ramp = ["--method", "blt-d", "--unmasking", "ramp:Ramp:0.1:0.2"]
    assert not main(["generate", "abcabc", *ramp, *common])
    capsys.readouterr()
    bench = [
        "bench",
        "decode",
        "--checkpoint",
        folder,
        "--json",
        "--prompts",
        "1",
        "--repeats",
        "1",
    ]
    few = ["--prompt-bytes", "16", "--max-new-bytes", "12"]
    assert not main([*bench, *few, "--method", "lookup:Lookup,length=5"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["method"] for row in rows] == ["ar", "lookup:Lookup,length=5"]


def test_evaluate_on_the_command_line(files, folder, capsys):
    (files / "pairs.jsonl").write_text(json.dumps({"text": "fr: un\nen: one\n"}) + "\n")
    arguments = ["evaluate", "pairs.jsonl", "--task", "translation", "--model", folder]
    assert not main([*arguments, "--split", "train", "--method", "lookup:Lookup"])
    assert "lookup:Lookup" in capsys.readouterr().out


def test_explore_has_its_controls(files, model):
    explorer = pytest.importorskip("bltlab.viz.explorer")
    register(method_of("lookup:Lookup").__class__)
    assert "lookup" in METHODS
    assert explorer.explore(model) is not None


WRONG = {
    "no_round": ("name = 'x'", TypeError, "needs round"),
    "no_name": ("def round(self, state, pick): yield", TypeError, "needs a name"),
    "odd_name": (
        "name = 'A b'\n    def round(self, state, pick): yield",
        TypeError,
        "needs a name",
    ),
    "taken": ("name = 'ar'\n    def round(self, state, pick): yield", ValueError, "taken"),
    "no_pick": ("name = 'x'\n    def round(self): yield", TypeError, "round"),
    "list_option": (
        "name = 'x'\n    a: object = (1, 2)\n    def round(self, state, pick): yield",
        TypeError,
        "option a",
    ),
    "no_default": (
        "name = 'x'\n    a: int\n    def round(self, state, pick): yield",
        TypeError,
        "a",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_class_that_cannot_be_a_method_is_refused_in_one_sentence(what, tmp_path, monkeypatch):
    body, kind, words = WRONG[what]
    head = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    "
    (tmp_path / f"mine_{what}.py").write_text(head + body + "\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words) as error:
        method_of(f"mine_{what}.py:Mine")
    assert "\n" not in str(error.value)
    METHODS.pop("x", None)


@pytest.mark.slow  # a process each
@pytest.mark.parametrize(
    "spec, words",
    [
        ("nowhere.to_be:Found", "cannot be imported"),
        ("nowhere.py:Found", "cannot be imported"),
        ("lookup:Missing", "has no class Missing"),
        ("lookup:Lookup,size=3", "has no option size; it has context, length"),
        ("lookup:Lookup,length=99", "length must be an int in 1..32, got 99"),
        ("lookup:Lookup,length", "option=value"),
        ("fast", f"must be one of {', '.join(METHODS)}, or module:Class"),
    ],
)
def test_bad_names_at_the_doors(files, spec, words):
    with pytest.raises(ValueError, match=words) as error:
        method_of(spec)
    assert "\n" not in str(error.value)
    done = subprocess.run(
        [sys.executable, "-m", "bltlab", "generate", "abc", "--method", spec],
        capture_output=True,
        text=True,
        cwd=files,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(files)},
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_bad_proposals_and_rounds(model):
    def method(turn, lookahead=9):
        fields = dict(name="wrong", round=turn, lookahead=lookahead, __doc__="Wrong.")
        from dataclasses import dataclass

        return dataclass(frozen=True)(type("Wrong", (), fields))()

    def out_of_range(state, pick):
        own = yield from decoding.chain(state, pick)
        proposed = yield from decoding.propose(state, [[300]], after=own)
        yield from decoding.verify(state, pick, proposed)

    def empty(state, pick):
        proposed = yield from decoding.propose(state, [[]])
        yield from decoding.verify(state, pick, proposed)

    def silent(state, pick):
        yield from decoding.chain(state, pick)

    def trusted_specials(state, pick):
        proposed = decoding.Proposal(decoding.ahead(state, 0, 1) * 0 + 3)
        yield from decoding.trust(state, proposed)

    for turn, words in (
        (out_of_range, r"bytes \(ids 4..259\) and EOS \(2\), got 300"),
        (empty, "at least one byte, got none"),
        (silent, "committed nothing in a round"),
        (trusted_specials, "got 3"),
    ):
        wrong = method(lambda self, state, pick, turn=turn: turn(state, pick))
        with pytest.raises(ValueError, match=words) as error:
            bltlab.generate(model, "abc", wrong)
        assert "\n" not in str(error.value)

    def one_row(state, pick):
        own = yield from decoding.chain(state, pick)
        yield from (event for event in decoding.trust(state, own) if event.row == 1)

    wrong = method(lambda self, state, pick: one_row(state, pick))
    with pytest.raises(ValueError, match="committed nothing in a round"):
        bltlab.generate(model, ["abc", "de"], wrong)
    with pytest.raises(TypeError, match="must yield events, got list"):
        bltlab.generate(model, "abc", method(lambda self, state, pick: []))
    for lookahead in (0, None, 2.5):
        with pytest.raises(TypeError, match="lookahead, an int of at least 1"):
            bltlab.stream(model, "abc", method(lambda self, state, pick: [], lookahead))


@dataclass(frozen=True)
class OfOneByte(decoding.Method):
    """Autoregression with a mode of torch's around each round; ids of any whole dtype."""

    name = "of-one-byte"
    title = "Of one byte"
    mode: str = option("no_grad", "a mode of torch's", choices=("no_grad", "inference_mode"))

    def round(self, state, pick):
        with getattr(torch, self.mode)():
            own = yield from decoding.chain(state, pick)
            short = decoding.Proposal(own.ids.to(torch.int16), own=1)
            yield from decoding.trust(state, short)


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_a_round_leaves_torch_as_it_was_also_where_it_is_closed_early(model, mode):
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    stream = bltlab.stream(model, "abc", OfOneByte(mode), max_new_bytes=9)
    events = [next(stream) for _ in range(3)]
    stream.close()
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == modes
    text = bltlab.generate(model, "abc", max_new_bytes=9, record=False).bytes
    assert bltlab.generate(model, "abc", OfOneByte(mode), max_new_bytes=9).bytes == text
    assert events[-1].ids


def test_what_decoding_keeps_serves_a_backward_pass(model):
    bltlab.sampling._banned.cache_clear()
    bltlab.generate(model, "abc", "blt-d", max_new_bytes=4)
    logits = torch.zeros(1, bltlab.vocab.VOCAB_SIZE, requires_grad=True)
    bltlab.sampling.beliefs(logits).amax().backward()
    assert logits.grad.abs().sum() > 0


def test_positions_ahead_go_by_row(model):
    state = bltlab.DecodingState(model, 2)
    state.extend([[1, 70, 71], [1, 70]])
    for offset in (2, np.int64(2), [2, 2]):
        assert decoding.ahead(state, offset, 2).tolist() == [[5, 6], [4, 5]]
    assert decoding.ahead(state, [0, 1], 1).tolist() == [[3], [3]]


def test_bad_rules(model):
    def rule(result):
        return lambda probs, masked: result(probs, masked)

    for result, kind, words in (
        (lambda probs, masked: masked & False, ValueError, "at least one slot"),
        (lambda probs, masked: masked.tolist(), TypeError, "a bool tensor"),
        (lambda probs, masked: probs.amax(-1), TypeError, "a bool tensor"),
        (lambda probs, masked: masked[:, :2], TypeError, "a bool tensor of"),
    ):
        with pytest.raises(kind, match=words) as error:
            bltlab.generate(model, "abc", bltlab.BlockDiffusion(unmasking=rule(result)))
        assert "\n" not in str(error.value)


def test_a_file_from_elsewhere_runs_no_code(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    for header in (
        {"name": "blt-d", "unmasking": "evil:Rule:1"},
        {"name": "blt-d", "unmasking": "evil.py:Rule"},
        {"name": "evil:Method"},
    ):
        with pytest.raises(ValueError, match="none named|not known here"):
            method_from_header(header)


def test_why_not_says_what_a_model_cannot_run(model):
    assert why_not("blt-d", model) is None
    assert "needs a BLT-D" in why_not("blt-d", random_model(0, block_size=None))
    assert "no option" in why_not("ar,k=3", model)


@pytest.mark.parametrize("path", ["C:/rules/mine.py", "c:\\rules\\mine.py", "/rules/mine.py"])
def test_the_colon_of_a_drive_is_none_between_values(path, monkeypatch):
    asked = []

    def load(where):
        asked.append(where)
        return bltlab.TopK

    rules = {"topk": bltlab.TopK}
    monkeypatch.setattr(options, "load_class", load)
    rule = options.parse_rule_of(f"{path}:Mine:3", rules, load=True)
    assert asked == [f"{path}:Mine"] and rule == bltlab.TopK(3)


@dataclass(frozen=True)
class Own:
    """A rule that has no short name."""

    first: float = option(0.4, "of it", min=0, max=1)

    def __call__(self, probs, masked):
        return masked


@dataclass(frozen=True)
class WithOwn:
    """Options, of which one is a rule whose default no short name stands for."""

    rule: object = option(Own(), "a rule", rules={"topk": TopK})


@pytest.mark.parametrize("rule", [Own(), Own(0.1), TopK(3)])
def test_a_link_or_a_file_brings_back_a_rule_of_ones_own(rule):
    one = WithOwn(rule)
    assert build(WithOwn, json.loads(json.dumps(plain_options(one)))) == one
    with pytest.raises(ValueError, match="there is none named"):  # but nothing else is loaded
        build(WithOwn, dict(rule="somewhere:Else:0.1"))
