"""Checks of the exercises: each holds a learner's function beside the library's.

    checks.reads(reads)

An exercise that is still empty passes and says so. A check prints one line where yours agrees;
otherwise it shows the shortest counter-example, and names the mistake where it knows it. The first
line of each check says what your function takes and returns.

One file for each notebook; `comparing.exercise` declares a check, its number, and the typical wrong
answers that it refuses.
"""

from .blanks import corrupt as corrupt
from .blanks import masked_loss as masked_loss
from .blanks import training_mask as training_mask
from .blocks import bounded as bounded
from .blocks import confident as confident
from .blocks import leftmost as leftmost
from .comparing import EXERCISES as EXERCISES
from .comparing import Refused as Refused
from .costs import gigabytes as gigabytes
from .costs import losing as losing
from .drafts import accepted_length as accepted_length
from .drafts import draw as draw
from .drafts import write as write
from .latents import may_read as may_read
from .latents import reads as reads
from .own_drafter import chain_and_block as chain_and_block
from .own_drafter import proposer as proposer
from .own_drafter import whole_round as whole_round
from .patching import cut as cut
from .patching import entropy as entropy
from .patching import opens_next as opens_next
from .released import wrong_writers as wrong_writers
from .state import autoregress as autoregress
from .state import broken_state as broken_state
from .state import is_sound as is_sound
from .tour import encode as encode
from .tour import on_screen as on_screen
from .training import bits_per_byte as bits_per_byte
from .training import threshold as threshold
from .verification import acceptance_rate as acceptance_rate
from .verification import accepted_share as accepted_share
from .verification import good_enough as good_enough
