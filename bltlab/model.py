"""The Byte Latent Transformer: local encoder, global transformer over patches, local decoder.

bytes     T h e ␣ | b y t e | ...
encoder   h h h h | h h h h |        every byte, causal in a window; hash n-grams on the input
pool        o_1   |   o_2   |        each patch's K queries read the bytes of that patch
global      o_1 --> o_2 --> ...      causal over patches: the expensive part, once a patch
decoder   reads o_0 until its patch closes: "T", "h", "e" read o_0, the last byte "␣" reads o_1,
          "b", "y", "t" read o_1, "e" reads o_2, if it is known by then that the next byte opens a patch.
"""

import tempfile
from dataclasses import dataclass, replace

import torch
from torch import nn

from . import checkpoints, vocab
from .config import BLTConfig
from .layers import CrossAttention, RMSNorm, Stack, lay_out_by_column, over_text
from .patching import EntropyModel, Patches, patch_text

PARTS = ("patcher", "encoder", "global_", "decoder")


class HashEmbedding(nn.Module):
    """Sum of one embedding per n-gram size, looked up by a rolling hash of the n ids that end at each byte."""

    def __init__(self, config, dim):
        super().__init__()
        self.config = config
        self.table = nn.Embedding(len(config.sizes) * config.n_rows, dim)
        self.reach = max(config.sizes)
        wrapped = [(config.prime**j + 2**63) % 2**64 - 2**63 for j in range(self.reach)]
        powers = [
            [wrapped[j - (self.reach - n)] if j >= self.reach - n else 0 for n in config.sizes]
            for j in range(self.reach)
        ]
        self.register_buffer("powers", torch.tensor(powers), persistent=False)  # (reach, sizes)
        self.register_buffer(
            "first_rows", torch.arange(len(config.sizes)) * config.n_rows, persistent=False
        )

    def rows(self, windows):
        """windows (B, T, reach): the ids ending at each byte, oldest first, 0 before a document -> (B, T, sizes)."""
        return (windows[..., None] * self.powers).sum(-2) % self.config.n_rows + self.first_rows

    def forward(self, windows):
        return self.table(self.rows(windows)).sum(-2)  # (B, T, D)


def windows(ids, reach):
    """(B, T) ids -> (B, T, reach): the ids that end at each position, oldest first, 0 before the document's BOS."""
    t = torch.arange(ids.shape[1], device=ids.device)
    begins = torch.where(ids == vocab.BOS_ID, t, 0).cummax(1).values  # (B, T)
    source = t[:, None] - torch.arange(reach - 1, -1, -1, device=ids.device)  # (T, reach)
    return ids[:, source.clamp_min(0)] * (source >= begins[..., None])


class LocalEncoder(nn.Module):
    """Bytes to states, and states to one pooled vector of width K * D per patch."""

    def __init__(self, config):
        super().__init__()
        dim, self.keys_per_patch = config.encoder.dim, config.keys_per_patch
        self.embedding = nn.Embedding(vocab.VOCAB_SIZE, dim)
        self.hashes = HashEmbedding(config.hashes, dim)
        self.stack = Stack(config.encoder)
        self.query_projection = nn.Linear(dim, self.keys_per_patch * dim, bias=False)
        self.cross = CrossAttention(
            dim, config.encoder.n_heads, config.encoder.norm_eps, config.doubled_residual
        )

    def forward(self, ids, windows, positions, attend):
        """ids, positions (B, T), windows (B, T, reach) -> states (B, T, D)."""
        return self.stack(self.embedding(ids) + self.hashes(windows), positions, attend)

    def pool(self, states, patch, count):
        """states (B, T, D), patch (B, T) in 0..count, where `count` is a bin for bytes of no patch -> (B, P, K * D)."""
        B, _, D = states.shape
        index = patch[..., None].expand_as(states)
        top = states.new_zeros(B, count + 1, D).scatter_reduce(
            1, index, states, "amax", include_self=False
        )
        queries = self.query_projection(top[:, :count]).unflatten(-1, (self.keys_per_patch, D))
        return self.cross.pool(queries, self.cross.project_keys(states), patch).flatten(2)


class GlobalTransformer(nn.Module):
    """Causal over patches, no final norm."""

    def __init__(self, config):
        super().__init__()
        pooled, dim = config.keys_per_patch * config.encoder.dim, config.global_.dim
        self.projection = nn.Identity() if pooled == dim else nn.Linear(pooled, dim, bias=False)
        self.stack = Stack(config.global_)

    def forward(self, pooled, positions, attend):
        """pooled (B, P, K * D), positions (B, P) -> latents (B, P, G)."""
        return self.stack(self.projection(pooled), positions, attend)


