"""The model of lm-eval: its three kinds of requests, on a random model.

Where lm-eval is not installed, the adapter stands on a stand-in for its base class.
"""

import json
import math
import sys
import tomllib
import types
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import random_model

import bltlab
from bltlab.evaluation import adapter
from bltlab.evaluation.likelihood import likelihoods

ROOT = Path(__file__).parent.parent
HERE = find_spec("lm_eval") is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter") / "m"
    random_model(4).save_pretrained(folder)
    return folder


@pytest.fixture
def lm(folder, monkeypatch):
    """The adapter, and what it told lm-eval's cache in `told`."""
    if not HERE:
        monkeypatch.setattr(adapter, "register_model", "a stand-in")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    lm = adapter.Adapter(str(folder), batch_size="3", dtype="float64", device="cuda:0")
    lm.told = []
    lm.cache_hook = SimpleNamespace(add_partial=lambda *words: lm.told.append(words))
    return lm


def asked(*arguments):
    return [SimpleNamespace(args=args) for args in arguments]


def test_likelihoods_come_in_order_and_are_those_of_the_library(lm, monkeypatch):
    monkeypatch.setattr(adapter, "PART", 2)
    pairs = [("eef", " hg"), ("", "eé"), ("eef", "g"), ("a longer context", " e"), ("né", "")]
    found = lm.loglikelihood(asked(*pairs))
    expected = likelihoods(lm.model, pairs)
    assert [nats for nats, _ in found] == pytest.approx([-one.nats for one in expected], abs=1e-9)
    assert [greedy for _, greedy in found] == [one.greedy for one in expected]
    assert lm.told == [("loglikelihood", p, f) for p, f in zip(pairs, found, strict=True)]
    texts = [" e", "x" * 700]  # the second is longer than the model
    rolled = lm.loglikelihood_rolling(asked(*[(text,) for text in texts]))
    nats = [math.log(2) * bltlab.score(lm.model, text) * len(text) for text in texts]
    assert rolled == pytest.approx([-n for n in nats], abs=1e-6)
    assert lm.told[5:] == [
        ("loglikelihood_rolling", (text,), r) for text, r in zip(texts, rolled, strict=True)
    ]


def test_texts_end_before_a_stop_string_and_each_has_its_own_settings(lm):
    prompts = ["eefghhe", "ghi", "e", "hhgfe" * 9]
    plain = [bltlab.generate(lm.model, p, max_new_bytes=20).text for p in prompts]
    stop = plain[1][4]
    settings = [dict(max_gen_toks=20), dict(max_gen_toks=20, until=[stop, ""]), dict(max_tokens=3)]
    requests = asked(*[(p, s) for s in settings for p in prompts])
    found = lm.generate_until(requests)
    assert found[:4] == plain
    assert found[4:8] == [text.partition(stop)[0] for text in plain] and len(found[5]) <= 4
    assert found[8:] == [bltlab.generate(lm.model, p, max_new_bytes=3).text for p in prompts]
    assert len(lm.told) == 12
    told = {(args[0], repr(args[1])): text for _, args, text in lm.told}
    assert told == {(r.args[0], repr(r.args[1])): t for r, t in zip(requests, found, strict=True)}


def test_a_long_prompt_is_cut_at_a_character_and_one_without_room_refused(lm):
    most = lm.model.config.max_length - 1
    prompt = "a" + "é" * most
    with pytest.warns(UserWarning, match="too long: cut at their beginning"):
        (found,) = lm.generate_until(asked((prompt, dict(max_gen_toks=20))))
    kept = prompt.encode()[-(most - 20) :].lstrip(b"\xa9")
    assert found == bltlab.generate(lm.model, kept, max_new_bytes=20).text
    with pytest.raises(ValueError, match="max_gen_toks of 4096 bytes leaves no room for a prompt"):
        lm.generate_until(asked(("a", dict(max_gen_toks=4096))))


def test_sampled_texts_differ_by_their_number(lm):
    warm = dict(max_gen_toks=12, temperature=1.0, do_sample=True)
    found = lm.generate_until(asked(*[("eef", warm)] * 4))
    assert len(set(found)) > 1 and found == lm.generate_until(asked(*[("eef", warm)] * 4))
    lm.seed = 1
    alone = bltlab.generate(lm.model, "eef", max_new_bytes=12, temperature=1.0, seed=1).text
    assert lm.generate_until(asked(("eef", warm))) == [alone] == [found[1]]


@pytest.mark.parametrize("size", ["many", "0", "-1", "2.5"])
def test_a_batch_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=f"batch_size must be .*, or auto, got '{size}'"):
        adapter.size_of(size)


def test_without_lm_eval_one_sentence_says_what_to_install(folder, monkeypatch, capsys):
    monkeypatch.setattr(adapter, "register_model", None)
    assert adapter.main() == 2
    said = capsys.readouterr().err
    assert said.endswith("pip install 'bltlab[lm-eval]'\n") and said.count("\n") == 1
    with pytest.raises(ImportError, match="lm-eval is not installed"):
        adapter.Adapter(str(folder))


def test_its_command_line_is_that_of_lm_eval(monkeypatch, capsys):
    def cli_evaluate():
        raise ValueError(f"no task, got {sys.argv[1:]}")

    for name in ("lm_eval", "lm_eval.__main__"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["lm_eval.__main__"], "cli_evaluate", cli_evaluate, False)
    monkeypatch.setattr(adapter, "register_model", "a stand-in")
    monkeypatch.setattr(sys, "argv", ["adapter", "--tasks", "none"])
    assert adapter.main() == 2
    assert capsys.readouterr().err == "bltlab: no task, got ['--tasks', 'none']\n"


def entry_point():
    """What pyproject.toml tells lm-eval."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, value),) = project["entry-points"]["lm_eval.models"].items()
    assert "lm-eval" in project["optional-dependencies"]
    return EntryPoint(name, value, "lm_eval.models")


def test_the_entry_point_is_the_adapter():
    assert entry_point().name == "bltlab" and entry_point().load() is adapter.Adapter


@pytest.mark.slow  # lm-eval takes seconds to load
@pytest.mark.skipif(not HERE, reason="lm-eval is not installed")
def test_lm_eval_runs_a_task_of_its_kind(folder, tmp_path):
    from lm_eval import simple_evaluate
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    assert get_model("bltlab") is adapter.Adapter
    lines = [dict(q=f"e{n}", a=["f", "gh"], right=n % 2) for n in range(6)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "task.yaml").write_text(
        "task: two\ndataset_path: json\noutput_type: multiple_choice\ntest_split: train\n"
        f"dataset_kwargs: {{data_files: {tmp_path / 'data.jsonl'}}}\n"
        "doc_to_text: '{{q}}'\ndoc_to_choice: '{{a}}'\ndoc_to_target: right\n"
        "metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}]\n"
    )
    tasks = TaskManager(include_path=str(tmp_path), include_defaults=False)
    words = dict(checkpoint=str(folder), dtype="float64", device="cpu")
    out = simple_evaluate("bltlab", words, tasks=["two"], task_manager=tasks)
    for sample in out["samples"]["two"]:
        pairs = [(sample["doc"]["q"], f" {choice}") for choice in sample["doc"]["a"]]
        nats = [-one.nats for one in likelihoods(random_model(4), pairs)]
        assert [found[0] for found in sample["filtered_resps"]] == pytest.approx(nats, abs=1e-6)
    assert 0 <= out["results"]["two"]["acc,none"] <= 1
