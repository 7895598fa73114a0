"""Compiled steps: the laws hold for them, and where there are none decoding goes on.

Most tests run the steps without a compiler, one operation after another; one compiles them.
"""

import copy
import json
import random
import shutil
import warnings
from functools import partial
from queue import SimpleQueue

import pytest
import test_state_laws as laws
import torch
from conftest import random_ids, random_model
from tqdm.auto import tqdm

import bltlab
from bltlab import compiled, compiling, vocab
from bltlab.compiled import CompiledModel
from bltlab.costs import cache_bytes_per_byte
from bltlab.evaluation.check import bytes_kept
from bltlab.layers import lay_out_by_column

LAWS = (
    laws.test_1_extend_in_any_chunking_equals_one_forward,
    laws.test_2_rollback_forgets,
    laws.test_3_drafting_leaves_no_trace,
    laws.test_5_a_row_alone_equals_a_row_in_a_batch,
    laws.test_7_decoding_meets_training,
    laws.test_8_drafts_equal_the_model_up_to_the_last_byte_of_the_patch_under_way,
)
PROMPTS = [
    "de: Der 70. Hund schläft im Garten.\nen:",
    "fr: Le roi dort.\nen:",
    "es: Los 12 gatos negros cantan en la casa grande.\nen:",
]
METHODS = ("ar", "blt-s", "blt-d", "blt-dv", "blt-f", "blt-fv")


class Watched(CompiledModel):
    """Passes that note which steps ran: (part, rows, positions)."""

    ran: list[tuple[str, int, int]] = []

    def _run(self, plan, first, at):
        self.ran.append((plan.part, *at.shape[1:]))
        return super()._run(plan._replace(run=partial(in_order, plan.run)), first, at)


def in_order(run, tensors):
    """A step's call; graphs know the sizes of tensors, and take it that they lie in order."""
    first, at, _, *layers = tensors
    assert all(tensor.is_contiguous() for tensor in (first, at, *layers))
    return run(tensors)


class WholeReads(Watched):
    """Steps that read every slot of their caches, as a graph of fixed sizes would."""

    def _run(self, plan, first, at):
        whole = plan._replace(low=0, slots=self.kv[plan.part].capacity)
        return super()._run(whole, first, at)


@pytest.fixture
def by_steps(monkeypatch):
    """Has every new state run by steps, and gives the list of those that ran."""

    def install(kind=Watched):
        def passes_of(model, batch_size):
            if compiled.steps_of(model) is None:
                compiled.use(model, compiling.uncompiled(model))
            return kind(model, batch_size)

        monkeypatch.setattr(Watched, "ran", [])
        monkeypatch.setattr(bltlab.state, "passes_of", passes_of)
        return Watched.ran

    return install


@pytest.mark.parametrize("kind", [Watched, WholeReads])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__[5:])
def test_the_laws_of_the_state_hold_for_steps(law, seed, kind, by_steps):
    ran = by_steps(kind)
    law(seed)
    assert {"patcher", "encoder", "decoder"} <= {part for part, *_ in ran}


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS, PROMPTS[:1] * 2])
@pytest.mark.parametrize("method", METHODS)
def test_shipped_weights_write_the_same_bytes_by_steps(method, prompts, by_steps):
    model = bltlab.BLT.from_pretrained("blt-d-phrases-8", device="cpu")
    asked = dict(method=method, max_new_bytes=30, record="totals")
    expected = bltlab.generate(copy.copy(model), prompts, **asked)
    ran = by_steps()
    found = bltlab.generate(model, prompts, **asked)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.bytes == theirs.bytes
        totals, by_hand = ours.trace.totals, theirs.trace.totals
        assert totals.nfe == by_hand.nfe  # what is counted is the same
        assert totals.measured_gb == pytest.approx(by_hand.measured_gb, rel=1e-9)
    widest = {part: max(rows for name, rows, _ in ran if name == part) for part, *_ in ran}
    assert widest == dict.fromkeys(compiling.STEPS, len(prompts))


