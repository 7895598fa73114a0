"""What a trace file may hold. `check` reads plain JSON data and says in one sentence what is wrong; it knows no class.

A file comes from anywhere: each level is looked at by name, never by recursion, so that deep nesting is just a wrong value.
"""

from math import isfinite

from . import vocab

SCHEMA = "bltlab.trace/1"
REASONS = ("eos", "budget", "stop", "interrupted")
MOST = 2**63  # ints stay below, so that other languages can read them


def is_count(value):
    return type(value) is int and 0 <= value < MOST


def is_id(value):
    return type(value) is int and 0 <= value <= vocab.MASK_ID


def is_number(value):
    return type(value) is float and isfinite(value) or type(value) is int and abs(value) < MOST


def is_plain(value):
    """A number, a text, True, False or None."""
    return value is None or type(value) in (str, bool) or is_number(value)


def is_candidates(value):
    """[[id, prob], ...]"""
    pair = lambda c: isinstance(c, list) and len(c) == 2 and is_id(c[0]) and is_number(c[1])
    return isinstance(value, list) and all(map(pair, value))


def each(fits):
    return lambda value: isinstance(value, list) and all(map(fits, value))


# What a field must be, in words for the sentence, and the test for it
is_prob = lambda value: (
    value is None or is_number(value)
)  # null: the run was recorded without probabilities
COUNT, NUMBER = ("a whole number of at least 0", is_count), ("a finite number", is_number)
ID, IDS = (
    (f"an id in 0..{vocab.MASK_ID}", is_id),
    (f"a list of ids in 0..{vocab.MASK_ID}", each(is_id)),
)
FLAGS, NUMBERS = (
    ("a list of true or false", each(lambda v: type(v) is bool)),
    ("a list of finite numbers", each(is_number)),
)
PROB, PROBS = (
    ("a finite number, or null", is_prob),
    ("a list of finite numbers or nulls", each(is_prob)),
)
CANDIDATES = "a list of [id, finite number]", is_candidates
PER_SLOT = "a list of [id, finite number] lists", each(is_candidates)
STAMP = dict(
    row=COUNT,
    position=COUNT,
    weight_bytes=COUNT,
    cache_bytes=COUNT,
    seconds=NUMBER,
    nfe=("four whole numbers of at least 0", lambda v: each(is_count)(v) and len(v) == 4),
)
FIELDS = {
    "Prefilled": STAMP | dict(ids=IDS, opens=FLAGS, entropies=NUMBERS),
    "Drafted": STAMP | dict(id=ID, prob=PROB, candidates=CANDIDATES),
    "Unmasked": STAMP
    | dict(
        block=IDS, revealed=("a list of slots", each(is_count)), probs=PROBS, candidates=PER_SLOT
    ),
    "Verified": STAMP
    | dict(
        drafted=IDS,
        accepted=COUNT,
        replacement=(f"{ID[0]}, or null", lambda v: v is None or is_id(v)),
        draft_probs=PROBS,
        target_probs=PROBS,
        candidates=PER_SLOT,
    ),
    "Committed": STAMP | dict(ids=IDS, opens=FLAGS, entropies=NUMBERS),
    "Finished": STAMP | dict(reason=(f"one of {', '.join(REASONS)}", lambda v: v in REASONS)),
}
SLOTS = dict(
    Prefilled="ids", Unmasked="block", Verified="drafted", Committed="ids"
)  # the list that others run along
ALONG = ("opens", "entropies", "probs", "draft_probs", "target_probs")


def check(data):
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


def check_header(data):
    """Model, method and settings: names with numbers, texts or lists of them."""
    for name in ("model", "method", "settings"):
        if not isinstance(data.get(name), dict):
            raise ValueError(f"not a trace: {name!r} must be an object")
        for key, value in data[name].items():
            if (name, key) != ("model", "parameters") and not (
                is_plain(value) or each(is_plain)(value)
            ):
                raise ValueError(
                    f"not a trace: {f'{name}.{key}'[:60]} must be a finite number, a text or a list of them"
                )
    if not isinstance(data["method"].get("name"), str):
        raise ValueError("not a trace: method must have a name")
    if not isinstance(data["model"].get("name", ""), str):
        raise ValueError("not a trace: the model's name must be a text")
    parameters = data["model"].get("parameters")
    if not (
        isinstance(parameters, dict)
        and parameters.keys() >= {"encoder", "global_", "decoder"}
        and all(map(is_count, parameters.values()))
    ):
        raise ValueError("not a trace: model.parameters must count encoder, global_ and decoder")


def check_event(event, index):
    """One event by itself: its fields, and one entry for each of its ids."""
    kind = event.get("type") if isinstance(event, dict) else None
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ValueError(
            f"not a trace: event {index} has no known type, accepted are {', '.join(FIELDS)}"
        )
    told = f"not a trace: event {index} ({kind})"
    if event.keys() - {"type"} != FIELDS[kind].keys():
        raise ValueError(f"{told} must have exactly the fields {', '.join(sorted(FIELDS[kind]))}")
    for name, (words, fits) in FIELDS[kind].items():
        if not fits(event[name]):
            raise ValueError(f"{told} has {name} out of range, it must be {words}")
    n = len(event[SLOTS[kind]]) if kind in SLOTS else 0
    along = [name for name in ALONG if name in event] + ["candidates"] * (
        kind in ("Unmasked", "Verified")
    )
    if kind in SLOTS and not all(len(event[name]) == n for name in along):
        raise ValueError(f"{told} needs one entry for each of its {n} ids")
    if kind == "Unmasked" and not all(slot < n for slot in event["revealed"]):
        raise ValueError(f"{told} reveals a slot outside its block of {n}")
    if kind == "Verified" and not (
        event["accepted"] <= n and (event["replacement"] is None) == (event["accepted"] == n)
    ):
        raise ValueError(
            f"{told} accepts {event['accepted']} of {n}; if fewer, it must name the replacement"
        )


def check_order(events):
    """The events together: the prompt first, no byte committed twice or skipped, nothing after the end, no counter falls."""
    frontier, before = 1, events[0]
    for index, event in enumerate(events):
        kind, position = event["type"], event["position"]
        if (kind == "Prefilled") == bool(index) and kind != "Finished":
            wrong = "only the first reads a prompt" if index else "the first must read the prompt"
        elif index and before["type"] == "Finished":
            wrong = "nothing comes after the end"
        elif kind == "Prefilled" and (position or not event["ids"]):
            wrong = "a prompt starts with BOS at position 0"
        elif kind in ("Committed", "Finished") and position != frontier:
            wrong = f"the text ends before position {frontier}, not before {position}"
        elif kind != "Prefilled" and position < frontier:
            wrong = f"position {position} is committed already"
        elif event["row"] != before["row"]:
            wrong = "all must be of one row"
        elif any(now < then for now, then in zip(counters(event), counters(before))):
            wrong = "a counter falls"
        else:
            frontier = position + len(event["ids"]) if "ids" in event else frontier
            before = event
            continue
        raise ValueError(
            f"not a trace: its events do not fit together (event {index}, {kind}: {wrong})"
        )


def counters(event):
    return *event["nfe"], event["weight_bytes"], event["cache_bytes"], event["seconds"]
