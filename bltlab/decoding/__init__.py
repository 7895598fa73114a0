"""Decoding: a method proposes bytes and commits them, round by round; `stream` decides where it
ends.

|                                           | trust           | verify  |
| chain: decoder step by decoder step       | autoregressive  | BLT-S   |
| foreseen chain: the same, in fewer passes | BLT-F           | BLT-FV  |
| unmask: denoise a block                   | BLT-D           | BLT-DV  |

A method of your own is a frozen dataclass with a name and a `round` of moves. This one proposes
what followed the last time that the same bytes were written; `verify` sees to it that the text is
that of autoregression. In a file `lookup.py`:

    from dataclasses import dataclass
    from bltlab.decoding import Method, chain, option, propose, verify

    @dataclass(frozen=True)
    class Lookup(Method):
        '''Proposes what followed the same bytes before.'''

        name = "lookup"
        title = "Look-up"
        length: int = option(4, "bytes proposed at once", min=1, max=32)
        context: int = option(3, "bytes that must be the same", min=1, max=16)

        def round(self, state, pick):
            own = yield from chain(state, pick)                       # the model's own byte, (B, 1)
            known = [row.ids + ids for row, ids in zip(state.rows, own.ids.tolist())]
            guesses = [self.seen_before(ids) for ids in known]        # (B, length)
            proposed = yield from propose(state, guesses, after=own)
            yield from verify(state, pick, proposed)

        def seen_before(self, ids):
            last = ids[-self.context:]
            for at in range(len(ids) - self.context - self.length, 0, -1):
                if ids[at:at + self.context] == last:
                    return ids[at + self.context:][:self.length]
            return ids[-1:] * self.length

        @property
        def lookahead(self):
            return self.length + 1

A rule of your own says which slots of a block a denoising step reveals, in `ramp.py`:

    from dataclasses import dataclass
    import torch
    from bltlab.decoding import at_least_one, option

    @dataclass(frozen=True)
    class Ramp:
        '''Left slots are revealed sooner: the threshold rises from slot to slot.'''

        first: float = option(0.5, "threshold of the first slot", min=0.0, max=1.0)
        last: float = option(0.9, "threshold of the last slot", min=0.0, max=1.0)

        def __call__(self, probs, masked):                            # (B, S, V), (B, S)
            top, slots = probs.amax(-1), probs.shape[1]
            bar = torch.linspace(self.first, self.last, slots, device=probs.device)
            return at_least_one(top > bar, top, masked)               # (B, S)

Both work everywhere without a line here: `generate(model, prompt, "lookup:Lookup,length=8")` or an
object of the class, `python -m bltlab generate|evaluate|bench ... --method lookup:Lookup`,
`apps/demo.py --method lookup:Lookup`, `--unmasking ramp:Ramp:0.4:0.95`. `register(Lookup)` makes
its name known in a session: `explore`, links and saved traces then take "lookup". What is wrong
with a method is said before anything is decoded, where it can be known.
"""

from ..options import option
from ..unmasking import at_least_one
from .autoregressive import Autoregressive
from .block_diffusion import BlockDiffusion
from .branching import branch, branch_of
from .diffusion_verification import DiffusionVerification
from .foresee import foresee
from .foreseen_chain import ForeseenChain
from .foreseen_verification import ForeseenVerification
from .method import (
    METHODS,
    Method,
    fitted,
    header_of,
    method_from_header,
    method_of,
    register,
    why_not,
)
from .moves import accepted_length, ahead, chain, committed, propose, trust, unmask, verify
from .proposal import Proposal
from .rounds import PREFILL, Generation, Stream, generate, stream
from .self_speculation import SelfSpeculation

for _kind in (
    Autoregressive,
    SelfSpeculation,
    ForeseenChain,
    ForeseenVerification,
    BlockDiffusion,
    DiffusionVerification,
):
    register(_kind)

__all__ = [
    "METHODS",
    "PREFILL",
    "Autoregressive",
    "BlockDiffusion",
    "DiffusionVerification",
    "ForeseenChain",
    "ForeseenVerification",
    "Generation",
    "Method",
    "Proposal",
    "SelfSpeculation",
    "Stream",
    "accepted_length",
    "ahead",
    "at_least_one",
    "branch",
    "branch_of",
    "chain",
    "committed",
    "fitted",
    "foresee",
    "generate",
    "header_of",
    "method_from_header",
    "method_of",
    "option",
    "propose",
    "register",
    "stream",
    "trust",
    "unmask",
    "verify",
    "why_not",
]
