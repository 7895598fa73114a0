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
    assert (
        main(
            [
                "generate",
                "And he said ",
                "--method",
                method,
                "--max-new-bytes",
                "24",
                "--trace",
                str(trace),
            ]
        )
        is None
    )
    printed = capsys.readouterr()
    again = bltlab.generate(
        bltlab.BLT.from_pretrained("blt-d-nano"),
        "And he said ",
        method,
        max_new_bytes=24,
        temperature=0.8,
    )
    assert printed.out.strip("\n") == again.text.strip("\n") and "decoder" in printed.err
    assert Trace.load(trace).bytes == again.bytes


def test_flags_reach_the_method(tmp_path, capsys):
    trace = tmp_path / "t.json"
    main(
        [
            "generate",
            "And ",
            "--method",
            "blt-dv",
            "--unmasking",
            "topk:3",
            "--own-byte",
            "none",
            "--block-size",
            "4",
            "--max-new-bytes",
            "8",
            "--trace",
            str(trace),
        ]
    )
    assert Trace.load(trace).method == dict(
        name="blt-dv", block_size=4, unmasking="topk:3", own_byte="none", latent="closed"
    )


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
