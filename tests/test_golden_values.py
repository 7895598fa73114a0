"""The model is the released BLT: a tiny one against values measured on transformers 5.23.0.

Every stage is compared. Weights are drawn under transformers' parameter names (one generator per
name, seeded by its crc32) and imported through `checkpoints.convert_in`, so the key layout is
tested too. transformers itself is not needed.
"""

import zlib
from pathlib import Path

import pytest
import torch

from bltlab import checkpoints, vocab
from bltlab.config import BLTConfig, HashConfig, PatcherConfig, TransformerConfig
from bltlab.model import BLT, windows

TEXT = "The Byte Latent Transformer reads bytes; 日本語 too. It has patches!\n".encode()
LOCAL, GLOBAL, PATCHER = 64, 128, 32
CONFIG = BLTConfig(
    patcher=PatcherConfig(PATCHER, 2, 2, 64, window=16, threshold=5.05),
    encoder=TransformerConfig(LOCAL, 1, 4, 192, window=16),
    global_=TransformerConfig(GLOBAL, 3, 4, 384),
    decoder=TransformerConfig(LOCAL, 3, 4, 192, window=16),
    hashes=HashConfig(n_rows=509),
)


def their_shapes():
    """transformers' parameter names and shapes for this model."""

    def layers(prefix, n, dim, hidden):
        for i in range(n):
            at = f"{prefix}.layers.{i}"
            yield from ((f"{at}.self_attn.{p}_proj.weight", (dim, dim)) for p in "qkvo")
            yield from ((f"{at}.mlp.{p}_proj.weight", (hidden, dim)) for p in ("gate", "up"))
            yield f"{at}.mlp.down_proj.weight", (dim, hidden)
            yield from (
                (f"{at}.{norm}.weight", (dim,))
                for norm in ("input_layernorm", "post_attention_layernorm")
            )

    def cross(prefix, n):
        for i in range(n):
            at = f"{prefix}.cross_attn_layers.{i}"
            yield from ((f"{at}.{p}_proj.weight", (LOCAL, LOCAL)) for p in "qkvo")
            yield from ((f"{at}.{norm}.weight", (LOCAL,)) for norm in ("q_norm", "k_norm"))

    yield from layers("model.patcher", 2, PATCHER, 64)
    yield "model.patcher.embed_tokens.weight", (260, PATCHER)
    yield "model.patcher.norm.weight", (PATCHER,)
    yield "model.patcher.lm_head.weight", (260, PATCHER)
    yield "model.encoder_hash_tok_embedding.weight", (6 * 509, LOCAL)
    yield "model.local_encoder.embed_tokens.weight", (260, LOCAL)
    yield "model.local_encoder.patch_embedding_projection.weight", (2 * LOCAL, LOCAL)
    yield from layers("model.local_encoder", 1, LOCAL, 192)
    yield from cross("model.local_encoder", 1)
    yield from layers("model.global_transformer", 3, GLOBAL, 384)
    yield from layers("model.local_decoder", 3, LOCAL, 192)
    yield from cross("model.local_decoder", 3)
    yield "model.local_decoder.patch_embedding_projection.weight", (2 * LOCAL, GLOBAL)
    yield "model.local_decoder.norm.weight", (LOCAL,)
    yield "lm_head.weight", (260, LOCAL)


def draw(name, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if "norm" in name:
        return 1 + 0.1 * x
    return x * shape[-1] ** -0.5


@pytest.fixture(scope="module")
def model():
    model = BLT(CONFIG).eval().requires_grad_(False)
    theirs = {name: draw(name, shape) for name, shape in their_shapes()}
    tensors = checkpoints.convert_in(
        theirs, {}, "transformers", CONFIG, model.state_dict(), Path("golden")
    )
    model.load_state_dict(tensors)
    return model


@pytest.fixture(scope="module")
def ids():
    return torch.tensor([vocab.encode(TEXT)])


def total(x):
    return x.double().sum().item()


def test_hash_ids(model, ids):
    rows = model.encoder.hashes.rows(windows(ids, 8)) - torch.arange(6) * 509
    assert rows.sum((0, 1)).tolist() == [18991, 17318, 19738, 18062, 20143, 20643]


def test_byte_embeddings(model, ids):
    x = model.encoder.embedding(ids) + model.encoder.hashes(windows(ids, 8))
    assert total(x) == pytest.approx(-2.062494, abs=2e-5)
    assert total(x.abs()) == pytest.approx(1217.298955, rel=1e-6)


def test_entropies_and_patches(model, ids):
    out = model(ids)
    assert total(out.entropies) == pytest.approx(366.488201, rel=1e-6)
    lengths = out.patches.lengths[0].tolist() + [0] * bool(
        out.patches.next_opens[0, -1]
    )  # 0: the next byte opens one
    assert lengths == [
        1,
        7,
        1,
        3,
        2,
        5,
        7,
        1,
        2,
        1,
        8,
        1,
        2,
        1,
        1,
        3,
        2,
        1,
        1,
        1,
        5,
        2,
        1,
        2,
        1,
        1,
        3,
        1,
        1,
        1,
        3,
        1,
        0,
    ]


def test_encoder(model, ids):
    encoded = model.encode(ids)  # the published sum of latents counts an empty 33rd patch: left out
    assert total(encoded.states) == pytest.approx(5.486820, abs=1e-4)
    assert total(encoded.states.abs()) == pytest.approx(2838.694322, rel=1e-6)


def test_logits(model, ids):
    logits = model(ids).logits
    assert total(logits) == pytest.approx(313.515635, rel=1e-5)
    assert total(logits.abs()) == pytest.approx(14840.059335, rel=1e-6)
    weights = torch.cos(torch.arange(logits.numel(), dtype=torch.float64))
    assert (logits.double().flatten() * weights).sum().item() == pytest.approx(73.732252, rel=1e-5)


def test_greedy_bytes(model, ids):
    for _ in range(16):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
    assert ids[0, -16:].tolist() == [
        197,
        18,
        148,
        196,
        258,
        111,
        26,
        198,
        234,
        97,
        198,
        69,
        20,
        143,
        173,
        203,
    ]