class LocalDecoder(nn.Module):
    """Bytes back to next-byte logits; each layer first reads K vectors of one latent."""

    def __init__(self, config):
        super().__init__()
        c, self.keys_per_patch = config.decoder, config.keys_per_patch
        self.from_embedding = config.decoder_input == "embedding"
        if self.from_embedding or config.block_size:  # blocks and MASK have no encoder state
            self.embedding = nn.Embedding(vocab.VOCAB_SIZE + 1, c.dim)
        self.latent_projection = nn.Linear(
            config.global_.dim, self.keys_per_patch * c.dim, bias=False
        )
        self.cross = nn.ModuleList(
            CrossAttention(c.dim, c.n_heads, c.norm_eps, config.doubled_residual)
            for _ in range(c.n_layers)
        )
        self.stack = Stack(c)
        self.norm = RMSNorm(c.dim, c.norm_eps)
        self.output = nn.Linear(c.dim, vocab.VOCAB_SIZE, bias=False)

    def keys(self, latents):
        """latents (B, P, G) -> one (B, P, K, 2, H, head) a layer: what cross-attention reads, and what a cache keeps."""
        vectors = self.latent_projection(latents).unflatten(-1, (self.keys_per_patch, -1))
        return [cross.project_keys(vectors) for cross in self.cross]

    def inputs(self, ids, states):
        """What a clean byte enters with: its encoder state, or its own embedding."""
        return self.embedding(ids) if self.from_embedding else states

    def forward(self, x, positions, read_keys, attend):
        """x (B, T, D), positions (B, T), read_keys(layer) -> (B, T or 1, K, 2, H, head) -> logits (B, T, V)."""
        x = self.stack(
            x,
            positions,
            attend,
            before=lambda layer, x: self.cross[layer].read(x, read_keys(layer)),
        )
        logits = self.output(self.norm(x))
        return logits.float() if logits.itemsize < 4 else logits


@dataclass(frozen=True)
class BLTOutput:
    """logits (B, T, V), entropies (B, T) in nats, latents (B, P, G), patches."""

    logits: torch.Tensor
    entropies: torch.Tensor
    latents: torch.Tensor
    patches: Patches


@dataclass(frozen=True)
class Encoded:
    """A text up to the decoder's door: what `BLT.decode` and the diffusion loss start from."""

    ids: torch.Tensor  # (B, T), padding as id 0
    document: torch.Tensor  # (B, T), numbers packed documents
    states: torch.Tensor  # (B, T, D)
    keys: list  # per decoder layer (B, P, K, 2, H, head)
    entropies: torch.Tensor  # (B, T)
    latents: torch.Tensor  # (B, P, G)
    patches: Patches

    @property
    def positions(self):
        return torch.arange(self.ids.shape[1], device=self.ids.device).expand_as(self.ids)


