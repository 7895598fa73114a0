"""Everything a training run depends on, as one dataclass: the flags of `python -m bltlab train`."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..config import DECODER_INPUTS, PRESETS
from ..diffusion import RATES, STARTS, WEIGHTINGS
from ..options import check_options, option

# What is None in the options is taken from here: the preset's row, else the first. Measured on 2
# CPU cores.
BUDGETS = {
    None: dict(
        entropy_megabytes=4.0,
        megabytes=15.0,
        length=512,
        report_every=100,
        sample_every=500,
        save_every=200,
    ),
    "tiny": dict(
        entropy_megabytes=0.5,
        megabytes=2.0,
        length=256,
        report_every=50,
        sample_every=100,
        save_every=100,
    ),
}
# Likewise by recipe: what was measured to be best here, and what the paper says (3.2, A.2).
RECIPES: dict[str, dict[str, Any]] = {
    "ours": dict(
        decoder_input=None,
        block_starts="anywhere",
        fully_masked=0.3,
        masking_rates="blocks",
        weighting="mean",
        losses="means",
        optimiser="muon",
        schedule="linear",
        other_rate=2e-3,
    ),
    "paper": dict(
        decoder_input="embedding",
        block_starts="patches",
        fully_masked=0.0,
        masking_rates="samples",
        weighting="inverse_t",
        losses="sums",
        optimiser="adamw",
        schedule="cosine",
        other_rate=4e-4,
    ),
}
SHAPE = "nano"  # the preset, where there is neither one nor a model to start from
BLOCK = 8  # bytes of a block, where neither an option nor a model says another
# What a resumed run may change: none of these alters what is learnt, beyond the order of sums.
FREE = (
    "out",
    "threads",
    "device",
    "parallel",
    "accumulate",
    "report_every",
    "sample_every",
    "save_every",
    "log_to",
)


OPTIMISERS = ("muon", "adamw")
SCHEDULES = ("linear", "cosine")
LOSSES = ("means", "sums")
# Far above any run: beyond them no machine is large enough, or sums are no longer numbers.
MOST_MEGABYTES = 1e7
MOST_WINDOWS = 2**16
MOST_LENGTH = 2**20
MOST_NATS = 100.0
MOST_RATE = 100.0
MOST_WEIGHT = 1e6


def budget(kind: type, help: str, **limits: Any) -> Any:
    """An option whose default goes with the preset."""
    return option(None, f"{help} (default: goes with the preset)", kind=kind, **limits)


def by_recipe(kind: type, help: str, **limits: Any) -> Any:
    """An option whose default goes with the recipe."""
    return option(None, f"{help} (default: goes with the recipe)", kind=kind, **limits)


@dataclass(frozen=True)
class TrainOptions:
    """What a run depends on; None stands for "choose it", and `filled` puts there what goes with
    the preset and the recipe.

    batch_size counts the windows of a whole step, on all devices: neither `accumulate` nor the
    number of processes changes what is learnt. Raises ValueError, naming the option, for a value
    that is not accepted.
    """

    out: str = option(
        "", "folder for the model, the log and the state to resume from (default: runs/PRESET)"
    )
    text: str = option("plain-english", "shipped corpus, any file, folder or hub id")
    preset: str | None = option(
        None, "shape of the model (default nano)", kind=str, choices=PRESETS
    )
    start: str = option(
        "",
        "a BLT or BLT-D to start from (its shape and weights), instead of --preset; its entropy"
        " model is trained on the text first where its patches come out less than half as long as"
        " --patch-length; with --own-text a BLT-D is trained on that alone unless --megabytes is"
        " given",
    )
    entropy_model: str = option(
        "", "a model whose entropy model to take, with its threshold, instead of training one"
    )
    recipe: str = option(
        "ours",
        "ours, or the paper's: what each sets, options say that go with it",
        choices=tuple(RECIPES),
    )
    decoder_input: str | None = option(
        None,
        "what the decoder starts from (default: the preset's, or the paper's)",
        kind=str,
        choices=DECODER_INPUTS,
    )
    block_size: int | None = option(
        None,
        "bytes of a diffusion block; 0 trains a plain BLT (default 8, or that of the model in"
        " --start)",
        kind=int,
        min=0,
        max=64,
    )
    entropy_megabytes: float | None = budget(
        float,
        "text that the entropy model is trained on, in MB; 0 keeps that of --start or"
        " --entropy-model as it is",
        min=0.0,
        max=MOST_MEGABYTES,
    )
    megabytes: float | None = budget(
        float,
        "text that the model is trained on, in MB; 0 trains the entropy model alone, for"
        " --entropy-model",
        min=0.0,
        max=MOST_MEGABYTES,
    )
    patch_length: float | None = option(
        None,
        "mean patch to choose the threshold for, in bytes (default 4; an entropy model that is kept"
        " keeps its threshold)",
        kind=float,
        min=1.0,
        max=8.0,
    )
    threshold: float | None = option(
        None,
        "patch threshold in nats (default: chosen for --patch-length)",
        kind=float,
        min=0.0,
        max=MOST_NATS,
    )
    length: int | None = budget(int, "window in bytes, BOS included", min=16, max=MOST_LENGTH)
    batch_size: int = option(8, "windows a step, on all devices", min=1, max=MOST_WINDOWS)
    accumulate: int = option(
        1,
        "passes that a step is split into on each device, to save memory",
        min=1,
        max=MOST_WINDOWS,
    )
    matrix_rate: float = option(3e-3, "Muon's learning rate, for matrices", min=0.0, max=MOST_RATE)
    other_rate: float | None = by_recipe(
        float,
        "AdamW's learning rate, for embeddings, tables, norms and outputs",
        min=0.0,
        max=MOST_RATE,
    )
    optimiser: str | None = by_recipe(
        str, "muon for matrices and AdamW for the rest, or adamw for all", choices=OPTIMISERS
    )
    schedule: str | None = by_recipe(
        str,
        "how the rates fall: linear, over --decay, or cosine, from the start",
        choices=SCHEDULES,
    )
    warm_up: int = option(40, "steps over which the rates rise (at most a tenth of the run)", min=1)
    decay: float = option(
        0.6, "last share of the run, over which the rates fall to a fiftieth", min=0.0, max=1.0
    )
    clip: float = option(
        1.0, "longest gradient; longer ones are scaled down to it", min=0.001, max=MOST_WEIGHT
    )
    masked_weight: float = option(1.0, "weight of the masked loss", min=0.0, max=MOST_WEIGHT)
    losses: str | None = by_recipe(
        str,
        "of the two losses: means, each over its own bytes, or sums, so that a byte weighs the same"
        " in both",
        choices=LOSSES,
    )
    block_starts: str | None = by_recipe(str, "where training blocks begin", choices=STARTS)
    fully_masked: float | None = by_recipe(
        float, "share of blocks with every byte masked", min=0.0, max=1.0
    )
    masking_rates: str | None = by_recipe(
        str, "what has a masking rate of its own: blocks, or samples of text", choices=RATES
    )
    weighting: str | None = by_recipe(str, "how masked bytes are weighted", choices=WEIGHTINGS)
    slot_decay: float = option(
        1.0,
        "weight of a block's byte against the one before it; below 1 helps BLT-DV, not BLT-D",
        min=0.01,
        max=1.0,
    )
    own_text: float = option(
        0.0,
        "text that the model writes itself, to learn its blocks on, in MB; 0 for none",
        min=0.0,
        max=MOST_MEGABYTES,
    )
    own_greedy: float = option(
        1.0, "share of own text that is greedy; the rest is sampled", min=0.0, max=1.0
    )
    own_refresh: float = option(
        0.5,
        "own text learnt from before the model writes anew, in MB",
        min=0.001,
        max=MOST_MEGABYTES,
    )
    own_fully_masked: float = option(
        0.6, "share of fully masked blocks in own text", min=0.0, max=1.0
    )
    own_next_weight: float = option(
        1.0, "weight of real text's next byte beside own text", min=0.0, max=MOST_WEIGHT
    )
    own_matrix_rate: float = option(
        1e-3, "Muon's learning rate on own text", min=0.0, max=MOST_RATE
    )
    own_other_rate: float = option(
        7e-4, "AdamW's learning rate on own text", min=0.0, max=MOST_RATE
    )
    seed: int = option(0, "seed of weights, order and corruption", min=0, max=2**31 - 1)
    report_every: int | None = budget(int, "steps between measurements on held-out text", min=1)
    sample_every: int | None = budget(
        int, "steps between samples of each decoder, 0 for none", min=0
    )
    save_every: int | None = budget(int, "steps between saved states", min=1)
    precision: str = option(
        "auto",
        "of products in the model: fp32, bf16, or auto: bf16 on a GPU, fp32 on a CPU; the entropy "
        "model and the losses are always fp32",
        choices=("auto", "fp32", "bf16"),
    )
    ship_dtype: str = option(
        "float16",
        "of the weights that are written at the end",
        choices=("float16", "bfloat16", "float32"),
    )
    parallel: str = option(
        "ddp",
        "how several processes (torchrun) share a step: ddp copies the model, fsdp cuts it into "
        "pieces",
        choices=("ddp", "fsdp"),
    )
    log_to: str = option(
        "csv",
        "log.csv is always written; trackio or tensorboard as well",
        choices=("csv", "trackio", "tensorboard"),
    )
    threads: int = option(0, "CPU threads, 0 for torch's own choice", min=0, max=1024)
    device: str = option(
        "auto", "auto is the GPU where there is one", choices=("auto", "cpu", "cuda")
    )

    def __post_init__(self) -> None:
        check_options(self)

    def filled(self) -> "TrainOptions":
        """These options with nothing left to preset and recipe.

        Raises ValueError for values that do not go together.
        """
        self._check_start()
        self._check_own_text()
        defaults = self._defaults()
        left_open = [name for name in defaults if getattr(self, name) in (None, "")]
        filled = replace(self, **{name: defaults[name] for name in left_open})
        filled._check_that_something_is_trained()
        if filled.batch_size % filled.accumulate:
            raise ValueError(
                "batch_size must be a multiple of accumulate,"
                f" got {filled.batch_size} and {filled.accumulate}"
            )
        return filled

    def _defaults(self) -> dict[str, Any]:
        """What stands for None in each option; what models to start from decide is left out."""
        defaults = BUDGETS[None] | BUDGETS.get(self.preset, {}) | RECIPES[self.recipe]
        name = self.preset or Path(self.start).name or SHAPE
        defaults["out"] = f"runs/{name}"
        if not self.start:
            defaults |= {"preset": SHAPE, "block_size": BLOCK}
        if self.start:
            del defaults["decoder_input"]
        if self.start or self.entropy_model:
            del defaults["entropy_megabytes"]
        if self.start and self.own_text:
            defaults["megabytes"] = 0.0
        return defaults

    def _check_start(self) -> None:
        """Raises ValueError for what a model to start from has decided already."""
        if self.start and self.decoder_input:
            raise ValueError(
                f"decoder_input is that of the model in start, {self.start}:"
                " leave one of the two out"
            )

    def _check_own_text(self) -> None:
        """Raises ValueError where there are no blocks to learn."""
        if self.own_text and self.block_size == 0:
            raise ValueError("own_text needs a BLT-D: give block_size, or leave own_text out")

    def _check_that_something_is_trained(self) -> None:
        if not (self.megabytes or self.own_text or self.entropy_megabytes):
            raise ValueError("megabytes and entropy_megabytes are both 0: nothing would be trained")
        if self.entropy_megabytes == 0 and not (self.start or self.entropy_model):
            raise ValueError(
                "entropy_megabytes must be above 0, got 0: without start or entropy_model there is"
                " no entropy model to keep"
            )

    def as_saved(self, before: dict[str, Any]) -> "TrainOptions":
        """These options, what is left open as it was in a saved run."""
        open_ones = [f.name for f in fields(self) if getattr(self, f.name) is None]
        kept = {name: before[name] for name in open_ones if name in before}
        if _kept_entropy_model(before):
            kept["entropy_megabytes"] = 0.0
        return replace(self, **kept)

    def check_resumed(self, before: dict[str, Any]) -> None:
        """Raises ValueError, naming the option, where a saved run cannot go on with these options.

        before: the saved run's options, as a dict. It may be made longer: its learning rates then
        follow the longer run's schedule.
        """
        before = RECIPES["ours"] | before  # what a run of older days had no option for
        if _kept_entropy_model(before):
            before = before | {"entropy_megabytes": 0.0}
        for f in fields(self):
            was = before.get(f.name, f.default)
            now = getattr(self, f.name)
            longer = f.name == "megabytes" and now > was
            if f.name not in FREE and was != now and not longer:
                raise ValueError(
                    f"{f.name} was {was!r} in the saved run and cannot change, got {now!r}"
                )


def _kept_entropy_model(before: dict[str, Any]) -> bool:
    """Is a saved run of a time when --start always kept the model's entropy model?"""
    return bool(before.get("start")) and "entropy_model" not in before
