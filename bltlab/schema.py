"""What a trace file may hold. `check` reads plain JSON data and says in one sentence what is wrong.

What each field of an event holds is declared in `events`. A file comes from anywhere: each level is
looked at by name, never by recursion, so that deep nesting is just a wrong value.
"""

from collections.abc import Callable
from dataclasses import fields
from math import isfinite
from typing import Any

from . import vocab
from .events import EVENTS, REASONS

SCHEMA = "bltlab.trace/1"
MOST = 2**63  # ints stay below, so that other languages can read them
PARTS = {"encoder", "global_", "decoder"}  # whose parameters must be counted


def is_count(value: Any) -> bool:
    """Is it a whole number of at least 0?"""
    return type(value) is int and 0 <= value < MOST


def is_id(value: Any) -> bool:
    """Is it an id of the vocabulary, MASK included?"""
    return type(value) is int and 0 <= value <= vocab.MASK_ID


def is_number(value: Any) -> bool:
    """Is it a finite number?"""
    if type(value) is float:
        return isfinite(value)
    return type(value) is int and abs(value) < MOST


def is_prob(value: Any) -> bool:
    """Is it a probability, or null, where none was recorded?"""
    return value is None or is_number(value)


def is_flag(value: Any) -> bool:
    """Is it true or false?"""
    return type(value) is bool


def is_plain(value: Any) -> bool:
    """Is it a number, a text, true, false or null?"""
    return value is None or type(value) in (str, bool) or is_number(value)


def is_candidate(value: Any) -> bool:
    """Is it [id, probability]?"""
    pair = isinstance(value, list) and len(value) == 2
    return pair and is_id(value[0]) and is_number(value[1])


