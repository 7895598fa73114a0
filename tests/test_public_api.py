"""The names that users call: each is there, takes what is promised, and gives what is promised.

Whoever renames one leaves the old name working.
"""

import inspect
import json

import pytest
import torch
from conftest import random_model

import bltlab

NAMES = """
    BLT BLTConfig BLTOutput DecodingState NFE Pick Trace
    Autoregressive SelfSpeculation BlockDiffusion DiffusionVerification
    ForeseenChain ForeseenVerification
    Confidence EntropyBound TopK OneStep
    Prefilled Drafted Unmasked Guessed Foreseen Verified Committed Finished
    branch decode diffuse_from diffusion_loss encode explore generate patchify score stream
    threshold_for view
"""
ROOMS = """
    checkpoints config costs data decoding diffusion evaluation events layers model patching
    sampling state trace training unmasking viz vocab
"""
DECODING = """
    METHODS Generation Method accepted_length chain generate header_of method_from_header
    method_of option propose register stream trust unmask verify why_not
"""
# Arguments by name, in the order in which they may be given; "*": by name only behind it.
ARGUMENTS = {
    "generate": "model prompt method * max_new_bytes temperature top_k top_p seed stop record",
    "stream": "model prompt method * max_new_bytes temperature top_k top_p seed stop record",
    "branch": "model trace at byte method",
    "score": "model text",
    "patchify": "model text threshold",
    "threshold_for": "model text patch_length",
    "view": "traces clock",
    "diffusion_loss": "model ids block_size generator *",
    "DecodingState": "model batch_size max_length",
    "DecodingState.extend": "self ids logits open_latent",
    "DecodingState.rollback": "self length",
    "DecodingState.draft": "self ids",
    "DecodingState.denoise": "self block_ids after",
    "DecodingState.peek_latent": "self",
    "DecodingState.select": "self rows",
    "DecodingState.snapshot": "self",
    "BLT.from_pretrained": "name * device dtype",
    "BLT.save_pretrained": "self folder dtype",
    "BLTConfig.preset": "name",
    "SelfSpeculation": "draft_length",
    "BlockDiffusion": "block_size unmasking",
    "DiffusionVerification": "block_size unmasking own_byte",
    "Confidence": "threshold",
    "EntropyBound": "gamma",
    "TopK": "k",
    "Trace.save": "self path",
    "Trace.load": "path",
    "viz.to_html": "traces path clock",
}
EVENTS = {
    "Prefilled": "ids opens entropies",
    "Drafted": "id prob candidates",
    "Unmasked": "block revealed probs candidates",
    "Guessed": "block probs candidates",
    "Foreseen": "drafted accepted draft_probs",
    "Verified": "drafted accepted replacement draft_probs target_probs candidates",
    "Committed": "ids opens entropies",
    "Finished": "reason",
}


def found(path):
    value = bltlab
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.fixture(scope="module")
def model():
    return random_model(3)


def test_every_name_is_there_and_documented():
    for name in NAMES.split():
        assert inspect.getdoc(found(name)), name
    assert set(NAMES.split()) <= set(bltlab.__all__)
    for name in ROOMS.split():
        assert inspect.ismodule(found(name)) and inspect.getdoc(found(name)), name
    for name in DECODING.split():
        assert hasattr(bltlab.decoding, name), name
    assert {"ar", "blt-s", "blt-d", "blt-dv"} < set(bltlab.decoding.METHODS)
    assert {"blt-f", "blt-fv"} < set(bltlab.decoding.METHODS)


@pytest.mark.parametrize("path", ARGUMENTS)
def test_arguments_keep_their_names_and_their_order(path):
    parameters = inspect.signature(found(path)).parameters.values()
    given = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in given:
            given.append("*")
        given.append(parameter.name)
    promised = ARGUMENTS[path].split()
    assert given[: len(promised)] == promised


@pytest.mark.parametrize("name", EVENTS)
def test_events_carry_what_is_promised(name):
    fields = inspect.signature(found(name)).parameters
    stamp = "row position nfe weight_bytes cache_bytes seconds"
    assert set(f"{stamp} {EVENTS[name]}".split()) <= set(fields)


@pytest.mark.parametrize("method", ["ar", "blt-s", "blt-d", "blt-dv", None])
def test_a_generation_has_text_bytes_reason_and_trace(model, method, tmp_path):
    method = method or bltlab.BlockDiffusion(block_size=8, unmasking=bltlab.Confidence(0.7))
    out = bltlab.generate(model, "The byte ", method=method, max_new_bytes=12)
    assert isinstance(out.text, str) and len(out.bytes) <= 12
    assert out.stopped in ("eos", "budget")
    totals = out.trace.totals
    assert totals.new_bytes == len(out.bytes) and totals.nfe.decoder > 0
    assert totals.paper_gb > 0 and totals.measured_gb > 0 and totals.seconds > 0
    out.trace.save(tmp_path / "t.json")
    assert bltlab.Trace.load(tmp_path / "t.json").bytes == out.bytes
    assert json.loads((tmp_path / "t.json").read_text())["schema"] == "bltlab.trace/1"
    bltlab.viz.to_html(out.trace, tmp_path / "t.html")
    assert (tmp_path / "t.html").stat().st_size > 1000


def test_a_stream_yields_events_and_a_list_is_a_batch(model):
    settings = dict(max_new_bytes=16, temperature=0.0, seed=0)
    method = bltlab.DiffusionVerification(block_size=8, unmasking=bltlab.OneStep())
    events = list(bltlab.stream(model, b"def f(", method, **settings))
    assert isinstance(events[0], bltlab.Prefilled) and isinstance(events[-1], bltlab.Finished)
    assert any(isinstance(event, bltlab.Verified) for event in events)
    outs = bltlab.generate(model, ["ab", b"cd"], "blt-s", **settings)
    assert len(outs) == 2 and all(len(out.bytes) <= 16 for out in outs)


def test_a_forward_pass_has_logits_entropies_latents_and_patches(model):
    ids = torch.tensor([bltlab.encode("In the beginning")])
    length = ids.shape[1]
    output = model(ids)
    patches = output.patches
    assert output.logits.shape == (1, length, 260) and output.entropies.shape == (1, length)
    assert output.latents.shape[:2] == patches.lengths.shape == patches.starts.shape
    assert patches.ids.shape == (1, length) and patches.lengths.sum() == length
    generator = torch.Generator().manual_seed(0)
    loss = bltlab.diffusion_loss(model, ids, block_size=8, generator=generator)
    assert torch.isclose(loss.total, loss.next_byte + loss.masked_byte)


def test_texts_are_scored_and_cut_into_patches(model):
    assert bltlab.score(model, "text") > 0
    patches = bltlab.patchify(model, "text")
    assert sum(patches.lengths) == 5 and len(patches.lengths) == len(patches.starts)  # with BOS
    assert [*patches] == [b"text"] and patches.spans == [(0, 4)]
    assert len(patches.entropies) == 5
    assert bltlab.decode(bltlab.encode("text")) == b"text"