class BLT(nn.Module):
    """A function from ids to logits. No cache lives here: `bltlab.DecodingState` holds one."""

    def __init__(self, config):
        super().__init__()
        if not isinstance(config, BLTConfig):
            raise TypeError(f"config must be a BLTConfig, got {type(config).__name__}")
        self.config, self.name = config, "blt"
        self.patcher = EntropyModel(config.patcher)
        self.encoder = LocalEncoder(config)
        self.global_ = GlobalTransformer(config)
        self.decoder = LocalDecoder(config)

    @property
    def device(self):
        return self.decoder.output.weight.device

    @property
    def dtype(self):
        return self.decoder.output.weight.dtype

    def patch(self, ids):
        """`Patches` and entropies (B, T) of ids (B, T), -1 at right padding."""
        return patch_text(self.config.patcher, self.patcher, ids, documents(ids))

    def encode(self, ids, patches=None):
        """ids (B, T), -1 at right padding -> `Encoded`. `patches` is (Patches, entropies) where they are known."""
        document, known = documents(ids), ids.clamp_min(0)
        patches, entropies = patches or self.patch(ids)
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        states = self.encoder(
            known,
            windows(known, self.encoder.hashes.reach),
            positions,
            over_text(document, self.config.encoder.window),
        )
        count = patches.count
        pooled = self.encoder.pool(states, patches.ids.masked_fill(~patches.valid, count), count)
        patch_document = torch.zeros_like(pooled[..., 0], dtype=torch.long).scatter(
            1, patches.ids, document
        )
        patch_positions = torch.arange(count, device=ids.device).expand(len(ids), -1)
        latents = self.global_(
            pooled, patch_positions, over_text(patch_document, self.config.global_.window)
        )
        return Encoded(
            known, document, states, self.decoder.keys(latents), entropies, latents, patches
        )

    def decode(self, encoded):
        """`Encoded` -> next-byte logits (B, T, V)."""
        row = torch.arange(len(encoded.ids), device=encoded.ids.device)[:, None]
        return self.decoder(
            self.decoder.inputs(encoded.ids, encoded.states),
            encoded.positions,
            lambda layer: encoded.keys[layer][row, encoded.patches.reads],
            over_text(encoded.document, self.config.decoder.window),
        )

    def forward(self, ids, patches=None):
        """ids (B, T), each row from BOS on, -1 at right padding; several documents may be packed, BOS before each."""
        encoded = self.encode(ids, patches)
        return BLTOutput(self.decode(encoded), encoded.entropies, encoded.latents, encoded.patches)

    def parameter_counts(self):
        """Parameters by part, embedding tables apart under `tables`: no pass reads more than a few of their rows."""
        tables = {
            id(p) for m in self.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
        }
        counts = {
            part: sum(p.numel() for p in getattr(self, part).parameters() if id(p) not in tables)
            for part in PARTS
        }
        return counts | {"tables": sum(p.numel() for p in self.parameters() if id(p) in tables)}

    def weight_bytes(self):
        """Bytes of the weights that one pass of each part reads, embedding tables left out; `pool` and `keys` go with the
        global transformer: they run once a patch."""
        size = lambda *modules: sum(p.nbytes for m in modules for p in m.parameters())
        d, e = self.decoder, self.encoder
        keys = size(
            d.latent_projection,
            *(m for cross in d.cross for m in (cross.key_norm, cross.key_value)),
        )
        table = size(d.embedding) if hasattr(d, "embedding") else 0
        return {
            "patcher": size(self.patcher) - size(self.patcher.embedding),
            "encoder": size(e.stack),
            "pool": size(e.query_projection, e.cross),
            "global_": size(self.global_),
            "keys": keys,
            "decoder": size(d) - keys - table,
        }

    def initialise(self, seed=0):
        """Fill all weights from `seed`: normal with std fan_in^-1/2 (tables: 0.02), residual outputs smaller."""
        generator = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.ndim < 2:
                continue
            std = 0.02 if "embedding" in name or "table" in name else p.shape[1] ** -0.5
            std *= 0.3 if name.endswith(("out.weight", "down.weight")) else 1.0
            with torch.no_grad():
                p.copy_(torch.randn(p.shape, generator=generator) * std)
        return self

    @classmethod
    def on_meta(cls, config):
        """The model's shape without its weights: to count, to check, to load into."""
        with torch.device("meta"):
            return cls(config)

    @classmethod
    def from_pretrained(cls, name, *, device="auto", dtype=torch.float32):
        """A model from a folder, a name shipped with bltlab ("blt-d-nano") or a hub id, in eval mode.

        Folders may be in our layout, transformers' or the original. device "auto" is the GPU where there is one; dtype
        None keeps what is stored. Raises FileNotFoundError for a missing folder or file, ValueError
        for a file that is damaged or does not fit its config.
        """
        folder = checkpoints.resolve(name)
        config, tensors = checkpoints.load(folder, lambda config: cls.on_meta(config).state_dict())
        model = cls.on_meta(config)
        model.load_state_dict(tensors, assign=True)
        for module in model.modules():  # buffers are not stored: compute them again
            if isinstance(module, HashEmbedding):
                fresh = HashEmbedding(module.config, 1)
                module.powers, module.first_rows = fresh.powers, fresh.first_rows
        model.name = folder.name
        if not (dtype is None or isinstance(dtype, torch.dtype)):
            raise TypeError(
                f"dtype must be a torch dtype such as torch.bfloat16, or None, got {dtype!r}"
            )
        model = model.to(resolve_device(device), dtype).eval()
        return (
            lay_out_by_column(model)
            if (model.device.type, model.dtype) == ("cpu", torch.float32)
            else model
        )

    def save_pretrained(self, folder, dtype=None, **options):
        """Write `config.json` and safetensors, cast to `dtype` where given; each file whole or not at all.

        options: `layout` ("bltlab" or "transformers"), `shard_bytes`, `files`, as `checkpoints.save` takes them.
        """
        tensors = {
            name: p.detach().cpu().to(dtype or p.dtype).contiguous()
            for name, p in self.state_dict().items()
        }
        checkpoints.save(folder, self.config, tensors, **options)

    def push_to_hub(self, repo_id, dtype=None, **options):
        """Create the hub repository where it is missing and upload what `save_pretrained` writes; returns its address."""
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype, **options)
            address = HfApi().create_repo(repo_id, exist_ok=True)
            HfApi().upload_folder(repo_id=repo_id, folder_path=folder)
        return str(address)


def diffuse_from(blt, block_size=8, seed=0):
    """A BLT-D that starts from an autoregressive BLT: its weights, and a new embedding for the bytes of blocks and MASK.

    The new rows start as the encoder's byte embeddings, MASK as their mean, so only `decoder.embedding` is untrained.
    """
    if blt.config.block_size is not None:
        raise ValueError(
            f"diffuse_from needs a plain BLT, this one is a BLT-D with blocks of {blt.config.block_size}"
        )
    model = (
        BLT(replace(blt.config, block_size=block_size)).initialise(seed).to(blt.device, blt.dtype)
    )
    model.load_state_dict(blt.state_dict(), strict=False)
    if not model.decoder.from_embedding:
        rows = blt.encoder.embedding.weight.detach()
        with torch.no_grad():
            model.decoder.embedding.weight.copy_(torch.cat([rows, rows.mean(0, keepdim=True)]))
    model.name = f"{blt.name}-d"
    return model


def documents(ids):
    """(B, T): the number of the packed document each id belongs to."""
    return (ids == vocab.BOS_ID).cumsum(1)


def resolve_device(device):
    """ "auto" -> the GPU where there is one, else the CPU."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
