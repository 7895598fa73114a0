"""What `describe` tells is what the library does, and the inside viewer draws it square by square;
hostile bytes stay inert.
"""

import html
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import UNSAFE, Tags, random_model

import bltlab
from bltlab import inspection, vocab
from bltlab.viz import inside

RECORDED = json.loads(
    (Path(__file__).parent.parent / "assets" / "views" / "inside.json").read_text(encoding="utf-8")
)
EVIL = b"</script><img src=x onerror=alert(1)>\x00\xff\xc3"
TEXT = b"a river, a river and a boat"


@pytest.fixture(scope="module")
def model():
    return random_model(3, window=9)  # a window shorter than the text


@pytest.fixture(scope="module")
def told(model):
    return inspection.describe(model, TEXT, block_size=5, seed=2)


# -- what is told ----------------------------------------------------------------------------------


def by_hand(length, starts, size, window):
    """Who may read whom, said slowly: clean text, then blocks."""
    rows = [
        [kv <= q < kv + window for kv in range(length)] + [False] * len(starts) * size
        for q in range(length)
    ]
    for b, start in enumerate(starts):
        for slot in range(size):
            clean = [kv < start and kv > start + slot - window for kv in range(length)]
            rows.append(clean + [other == b for other in range(len(starts)) for _ in range(size)])
    return ["".join("01"[v] for v in row) for row in rows]


@pytest.mark.parametrize("starts", ["anywhere", "patches"])
def test_training_masks_and_blocks_by_hand(told, starts):
    training, n, size = told["training"][starts], len(TEXT) + 1, 5
    assert training["mask"] == by_hand(n, training["starts"], size, 9)
    assert (
        told["clean"]["mask"]
        == by_hand(n, [], size, 9)
        == [row[:n] for row in training["mask"][:n]]
    )
    ends = [
        s + length
        for s, length in zip(told["patches"]["starts"], told["patches"]["lengths"], strict=True)
    ]
    for b, start in enumerate(training["starts"]):
        ids = [
            i if start + slot < n else -1
            for slot, i in enumerate((told["ids"] + [-1] * size)[start : start + size])
        ]
        assert training["ids"][b] == ids and 0.05 <= training["t"][b] <= 1
        assert all(i >= 0 for i, masked in zip(ids, training["masked"][b], strict=True) if masked)
        assert (
            training["reads"][b] == sum(end <= start for end in ends) - 1
        )  # the last patch closed before it
    if starts == "patches":
        assert training["starts"] == told["patches"]["starts"][1:]
    else:
        assert [b - a for a, b in pairwise(training["starts"])] == [size] * (
            len(training["starts"]) - 1
        )


def test_a_seed_draws_the_blocks(model, told):
    again, other = (inspection.describe(model, TEXT, block_size=5, seed=seed) for seed in (2, 3))
    assert (
        again == told
        and other["training"] != told["training"]
        and other["denoising"] == told["denoising"]
    )


def test_the_writing_mask_is_what_denoise_hands_to_attention(model, told, monkeypatch):
    seen = []
    state = bltlab.DecodingState(model, max_length=64)
    state.extend(told["ids"], logits=False)  # so that one pass holds the text and the block
    run = state._passes._run_decoder

    def watched(x, span, reads, low_mask):
        seen.append((low_mask, reads))
        return run(x, span, reads, low_mask)

    monkeypatch.setattr(state._passes, "_run_decoder", watched)
    state.denoise([[vocab.MASK_ID] * 5])
    (low, mask), reads = seen[0]
    rows = ["".join("01"[v] for v in row) for row in mask[0].int().tolist()]
    reads = torch.as_tensor(reads).flatten().tolist()
    assert low == 0 and rows == told["denoising"]["mask"]
    assert reads == told["patches"]["reads"] + [told["denoising"]["reads"]] * 5


