# The names of `bltlab` for editors and type checkers; `__init__.py` loads them when first used.

from . import (
    checkpoints as checkpoints,
    data as data,
    layers as layers,
    training as training,
    viz as viz,
)
from .config import BLTConfig as BLTConfig
from .costs import NFE as NFE
from .decoding import (
    Autoregressive as Autoregressive,
    BlockDiffusion as BlockDiffusion,
    DiffusionVerification as DiffusionVerification,
    SelfSpeculation as SelfSpeculation,
    generate as generate,
    stream as stream,
)
from .diffusion import diffusion_loss as diffusion_loss
from .evaluation import score as score
from .events import (
    Committed as Committed,
    Drafted as Drafted,
    Finished as Finished,
    Prefilled as Prefilled,
    Unmasked as Unmasked,
    Verified as Verified,
)
from .model import BLT as BLT, BLTOutput as BLTOutput, diffuse_from as diffuse_from
from .patching import patchify as patchify
from .sampling import Pick as Pick
from .state import DecodingState as DecodingState
from .trace import Trace as Trace
from .unmasking import (
    Confidence as Confidence,
    EntropyBound as EntropyBound,
    OneStep as OneStep,
    TopK as TopK,
)
from .viz import view as view
from .viz.explorer import explore as explore
from .vocab import decode as decode, encode as encode

__version__: str
__all__: list[str]
