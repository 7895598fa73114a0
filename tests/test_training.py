"""Training learns, is exact when resumed, and never leaves half a file."""

import csv
import json
from dataclasses import replace

import pytest
import torch

import bltlab
from bltlab import checkpoints, data, vocab
from bltlab.training import Muon, TrainOptions, choose_threshold, orthogonalise, train
from bltlab.patching import next_opens, surprising

OPTIONS = TrainOptions(preset="tiny", entropy_megabytes=0.02, megabytes=0.02, length=64, batch_size=8, report_every=5,
                       save_every=4, block_size=4, threads=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "text.jsonl"
    words = [(a, b) for a in "cat dog cow hen fox bee ant".split() for b in "man boy girl king".split() * 5]
    records = [dict(text=f"The {a} sat on the mat, and the {b} ran to the {a}.", split="test" if i % 9 == 0 else "train")
               for i, (a, b) in enumerate(words)]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def test_training_learns_and_writes_all_it_promises(corpus, tmp_path):
    options = replace(OPTIONS, text=corpus, out=str(tmp_path), entropy_megabytes=0.06, megabytes=0.06)
    reports = list(train(options))
    for stage in ("entropy model", "BLT-D"):
        bits = [r.held_out_bits for r in reports if r.stage == stage]
        assert bits[-1] < bits[0] - 0.5 and bits[-1] < 4
    masked = [r.masked_bits for r in reports if r.stage == "BLT-D"]
    assert masked[-1] < masked[0]
    assert len(list(csv.DictReader((tmp_path / "log.csv").open()))) == len(reports)
    model = bltlab.BLT.from_pretrained(tmp_path)
    patches = [bltlab.patchify(model, text) for text in data.documents(corpus)]
    assert 2.5 < sum(len(p.text) for p in patches) / sum(len(p.spans) for p in patches) < 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "log.csv", "model.safetensors", "state.pt"]


def test_a_resumed_run_ends_with_the_same_weights(corpus, tmp_path):
    whole, halves = (replace(OPTIONS, text=corpus, out=str(tmp_path / name)) for name in "ab")
    list(train(whole))
    for stage in (0, 1):                                 # break off in the first stage, then in the second
        running, seen = train(halves, resume=True), 0
        for report in running:
            if report.stage == ("entropy model", "BLT-D")[stage] and report.step % 5 == 0:
                seen += 1
                if seen == 3:                            # steps 13 to 15 are lost and done again
                    break
        running.close()
    list(train(halves, resume=True))
    a, b = (checkpoints.read_tensors(tmp_path / x)[0] for x in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_is_not_overwritten_and_not_continued_with_other_options(corpus, tmp_path):
    options = replace(OPTIONS, text=corpus, out=str(tmp_path))
    list(train(options))
    with pytest.raises(ValueError, match="--resume"):
        next(train(options))
    with pytest.raises(ValueError, match="batch_size was 8"):
        next(train(replace(options, batch_size=4), resume=True))
    (tmp_path / "state.pt").write_bytes(b"broken")
    with pytest.raises(ValueError, match="state.pt is damaged"):
        next(train(options, resume=True))


def test_orthogonalise_brings_singular_values_near_one():
    x = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for matrices in (x, x.mT):
        values = torch.linalg.svdvals(orthogonalise(matrices))
        assert values.min() > 0.5 and values.max() < 1.3


def test_muon_treats_fused_projections_as_separate_matrices():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(16, 16, generator=g), torch.randn(16, 16, generator=g)
    fused, apart = torch.nn.Parameter(torch.cat([a, b])), [torch.nn.Parameter(a.clone()), torch.nn.Parameter(b.clone())]
    fused.parts = 2
    gradients = torch.randn(32, 16, generator=g)
    fused.grad, apart[0].grad, apart[1].grad = gradients, gradients[:16], gradients[16:]
    Muon([fused], 0.1).step()
    Muon(apart, 0.1).step()
    assert torch.allclose(fused, torch.cat(apart), atol=1e-6)


def test_the_threshold_gives_the_asked_patch_length():
    config = bltlab.BLTConfig.preset("nano").patcher
    g = torch.Generator().manual_seed(0)
    entropies, ids = torch.rand(8, 512, generator=g) * 3, torch.full((8, 512), 80)
    for wanted in (2.0, 4.0, 6.0):
        threshold = choose_threshold(config, entropies, ids, wanted)
        surprise = surprising(replace(config, threshold=threshold), ids, entropies)
        opens = next_opens(surprise, torch.arange(512).expand(8, -1), torch.zeros(8, dtype=torch.long), 8)
        assert opens.numel() / opens.sum().item() == pytest.approx(wanted, rel=0.02)


def test_windows_hold_every_byte_once_behind_bos():
    ids = data.stream(["ab", "cde" * 5])
    windows = data.windows(ids, 6)
    assert windows[:, 0].eq(vocab.BOS_ID).all()
    assert windows[:, 1:].flatten().tolist() == ids[:windows[:, 1:].numel()].tolist()
    assert ids[:4].tolist() == [101, 102, vocab.EOS_ID, vocab.BOS_ID]


def test_batches_resume_where_they_were():
    ids = data.stream([f"document number {i}" for i in range(40)])
    a = data.Batches(ids, 32, 4, seed=3)
    for _ in range(11):
        a.next()
    b = data.Batches(ids, 32, 4, seed=3)
    b.resume(a.state())
    assert a.epoch > 0 and torch.equal(a.next(), b.next())


def test_splits_do_not_share_a_document(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(f'{{"text": "text {i}"}}' for i in range(400)))
    (tmp_path / "b.txt").write_text("one whole file is one document\nwith lines")
    train_texts, test_texts = (set(data.documents(tmp_path, s)) for s in ("train", "test"))
    assert len(train_texts) + len(test_texts) == 401 and test_texts and not train_texts & test_texts
    assert "one whole file is one document\nwith lines" in train_texts | test_texts
    books = [set(t[:40] for t in data.documents("plain-english", s)) for s in ("train", "test")]
    assert books[1] and not books[0] & books[1]


def test_text_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such"):
        next(data.documents("no-such"))
    with pytest.raises(ValueError, match="holds no"):
        next(data.documents(tmp_path))
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(ValueError, match="`text`"):
        next(data.documents(tmp_path))


def test_a_blt_d_starts_from_an_autoregressive_blt(corpus, tmp_path):
    plain = replace(OPTIONS, text=corpus, out=str(tmp_path / "plain"), block_size=0)
    reports = list(train(plain))
    assert [r.masked_bits for r in reports] == [None] * len(reports)
    started = list(train(replace(OPTIONS, text=corpus, out=str(tmp_path / "d"), start=str(tmp_path / "plain"))))
    assert {r.stage for r in started} == {"BLT-D"} and started[0].held_out_bits < reports[-1].held_out_bits + 0.5
    a, b = (bltlab.BLT.from_pretrained(tmp_path / name) for name in ("plain", "d"))
    assert a.config.patcher == b.config.patcher and b.config.block_size == 4
    assert all(torch.equal(x, y) for x, y in zip(a.patcher.state_dict().values(), b.patcher.state_dict().values()))
