"""Random small-margin models in float64: a mismatch is a logic error, not rounding, and no law hides behind a big margin."""

from dataclasses import replace

import pytest
import torch

from bltlab import vocab
from bltlab.config import BLTConfig, HashConfig, PatcherConfig, TransformerConfig
from bltlab.model import BLT

torch.set_num_threads(1)


def random_ids(seed, length, alphabet=12, documents=1):
    """(length,) ids: BOS, then bytes of a small alphabet, so that n-grams repeat; BOS opens further documents."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(101, 101 + alphabet, (length,), generator=g)
    ids[0] = vocab.BOS_ID
    for at in torch.randperm(max(length - 4, 0), generator=g)[:documents - 1] + 2:
        ids[at] = vocab.BOS_ID
    return ids


def random_model(seed=0, *, bytes_per_patch=3.0, max_patch_length=8, window=12, decoder_input="encoder", block_size=8,
                 keys_per_patch=2, global_dim=48, n_encoder=1, rule="entropy", doubled_residual=True):
    """A BLT of random weights whose threshold sits midway in a gap between entropies seen on random text."""
    config = BLTConfig(
        patcher=PatcherConfig(16, 2, 2, 24, window=window, max_patch_length=max_patch_length, rule=rule),
        encoder=TransformerConfig(24, n_encoder, 2, 32, window=window), global_=TransformerConfig(global_dim, 2, 4, 64),
        decoder=TransformerConfig(24, 2, 2, 32, window=window), hashes=HashConfig((2, 3, 5), 61),
        keys_per_patch=keys_per_patch, decoder_input=decoder_input, block_size=block_size,
        doubled_residual=doubled_residual, max_length=512)
    model = BLT(config).initialise(seed).double().eval().requires_grad_(False)
    for p in model.parameters():                         # embeddings as large as all else: every byte matters
        if p.ndim == 2:
            p.mul_(p.std().reciprocal() * p.shape[1] ** -0.5)
    model.decoder.output.weight.mul_(1.5)
    ids = torch.stack([random_ids(100 + i, 64) for i in range(4)])
    seen = model.patch(ids)[1].flatten().sort().values
    at = int(len(seen) * (1 - 1 / bytes_per_patch))
    at = min(max(at, 1), len(seen) - 1)
    threshold = (seen[at - 1] + seen[at]).item() / 2
    model.config = replace(config, patcher=replace(config.patcher, threshold=threshold))
    return model


@pytest.fixture
def build():
    return random_model