def test_an_uncompiled_model_runs_no_steps_and_a_copy_keeps_its_own():
    model = random_model(1)
    twin = copy.copy(model)
    compiled.use(twin, compiling.uncompiled(twin))
    assert type(bltlab.DecodingState(model)._passes) is not CompiledModel
    assert type(bltlab.DecodingState(twin)._passes) is CompiledModel
    twin.to(torch.float32)  # the steps know the weights of before
    assert type(bltlab.DecodingState(twin)._passes) is not CompiledModel


def test_caches_hold_what_the_formula_says(by_steps):
    by_steps()
    model = random_model(2)
    state = bltlab.DecodingState(model)
    ids = random_ids(2, 300)
    for at in range(0, 300, 7):
        state.extend(ids[at : at + 7])
    patches = state.rows[0].closed + 1  # the open one has a slot too
    of_patches = [state._passes.kv["global_"], state._passes.latents, state._passes.keys]
    for cache in state.caches:
        used = patches if any(cache is one for one in of_patches) else 300
        assert cache.capacity in (bucket(used), bucket(used - 1), 64)
        stored = sum(layer.nbytes for layer in cache.layers)
        assert stored == cache.slot_bytes * (cache.before + cache.capacity + 1)
    a_byte = cache_bytes_per_byte(model.config, 300 / state.rows[0].closed, 8, 8)
    assert bytes_kept(state) == pytest.approx(300 * a_byte, rel=1e-9)


def bucket(n):
    """The smallest power of two that holds n slots."""
    return 1 << (n - 1).bit_length()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_steps_hold_the_laws_and_are_built_once(tmp_path, monkeypatch):
    """Some of all: each takes ten seconds. The others run uncompiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = [("decoder", "each"), ("decoder", "row"), ("global_", "rows")]

    def some(model, kinds):
        assert kinds == compiling.OF_ONE + compiling.OF_SEVERAL
        return compiling.uncompiled(model) | compiling.kept(model, asked)

    monkeypatch.setattr(compiled, "packages_of", some)
    model = random_model(5, n_decoder=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.compile(batches=True)
    monkeypatch.setattr(compiling, "_build_all", None)  # from here on nothing is built
    monkeypatch.setattr(laws, "case", lambda seed: (model, random.Random(seed)))
    for seed in range(3):
        for law in LAWS:
            law(seed)
    _reads_alike(model, random_ids(5, 2000))
    for texts in (2, 3, 4, 5, 8, 9, 17):  # less than a loop of a product, several, and some over
        _batches_read_alike(model, texts)
    other = random_model(6, n_decoder=1)  # of the same shape: loaded, with weights of its own
    other.compile(batches=True)
    assert compiled.steps_of(other)
    _reads_alike(other, random_ids(6, 60))


def _reads_alike(model, ids):
    """Compiled and not, every length up to that of ids gives the same logits."""
    plain = bltlab.DecodingState(copy.copy(model), max_length=2048)
    ours = bltlab.DecodingState(model, max_length=2048)
    draw = random.Random(0)
    for chunk in laws.chunks(ids, draw, most=30):
        assert (ours.extend(chunk) - plain.extend(chunk)).abs().max() < laws.TOLERANCE
        drafted = [draw.randint(101, 112)]
        assert (ours.draft(drafted) - plain.draft(drafted)).abs().max() < laws.TOLERANCE


def _batches_read_alike(model, texts):
    """The same for several texts, of one byte and of more at a time, padded and not."""
    plain = bltlab.DecodingState(copy.copy(model), texts)
    ours = bltlab.DecodingState(model, texts)
    ids = [random_ids(row, 31).tolist() for row in range(texts)]
    at = [0] * texts
    for size in (3, 1, 1, 4, 1, 11):
        ends = [begin + size + (n % 2 if size > 1 else 0) for n, begin in enumerate(at)]
        chunk = [row[begin:end] for row, begin, end in zip(ids, at, ends, strict=True)]
        found, expected = ours.extend(chunk), plain.extend(chunk)
        for n, row in enumerate(chunk):
            assert (found - expected)[n, : len(row)].abs().max() < laws.TOLERANCE
        at = ends


# -- where there are none ------------------------------------------------------------------------


def refusal(model):
    """What `compile` says, once."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.compile()
    (one,) = told
    return str(one.message)


