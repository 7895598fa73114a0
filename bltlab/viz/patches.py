"""Where patches begin, in the browser, with a threshold to drag.

Recorded entropies in, self-contained HTML out.

A survey is plain JSON: {"name", "bytes", "entropies", "threshold", "max_patch_length"}, where
entropies[i] is that of the prediction of bytes[i], in nats. The rule runs in patches.js, so that no
model is needed to try another threshold.
"""

from collections.abc import Iterable
from typing import Any

from .page import Frame, frame, page, script

SOURCE = script("parts", "patch_text", "patches")  # the global `bltlabPatches`, with what it needs
LINE = 32  # bytes in a line of the page, about


def survey(
    patches: Any,
    name: str,
    threshold: float,
    max_patch_length: int | None = None,
) -> dict[str, Any]:
    """A `TextPatches` (of `bltlab.patchify`) as a survey.

    threshold: nats. max_patch_length: bytes, or None.
    """
    n = len(patches.text)
    return {
        "name": name,
        "bytes": list(patches.text),
        "entropies": list(patches.entropies[:n]),
        "threshold": threshold,
        "max_patch_length": max_patch_length,
    }


def to_page(surveys: Iterable[dict[str, Any]], title: str = "bltlab: where patches begin") -> str:
    """Surveys, one example each, as a whole HTML document.

    Raises ValueError if there is none, or if one has not as many entropies as bytes.
    """
    return page("bltlabPatches", SOURCE, _checked(surveys), title)


def to_iframe(surveys: Iterable[dict[str, Any]], height: int | None = None) -> Frame:
    """The same page in a sandboxed iframe, as a `str` that Jupyter shows.

    height: pixels, by default what the longest text needs.
    """
    surveys = _checked(surveys)
    lines = -(-max(len(survey["bytes"]) for survey in surveys) // LINE)
    return frame(to_page(surveys), "bltlab patches", height or min(540 + 210 * lines, 1100))


def _checked(surveys: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    surveys = list(surveys)
    if not surveys:
        raise ValueError("surveys must hold at least one text, got none")
    for survey in surveys:
        n, found = len(survey["bytes"]), len(survey["entropies"])
        if n != found:
            raise ValueError(
                f"survey {survey['name']!r} must have one entropy for each of its {n} bytes, "
                f"got {found}"
            )
    return surveys
