"""How the public names look to a type checker. `mypy` reads this file; nothing runs it."""

from typing import assert_type

import bltlab

model = bltlab.BLT.from_pretrained("blt-d-nano")
assert_type(model, bltlab.BLT)
assert_type(bltlab.BLTConfig.preset("nano"), bltlab.BLTConfig)

method = bltlab.BlockDiffusion(block_size=8, unmasking=bltlab.EntropyBound(0.5))
assert_type(method, bltlab.BlockDiffusion)

written = bltlab.generate(model, "In the beginning ", method, max_new_bytes=32)
trace = bltlab.Trace.load("trace.json")
assert_type(trace, bltlab.Trace)
assert_type(trace.totals.nfe, bltlab.NFE)

bits: float = bltlab.score(model, "text")
ids: list[int] = bltlab.encode("text")
