"""The yardstick of what is left to the limit: a pass by hand finds what the library finds."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import random_ids, random_model

import bltlab

sys.path.insert(0, str(Path(__file__).parent.parent / ".ci"))

import limit


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@torch.inference_mode()
def test_a_pass_by_hand_finds_what_the_library_finds(tmp_path):
    """With windows that end, patches of all lengths, and a block behind the text."""
    library = limit.compiled_library(str(tmp_path), "-O1")
    model = random_model(3).float()
    state = bltlab.DecodingState(model)
    logits = state.extend(random_ids(3, 90)[None])[0]
    mine = limit.ByHand(library, model, limit.Form(folded=True), state)
    mine.read(limit.block_of(model))
    block = limit.parts_of(state)[limit.A_BLOCK]()[0]
    limit.check(mine, logits, block)
    mine.logits[40, 7] += 0.01
    with pytest.raises(AssertionError, match="other logits by hand"):
        limit.check(mine, logits, block)
