# The names of `bltlab` for editors and type checkers; `__init__.py` loads them when first used.

from . import (
    checkpoints as checkpoints,
)
from . import (
    data as data,
)
from . import (
    layers as layers,
)
from . import (
    training as training,
)
from . import (
    viz as viz,
)
from .config import BLTConfig as BLTConfig
from .costs import NFE as NFE
from .decoding import (
    Autoregressive as Autoregressive,
)
from .decoding import (
    BlockDiffusion as BlockDiffusion,
)
from .decoding import (
    DiffusionVerification as DiffusionVerification,
)
from .decoding import (
    ForeseenChain as ForeseenChain,
)
from .decoding import (
    ForeseenVerification as ForeseenVerification,
)
from .decoding import (
    SelfSpeculation as SelfSpeculation,
)
from .decoding import (
    branch as branch,
)
from .decoding import (
    generate as generate,
)
from .decoding import (
    stream as stream,
)
from .diffusion import diffusion_loss as diffusion_loss
from .evaluation import score as score
from .events import (
    Committed as Committed,
)
from .events import (
    Drafted as Drafted,
)
from .events import (
    Finished as Finished,
)
from .events import (
    Foreseen as Foreseen,
)
from .events import (
    Guessed as Guessed,
)
from .events import (
    Prefilled as Prefilled,
)
from .events import (
    Unmasked as Unmasked,
)
from .events import (
    Verified as Verified,
)
from .model import BLT as BLT
from .model import BLTOutput as BLTOutput
from .model import diffuse_from as diffuse_from
from .patching import patchify as patchify
from .patching import threshold_for as threshold_for
from .sampling import Pick as Pick
from .state import DecodingState as DecodingState
from .trace import Trace as Trace
from .unmasking import (
    Confidence as Confidence,
)
from .unmasking import (
    EntropyBound as EntropyBound,
)
from .unmasking import (
    OneStep as OneStep,
)
from .unmasking import (
    TopK as TopK,
)
from .viz import view as view
from .viz.explorer import explore as explore
from .vocab import decode as decode
from .vocab import encode as encode

__version__: str
__all__: list[str]
