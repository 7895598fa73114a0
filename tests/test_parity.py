"""Outputs equal those of transformers' Blt, stage by stage, on random models of several shapes.

All layouts are read and written, both ways. `pytest -s tests/test_parity.py` prints the largest
difference of each stage. transformers is needed by this test only.
"""

import json
import zlib
from dataclasses import replace

import pytest
import torch

import bltlab
from bltlab import checkpoints, vocab
from bltlab.__main__ import main
from bltlab.evaluation.likelihood import likelihoods
from bltlab.model import BLT, PARTS, diffuse_from, windows

transformers = pytest.importorskip("transformers")

TEXT = 2 * (
    "The Byte Latent Transformer reads bytes; 日本語 too. "
    "It has patches, and here is more of it than a window holds!\n"
)
SHAPES = {
    "k=2, global = 2 x local": dict(k=2, local=64, global_=128),
    "k=1, global = local": dict(k=1, local=64, global_=64, sizes=(2, 5), heads=2),
    "k=4, global < 4 x local (7B)": dict(
        k=4, local=32, global_=96, sizes=(3, 4, 5, 6, 7, 8, 9), encoder_layers=2
    ),
    "k=2, global > 2 x local, no window": dict(k=2, local=32, global_=80, window=None),
}


def theirs(k, local, global_, sizes=(3, 4, 5, 6, 7, 8), heads=4, window=16, encoder_layers=1):
    """A random transformers model: weights drawn per name, norms near one, threshold in a gap."""
    local_kw = dict(
        vocab_size=260,
        hidden_size=local,
        num_attention_heads=heads,
        intermediate_size=3 * local,
        max_position_embeddings=512,
        hidden_size_global=global_,
        cross_attn_k=k,
    )
    config = transformers.BltConfig(
        vocab_size=260,
        max_position_embeddings=512,
        patching_threshold=5.0,
        cross_attn_k=k,
        local_attention_window_len=window,
        encoder_hash_byte_group_size=list(sizes),
        encoder_hash_byte_group_vocab=211,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        patcher_config=dict(
            vocab_size=260,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=512,
            sliding_window=16,
        ),
        encoder_config=dict(num_hidden_layers=encoder_layers, **local_kw),
        decoder_config=dict(num_hidden_layers=3, **local_kw),
        global_config=dict(
            hidden_size=global_,
            num_attention_heads=4,
            num_hidden_layers=2,
            intermediate_size=2 * global_,
            max_position_embeddings=512,
        ),
    )
    model = transformers.BltForCausalLM(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(
                p.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode()))
            )
            p.copy_(1 + 0.1 * x if "norm" in name else x * p.shape[-1] ** -0.5)
        ids = torch.tensor([vocab.encode(TEXT)])
        seen = (
            model.model.patcher(ids, patch_size=4, threshold=5.0, max_patch_length=None)[0]
            .flatten()
            .sort()
            .values
        )
        at = len(seen) * 2 // 3
        gap = (seen[at + 1 : at + 20] - seen[at : at + 19]).argmax() + at
        model.config.patching_threshold = (seen[gap] + seen[gap + 1]).item() / 2
    return model


