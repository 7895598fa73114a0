"""The models of a page, by name, and what the page shows of each before anything is asked.

A visitor picks among those that ship and those that were named at the start: no path, no hub id.
"""

import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import bltlab
from bltlab import checkpoints, inspection
from bltlab.decoding import METHODS, why_not
from bltlab.events import Committed
from bltlab.trace import Trace
from bltlab.viz import patches, site
from bltlab.viz.prompts import PROMPTS, kind_of

TEMPERATURES = {"phrases": 0.0, "functions": 0.0, "": 0.7}  # what their texts are best drawn at
NEW_BYTES, SECONDS = 96, 3.0  # of what is decoded before anybody asks: at most, of each method
PACED, PACED_SECONDS = 24, 0.3  # of the runs that tell how fast autoregression is
LONGEST = 200  # bytes of a prompt of the model's own


def own_prompts(place: str | Path) -> list[str]:
    """The prompts that training wrote its samples for, where a model's folder has any."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        lines = (Path(place) / "samples.jsonl").read_text(encoding="utf-8").splitlines()
        found = dict.fromkeys(str(json.loads(line)["prompt"]) for line in lines[-40:])
        return [prompt for prompt in found if 0 < len(prompt.encode()) <= LONGEST][-4:]
    return []


class Shown:
    """What the page says of one model: what it can do, its prompts, and something of its own.

    name: on this page. place: what it was loaded from.
    """

    def __init__(self, name: str, model: bltlab.BLT, place: str | Path = "") -> None:
        self.name, self.model = name, model
        kind = kind_of(name)
        self.prompts = own_prompts(place) or list(PROMPTS[kind])
        self.temperature = TEMPERATURES[kind]
        self._pace, self._stale = 0.0, 0.0

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why it cannot decode with a method, by the name of each that it cannot."""
        found = {name: why_not(kind(), self.model) for name, kind in METHODS.items()}
        return {name: why for name, why in found.items() if why}

    @property
    def methods(self) -> list[str]:
        """The names of the methods that it can decode with."""
        return [name for name in METHODS if name not in self.reasons]

    @cached_property
    def traces(self) -> list[Trace]:
        """The first things shown: what was recorded with these weights, else decoded now."""
        recorded = [trace for trace in recordings() if trace.model == summary(self)]
        if recorded:
            by_name = {trace.method["name"]: trace for trace in recorded}
            return [by_name[name] for name in METHODS if name in by_name]
        self.pace()  # the first run of a process is slower than all others
        return [self._decoded(name) for name in self.methods]

    def pace(self) -> float:
        """The seconds a byte that autoregression takes on this machine, as of this minute.

        Another program may have slowed one run down, so it is the better of two.
        """
        if time.monotonic() > self._stale:
            runs = [self._decoded("ar", PACED, PACED_SECONDS).totals for _ in range(2)]
            self._pace = min(run.seconds / max(run.new_bytes, 1) for run in runs)
            self._stale = time.monotonic() + 60
        return self._pace

    def _decoded(self, method: str, most: int = NEW_BYTES, seconds: float = SECONDS) -> Trace:
        """A decoding that nobody asked for, of `most` bytes.

        It ends with the first byte after so many seconds, whatever the size of the model.
        """
        prompt = self.prompts[0]
        room = self.model.config.max_length - len(prompt.encode()) - 1
        settings = dict(max_new_bytes=max(min(most, room), 0), temperature=self.temperature)
        events = bltlab.stream(self.model, prompt, method, **settings)
        end = time.monotonic() + seconds
        for event in events:
            if isinstance(event, Committed) and time.monotonic() > end:
                break
        events.close()
        return events.traces[0]

    @cached_property
    def surveys(self) -> list[dict[str, Any]]:
        """The texts that ship, cut into its patches."""
        texts = shipped("views", "patches.json") or []
        return [inspection.survey(self.model, bytes(t["bytes"]), t["name"]) for t in texts]

    @cached_property
    def inside(self) -> dict[str, Any] | None:
        """The text that ships, as the model reads it and would go on."""
        told = shipped("views", "inside.json")
        return told and inspection.describe(self.model, bltlab.vocab.decode(told["ids"]))

    def survey(self, text: str) -> dict[str, Any]:
        """The patches of a text, as plain data."""
        rule = self.model.config.patcher
        found = bltlab.patchify(self.model, text)
        return patches.survey(found, "your text", rule.threshold, rule.max_patch_length)


def summary(shown: Shown) -> dict[str, Any]:
    """What a trace says of the model that wrote it."""
    stream = bltlab.stream(shown.model, "", max_new_bytes=0)
    return stream.summary | dict(name=shown.name)


def recordings() -> list[Trace]:
    """The traces that ship, of any model."""
    folder = checkpoints.assets() / "traces"
    return [Trace.load(path) for path in sorted(folder.rglob("*.json"))]


def shipped(*path: str) -> Any:
    """A JSON file among the assets, or None where it does not ship."""
    return site.shipped(checkpoints.assets(), *path)


@dataclass(frozen=True)
class Place:
    """Where models are put, and in which numbers: as `BLT.from_pretrained` takes them."""

    device: str = "auto"
    dtype: torch.dtype | None = None


class Models:
    """The models that a page offers, by name: the given ones first, then those that ship.

    given: shipped names, folders, hub ids or models. They are loaded now, the others when somebody
    picks them. Raises ValueError or OSError, in one sentence, for one that cannot be loaded.
    """

    def __init__(self, given: Sequence[Any] = ("blt-d-nano",), place: Place | None = None) -> None:
        self._place = place or Place()
        self._lock = threading.Lock()
        self._shown: dict[str, Shown] = {}
        for one in given:
            self._take(one)
        self.names = [*self._shown]
        self.names += [name for name in checkpoints.shipped() if name not in self._shown]

    @property
    def first(self) -> str:
        """The name of the model that the page opens with."""
        return self.names[0]

    def is_ready(self, name: str) -> bool:
        """Is this model loaded?"""
        return name in self._shown

    def get(self, name: str | None = None) -> Shown:
        """The model of this name, the first by default; who asks first waits until it is loaded.

        Raises ValueError, in one sentence, for a name that the page does not offer.
        """
        name = name or self.first
        if name not in self.names:
            raise ValueError(f"model must be one of {', '.join(self.names)}, got {name!r:.80}")
        with self._lock:
            if name not in self._shown:
                self._take(name)
            return self._shown[name]

    def _take(self, given: Any) -> None:
        """Load a model, and give it a name that no other has and that shows no path."""
        model = given
        if not isinstance(given, bltlab.BLT):
            place = self._place
            model = bltlab.BLT.from_pretrained(given, device=place.device, dtype=place.dtype)
        own = name = model.name.replace(",", "_")  # a link parts names by commas
        number = 1
        while name in self._shown:
            number += 1
            name = f"{own} ({number})"
        model.name = name
        self._shown[name] = Shown(name, model, "" if model is given else given)
