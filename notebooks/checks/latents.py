"""02: which latent a byte reads, and the mask of self-attention."""

import random

import torch

from bltlab import masks, model, patching

from .comparing import Answer, compare, exercise, say
from .samples import random_flags

# -- which latent ----------------------------------------------------------------------------------


def _reads(opens: list[bool]) -> list[int]:
    flags = torch.tensor([opens])
    known = torch.ones_like(flags[:, 1:])
    return patching.Patches(flags[:, :-1], flags[:, 1:], known).reads[0].tolist()


def _own_patch(opens: list[bool]) -> list[int]:
    return [sum(opens[: t + 1]) - 1 for t in range(len(opens) - 1)]


@exercise(
    "2.1",
    wrong={
        "each byte reads its own patch, finished or not": _own_patch,
        "the last byte of a patch does not read its own": lambda opens: [
            patch - 1 for patch in _own_patch(opens)
        ],
        "patches are counted from 1": lambda opens: [patch + 1 for patch in _reads(opens)],
    },
)
def reads(yours: Answer) -> None:
    """yours(opens) -> for each byte but the last, the patch whose latent it reads."""
    draw = random.Random(0)
    cases = [(random_flags(draw, [True, True], 0.3, 20),) for _ in range(150)]
    cases += [([True, True, True],), ([True, True, False, True],)]
    compare("reads", yours, _reads, cases, lambda opens: f"opens {say(opens)}")


# -- the mask --------------------------------------------------------------------------------------


def _may_read(ids: list[int], window: int | None) -> list[list[bool]]:
    document = model.document_numbers(torch.tensor([ids]))
    return masks.text_mask(document, window)[0].tolist()


@exercise(
    "2.2",
    wrong={
        "the window is forgotten": lambda ids, window: _may_read(ids, None),
        "the window leaves out the position itself": lambda ids, window: _may_read(
            ids, window and window + 1
        ),
        "documents read each other": lambda ids, window: _may_read([9] * len(ids), window),
        "rows and columns are exchanged: it reads the future": lambda ids, window: [
            list(column) for column in zip(*_may_read(ids, window), strict=True)
        ],
    },
)
def may_read(yours: Answer) -> None:
    """yours(ids, window) -> (T, T): which id may read which, inside its document and the window."""

    def library(ids, window):
        return [[int(flag) for flag in row] for row in _may_read(ids, window)]

    def given(ids, window):
        return f"ids {ids} and a window of {window}"

    draw = random.Random(0)
    cases = []
    for _ in range(100):
        ids = [1, *draw.choices((1, 70, 71, 72), (1, 3, 3, 3), k=draw.randint(0, 9))]
        cases.append((ids, draw.choice((None, 1, 2, 3, 5))))
    compare("may_read", yours, library, cases, given)
