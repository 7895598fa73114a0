"""What tests of training share: a small text and a shape below "tiny".

The processes that torchrun starts for the tests import it as well.
"""

import json

from bltlab.config import PRESETS, BLTConfig, HashConfig, PatcherConfig, TransformerConfig
from bltlab.training import TrainOptions

MINI = BLTConfig(
    patcher=PatcherConfig(16, 1, 2, 32, window=32, max_patch_length=8),
    encoder=TransformerConfig(32, 1, 2, 48, window=32),
    global_=TransformerConfig(48, 1, 2, 64),
    decoder=TransformerConfig(32, 1, 2, 48, window=32),
    hashes=HashConfig((2, 3), 128),
    doubled_residual=True,
    block_size=4,
    max_length=512,
)
PRESETS["mini"] = MINI
OPTIONS = TrainOptions(
    preset="mini",
    entropy_megabytes=0.02,
    megabytes=0.03,
    length=64,
    batch_size=8,
    report_every=5,
    sample_every=0,
    save_every=4,
    block_size=4,
    threads=1,
    matrix_rate=1e-2,
    other_rate=1e-2,
)


def write_corpus(path):
    words = [
        (a, b)
        for a in ["cat", "dog", "cow", "hen", "fox", "bee", "ant"]
        for b in ["man", "boy", "girl", "king"] * 5
    ]
    records = [
        dict(
            text=f"The {a} sat on the mat, and the {b} ran to the {a}.",
            split="test" if i % 9 == 0 else "train",
        )
        for i, (a, b) in enumerate(words)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)