def test_denoising_is_what_block_diffusion_writes(model, told):
    steps, state = told["denoising"]["steps"], bltlab.DecodingState(model, max_length=64)
    state.extend(told["ids"])
    block = [vocab.MASK_ID] * 5
    for step in steps:
        probs = bltlab.decoding.moves.beliefs(state.denoise([block]))[0]
        assert step["masked"] == [int(i == vocab.MASK_ID) for i in block]
        assert step["entropies"] == pytest.approx(
            torch.special.entr(probs).sum(-1).tolist(), abs=1e-4
        )
        for slot, candidates in enumerate(step["candidates"]):
            assert [i for i, _ in candidates] == probs[slot].topk(5).indices.tolist()
            assert [p for _, p in candidates] == pytest.approx(
                probs[slot].topk(5).values.tolist(), abs=1e-4
            )
        for slot in step["revealed"]:
            block[slot] = probs[slot].argmax().item()
        assert step["block"] == block
    out = bltlab.generate(model, TEXT, bltlab.BlockDiffusion(5), max_new_bytes=5)
    assert (
        vocab.MASK_ID not in block and vocab.encode(out.bytes, bos=False) == block[: len(out.bytes)]
    )


def test_hash_rows_and_who_shares_them_by_hand(model, told):
    config, ids, shared = model.config.hashes, told["ids"], {}
    for t, row in enumerate(told["hashes"]["rows"]):
        for size, hit in zip(config.sizes, row, strict=True):
            window = ([0] * size + ids[: t + 1])[-size:]
            total = sum(i * config.prime**j for j, i in enumerate(window))
            assert (
                hit == ((total + 2**63) % 2**64 - 2**63) % config.n_rows
            )  # wraps around as int64 does
            shared.setdefault((size, hit), []).append((t, window))
    wanted = {key: found for key, found in shared.items() if len(found) > 1}
    found = {(s["size"], s["row"]): s["at"] for s in told["hashes"]["shared"]}
    assert found == {key: [t for t, _ in windows] for key, windows in wanted.items()}
    for s in told["hashes"]["shared"]:
        read = [window for _, window in wanted[s["size"], s["row"]]]
        assert [[a == b for b in s["kinds"]] for a in s["kinds"]] == [
            [a == b for b in read] for a in read
        ]
    assert any(max(s["kinds"]) for s in told["hashes"]["shared"]), "61 rows must have collisions"


def test_the_recorded_view_is_what_the_shipped_model_says():
    model = bltlab.BLT.from_pretrained("blt-d-nano", device="cpu")
    fresh = inspection.describe(
        model, vocab.decode(RECORDED["ids"]), RECORDED["block_size"], RECORDED["seed"]
    )

    def close(a, b):
        assert type(a) is type(b)
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            return [close(a[k], b[k]) for k in a]
        if isinstance(a, list):
            assert len(a) == len(b)
            return [close(x, y) for x, y in zip(a, b, strict=True)]
        assert a == (pytest.approx(b, abs=1e-3) if isinstance(a, float) else b)

    close(fresh, RECORDED)


