"""The tour, recordings and texts cut into patches as a folder of pages that need no server.

Each page holds all that it shows and asks nobody for anything, so that a static host, a class page
or a disk (file://) shows them.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from ..trace import Trace
from . import inside, patches, player
from .page import file_name, page, script

TOUR = script("fold", "lane", "detail", "player", "tour")  # the global `bltlabTour`


def tour(assets: Path) -> dict[str, Any]:
    """The pages of the tour, and by name the traces that they show and the pace of these.

    Nothing where it does not ship.
    """
    pages = shipped(assets, "tour", "pages.json")
    if pages is None:
        return {}
    names = {name for page in pages for name in page["traces"]}
    traces = {name: shipped(assets, "tour", f"{name}.json") for name in sorted(names)}
    timed = [Trace.from_json(trace) for trace in traces.values()]
    pace = dict(zip(traces, pace_of(timed), strict=True))
    return dict(pages=pages, traces=traces, pace=pace)


def pace_of(traces: Sequence[Trace], among: Sequence[Trace] = ()) -> list[float | None]:
    """For each trace the seconds a byte of the longest autoregression with its model.

    among: where that is looked for, by default these traces; None where it is not there.
    """
    alone = [trace for trace in among or traces if trace.method["name"] == "ar" and trace.bytes]
    alone.sort(key=lambda trace: len(trace.bytes))
    pace = {trace.model.get("name"): trace.totals.seconds / len(trace.bytes) for trace in alone}
    return [pace.get(trace.model.get("name")) for trace in traces]


def shipped(assets: Path, *path: str) -> Any:
    """A JSON file among the assets, or None where it does not ship."""
    file = assets.joinpath(*path)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


class View(NamedTuple):
    """What a page shows: a viewer's JavaScript function, its source, its data and its options."""

    function: str
    source: str
    data: Any
    options: dict[str, Any]


def write(folder: str | Path, assets: Path, traces: Sequence[Trace]) -> None:
    """Write the site; older files of its names are replaced, all at once.

    assets: the folder of what ships. traces: the recordings, each with a page of its own, and one
    on which they race.
    """
    views = _views(assets, traces)
    stems: dict[str, str] = {}
    for title in views:
        stem = file_name(title) if stems else "index"
        stems[title] = _unused(stem, stems.values())
    names = {title: f"{stem}.html" for title, stem in stems.items()}
    with files.gathering(folder, last=["index.html"]) as part:
        for title, view in views.items():
            html = page(
                view.function,
                view.source,
                view.data,
                f"bltlab: {title}",
                view.options,
                width=1720 if title == "Race" else 1240,
                links=names | {title: ""},
            )
            files.write(part / names[title], html)


def _views(assets: Path, traces: Sequence[Trace]) -> dict[str, View]:
    """What each page shows, by its title."""
    views = {"Tour": View("bltlabTour", TOUR, tour(assets), {})}
    lanes = [trace.to_json() for trace in traces]
    paces = pace_of(traces)
    if len(lanes) > 1:
        race = {"clock": "passes", "pace": paces}
        views["Race"] = View("bltlabPlayer", player.SOURCE, lanes, race)
    for lane, pace in zip(lanes, paces, strict=True):
        title = _unused(lane["method"]["name"], views)
        views[title] = View("bltlabPlayer", player.SOURCE, [lane], {"pace": [pace]})
    texts = shipped(assets, "views", "patches.json")
    views["Patches"] = View("bltlabPatches", patches.SOURCE, texts, {})
    inner = shipped(assets, "views", "inside.json")
    views["Inside"] = View("bltlabInside", inside.SOURCE, inner, {})
    return {title: view for title, view in views.items() if view.data}


def _unused(name: str, taken: Collection[str]) -> str:
    """A name that no page has yet.

    >>> _unused("ar", ["ar", "ar-2"]), _unused("blt-d", [])
    ('ar-3', 'blt-d')
    """
    count, found = 1, name
    while found in taken:
        count += 1
        found = f"{name}-{count}"
    return found
