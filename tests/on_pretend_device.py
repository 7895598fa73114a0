"""The same bytes and numbers as on the CPU, and what CUDA refuses: see test_pretend_device.py."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import random_ids, random_model
from pretend_device import DEVICE, WAITS, PretendDevice
from training_setup import MINI, OPTIONS, write_corpus

import bltlab
from bltlab import sampling, vocab
from bltlab.__main__ import main
from bltlab.bench import measuring
from bltlab.decoding import METHODS, fitted
from bltlab.diffusion import (
    corrupt,
    decode_blocks,
    diffusion_loss,
    lay_out,
    masked_byte_loss,
    next_byte_loss,
)
from bltlab.evaluation import check, harness
from bltlab.evaluation.likelihood import likelihoods
from bltlab.inspection import describe
from bltlab.model import BLT
from bltlab.patching import Patches
from bltlab.sampling import Pick
from bltlab.state import DecodingState
from bltlab.training import distributed, train
from bltlab.training.losses import ModelLoss
from bltlab.training.optim import optimisers
from bltlab.training.own_text import write_own_text

PROMPTS = ["the river", "to", "a long way from here", "abba"]


@pytest.fixture(scope="module")
def gpu():
    with PretendDevice() as device:
        yield device


def moved(model):
    """A copy of a model on the device."""
    copy = BLT(model.config).to(model.dtype).eval().requires_grad_(False)
    copy.load_state_dict(model.state_dict())
    return copy.to(DEVICE)


@pytest.fixture(scope="module")
def pair(gpu):
    """(model, the same on the device), in float64: rounding moves no byte."""
    model = random_model(5)
    there = moved(model)
    bltlab.generate(there, "a", max_new_bytes=1)  # what is kept from the first use on is there
    return model, there


def written(outs):
    return [out.bytes for out in outs]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_the_same_bytes_there(pair, method, temperature):
    settings = dict(method=method, max_new_bytes=6, temperature=temperature, seed=3)
    here, there = (bltlab.generate(model, PROMPTS, **settings) for model in pair)
    assert written(here) == written(there)
    passes = ([out.trace.totals.nfe for out in outs] for outs in (here, there))
    assert next(passes) == next(passes)
    bare = bltlab.generate(pair[1], PROMPTS[0], **settings, record=False)
    assert bare.bytes == here[0].bytes


@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_16_bits_writes_the_same_bytes_there(gpu, method):
    """Numbers of two widths meet as little as on a CPU; and what stands there is not repeated."""
    model = random_model(5).to(torch.bfloat16)
    settings = dict(max_new_bytes=6, temperature=0.9, no_repeat_ngram_bytes=4)
    here, there = (
        bltlab.generate(one, PROMPTS[0], method, **settings) for one in (model, moved(model))
    )
    assert here.bytes == there.bytes


def test_another_byte_by_hand_leads_to_the_same_text_there(pair):
    out = bltlab.generate(pair[0], "ab", "blt-s", max_new_bytes=6)
    here, there = (bltlab.branch(model, out, 4, "x") for model in pair)
    assert here.bytes == there.bytes


def test_a_model_there_is_not_compiled_and_goes_on(pair):
    before = bltlab.generate(pair[1], "ab", max_new_bytes=4).bytes
    with pytest.warns(UserWarning, match="compiled for the CPU, this model is on pretend:0; deco"):
        pair[1].compile()
    assert bltlab.generate(pair[1], "ab", max_new_bytes=4).bytes == before


def test_a_model_is_saved_from_there_and_loaded_onto_it(pair, tmp_path):
    pair[1].save_pretrained(tmp_path)
    again = BLT.from_pretrained(tmp_path, device="pretend", dtype=torch.float64)
    assert again.device == DEVICE
    for name, weight in pair[0].state_dict().items():
        assert torch.equal(again.state_dict()[name].cpu(), weight)
    with pytest.raises(ValueError, match="pretend:1 is not available: torch finds 1 pretend here"):
        BLT.from_pretrained(tmp_path, device="pretend:1")


def test_a_text_is_written_in_a_notebook_as_on_the_cpu(pair):
    pytest.importorskip("anywidget", reason="needs anywidget")
    found = []
    for model in pair:
        explorer = bltlab.explore(model, "ab", "blt-d")
        explorer.max_new_bytes.value = 6
        explorer.decode.click()
        found.append(explorer.trace.bytes)
    assert found[0] == found[1]


# How often a round may wait: what decides on the next pass, and where patches end. A rule that says
# how many steps it takes, and a draft, need no look before; a foreseen chain needs one a pass.
ALLOWED = {
    "ar": lambda passes: 1,
    "blt-s": lambda passes: 2,
    "blt-d": lambda passes: 1 + passes,
    "blt-d,unmasking=onestep": lambda passes: 1,
    "blt-d,unmasking=topk:3": lambda passes: 1,
    "blt-dv": lambda passes: 2,
    "blt-f": lambda passes: 2 + passes,
    "blt-fv": lambda passes: 2 + passes,
}
TELLING = {"blt-dv": 2, "blt-f": 0, "blt-fv": 0}  # waits more with a record; 1 for the others


@pytest.mark.parametrize("batch, temperature, record", [(1, 0.0, "all"), (3, 0.9, "")])
@pytest.mark.parametrize("spec", ALLOWED)
def test_a_round_waits_for_the_device_as_seldom_as_it_can(
    pair, gpu, spec, batch, temperature, record
):
    model = pair[1]
    method, state = fitted(spec, model), DecodingState(model, batch, 200, record, stop_at_eos=True)
    pick = Pick(temperature, seeds=tuple(range(batch)))
    state.extend([vocab.encode(text) for text in PROMPTS[:batch]])
    for _ in range(2):
        gpu.seen.clear()
        before = state.nfe.decoder
        for _ in method.round(state, pick):
            pass
        allowed = ALLOWED[spec](state.nfe.decoder - before)
        allowed += TELLING.get(method.name, 1) if record else 0
        assert gpu.count(*WAITS) <= allowed, gpu.table(*WAITS)


@pytest.mark.parametrize("length", [20, 200])  # pooled in one kernel, and by segments
def test_nothing_is_added_up_in_an_order_that_varies(pair, gpu, monkeypatch, length):
    monkeypatch.setattr(gpu, "in_order", True)
    pair[1](random_ids(1, length)[None].to(DEVICE))
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(2, device=DEVICE).index_add(
            0, torch.tensor([1]).to(DEVICE), torch.ones(1, device=DEVICE)
        )


def test_the_pace_of_memory_is_measured_on_a_small_device(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "memory", 1 << 28)
    monkeypatch.setattr(measuring, "synchronise", lambda: None)
    assert measuring.copy_bandwidth(DEVICE, repeats=1) > 0


def test_a_state_takes_ids_that_lie_on_the_cpu(pair):
    ids = random_ids(1, 20)[None]
    states = [DecodingState(model) for model in pair]
    read = [state.extend(ids) for state in states]
    assert torch.allclose(read[0], read[1].cpu())
    blocks = [state.denoise(torch.full((1, 8), vocab.MASK_ID), ids[:, :2]) for state in states]
    assert torch.allclose(blocks[0], blocks[1].cpu())
    assert states[1].logits.device == DEVICE


def test_a_model_and_its_losses_take_ids_that_lie_on_the_cpu(pair):
    ids = random_ids(1, 40)[None]
    found = []
    for model in pair:
        encoded, output = model.encode(ids), model(ids)
        laid = lay_out(encoded, ids, 4, generator=torch.Generator().manual_seed(0))
        blocks = corrupt(*laid, generator=torch.Generator().manual_seed(1)).to("cpu")
        logits = decode_blocks(model, encoded, blocks)[1]
        opens = Patches.from_rule(ids, output.patches.next_opens).opens
        numbers = [
            next_byte_loss(output.logits, ids),
            masked_byte_loss(logits, blocks),
            diffusion_loss(model, ids, blocks=blocks).total,
            opens.sum(),
        ]
        assert {x.device for x in numbers} == {model.device}
        found.append([x.item() for x in numbers])
    assert found[0] == pytest.approx(found[1])


def test_texts_are_cut_and_scored_alike(pair):
    text = "Some text, some more text and an end."
    here, there = (bltlab.patchify(model, text) for model in pair)
    assert here.lengths == there.lengths
    assert here.entropies == pytest.approx(there.entropies)
    assert bltlab.score(pair[0], text) == pytest.approx(bltlab.score(pair[1], text))


def test_a_threshold_is_found_alike(pair):
    text = "Some text, some more text and an end."
    here, there = (bltlab.threshold_for(model, text, 3) for model in pair)
    assert here == pytest.approx(there)


def test_a_model_passes_its_checks_there(pair, monkeypatch):
    monkeypatch.setattr(check, "held_out", lambda *_: SimpleNamespace(texts=[b"to the river and"]))
    few = dict(max_new_bytes=6)
    monkeypatch.setattr(check, "generate", lambda *a, **b: bltlab.generate(*a, **b | few))
    assert all(found.holds for found in check.findings(pair[1], texts=1))


def test_weights_are_drawn_alike(gpu):
    here = BLT(MINI).initialise(3)
    with DEVICE:  # as `bench` makes a model of random weights
        there = BLT(MINI).initialise(3)
    for a, b in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(a, b.cpu())


def test_losses_and_gradients_are_the_same_there(pair):
    ids = torch.stack([random_ids(1, 40, documents=2), random_ids(2, 40)])
    found = []
    for model in pair:
        model.requires_grad_(True)
        seeded = torch.Generator().manual_seed(0)
        loss = diffusion_loss(model, ids.to(model.device), generator=seeded)
        loss.total.backward()
        gradients = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss.total.item(), gradients))
        model.requires_grad_(False)
        model.zero_grad()
    (here, ours), (there, theirs) = found
    assert here == pytest.approx(there) and ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[n], theirs[n], atol=1e-10) for n in ours)


@pytest.mark.parametrize("block_size", [0, 4])
def test_a_step_in_bf16_runs_by_the_dtypes_of_a_gpu(gpu, block_size):
    """CUDA's autocast gives sums and softmaxes in fp32, where the CPU's keeps them in bf16."""
    config = replace(MINI, block_size=block_size or None)
    model = BLT(config).initialise(0).to(DEVICE)
    ids = torch.stack([random_ids(1, 64), random_ids(2, 64)])
    options = replace(OPTIONS, block_size=block_size, precision="bf16").filled()
    losses = ModelLoss(model, options)
    opens = torch.rand(2, 64, generator=torch.Generator().manual_seed(1)) < 0.25
    batch = losses.draw(ids, opens, torch.Generator().manual_seed(0)).share(slice(None), DEVICE)
    exact, _ = losses(batch)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        loss, next_byte = losses(batch)
    loss.backward()
    assert loss.dtype == next_byte.dtype == torch.float32
    assert 0 < abs(loss.item() - exact.item()) < 0.05 * exact.item()


def test_draws_need_no_numbers_that_a_device_lacks(gpu, monkeypatch):
    """Without float64, as on "mps": draws are still keyed, so a draft changes nothing."""
    model = moved(random_model(5).float())
    monkeypatch.setattr(gpu, "lacks", {torch.float64, torch.complex128})
    monkeypatch.setattr(sampling, "WITHOUT_FLOAT64", {DEVICE.type})
    settings = dict(max_new_bytes=10, temperature=0.9, top_p=0.95, seed=2, record=False)
    texts = [bltlab.generate(model, "ab", m, **settings).bytes for m in ("ar", "blt-s", "blt-dv")]
    assert len(texts[0]) and texts == [texts[0]] * 3


@pytest.mark.parametrize(
    "optimiser, precision, rounding",
    [("muon", "fp32", 1e-4), ("adamw", "fp32", 1e-4), ("muon", "bf16", 3e-3)],  # steps are of 1e-2
)
def test_optimisers_step_alike(gpu, optimiser, precision, rounding):
    options = replace(OPTIONS, optimiser=optimiser, precision=precision).filled()
    ids = torch.stack([random_ids(1, 48), random_ids(2, 48)])
    found = []
    for place in (torch.device("cpu"), DEVICE):
        model = BLT(MINI).initialise(0).to(place)
        for n in range(2):
            seeded = torch.Generator().manual_seed(n)
            diffusion_loss(model, ids.to(place), generator=seeded).total.backward()
            for stepping in optimisers(model, options):
                stepping.step()
        found.append([p.detach().cpu() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=rounding) for a, b in zip(*found, strict=True))


def test_a_run_that_began_on_the_device_goes_on_there_and_on_the_cpu(gpu, tmp_path, monkeypatch):
    small = dict(entropy_megabytes=0.002, megabytes=0.006, save_every=2, report_every=2)
    text = write_corpus(tmp_path / "text.jsonl")
    options = replace(OPTIONS, text=text, out=str(tmp_path / "run"), **small)
    wanted = replace(options, out=str(tmp_path / "whole"), device="cpu")
    losses = [report.held_out_bits for report in train(wanted)]
    for place, stop in ((DEVICE.type, 4), (DEVICE.type, 8), ("cpu", None)):
        monkeypatch.setattr(distributed, "resolve_device", lambda device, place=place: place)
        running = train(options, resume=stop != 4)
        for report in running:
            if report.stage == "BLT-D" and report.step == stop:
                break
        running.close()
    assert report.held_out_bits == pytest.approx(losses[-1], abs=1e-3)


def test_a_model_writes_the_same_text_to_learn_from(pair):
    windows = torch.stack([random_ids(n, 24) for n in range(3)])
    here, there = (write_own_text(model, windows, 0.5, seed=5) for model in pair)
    assert torch.equal(here.ids, there.ids.cpu())


def test_bench_runs_there(gpu, tmp_path, monkeypatch, capsys):
    random_model(5).float().save_pretrained(tmp_path / "model")
    monkeypatch.setattr(measuring, "resolve_device", lambda device: DEVICE)
    monkeypatch.setattr("torch.accelerator.synchronize", lambda: None)
    corpus = ["--prompts-from", write_corpus(tmp_path / "text.jsonl"), "--prompt-bytes", "9"]
    short = ["--repeats", "1", "--prompts", "1", "--max-new-bytes", "6", "--json"]
    assert main(["bench", "decode", "--model", str(tmp_path / "model"), *corpus, *short]) is None
    report = json.loads(capsys.readouterr().out)
    assert report["about"]["device"] == "a pretend device"
    equal = {row["method"]: row["equal_to_ar"] for row in report["rows"]}
    assert equal["blt-s"] == equal["blt-dv"] == equal["blt-fv"] == 1


def test_a_text_is_looked_into_and_measured_alike(pair):
    here, there = (describe(model, "a long way", 4) for model in pair)
    assert here == there
    asked = [(b"a long ", b"way to go"), (b"", b"to")]
    here, there = ([one.nats for one in likelihoods(model, asked)] for model in pair)
    assert here == pytest.approx(there)


@pytest.mark.parametrize("task", ["endings", "likelihood", "diversity"])
def test_tasks_score_alike(pair, monkeypatch, task):
    """A task that is read, one of whole texts, and one that is written."""
    found = []
    for model in pair:
        monkeypatch.setattr(BLT, "from_pretrained", lambda *a, model=model, **b: model)
        small = harness.Settings(limit=2, max_new_bytes=8, samples=1)
        found.append(list(harness.evaluate(["blt-nano"], [task], ["ar", "blt-dv"], small)))
    here, there = ([n for row in rows for n in row["scores"]] for rows in found)
    assert here and here == pytest.approx(there, rel=1e-4)


def test_what_cuda_refuses_is_refused(gpu):
    here, there = torch.ones(2), torch.ones(2, device=DEVICE)
    with pytest.raises(RuntimeError, match="two devices"):
        there + here
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device=DEVICE, generator=torch.Generator())
    assert (there + torch.tensor(1.0)).tolist() == [2, 2]
    gpu.seen.clear()
    assert there[0].item() == 1 and gpu.count(*WAITS) == 1