@pytest.mark.parametrize(
    "text, options, sentence",
    [
        ("", {}, "text must have 1 to 64 bytes, got 0"),
        ("a" * 65, {}, "text must have 1 to 64 bytes, got 65"),
        ("a", dict(block_size=0), "block_size must be an int of at least 1 byte, got 0"),
        ("a", dict(block_size=2.5), "block_size must be an int of at least 1 byte, got 2.5"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(model, text, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        inspection.describe(model, text, **options)


def test_of_a_plain_blt_all_is_told_but_blocks(open_file):
    plain = random_model(0, block_size=None)
    told = inspection.describe(plain, "a river")
    assert (told["training"], told["denoising"], told["block_size"]) == ({}, None, None)
    assert len(told["clean"]["mask"]) == len(told["hashes"]["rows"]) == 8
    with pytest.raises(ValueError, match="block_size needs a BLT-D"):
        inspection.describe(plain, "a", block_size=4)
    page = open_file(inside.to_page(told))
    assert page.get_by_text("Who may read whom").is_visible()
    assert page.get_by_text("hash tables").first.is_visible()
    assert not page.get_by_text("One block, denoised").is_visible()
    assert not page.get_by_text("How training blocks are made").is_visible()
    assert page.evaluate("viewer.state().view") == "clean"


# -- the page --------------------------------------------------------------------------------------


def test_the_page_is_inert_fetches_nothing_and_is_small(model):
    title = EVIL[:37].decode()
    page = inside.to_page(inspection.describe(model, EVIL), title=title)
    assert Tags(page).tags.count("script") == 2 and "img" not in Tags(page).tags
    assert len(re.findall("</script", page, re.I)) == 2 and "onerror" not in page.replace(
        html.escape(title), ""
    )
    assert not re.search(UNSAFE, inside.SOURCE)
    assert "http" not in page.lower() and len(inside.SOURCE) < 50_000


def test_the_iframe_is_sandboxed_and_holds_the_page():
    frame = inside.to_iframe(RECORDED, height=500)
    (attributes,) = Tags(frame).attributes
    assert attributes["sandbox"] == "allow-scripts" and attributes["srcdoc"] == inside.to_page(
        RECORDED
    )
    assert "height:500px" in attributes["style"] and frame._repr_html_() == frame


@pytest.mark.parametrize("data", [None, {}, [], {"schema": "bltlab.trace/1"}])
def test_data_of_another_kind_is_refused(data):
    with pytest.raises(ValueError, match="what bltlab.inspection.describe returns"):
        inside.to_page(data)


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture
def show(open_file):
    viewport = dict(width=1280, height=1000)
    return lambda data, **options: open_file(
        inside.to_page(data), **{"viewport": viewport, **options}
    )


SQUARES = """() => {
  const middle = node => { const box = node.getBoundingClientRect();
    return box.left + box.width / 2; };
  const heads = [...document.querySelectorAll(".bltp-mask > .bltp-column-head")].map(middle);
  return [...document.querySelectorAll(".bltp-position")].map(row => {
    const runs = [...row.querySelectorAll(".bltp-clean, .bltp-before, .bltp-own, .bltp-latent")];
    const boxes = runs.map(run => run.getBoundingClientRect());
    return heads.map(x => boxes.some(box => box.left < x && x < box.right) ? "1" : "0").join("");
  });
}"""


@pytest.mark.parametrize(
    "view, starts",
    [
        ("training", "anywhere"),
        ("training", "patches"),
        ("writing", "anywhere"),
        ("clean", "anywhere"),
    ],
)
def test_the_filled_squares_are_the_mask(show, told, view, starts):
    page = show(told)
    page.evaluate("at => viewer.set(at)", dict(view=view, starts=starts))
    part = {
        "training": told["training"][starts],
        "writing": told["denoising"],
        "clean": told["clean"],
    }[view]
    reads, size, n = list(told["patches"]["reads"]), 5, len(told["patches"]["lengths"])
    reads += {
        "training": [r for r in told["training"][starts]["reads"] for _ in range(size)],
        "writing": [told["denoising"]["reads"]] * size,
        "clean": [],
    }[view]
    latents = ["".join("01"[p == r] for p in range(n)) for r in reads]
    assert page.evaluate(SQUARES) == [
        row + latent for row, latent in zip(part["mask"], latents, strict=True)
    ]


def test_a_row_says_in_words_what_it_may_read(show):
    page, data = show(RECORDED), RECORDED
    said, rows = page.locator(".bltp-words").first, page.locator(".bltp-position")
    assert said.text_content().startswith("Point at a row")
    start, first = data["training"]["anywhere"]["starts"][1], len(data["ids"]) + data["block_size"]
    rows.nth(first + 3).hover()
    words = said.text_content()
    assert words.startswith(f"Slot 3 of block 2, over byte {start + 3} with ")
    assert (
        f"may read {start} clean positions, 0 (BOS)" in words
        and "all 8 slots of its block, both ways" in words
    )
    assert "Not the 8 clean bytes under its block: they are the answer." in words
    rows.nth(2).focus()
    page.keyboard.press("ArrowDown")
    assert said.text_content().startswith(
        "Position 3, 'd', may read 4 clean positions, 0 (BOS) to 3 ('d')."
    )
    assert page.locator(".bltp-column-head.bltp-read").count() == 4 + 1  # and its latent
    page.keyboard.press("End")
    assert page.evaluate("viewer.state().row") == rows.count() - 1
    assert (
        rows.last.get_attribute("aria-selected") == "true"
        and rows.last.get_attribute("aria-label") == said.text_content()
    )
    page.get_by_role("radio", name="writing").click()
    rows.last.hover()
    assert said.text_content().startswith(
        "Slot 7 of the new block, masked, may read 26 clean positions"
    )
    assert not page.get_by_text("How training blocks are made").is_visible()


def test_blocks_lie_under_the_bytes_that_they_copy(show):
    page, training = show(RECORDED), RECORDED["training"]["anywhere"]
    lines = page.evaluate("""() => [...document.querySelectorAll(".bltp-strip-row")].map(row =>
        [...row.querySelectorAll(".bltp-cell")].map(cell =>
            [cell.getBoundingClientRect().left, cell.textContent, cell.className]))""")
    for b, start in enumerate(training["starts"]):
        for slot, (left, text, look) in enumerate(lines[1 + b]):
            past, masked = training["ids"][b][slot] < 0, training["masked"][b][slot]
            assert ("masked" in look) == bool(past or masked) == (text == "") and (
                "off" in look
            ) == past
            assert past or left == pytest.approx(lines[0][start + slot][0], abs=0.5)
    page.locator(".bltp-slot").nth(9).hover()
    assert page.evaluate("viewer.state().row") == len(RECORDED["ids"]) + 9


def test_denoising_is_stepped_through_with_its_numbers(show):
    page, steps = show(RECORDED), RECORDED["denoising"]["steps"]
    slider, cards = page.get_by_role("slider", name="denoising step"), page.locator(".bltp-card")
    for n, step in enumerate(steps):
        assert page.get_by_text(f"step {n + 1} of {len(steps)}", exact=True).is_visible()
        for slot in range(8):
            card = cards.nth(slot).inner_text()
            assert f"{step['entropies'][slot]:.2f} nats" in card and (n == 0) == ("was" not in card)
            assert ("revealed now" in card) == (slot in step["revealed"])
            assert ("still masked" in card) == (step["block"][slot] == vocab.MASK_ID)
        assert cards.first.locator(".bltp-guess").count() == 5
        slider.press("ArrowRight")
    assert page.locator(".bltp-words").nth(1).text_content().endswith("The block is full.")
    written = bytes(i - vocab.OFFSET for i in steps[-1]["block"]).decode().replace(" ", "\u2423")
    assert page.locator(".bltp-line-cells .bltp-cell").all_text_contents()[-8:] == list(written)
    assert page.get_by_role("button", name="one step forward").is_disabled()


def test_hash_hits_show_windows_rows_and_collisions(show):
    page, hashes = show(RECORDED), RECORDED["hashes"]
    cells = page.locator(".bltp-hits td")
    rows = [int(text) for text in cells.locator("small").all_text_contents()]
    assert rows == [hit for row in hashes["rows"] for hit in row]
    clash = next(s for s in hashes["shared"] if max(s["kinds"]))
    column, at = hashes["sizes"].index(clash["size"]), clash["at"][0]
    cells.nth(at * len(hashes["sizes"]) + column).hover()
    said = page.locator(".bltp-words").nth(2).text_content()
    assert (
        f"hit row {clash['row']} of the table for n = {clash['size']}." in said
        and "a collision" in said
    )
    assert page.locator(".bltp-with").count() == len(clash["at"]) - 1
    cells.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.state().hit") == [1, 1]


def test_state_can_be_set_and_data_replaced(show, told):
    page = show(RECORDED)
    page.evaluate(
        "viewer.set({ view: 'training', starts: 'patches', row: 99, step: 99, hit: [25, 4] })"
    )
    state = page.evaluate("viewer.state()")
    assert state == dict(
        view="training",
        starts="patches",
        row=None,
        step=len(RECORDED["denoising"]["steps"]) - 1,
        hit=[25, 4],
    )
    page.evaluate("data => viewer.update(data)", {**told, "ids": told["ids"]})
    assert (
        page.evaluate("viewer.state()")["starts"] == "patches"
        and page.locator(".bltp-card").count() == 5
    )


def test_hostile_bytes_are_shown_as_what_they_are(show, model):
    page = show(inspection.describe(model, EVIL), color_scheme="dark")
    assert page.locator("img").count() == 0
    glyphs = page.locator(".bltp-strip-row").first.locator(".bltp-cell").all_text_contents()
    assert glyphs == ["BOS"] + [
        chr(b) if 32 < b < 127 else "\u2423" if b == 32 else f"{b:02X}" for b in EVIL
    ]


@pytest.mark.parametrize("width", [390, 1600])
def test_it_fits_its_width(show, width):
    page = show(RECORDED, viewport=dict(width=width, height=900))
    for view in ("training", "writing"):
        page.evaluate("view => viewer.set({ view, starts: 'patches' })", view)
        assert page.evaluate("document.documentElement.scrollWidth") == width