def each(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The test for a list whose entries all pass `fits`.

    >>> each(is_count)([0, 1]), each(is_count)([0, -1]), each(is_count)(3)
    (True, False, False)
    """

    def fits_all(value: Any) -> bool:
        return isinstance(value, list) and all(map(fits, value))

    return fits_all


def is_nfe(value: Any) -> bool:
    """Is it one count for each of the four parts of the model?"""
    return each(is_count)(value) and len(value) == 4


def is_id_or_none(value: Any) -> bool:
    """Is it an id, or null?"""
    return value is None or is_id(value)


def is_reason(value: Any) -> bool:
    """Is it a reason why a text ends?"""
    return value in REASONS


AN_ID = f"an id in 0..{vocab.MASK_ID}"
# What a field may hold: in words for the sentence, and the test for it
KINDS = {
    "count": ("a whole number of at least 0", is_count),
    "number": ("a finite number", is_number),
    "numbers": ("a list of finite numbers", each(is_number)),
    "nfe": ("four whole numbers of at least 0", is_nfe),
    "id": (AN_ID, is_id),
    "id or none": (f"{AN_ID}, or null", is_id_or_none),
    "ids": (f"a list of ids in 0..{vocab.MASK_ID}", each(is_id)),
    "flags": ("a list of true or false", each(is_flag)),
    "slots": ("a list of slots", each(is_count)),
    "prob": ("a finite number, or null", is_prob),
    "probs": ("a list of finite numbers or nulls", each(is_prob)),
    "candidates": ("a list of [id, finite number]", each(is_candidate)),
    "candidate lists": ("a list of [id, finite number] lists", each(each(is_candidate))),
    "reason": (f"one of {', '.join(REASONS)}", is_reason),
}


def fields_of(kind: type) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """What each field of an event may hold, in words, and the test for it."""
    found = {}
    for field in fields(kind):
        holds = field.metadata["holds"]
        found[field.name] = KINDS[holds]
    return found


def along_of(kind: type) -> dict[str, str]:
    """The fields of an event that run along another one, which they have one entry for each of."""
    found = {}
    for field in fields(kind):
        along = field.metadata["along"]
        if along:
            found[field.name] = along
    return found


FIELDS = {name: fields_of(kind) for name, kind in EVENTS.items()}
ALONG = {name: along_of(kind) for name, kind in EVENTS.items()}


def check(data: Any) -> None:
    """Raises ValueError where `data` is not a trace of this schema."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else data
        found = repr(found[:40]) if isinstance(found, str) else type(found).__name__
        raise ValueError(f"not a trace: schema must be {SCHEMA!r}, got {found}")
    check_header(data)
    events = data.get("events")
    if not isinstance(events, list) or not events:
        raise ValueError("not a trace: 'events' must be a list with at least one event")
    for index, event in enumerate(events):
        check_event(event, index)
    check_order(events)


def check_header(data: dict[str, Any]) -> None:
    """Model, method and settings: names with numbers, texts or lists of them. Raises ValueError."""
    for part in ("model", "method", "settings"):
        if not isinstance(data.get(part), dict):
            raise ValueError(f"not a trace: {part!r} must be an object")
        for name, value in data[part].items():
            if (part, name) != ("model", "parameters"):
                _check_setting(f"{part}.{name}", value)
    if not isinstance(data["method"].get("name"), str):
        raise ValueError("not a trace: method must have a name")
    if not isinstance(data["model"].get("name", ""), str):
        raise ValueError("not a trace: the model's name must be a text")
    if not _counts_parameters(data["model"].get("parameters")):
        raise ValueError("not a trace: model.parameters must count encoder, global_ and decoder")


def _check_setting(name: str, value: Any) -> None:
    if not (is_plain(value) or each(is_plain)(value)):
        raise ValueError(
            f"not a trace: {name[:60]} must be a finite number, a text or a list of them"
        )


def _counts_parameters(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() >= PARTS:
        return False
    return all(map(is_count, value.values()))


def check_event(event: Any, index: int) -> None:
    """One event by itself: its fields, and one entry for each of its ids. Raises ValueError."""
    kind = event.get("type") if isinstance(event, dict) else None
    if not isinstance(kind, str) or kind not in FIELDS:
        known = ", ".join(FIELDS)
        raise ValueError(f"not a trace: event {index} has no known type, accepted are {known}")
    for check_one in (_wrong_fields, _wrong_lengths, _wrong_numbers):
        wrong = check_one(event, kind)
        if wrong:
            raise ValueError(f"not a trace: event {index} ({kind}) {wrong}")


def _wrong_fields(event: dict[str, Any], kind: str) -> str | None:
    """What is wrong with the fields of an event, each by itself."""
    known = FIELDS[kind]
    if event.keys() - {"type"} != known.keys():
        return f"must have exactly the fields {', '.join(sorted(known))}"
    for name, (words, fits) in known.items():
        if not fits(event[name]):
            return f"has {name} out of range, it must be {words}"
    return None


def _wrong_lengths(event: dict[str, Any], kind: str) -> str | None:
    """What is wrong with the lengths of lists that run along each other."""
    for name, ids in ALONG[kind].items():
        n = len(event[ids])
        if len(event[name]) != n:
            return f"needs one entry for each of its {n} ids"
    return None


def _wrong_numbers(event: dict[str, Any], kind: str) -> str | None:
    """What is wrong between the numbers of an event."""
    if kind == "Unmasked":
        n = len(event["block"])
        if not all(slot < n for slot in event["revealed"]):
            return f"reveals a slot outside its block of {n}"
    if kind == "Foreseen" and event["accepted"] > len(event["drafted"]):
        return f"accepts {event['accepted']} of {len(event['drafted'])}"
    if kind == "Verified":
        n = len(event["drafted"])
        accepted = event["accepted"]
        all_agree = event["replacement"] is None
        if accepted > n or all_agree != (accepted == n):
            return f"accepts {accepted} of {n}; if fewer, it must name the replacement"
    return None


def check_order(events: list[dict[str, Any]]) -> None:
    """The events together. Raises ValueError.

    The prompt comes first, no byte is committed twice or skipped, nothing follows the end, no
    counter falls.
    """
    frontier = 1
    before = None
    for index, event in enumerate(events):
        wrong = _misplaced(event, before, frontier) or _out_of_step(event, before)
        if wrong:
            place = f"event {index}, {event['type']}"
            raise ValueError(f"not a trace: its events do not fit together ({place}: {wrong})")
        if event["type"] in ("Prefilled", "Committed"):
            frontier = event["position"] + len(event["ids"])
        before = event


def _misplaced(
    event: dict[str, Any],
    before: dict[str, Any] | None,
    frontier: int,
) -> str | None:
    """What is wrong with the place of an event behind the one before it (None: it is the first)."""
    kind = event["type"]
    position = event["position"]
    if before and before["type"] == "Finished" and kind != "Prefilled":
        return "nothing comes after the end"
    if kind == "Prefilled":
        return _misplaced_prompt(event, before)
    if not before and kind != "Finished":
        return "the first must read the prompt"
    if kind in ("Committed", "Finished") and position != frontier:
        return f"the text ends before position {frontier}, not before {position}"
    return f"position {position} is committed already" if position < frontier else None


def _misplaced_prompt(event: dict[str, Any], before: dict[str, Any] | None) -> str | None:
    if before:
        return "only the first reads a prompt"
    if event["position"] or not event["ids"]:
        return "a prompt starts with BOS at position 0"
    return None


def _out_of_step(event: dict[str, Any], before: dict[str, Any] | None) -> str | None:
    """Does an event belong to another row, or to an earlier time, than the one before it?"""
    if before is None:
        return None
    if event["row"] != before["row"]:
        return "all must be of one row"
    pairs = zip(counters(event), counters(before), strict=True)
    return "a counter falls" if any(now < then for now, then in pairs) else None


def counters(event: dict[str, Any]) -> tuple[float, ...]:
    """The cumulative counters of an event: evaluations of the four parts, bytes read, seconds."""
    return *event["nfe"], event["weight_bytes"], event["cache_bytes"], event["seconds"]
