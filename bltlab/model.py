"""The Byte Latent Transformer: local encoder, global transformer over patches, local decoder.

bytes     T h e ␣ | b y t e | ...
encoder   h h h h | h h h h |        every byte, causal in a window; hash n-grams on the input
pool        o_1   |   o_2   |        each patch's K queries read the bytes of that patch
global      o_1 --> o_2 --> ...      causal over patches: the expensive part, once a patch
decoder   reads o_0 until its patch closes: "T", "h", "e" read o_0, the last byte "␣" reads o_1,
          "b", "y", "t" read o_1, "e" reads o_2, if it is known by then that the next byte opens
          a patch.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoints, memory, vocab
from .config import BLTConfig, HashConfig
from .layers import Attend, CrossAttention, RMSNorm, Stack, lay_out_by_column, over_text
from .masks import row_numbers
from .patching import EntropyModel, Patches, patch_text
from .transfer import send

PARTS = ("patcher", "encoder", "global_", "decoder")

# -- parts -----------------------------------------------------------------------------------------


class HashEmbedding(nn.Module):
    """Sum of one embedding for each size n, looked up by a hash of the n ids that end at a byte.

    The hash is a polynomial in int64 that wraps around, as the released weights expect.
    """

    def __init__(self, config: HashConfig, dim: int):
        super().__init__()
        self.config = config
        self.table = nn.Embedding(len(config.sizes) * config.n_rows, dim)
        self.reach = max(config.sizes)
        self.compute_buffers()

    def compute_buffers(self) -> None:
        """Make what follows from the config and is not stored with the weights.

        powers (reach, sizes): what each of the last `reach` ids is multiplied by, oldest first, 0
        where an n-gram does not reach back that far. first_rows (sizes,): where in the table each
        size begins.
        """
        n_sizes = len(self.config.sizes)
        powers = torch.zeros(self.reach, n_sizes, dtype=torch.long)
        for column, n in enumerate(self.config.sizes):
            for j in range(n):
                power = self.config.prime**j
                powers[self.reach - n + j, column] = _wrapped(power)
        first_rows = torch.arange(n_sizes) * self.config.n_rows
        self.register_buffer("powers", powers, persistent=False)
        self.register_buffer("first_rows", first_rows, persistent=False)

    def rows(self, grams: Tensor) -> Tensor:
        """Rows of the table (B, T, sizes), of `grams` (B, T, reach) as the function gives them."""
        hashes = (grams[..., None] * self.powers).sum(-2)
        return hashes % self.config.n_rows + self.first_rows

    def forward(self, grams: Tensor) -> Tensor:
        """(B, T, D) of grams (B, T, reach)."""
        return self.table(self.rows(grams)).sum(-2)


def _wrapped(number: int) -> int:
    """A whole number as int64 holds it after it wrapped around.

    >>> _wrapped(2**63), _wrapped(7)
    (-9223372036854775808, 7)
    """
    return (number + 2**63) % 2**64 - 2**63


def grams(ids: Tensor, reach: int) -> Tensor:
    """(B, T, reach): the ids that end at each position, oldest first, 0 before the document's BOS.

    ids (B, T).

    >>> grams(torch.tensor([[1, 70, 71]]), 2).tolist()
    [[[0, 1], [1, 70], [70, 71]]]
    """
    t = torch.arange(ids.shape[1], device=ids.device)
    begins = torch.where(ids == vocab.BOS_ID, t, 0).cummax(1).values  # (B, T)
    back = torch.arange(reach - 1, -1, -1, device=ids.device)
    source = t[:, None] - back  # (T, reach)
    in_document = source >= begins[..., None]
    return ids[:, source.clamp_min(0)] * in_document


windows = grams  # its first name


class LocalEncoder(nn.Module):
    """Bytes to states, and the states of a patch to one pooled vector of width K * D."""

    def __init__(self, config: BLTConfig):
        super().__init__()
        stack = config.encoder
        dim = stack.dim
        self.keys_per_patch = config.keys_per_patch
        self.embedding = nn.Embedding(vocab.VOCAB_SIZE, dim)
        self.hashes = HashEmbedding(config.hashes, dim)
        self.stack = Stack(stack)
        self.query_projection = nn.Linear(dim, self.keys_per_patch * dim, bias=False)
        self.cross = CrossAttention(dim, stack.n_heads, stack.norm_eps, config.doubled_residual)

    def forward(self, ids: Tensor, grams: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """States (B, T, D) of ids at positions, both (B, T), with grams (B, T, reach)."""
        return self.stack(self.embedding(ids) + self.hashes(grams), positions, attend)

    def pool(self, states: Tensor, patch: Tensor, count: int) -> Tensor:
        """(B, P, K * D): each patch's queries, made of its largest states, read its bytes.

        states (B, T, D); patch (B, T) in 0..count, where `count` is a bin for bytes of no patch.
        """
        B, _, D = states.shape
        index = patch[..., None].expand_as(states)
        largest = states.new_zeros(B, count + 1, D).scatter_reduce(
            1, index, states, "amax", include_self=False
        )
        queries = self.query_projection(largest[:, :count])
        queries = queries.unflatten(-1, (self.keys_per_patch, D))
        keys = self.cross.project_keys(states)
        return self.cross.pool(queries, keys, patch).flatten(2)


class GlobalTransformer(nn.Module):
    """Pooled patches to latents: causal over patches, no final norm."""

    def __init__(self, config: BLTConfig):
        super().__init__()
        pooled = config.keys_per_patch * config.encoder.dim
        dim = config.global_.dim
        self.projection: nn.Module = nn.Identity()
        if pooled != dim:
            self.projection = nn.Linear(pooled, dim, bias=False)
        self.stack = Stack(config.global_)

    def forward(self, pooled: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Latents (B, P, G) of pooled (B, P, K * D) at positions (B, P)."""
        return self.stack(self.projection(pooled), positions, attend)


