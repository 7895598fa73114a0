"""What the page's headline says of the recordings that ship, beside what was measured: a table.

The headline is JavaScript's (bltlab/viz/fold.js), so this needs node.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bltlab import checkpoints
from bltlab.decoding import METHODS
from bltlab.trace import Trace
from bltlab.viz import player, site

RESULTS = Path(__file__).parent.parent / ".github" / "RESULTS.md"
PLACE = re.compile(r"(<!-- headlines -->\n).*(?=<!-- /headlines -->)", re.DOTALL)
HEAD = """| where | what the headline says | traffic, paper | seconds |
|---|---|--:|--:|
"""
NODE = shutil.which("node")
READ = """
const { source, ...given } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const js = new Function(`${source}; return { ...bltlabBase, ...bltlabFold }`)();
const lane = trace => trace && ({ ...trace, name: trace.method.name, size: trace.model.parameters,
  sums: js.totals(trace), alone: js.alone(trace) });
"""
BILLS = """
const bill = ({ trace, ar, pace }, at, clock) => {
  const found = js.bill(lane(trace), at, js.CLOCKS[clock], lane(ar), pace ?? undefined);
  return { ...found, said: js.verdict(found) };
};
console.log(JSON.stringify(given.lanes.map(one =>
  one.at.map(at => ["paper", "seconds"].map(clock => bill(one, at, clock))))));
"""
HEADLINES = """
console.log(JSON.stringify(given.lanes.map(({ trace, ar, pace, at }) =>
  at.map(n => js.headline(lane(trace), n, js.CLOCKS.paper, lane(ar), pace ?? undefined)))));
"""


class Lane(NamedTuple):
    """A trace as a page shows it, after `at` events, each of them.

    ar: autoregression beside it. pace: the seconds a byte that it took, where it is not beside.
    """

    trace: Trace
    ar: Trace | None
    pace: float | None
    at: list[int]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        beside = self.ar and self.ar.to_json()
        return dict(trace=self.trace.to_json(), ar=beside, pace=self.pace, at=self.at)


class Row(NamedTuple):
    """What the headline says of one lane, and what its bytes took beside autoregression's.

    texts, main, time: as fold.js has them. traffic, seconds: times those of as many bytes by
    autoregression; None where there are none.
    """

    where: str
    texts: list[str]
    main: int
    time: int
    traffic: float | None
    seconds: float | None

    def to_markdown(self) -> str:
        """One row of the table."""
        count, _, _, _, said, then, later = self.texts
        words = "".join(self.texts[:4])
        if said:
            words = f"{count} bytes: {said}, seconds {later}"
        elif count == "0":
            words += then
        numbers = [f"{n:.2f}" if n else "" for n in (self.traffic, self.seconds)]
        return f"| {' | '.join([self.where, words, *numbers])} |\n"


def answer(script: str, **given: Any) -> Any:
    """What a script logs that knows `given`, the functions of fold.js as `js`, and `lane`."""
    source = player.BASE + player.SOURCE.removeprefix(player.BASE).partition("/* bltlabLane")[0]
    text = json.dumps(dict(source=source, **given))
    done = subprocess.run([NODE, "-e", READ + script], input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def bills(lanes: list[Lane]) -> Any:
    """For each lane, after each number of events, its bills: paper and seconds."""
    return answer(BILLS, lanes=[lane.to_json() for lane in lanes])


def shown() -> Iterator[tuple[str, Lane, Trace]]:
    """(where, lane, autoregression) of what stands on the opening page and at rest in the tour."""
    assets = checkpoints.assets()
    first = [Trace.load(assets / "traces" / f"{name}.json") for name in METHODS]
    for trace, pace in zip(first, site.pace_of(first), strict=True):
        if trace.method["name"] != "ar":
            lane = Lane(trace, None, pace, [len(trace.events)])
            yield f"first page, {trace.method['name']}", lane, first[0]
    told = site.tour(assets)
    traces = {name: Trace.from_json(trace) for name, trace in told["traces"].items()}
    for number, page in enumerate(told["pages"], 1):
        several = len(page["traces"]) > 1
        for name in page["traces"][several:]:
            trace, beside = traces[name], traces["ar"] if several else None
            at = page["step"] if page["clock"] == "event" else len(trace.events)
            lane = Lane(trace, beside, told["pace"][name], [at])
            yield f"tour {number}, {name}", lane, traces["ar"]


def rows() -> list[Row]:
    """A row for each lane that is shown."""
    places, lanes, rivals = zip(*shown(), strict=True)
    beside = [lane._replace(ar=ar) for lane, ar in zip(lanes, rivals, strict=True)]
    said = answer(HEADLINES, lanes=[lane.to_json() for lane in lanes])
    found = []
    for where, lane, (told,), (paid,) in zip(places, lanes, said, bills(beside), strict=True):
        own = lane.trace.method["name"] == "ar"
        ratios = [
            bill["used"] / bill["rival"] if bill["bytes"] and not own else None for bill in paid
        ]
        found.append(Row(where, told["texts"], told["main"], told["time"], *ratios))
    return found


def table() -> str:
    """The table, as Markdown."""
    return HEAD + "".join(row.to_markdown() for row in rows())


def written(text: str) -> str:
    """A document with the table in its place."""
    return PLACE.sub(lambda found: found[1] + table(), text)
