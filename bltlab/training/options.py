"""Everything a training run depends on, as one dataclass: the flags of `python -m bltlab train`."""

from dataclasses import dataclass, fields, replace
from typing import Any

from ..config import DECODER_INPUTS, PRESETS
from ..diffusion import STARTS, WEIGHTINGS
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


def budget(kind: type, help: str, **limits: Any) -> Any:
    """An option whose default goes with the preset."""
    return option(None, f"{help} (default: goes with the preset)", kind=kind, **limits)


@dataclass(frozen=True)
class TrainOptions:
    """What a run depends on; None stands for "choose it", and `filled` puts the preset's numbers
    there.

    batch_size counts the windows of a whole step, on all devices: neither `accumulate` nor the
    number of processes changes what is learnt. Raises ValueError, naming the option, for a value
    that is not accepted.
    """

    out: str = option(
        "", "folder for the model, the log and the state to resume from (default: runs/PRESET)"
    )
    text: str = option("plain-english", "shipped corpus, any file, folder or hub id")
    preset: str = option("nano", "shape of the model", choices=PRESETS)
    start: str = option(
        "",
        "a BLT to start from (its shape, patches, weights), instead of --preset; with --own-text a"
        " BLT-D, which is then trained on that alone unless --megabytes is given",
    )
    decoder_input: str | None = option(
        None,
        "what the decoder starts from (default: the preset's)",
        kind=str,
        choices=DECODER_INPUTS,
    )
    block_size: int = option(8, "bytes of a diffusion block; 0 trains a plain BLT", min=0, max=64)
    entropy_megabytes: float | None = budget(
        float, "text that the entropy model is trained on, in MB", min=0.001
    )
    megabytes: float | None = budget(float, "text that the model is trained on, in MB", min=0.0)
    patch_length: float = option(
        4.0, "mean patch to choose the threshold for, in bytes", min=1.0, max=8.0
    )
    threshold: float | None = option(
        None, "patch threshold in nats (default: chosen for --patch-length)", kind=float, min=0.0
    )
    length: int | None = budget(int, "window in bytes, BOS included", min=16)
    batch_size: int = option(8, "windows a step, on all devices", min=1)
    accumulate: int = option(
        1, "passes that a step is split into on each device, to save memory", min=1
    )
    matrix_rate: float = option(3e-3, "Muon's learning rate, for matrices", min=0.0)
    other_rate: float = option(
        2e-3, "AdamW's learning rate, for embeddings, tables, norms and outputs", min=0.0
    )
    warm_up: int = option(40, "steps over which the rates rise (at most a tenth of the run)", min=1)
    decay: float = option(
        0.6, "last share of the run, over which the rates fall to a fiftieth", min=0.0, max=1.0
    )
    clip: float = option(1.0, "longest gradient; longer ones are scaled down to it", min=0.001)
    masked_weight: float = option(1.0, "weight of the masked loss", min=0.0)
    block_starts: str = option("anywhere", "where training blocks begin", choices=STARTS)
    fully_masked: float = option(0.3, "share of blocks with every byte masked", min=0.0, max=1.0)
    weighting: str = option("inverse_t", "how masked bytes are weighted", choices=WEIGHTINGS)
    own_text: float = option(
        0.0, "text that the model writes itself, to learn its blocks on, in MB; 0 for none", min=0.0
    )
    own_greedy: float = option(
        1.0, "share of own text that is greedy; the rest is sampled", min=0.0, max=1.0
    )
    own_refresh: float = option(
        0.5, "own text learnt from before the model writes anew, in MB", min=0.001
    )
    own_fully_masked: float = option(
        0.6, "share of fully masked blocks in own text", min=0.0, max=1.0
    )
    own_next_weight: float = option(1.0, "weight of real text's next byte beside own text", min=0.0)
    own_matrix_rate: float = option(1e-3, "Muon's learning rate on own text", min=0.0)
    own_other_rate: float = option(7e-4, "AdamW's learning rate on own text", min=0.0)
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
        """These options with nothing left to the preset.

        Raises ValueError for values that do not go together.
        """
        self._check_start()
        self._check_own_text()
        budgets: dict[str, Any] = (
            BUDGETS[None] | BUDGETS.get(self.preset, {}) | {"out": f"runs/{self.preset}"}
        )
        if self.start and self.own_text:
            budgets["megabytes"] = 0.0
        left_open = [name for name in budgets if getattr(self, name) in (None, "")]
        filled = replace(self, **{name: budgets[name] for name in left_open})
        if filled.batch_size % filled.accumulate:
            raise ValueError(
                "batch_size must be a multiple of accumulate,"
                f" got {filled.batch_size} and {filled.accumulate}"
            )
        return filled

    def _check_start(self) -> None:
        """Raises ValueError for what a model to start from has decided already."""
        if self.start and (self.threshold is not None or self.decoder_input):
            name = "decoder_input" if self.decoder_input else "threshold"
            raise ValueError(
                f"{name} is that of the model in start, {self.start}: leave one of the two out"
            )

    def _check_own_text(self) -> None:
        """Raises ValueError where there are no blocks to learn."""
        if self.own_text and not self.block_size:
            raise ValueError("own_text needs a BLT-D: give block_size, or leave own_text out")

    def check_resumed(self, before: dict[str, Any]) -> None:
        """Raises ValueError, naming the option, where a saved run cannot go on with these options.

        before: the saved run's options, as a dict. It may be made longer: its learning rates then
        follow the longer run's schedule.
        """
        for f in fields(self):
            was = before.get(f.name, f.default)
            now = getattr(self, f.name)
            longer = f.name == "megabytes" and now > was
            if f.name not in FREE and was != now and not longer:
                raise ValueError(
                    f"{f.name} was {was!r} in the saved run and cannot change, got {now!r}"
                )