def stages(model, ids):
    """Every tensor of their forward that ours has too."""
    from transformers.models.blt.modeling_blt import (
        byte_group_hash_function,
        compute_hash_embeddings,
    )

    m, c, out = model.model, model.config, {}
    args = (
        c.encoder_hash_byte_group_nb_functions,
        c.encoder_hash_byte_group_size,
        c.encoder_hash_byte_group_vocab,
    )
    out["hash ids"] = torch.stack(
        [byte_group_hash_function(ids, n, 1000000007, args[2]) for n in args[1]], -1
    )
    out["byte embeddings"] = compute_hash_embeddings(
        ids, m.local_encoder, m.encoder_hash_tok_embedding, *args
    )
    out["entropies"], lengths, _ = m.patcher(
        ids, patch_size=4, threshold=c.patching_threshold, max_patch_length=None
    )
    out["patch lengths"] = lengths
    out["reads"] = m._patch_ids_from_lengths(lengths[:, 1:], ids.shape[1])
    hooks = [
        m.local_encoder.register_forward_hook(
            lambda _, __, o: out.update({"encoder": o[0], "pooled": o[1]})
        ),
        m.global_transformer.register_forward_hook(lambda _, __, o: out.update({"global": o})),
    ]
    out["logits"] = model(ids, use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return out


def our_stages(model, ids):
    reach = model.encoder.hashes.reach
    encoded = model.encode(ids)
    count = encoded.patches.count
    sizes = torch.arange(len(model.config.hashes.sizes)) * model.config.hashes.n_rows
    return {
        "hash ids": model.encoder.hashes.rows(windows(ids, reach)) - sizes,
        "byte embeddings": model.encoder.embedding(ids) + model.encoder.hashes(windows(ids, reach)),
        "entropies": encoded.entropies,
        "patch lengths": encoded.patches.lengths,
        "reads": encoded.patches.reads,
        "encoder": encoded.states,
        "pooled": model.encoder.pool(encoded.states, encoded.patches.ids, count),
        "global": encoded.latents,
        "logits": model.decode(encoded),
    }


@pytest.fixture(scope="module", params=SHAPES)
def pair(request, tmp_path_factory):
    """Their model, ours loaded from their folder, and the folder."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(**SHAPES[request.param])
    model.save_pretrained(folder)
    return request.param, model, bltlab.BLT.from_pretrained(folder), folder


@torch.no_grad()
def test_every_stage_agrees(pair):
    shape, model, ours, _ = pair
    ids = torch.tensor([vocab.encode(TEXT)])
    assert ids.shape[1] > 10 * (ours.config.encoder.window or 20)
    want, got = stages(model, ids), our_stages(ours, ids)
    print(f"\n{shape}")
    for stage, ours_ in got.items():
        theirs_ = want[stage]
        if stage == "pooled":
            theirs_ = theirs_.reshape(1, -1, ours_.shape[-1])
        if stage in (
            "pooled",
            "global",
            "patch lengths",
        ):  # theirs may end in an empty patch: "the next byte opens one"
            theirs_ = theirs_[:, : ours_.shape[1]]
        difference = (ours_ - theirs_).abs().max().item()
        print(f"  {stage:16s} {difference:.1e}")
        if stage in ("hash ids", "patch lengths", "reads"):
            assert difference == 0, stage
        else:
            assert difference <= 1e-5 * max(1, theirs_.abs().max().item()), stage


@torch.no_grad()
def test_greedy_bytes_agree(pair):
    _, model, ours, _ = pair
    prompt = TEXT.encode()[:60]
    ids = torch.tensor([vocab.encode(prompt)])
    for _ in range(24):
        logits = model(ids, use_cache=False).logits[:, -1]
        logits[:, [0, 1, 3]] = -torch.inf  # ours never writes these specials
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
        if ids[0, -1] == vocab.EOS_ID:
            break
    assert bltlab.generate(ours, prompt, max_new_bytes=24).bytes == vocab.decode(
        ids[0, 61:].tolist()
    )


@torch.no_grad()
def test_texts_are_as_likely_as_theirs_makes_them(pair):
    """Contexts shared and of several lengths, read once for all their texts, in batches."""
    shape, model, ours, _ = pair
    contexts = [TEXT.encode()[:end] for end in (0, 20, 61, 118, 119)]
    texts = [b" bytes", " 日本語 too.".encode(), b" x", TEXT.encode()[7:90]]
    asked = [(context, text) for context in contexts for text in texts]
    expected = []
    for context, text in asked:
        ids = torch.tensor([vocab.encode(context + text)])
        log_probs = model(ids, use_cache=False).logits[0].double().log_softmax(-1)
        of_bytes = log_probs[:-1].gather(1, ids[0, 1:, None])
        expected.append(-of_bytes[len(context) :].sum().item())
    for batch_size in (1, 3):
        found = [one.nats for one in likelihoods(ours, asked, batch_size)]
        print(f"\n{shape}: {max(abs(a - b) for a, b in zip(found, expected, strict=True)):.1e}")
        assert found == pytest.approx(expected, abs=1e-4)


def original_folder(ours, folder):
    """The same weights as facebookresearch/blt lays them out."""
    c, table = ours.config, checkpoints.names(ours.config, "original")
    tensors = checkpoints.convert_out(ours.state_dict(), table)
    from safetensors.torch import save_file

    (folder / "entropy_model").mkdir(parents=True)
    save_file(
        {k: v for k, v in tensors.items() if not k.startswith("patcher.")},
        folder / "model.safetensors",
    )
    torch.save(
        {
            "model": {
                k.removeprefix("patcher."): v
                for k, v in tensors.items()
                if k.startswith("patcher.")
            }
        },
        folder / "entropy_model/consolidated.pth",
    )
    args = dict(
        multiple_of=1,
        local_attention_window_len=c.encoder.window,
        cross_attn_k=c.keys_per_patch,
        n_kv_heads=None,
        encoder_hash_byte_group_size=",".join(map(str, c.hashes.sizes)),
        encoder_hash_byte_group_vocab=c.hashes.n_rows,
        max_encoder_seq_length=c.max_length,
        rope_theta=500000.0,
    )
    for name, part in (
        ("local_encoder", c.encoder),
        ("global", c.global_),
        ("local_decoder", c.decoder),
    ):
        args |= {
            f"dim_{name}": part.dim,
            f"n_layers_{name}": part.n_layers,
            f"n_heads_{name}": part.n_heads,
        }
    (folder / "config.json").write_text(json.dumps({"args": args}))
    (folder / "entropy_model/params.json").write_text(
        json.dumps(
            {
                "entropy_model": dict(
                    dim=c.patcher.dim,
                    n_layers=c.patcher.n_layers,
                    n_heads=c.patcher.n_heads,
                    multiple_of=1,
                    sliding_window=c.patcher.window,
                ),
                "data": {"patcher_args": {"threshold": c.patcher.threshold}},
            }
        )
    )
    return folder


def swiglu(model):
    """The shape with SwiGLU widths of int(8 * dim / 3): the original layout can say no others."""
    parts = {name: getattr(model.config, name) for name in PARTS}
    narrow = {name: replace(part, hidden_dim=int(8 * part.dim / 3)) for name, part in parts.items()}
    return BLT(replace(model.config, **narrow)).initialise(3).eval().requires_grad_(False)


def same_weights(a, b):
    """Have two models the same tensors under the same names?"""
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_the_original_layout_is_read(pair, tmp_path):
    ours = swiglu(pair[2])
    again = bltlab.BLT.from_pretrained(original_folder(ours, tmp_path / "o"))
    assert again.config == ours.config
    assert same_weights(again, ours)


def test_a_round_trip_changes_no_bit(pair, tmp_path):
    _, model, ours, folder = pair
    for source, middle, end in (
        (folder, "bltlab", "transformers"),
        (folder, "transformers", "bltlab"),
    ):
        a, b = tmp_path / middle / "a", tmp_path / middle / "b"
        assert main(["convert", str(source), str(a), "--layout", middle]) is None
        assert main(["convert", str(a), str(b), "--layout", end]) is None
        back = bltlab.BLT.from_pretrained(b)
        assert back.config == ours.config
        assert same_weights(back, ours)
    written, _ = checkpoints.read_tensors(tmp_path / "bltlab/b")
    assert all(torch.equal(written[name], p) for name, p in model.state_dict().items())


@torch.no_grad()
def test_transformers_reads_what_we_write(pair, tmp_path):
    _, model, ours, _ = pair
    ours.save_pretrained(tmp_path, layout="transformers", shard_bytes=200_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = transformers.BltForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([vocab.encode(TEXT)])
    assert (
        again(ids, use_cache=False).logits - model(ids, use_cache=False).logits
    ).abs().max() < 1e-6
    assert (bltlab.BLT.from_pretrained(tmp_path)(ids).logits - ours(ids).logits).abs().max() < 1e-6


@pytest.mark.slow  # eight models, three seeds
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_self_speculation_is_exact_on_imported_weights(pair, tmp_path, temperature):
    folders = [pair[3], original_folder(swiglu(pair[2]), tmp_path / "o")]
    for folder in folders:
        model = bltlab.BLT.from_pretrained(folder, dtype=torch.float64)
        for seed in range(3):
            settings = dict(max_new_bytes=48, temperature=temperature, seed=seed)
            ar = bltlab.generate(model, TEXT[:70], **settings)
            assert bltlab.generate(model, TEXT[:70], "blt-s", **settings).bytes == ar.bytes


def test_a_blt_d_started_from_an_imported_model_reads_like_it(pair):
    ours = pair[2]
    model = diffuse_from(ours)
    ids = torch.tensor([vocab.encode(TEXT)])
    assert (model(ids).logits - ours(ids).logits).abs().max() < 1e-5
    new = set(model.state_dict()) - set(ours.state_dict())
    assert new == {"decoder.embedding.weight"}
    assert len(bltlab.generate(model, TEXT[:40], "blt-d", max_new_bytes=20).bytes) <= 20
    with pytest.raises(ValueError, match="is a BLT-D"):
        diffuse_from(model)


def edit_config(folder, **changes):
    data = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        data[key] = data[key] | value if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    "spoil, kind, words",
    [
        (
            lambda f: edit_config(f, model_type="llama"),
            ValueError,
            "config.json is no BLT: model_type",
        ),
        (
            lambda f: edit_config(f, patching_mode="space"),
            ValueError,
            "config.json: patching_mode must be 'entropy'",
        ),
        (
            lambda f: edit_config(f, encoder_config=dict(num_key_value_heads=1)),
            ValueError,
            "encoder_config.num_key_value_heads",
        ),
        (
            lambda f: edit_config(f, decoder_config=dict(num_hidden_layers=4)),
            ValueError,
            "lacks model.local_decoder.cross_attn_layers.3",
        ),
        (
            lambda f: edit_config(f, decoder_config=dict(num_hidden_layers=2)),
            ValueError,
            r"model-000\d\d-of-000\d\d.safetensors has unknown model.local_decoder",
        ),
        (
            lambda f: edit_config(f, global_config=dict(intermediate_size=99)),
            ValueError,
            r"safetensors: model.global_transformer.layers.0.mlp.\w+.weight must have shape",
        ),
        (
            lambda f: next(f.glob("model-00002*")).unlink(),
            FileNotFoundError,
            "model-00002-of-000.* is missing, model.safetensors.index",
        ),
        (
            lambda f: next(f.glob("model-00001*")).write_bytes(b"\0" * 64),
            ValueError,
            "model-00001-of-000.* is damaged",
        ),
        (
            lambda f: (f / "model.safetensors.index.json").write_text("{"),
            ValueError,
            "model.safetensors.index.json: not JSON",
        ),
    ],
)
def test_bad_folders_name_the_file_and_the_key(tmp_path, spoil, kind, words):
    model = theirs(**SHAPES["k=1, global = local"])
    model.save_pretrained(tmp_path, max_shard_size="150KB")
    bltlab.BLT.from_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(kind, match=words) as error:
        bltlab.BLT.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_a_blt_d_cannot_be_written_for_transformers(tmp_path):
    with pytest.raises(ValueError, match="block_size None"):
        diffuse_from(bltlab.BLT(bltlab.BLTConfig.preset("tiny", block_size=None))).save_pretrained(
            tmp_path, layout="transformers"
        )
    assert not (tmp_path / "config.json").exists()


def test_push_to_hub_uploads_a_folder_that_loads(monkeypatch, tmp_path):
    import shutil

    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub.HfApi, "create_repo", lambda self, repo_id, exist_ok: f"hub/{repo_id}"
    )
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "upload_folder",
        lambda self, repo_id, folder_path: shutil.copytree(folder_path, tmp_path / "hub"),
    )
    model = bltlab.BLT(bltlab.BLTConfig.preset("tiny")).initialise(1)
    assert model.push_to_hub("me/tiny") == "hub/me/tiny"
    again = bltlab.BLT.from_pretrained(tmp_path / "hub")
    assert same_weights(again, model)


def size(module):
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "preset, counts",
    [
        (
            "blt-1b",
            dict(patcher=99.5e6, encoder=19.4e6, global_=1284.6e6, decoder=157.6e6, hashes=3072e6),
        ),
        (
            "blt-7b",
            dict(patcher=99.5e6, encoder=33.8e6, global_=6497e6, decoder=182e6, hashes=3840e6),
        ),
        ("fast-blt-1b", dict(encoder=19e6, global_=1.28e9, decoder=160e6)),
        ("fast-blt-3b", dict(encoder=26e6, global_=2.82e9, decoder=160e6)),
    ],
)
def test_presets_have_the_published_sizes(preset, counts):
    model = BLT.on_meta(bltlab.BLTConfig.preset(preset))
    tables = size(model.encoder.hashes)
    # The projection to the global width: Fast BLT counts it with the encoder, BLT with the global.
    projection = size(model.global_.projection)
    head = 0 if preset.startswith("fast") else size(model.decoder.output)
    got = dict(
        patcher=size(model.patcher),
        encoder=size(model.encoder) - tables + (projection if "3b" in preset else 0),
        global_=size(model.global_) - (projection if "3b" in preset else 0),
        decoder=size(model.decoder) - head,
        hashes=tables,
    )
    for part, published in counts.items():
        assert got[part] == pytest.approx(
            published, rel=0.025 if preset.startswith("fast") else 0.005
        ), part
