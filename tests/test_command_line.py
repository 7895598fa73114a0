"""The command line's verbs, on the shipped weights."""

import json

import pytest

import bltlab
from bltlab.__main__ import main
from bltlab.decoding import METHODS
from bltlab.trace import Trace


@pytest.mark.parametrize("method", METHODS)
def test_generate_writes_text_and_a_trace(method, capsys, tmp_path):
    trace = tmp_path / "t.json"
    assert main(["generate", "And he said ", "--method", method, "--max-new-bytes", "24", "--trace", str(trace)]) is None
    printed = capsys.readouterr()
    again = bltlab.generate(bltlab.BLT.from_pretrained("blt-d-nano"), "And he said ", method, max_new_bytes=24, temperature=0.8)
    assert printed.out.strip("\n") == again.text.strip("\n") and "decoder" in printed.err
    assert Trace.load(trace).bytes == again.bytes


def test_flags_reach_the_method(tmp_path, capsys):
    trace = tmp_path / "t.json"
    main(["generate", "And ", "--method", "blt-dv", "--unmasking", "topk:3", "--own-byte", "none", "--block-size", "4",
          "--max-new-bytes", "8", "--trace", str(trace)])
    assert Trace.load(trace).method == dict(name="blt-dv", block_size=4, unmasking="topk:3", own_byte="none", latent="closed")


def test_patch_and_view(tmp_path, capsys):
    main(["patch", "In the beginning"])
    shown, counted = capsys.readouterr().out.splitlines()
    assert shown.replace(" | ", "") == "In the beginning" and counted.startswith("16 bytes, ")
    path = tmp_path / "t.json"
    bltlab.generate(bltlab.BLT.from_pretrained("blt-d-nano"), "And ", "blt-s", max_new_bytes=20).trace.save(path)
    main(["view", str(path)])
    assert capsys.readouterr().out.startswith("blt-s: And ")
    main(["view", str(path), "--html", str(tmp_path / "t.html")])
    assert "bltlabPlayer" in (tmp_path / "t.html").read_text()


def test_bench_memory_loads_both_layouts(capsys):
    main(["bench", "memory", "--model", "preset:tiny", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [r["layout"] for r in rows] == ["bltlab", "transformers"]
    parameters = sum(p.numel() for p in bltlab.BLT.on_meta(bltlab.BLTConfig.preset("tiny", block_size=None)).parameters())
    assert all(r["disk_gb"] * 1e9 >= 2 * parameters and r["peak_gb"] > r["disk_gb"] for r in rows)


def test_evaluate_counts_bits_over_all_texts(tmp_path, capsys):
    texts = ["And he said to them", "In the beginning God made the heaven"]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(dict(text=t, split="test")) for t in texts))
    main(["evaluate", str(tmp_path / "t.jsonl")])
    model = bltlab.BLT.from_pretrained("blt-d-nano")
    bits = sum(len(t) * bltlab.score(model, t) for t in texts) / sum(map(len, texts))
    assert capsys.readouterr().out.startswith(f"{bits:.4f} bits a byte on 55 bytes")


def test_bench_prints_every_method_beside_autoregression(capsys):
    main(["bench", "decode", "--prompts", "1", "--max-new-bytes", "16", "--repeats", "1", "--temperature", "0", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [r["method"] for r in rows] == list(METHODS)
    assert rows[0]["seconds_ratio"] == rows[0]["paper_gb_ratio"] == 1.0 and rows[0]["acceptance"] is None
    assert all(r["bytes"] == 16 and r["seconds"] > 0 for r in rows)
    assert rows[1]["acceptance"] is not None and rows[2]["steps_per_block"] >= 1
