"""bltlab: a research workbench for fast byte-level language models.

Names are loaded when first used, so that traces, costs and the player open without torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "vocab": "encode decode",
    "config": "BLTConfig",
    "trace": "Trace",
    "events": "Prefilled Drafted Unmasked Guessed Foreseen Verified Committed Finished",
    "costs": "NFE",
    "patching": "patchify threshold_for",
    "model": "BLT BLTOutput diffuse_from",
    "diffusion": "diffusion_loss",
    "state": "DecodingState",
    "sampling": "Pick",
    "unmasking": "Confidence EntropyBound TopK OneStep",
    "evaluation": "score",
    "decoding": "stream generate branch Autoregressive SelfSpeculation BlockDiffusion"
    " DiffusionVerification ForeseenChain ForeseenVerification",
    "viz": "view",
    "viz.explorer": "explore",
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """A public name or a room, loaded now."""
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    if name in _HOMES or name in ("checkpoints", "layers", "data", "training"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names beside those already loaded, for completion."""
    return sorted([*globals(), *_WHERE])