class LocalDecoder(nn.Module):
    """Bytes back to next-byte logits; each layer first reads K vectors of one latent."""

    def __init__(self, config: BLTConfig):
        super().__init__()
        stack = config.decoder
        dim = stack.dim
        self.keys_per_patch = config.keys_per_patch
        self.from_embedding = config.decoder_input == "embedding"
        if self.from_embedding or config.block_size:  # blocks and MASK have no encoder state
            self.embedding = nn.Embedding(vocab.VOCAB_SIZE + 1, dim)
        self.latent_projection = nn.Linear(
            config.global_.dim, self.keys_per_patch * dim, bias=False
        )
        self.cross = nn.ModuleList(
            CrossAttention(dim, stack.n_heads, stack.norm_eps, config.doubled_residual)
            for _ in range(stack.n_layers)
        )
        self.stack = Stack(stack)
        self.norm = RMSNorm(dim, stack.norm_eps)
        self.output = nn.Linear(dim, vocab.VOCAB_SIZE, bias=False)

    def keys(self, latents: Tensor) -> list[Tensor]:
        """For each layer (B, P, K, 2, H, head): what cross-attention reads, and a cache keeps.

        latents (B, P, G).
        """
        vectors = self.latent_projection(latents).unflatten(-1, (self.keys_per_patch, -1))
        return [cross.project_keys(vectors) for cross in self.cross]

    def inputs(self, ids: Tensor, states: Tensor) -> Tensor:
        """What clean bytes enter with (B, T, D): their encoder states, or own embeddings."""
        return self.embedding(ids) if self.from_embedding else states

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        read_keys: Callable[[int], Tensor],
        attend: Attend,
    ) -> Tensor:
        """Logits (B, T, V), in fp32 at least, of x (B, T, D) at positions (B, T).

        read_keys(layer) -> (B, T or 1, K, 2, H, head): those of the latent that each byte reads.
        """

        def read_latents(layer: int, x: Tensor) -> Tensor:
            return self.cross[layer].read(x, read_keys(layer))

        x = self.stack(x, positions, attend, before=read_latents)
        logits = self.output(self.norm(x))
        return logits.float() if logits.itemsize < 4 else logits


