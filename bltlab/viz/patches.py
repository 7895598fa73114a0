"""Where patches begin, in the browser: recorded entropies in, self-contained HTML with a threshold to drag out.

A survey is plain JSON: {"name", "bytes", "entropies", "threshold", "max_patch_length"}, where entropies[i] is that of the
prediction of bytes[i], in nats. The rule runs in patches.js, so that no model is needed to try another threshold.
"""

from .page import frame, page, script

SOURCE = script("parts", "patch_text", "patches")  # the global `bltlabPatches`, with what it needs


def survey(patches, name, threshold, max_patch_length=None):
    """A `TextPatches` (of `bltlab.patchify`) as a survey. threshold: nats; max_patch_length: bytes, or None."""
    n = len(patches.text)
    return {
        "name": name,
        "bytes": list(patches.text),
        "entropies": list(patches.entropies[:n]),
        "threshold": threshold,
        "max_patch_length": max_patch_length,
    }


def to_page(surveys, title="bltlab: where patches begin"):
    """Surveys, one example each -> a whole HTML document as one `str`. Raises ValueError where there is none or one is odd."""
    return page("bltlabPatches", SOURCE, _checked(surveys), title)


def to_iframe(surveys, height=None):
    """The same page in a sandboxed iframe, as a `str` that Jupyter shows. height: pixels, by default what the longest needs."""
    surveys = _checked(surveys)
    rows = -(-max(len(s["bytes"]) for s in surveys) // 32)
    return frame(to_page(surveys), "bltlab patches", height or min(540 + 210 * rows, 1100))


def _checked(surveys):
    surveys = list(surveys)
    if not surveys:
        raise ValueError("surveys must hold at least one text, got none")
    for s in surveys:
        if len(s["bytes"]) != len(s["entropies"]):
            raise ValueError(
                f"survey {s['name']!r} must have one entropy for each of its {len(s['bytes'])} bytes, "
                f"got {len(s['entropies'])}"
            )
    return surveys
