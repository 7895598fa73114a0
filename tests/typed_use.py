"""How the public names look to a type checker: `mypy` reads this file, nothing runs it."""

from typing import assert_type

import bltlab


def use() -> None:
    """Each value has the type that it should have."""
    model = bltlab.BLT.from_pretrained("blt-d-nano")
    assert_type(model, bltlab.BLT)
    assert_type(bltlab.BLTConfig.preset("nano"), bltlab.BLTConfig)
    method = bltlab.BlockDiffusion(block_size=8, unmasking=bltlab.EntropyBound(0.5))
    assert_type(method, bltlab.BlockDiffusion)
    trace = bltlab.Trace.load("trace.json")
    assert_type(trace, bltlab.Trace)
    assert_type(trace.totals.nfe, bltlab.NFE)
    assert_type(bltlab.score(model, "text"), float)
    assert_type(bltlab.score(model, ["text", b"bytes"]), list[float])
    assert_type(bltlab.encode("text"), list[int])
    bltlab.generate(model, "In the beginning ", method, max_new_bytes=32)