# -- the model -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BLTOutput:
    """What a forward pass returns.

    logits (B, T, V); entropies (B, T) in nats; latents (B, P, G); patches of ids (B, T).
    """

    logits: Tensor
    entropies: Tensor
    latents: Tensor
    patches: Patches


@dataclass(frozen=True)
class Encoded:
    """A text up to the decoder: what `BLT.decode` and the diffusion loss start from.

    ids (B, T), padding as id 0; document (B, T) numbers the packed documents; states (B, T, D);
    keys: for each decoder layer (B, P, K, 2, H, head); entropies (B, T) in nats; latents (B, P, G).
    """

    ids: Tensor
    document: Tensor
    states: Tensor
    keys: list[Tensor]
    entropies: Tensor
    latents: Tensor
    patches: Patches

    @property
    def positions(self) -> Tensor:
        """(B, T): 0, 1, 2, ... in each row."""
        t = torch.arange(self.ids.shape[1], device=self.ids.device)
        return t.expand_as(self.ids)


class BLT(nn.Module):
    """A function from ids to logits. No cache lives here: `bltlab.DecodingState` holds one.

    Ids may lie on any device; what comes back lies where the weights are.
    Raises TypeError for what is not a `BLTConfig`, ValueError for a patch rule that is not known.
    """

    def __init__(self, config: BLTConfig):
        super().__init__()
        if not isinstance(config, BLTConfig):
            raise TypeError(f"config must be a BLTConfig, got {type(config).__name__}")
        self.config = config
        self.name = "blt"
        self.patcher = EntropyModel(config.patcher)
        self.encoder = LocalEncoder(config)
        self.global_ = GlobalTransformer(config)
        self.decoder = LocalDecoder(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in, the entropy model's apart."""
        return self.decoder.output.weight.dtype

    # -- forward -----------------------------------------------------------------------------------

    def patch(self, ids: Tensor) -> tuple[Patches, Tensor]:
        """`Patches` and entropies (B, T) in nats of ids (B, T), -1 at right padding."""
        ids = send(ids, self.device)
        return patch_text(self.config.patcher, self.patcher, ids, document_numbers(ids))

    def encode(self, ids: Tensor, patches: tuple[Patches, Tensor] | None = None) -> Encoded:
        """`Encoded` of ids (B, T), -1 at right padding.

        patches: (`Patches`, entropies) where they are known; else the entropy model finds them.
        """
        ids = send(ids, self.device)
        document = document_numbers(ids)
        known = ids.clamp_min(0)
        found, entropies = patches or self.patch(ids)
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        n_grams = grams(known, self.encoder.hashes.reach)
        attend = over_text(document, self.config.encoder.window)
        states = self.encoder(known, n_grams, positions, attend)
        latents = self._latents(states, found, document)
        keys = self.decoder.keys(latents)
        return Encoded(known, document, states, keys, entropies, latents, found)

    def _latents(self, states: Tensor, patches: Patches, document: Tensor) -> Tensor:
        """Latents (B, P, G) of all patches of encoder states (B, T, D)."""
        count = patches.count
        bins = patches.ids.masked_fill(~patches.valid, count)
        pooled = self.encoder.pool(states, bins, count)
        no_document = torch.zeros_like(pooled[..., 0], dtype=torch.long)  # (B, P)
        patch_document = no_document.scatter(1, patches.ids, document)
        positions = torch.arange(count, device=states.device).expand(len(states), -1)
        attend = over_text(patch_document, self.config.global_.window)
        return self.global_(pooled, positions, attend)

    def decode(self, encoded: Encoded) -> Tensor:
        """Next-byte logits (B, T, V)."""
        row = row_numbers(encoded.ids)
        reads = encoded.patches.reads
        return self.decoder(
            self.decoder.inputs(encoded.ids, encoded.states),
            encoded.positions,
            lambda layer: encoded.keys[layer][row, reads],
            over_text(encoded.document, self.config.decoder.window),
        )

    def forward(self, ids: Tensor, patches: tuple[Patches, Tensor] | None = None) -> BLTOutput:
        """`BLTOutput` of ids (B, T), each row from BOS on, -1 at right padding.

        Several documents may be packed in a row, BOS before each. patches: as `encode` takes them.
        """
        encoded = self.encode(ids, patches)
        return BLTOutput(self.decode(encoded), encoded.entropies, encoded.latents, encoded.patches)

    # -- speed -------------------------------------------------------------------------------------

    def compile(self, batches: bool = False) -> None:
        """Have decoding run by compiled steps from now on: the same bytes, several times as fast.

        The first time takes a minute or two, and a C++ compiler; then what was compiled comes from
        a folder of the user's (`bltlab.compiling.cache_folder`) in seconds. batches: several texts
        at once as well, which takes as long again. There is one set of weights: they are laid
        out by row, in which what is not compiled takes longer. Where steps cannot be compiled a
        warning says why, and decoding goes on as before. A model that is moved or cast afterwards
        is to be compiled again.
        """
        from .compiled import compile_model

        compile_model(self, batches)

    # -- sizes -------------------------------------------------------------------------------------

    def parameter_counts(self) -> dict[str, int]:
        """Parameters by part, and apart from them under `tables` those of all embedding tables.

        No pass reads more than a few rows of a table.
        """
        embeddings = [module for module in self.modules() if isinstance(module, nn.Embedding)]
        tables = {id(module.weight) for module in embeddings}
        counts = {}
        for part in PARTS:
            weights = getattr(self, part).parameters()
            counts[part] = sum(w.numel() for w in weights if id(w) not in tables)
        counts["tables"] = sum(module.weight.numel() for module in embeddings)
        return counts

    def weight_bytes(self) -> dict[str, int]:
        """Bytes of the weights that one pass of each part reads, embedding tables left out.

        `pool` and `keys` go with the global transformer: they run once a patch.
        """
        decoder = self.decoder
        encoder = self.encoder
        keys = _bytes_of(decoder.latent_projection)
        keys += sum(_bytes_of(cross.key_norm, cross.key_value) for cross in decoder.cross)
        table = _bytes_of(decoder.embedding) if hasattr(decoder, "embedding") else 0
        return {
            "patcher": _bytes_of(self.patcher) - _bytes_of(self.patcher.embedding),
            "encoder": _bytes_of(encoder.stack),
            "pool": _bytes_of(encoder.query_projection, encoder.cross),
            "global_": _bytes_of(self.global_),
            "keys": keys,
            "decoder": _bytes_of(decoder) - keys - table,
        }

    # -- weights -----------------------------------------------------------------------------------

    def initialise(self, seed: int = 0) -> "BLT":
        """The model, all weights filled from `seed`.

        Normal with std fan_in^-1/2 (tables: 0.02), what feeds a residual 0.3 of that; norms stay 1.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                continue
            is_table = "embedding" in name or "table" in name
            std = 0.02 if is_table else weight.shape[1] ** -0.5
            if name.endswith(("out.weight", "down.weight")):
                std *= 0.3
            with torch.no_grad():
                drawn = torch.randn(weight.shape, generator=generator, device="cpu")
                weight.copy_(drawn * std)
        return self

    @classmethod
    def on_meta(cls, config: BLTConfig) -> "BLT":
        """A model without weights, on torch's meta device: to count, to check, to load into."""
        with torch.device("meta"):
            return cls(config)

    @classmethod
    @memory.needed()
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype | None = torch.float32,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        subfolder: str = "",
    ) -> "BLT":
        """A model in eval mode, from a folder, a name shipped with bltlab or a hub id.

        Folders may be in our layout, transformers' or the original.

        name: such as "blt-d-nano". device: "auto" is the GPU where there is one. dtype: None keeps
        what is stored. subfolder: where in the folder or repository the model is.
        Of a hub id only: revision (a branch, tag or commit), token (True: the one of your login),
        cache_dir (where downloads go), local_files_only (use what was downloaded before).
        Raises FileNotFoundError for a missing folder or file, ValueError for a file that is damaged
        or does not fit its config and for a device that is not here, TypeError for what is not a
        device or a dtype.
        """
        place = resolve_device(device)
        if not (dtype is None or isinstance(dtype, torch.dtype)):
            raise TypeError(
                f"dtype must be a torch dtype such as torch.bfloat16, or None, got {dtype!r}"
            )
        folder = checkpoints.resolve(
            name,
            subfolder,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        config, tensors = checkpoints.load(folder, lambda config: cls.on_meta(config).state_dict())
        model = cls.on_meta(config)
        model.load_state_dict(tensors, assign=True)
        model.encoder.hashes.compute_buffers()  # they are not stored
        from_hub = not Path(name).exists()  # there a folder is named by its commit
        model.name = Path(subfolder or name).name if from_hub else folder.name
        model = model.to(place, dtype).eval()
        if model.device.type == "cpu" and model.dtype == torch.float32:
            lay_out_by_column(model)
        return model

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype | None = None, **options: Any
    ) -> None:
        """Write `config.json` and safetensors, each file whole or not at all.

        dtype: cast to it, where given. options: `layout` ("bltlab" or "transformers"),
        `shard_bytes` and `files`, as `checkpoints.save` takes them.
        """
        tensors = {
            name: weight.detach().cpu().to(dtype or weight.dtype).contiguous()
            for name, weight in self.state_dict().items()
        }
        checkpoints.save(folder, self.config, tensors, **options)

    def push_to_hub(self, repo_id: str, dtype: torch.dtype | None = None, **options: Any) -> str:
        """The address of a hub repository, after uploading what `save_pretrained` writes.

        The repository is created where it is missing.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype, **options)
            address = HfApi().create_repo(repo_id, exist_ok=True)
            HfApi().upload_folder(repo_id=repo_id, folder_path=folder)
        return str(address)


def _bytes_of(*modules: Any) -> int:
    """Bytes of all weights of some modules."""
    return sum(weight.nbytes for module in modules for weight in module.parameters())


def diffuse_from(blt: BLT, block_size: int = 8, seed: int = 0) -> BLT:
    """A BLT-D that starts from an autoregressive BLT: its weights, and an embedding for blocks.

    That embedding is of the bytes of blocks and MASK. Its rows start as the encoder's byte
    embeddings, MASK as their mean, so only `decoder.embedding` is untrained.
    Raises ValueError for a model that is a BLT-D already.
    """
    trained = blt.config.block_size
    if trained is not None:
        raise ValueError(
            f"diffuse_from needs a plain BLT, this one is a BLT-D with blocks of {trained}"
        )
    config = replace(blt.config, block_size=block_size)
    model = BLT(config).initialise(seed).to(blt.device, blt.dtype)
    model.load_state_dict(blt.state_dict(), strict=False)
    if not model.decoder.from_embedding:
        rows = blt.encoder.embedding.weight.detach()
        with torch.no_grad():
            mask = rows.mean(0, keepdim=True)
            model.decoder.embedding.weight.copy_(torch.cat([rows, mask]))
    model.name = f"{blt.name}-d"
    return model


def document_numbers(ids: Tensor) -> Tensor:
    """(B, T): the number of the packed document that each id belongs to, from 1 on.

    >>> document_numbers(torch.tensor([[1, 70, 2, 1, 71]])).tolist()
    [[1, 1, 1, 2, 2]]
    """
    return (ids == vocab.BOS_ID).cumsum(1)


documents = document_numbers  # its first name


def resolve_device(device: str | torch.device) -> torch.device:
    """The device, by its name; for "auto" the GPU where there is one, else the CPU.

    Raises TypeError for what is no name, ValueError for a device that is unknown or not here.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(
            f'device must be "auto" or a name such as "cpu" or "cuda:1", got {device!r}'
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device must be auto, cpu, cuda, cuda:1 or another that torch knows, got {device!r}"
        ) from None
    module = getattr(torch, found.type, None)  # such as torch.cuda
    count = module.device_count() if hasattr(module, "device_count") else 0
    if (found.index or 0) >= count:
        raise ValueError(
            f"device {found} is not available: torch finds {count or 'no'} {found.type} here,"
            " use auto or cpu"
        )
    return found
