"""What tests share: random models, which tests are slow, and a browser for pages.

The models are small, in float64 and of small margins: a mismatch is a logic error, not rounding,
and no law hides behind a big margin.
"""

import os
import shutil
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import ClassVar

import pytest
import torch

from bltlab import vocab
from bltlab.config import BLTConfig, HashConfig, PatcherConfig, TransformerConfig
from bltlab.decoding import Autoregressive
from bltlab.model import BLT

# Importing these registers a device for the whole process: test_pretend_device.py starts its own.
collect_ignore = ["pretend_device.py", "on_pretend_device.py", "notebooks_on_pretend_device.py"]
if "BLTLAB_PRETEND" in os.environ:
    collect_ignore = []

torch.set_num_threads(1)


QUICK_SEEDS = 2  # greedy and sampled


def is_slow(item):
    """Whether a test is slow by its kind: a notebook, in a browser, or one random case of many."""
    case = item.callspec.params.get("seed", 0) if hasattr(item, "callspec") else 0
    in_browser = "browser" in getattr(item, "fixturenames", ())
    return item.path.suffix == ".ipynb" or in_browser or case >= QUICK_SEEDS


def pytest_collection_modifyitems(items):
    """Mark the tests that are slow by their kind; others carry the mark in their files."""
    for item in filter(is_slow, items):
        item.add_marker(pytest.mark.slow)


def random_ids(seed, length, alphabet=12, documents=1):
    """(length,) ids: BOS, then bytes of a small alphabet, so that n-grams repeat.

    Where `documents` is above 1, BOS opens further ones at random places.
    """
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(101, 101 + alphabet, (length,), generator=g)
    ids[0] = vocab.BOS_ID
    for at in torch.randperm(max(length - 4, 0), generator=g)[: documents - 1] + 2:
        ids[at] = vocab.BOS_ID
    return ids


def random_model(
    seed=0,
    *,
    bytes_per_patch=3.0,
    max_patch_length=8,
    window=12,
    decoder_input="encoder",
    block_size=8,
    keys_per_patch=2,
    global_dim=48,
    n_encoder=1,
    n_decoder=2,
    rule="entropy",
    doubled_residual=True,
):
    """A BLT of random weights; its threshold is midway between two entropies of random text."""
    config = BLTConfig(
        patcher=PatcherConfig(
            16, 2, 2, 24, window=window, max_patch_length=max_patch_length, rule=rule
        ),
        encoder=TransformerConfig(24, n_encoder, 2, 32, window=window),
        global_=TransformerConfig(global_dim, 2, 4, 64),
        decoder=TransformerConfig(24, n_decoder, 2, 32, window=window),
        hashes=HashConfig((2, 3, 5), 61),
        keys_per_patch=keys_per_patch,
        decoder_input=decoder_input,
        block_size=block_size,
        doubled_residual=doubled_residual,
        max_length=512,
    )
    model = BLT(config).initialise(seed).double().eval().requires_grad_(False)
    for p in model.parameters():  # embeddings as large as all else: every byte matters
        if p.ndim == 2:
            p.mul_(p.std().reciprocal() * p.shape[1] ** -0.5)
    model.decoder.output.weight.mul_(1.5)
    ids = torch.stack([random_ids(100 + i, 64) for i in range(4)])
    seen = model.patch(ids)[1].flatten().sort().values
    at = int(len(seen) * (1 - 1 / bytes_per_patch))
    at = min(max(at, 1), len(seen) - 1)
    threshold = (seen[at - 1] + seen[at]).item() / 2
    model.config = replace(config, patcher=replace(config.patcher, threshold=threshold))
    return model


def drawn_model(draw, seed, windows, block_sizes, **drawn_from):
    """A random model of a shape that `draw`, a `random.Random`, chooses.

    drawn_from: further arguments of `random_model`, each with what it is drawn from.
    """
    return random_model(
        seed,
        bytes_per_patch=draw.choice([1.0, 2, 3, 5, 8]),
        max_patch_length=draw.choice([None, 3, 8]),
        decoder_input=draw.choice(["encoder", "embedding"]),
        window=draw.choice(windows),
        **{name: draw.choice(values) for name, values in drawn_from.items()},
        block_size=draw.choice(block_sizes),
    )


@pytest.fixture
def build():
    """The function that makes random models."""
    return random_model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The file's own `model`, saved."""
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    return str(path)


@dataclass(frozen=True)
class Fifth(Autoregressive):
    """A method that the library has never heard of."""

    name: ClassVar[str] = "fifth"
    title: ClassVar[str] = "A fifth method"
    often: int = field(default=3, metadata=dict(min=1, help="no upper limit"))
    careful: bool = field(default=True, metadata=dict(help="yes or no"))
    share: float = field(default=0.5, metadata=dict(min=0.0, max=1.0, help="a fraction"))


# -- pages ---------------------------------------------------------------------------------------

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
UNSAFE = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bimport\b|fetch\(|url\("


class Tags(HTMLParser):
    """The tags and attributes of a page, as a browser would see them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; the test is skipped on a machine without one."""
    api = pytest.importorskip("playwright.sync_api", reason="pages are driven by playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_file(browser, tmp_path):
    """Opens HTML as a file; fails if the page asks for more, complains or opens a dialog."""
    asked, wrong = [], []

    def open_(text, **options):
        page = browser.new_context(**options).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        path = tmp_path / "view.html"
        path.write_text(text, encoding="utf-8")
        page.goto(path.as_uri())
        return page

    yield open_
    assert wrong == [] and all(url.startswith(("file:", "data:")) for url in asked)