def test_without_a_compiler_decoding_goes_on(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = random_model(3).float()
    monkeypatch.setenv("CXX", "no-such-compiler")
    expected = bltlab.generate(model, "ab", max_new_bytes=8).bytes
    assert refusal(model) == (
        "compiling needs a C++ compiler, and no-such-compiler is not installed;"
        " decoding goes on uncompiled"
    )
    assert bltlab.generate(model, "ab", max_new_bytes=8).bytes == expected


def test_what_is_kept_needs_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    model = random_model(3)
    compiling.cache_folder().mkdir(parents=True)
    for name in compiling.all_of(compiling.OF_ONE):
        compiling._path(model, name).touch()
    assert compiled.why_not(model) is None
    assert "no-such-compiler" in compiled.why_not(model, compiling.OF_SEVERAL)


def test_a_dtype_or_device_without_steps_is_said():
    narrow = random_model(3).to(torch.bfloat16)
    assert refusal(narrow).startswith(
        "steps are compiled for float32 and float64, this model is bfloat16;"
    )
    elsewhere = bltlab.BLT.on_meta(random_model(3).config)
    assert refusal(elsewhere).startswith("steps are compiled for the CPU, this model is on meta;")


def test_a_compiler_that_fails_is_said_and_nothing_else_is_begun(monkeypatch, tmp_path):
    left = []

    def fails(orders, bar):
        left.append(orders)
        raise RuntimeError("first line\nthe last line")

    monkeypatch.setattr(compiling, "_build_apart", fails)
    monkeypatch.setattr(compiled, "why_not", lambda *asked: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert refusal(random_model(3)) == (
        "compiling failed with RuntimeError: the last line; decoding goes on uncompiled"
    )
    assert all(orders.empty() for orders in left)


def test_a_builder_that_fails_says_why_in_whatever_folder_it_runs(monkeypatch, tmp_path):
    for name in ("json", "torch", "bltlab"):
        (tmp_path / f"{name}.py").write_text("raise OSError('not this one')")
    monkeypatch.chdir(tmp_path)
    orders = SimpleQueue()
    orders.put("{}")
    with pytest.raises(RuntimeError, match=r"KeyError: 'path'$"):
        compiling._build_apart(orders, tqdm(disable=True))


def test_a_builder_has_a_model_of_the_same_shape_and_layout():
    model = random_model(3)
    order = json.loads(compiling._order(model, ("patcher", "one")))
    built = compiling._like_ordered(order)
    for tensors in ("named_parameters", "named_buffers"):
        ours, theirs = (dict(getattr(one, tensors)()) for one in (built, model))
        assert {name: _facts(one) for name, one in ours.items()} == {
            name: _facts(one) for name, one in theirs.items()
        }
    assert all(map(torch.equal, built.buffers(), model.buffers()))


def _facts(tensor):
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def test_a_damaged_package_is_built_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = random_model(3)
    path = compiling._path(model, ("encoder", "one"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of it")
    built = []
    monkeypatch.setattr(compiling, "_build_all", lambda model, names: built.append(names))
    with pytest.raises(RuntimeError):  # nobody built it
        compiling.kept(model, [("encoder", "one")])
    assert built == [[("encoder", "one")]]


def test_packages_read_matrices_by_row():
    model = lay_out_by_column(random_model(3))
    compiling.kept(model, [])
    assert all(weight.is_contiguous() for weight in model.parameters())


def test_a_text_beyond_the_maximum_is_refused_and_the_text_stays(by_steps):
    by_steps()
    state = bltlab.DecodingState(random_model(3), max_length=20)
    state.extend(random_ids(3, 20))
    with pytest.raises(ValueError, match="max_length is 20 bytes with BOS, got a text of 21"):
        state.extend([104])
    assert state.length == 20
    state.rollback(19)
    assert state.extend([104]).shape == (1, 1, vocab.VOCAB_SIZE)
