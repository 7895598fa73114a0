"""`memory`: the peak of a process that loads a checkpoint."""

import argparse
import subprocess
import sys
import tempfile

from ..config import BLTConfig
from ..model import BLT
from .flags import Benchmark, Report
from .measuring import RANDOM
from .random_checkpoint import save_random

# Run by a process of its own. Its high-water mark is read from /proc (Linux only): getrusage would
# count its parent's.
LOAD = """
import sys, torch, bltlab
bltlab.BLT.from_pretrained(sys.argv[1], dtype=torch.bfloat16, device="cpu")
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(int(line.split()[1]) * 1024)
"""


def memory(arguments: argparse.Namespace, model: None = None) -> Report:
    """Peak memory while a random bf16 checkpoint of a preset's shape is loaded, in both layouts."""
    preset = arguments.model.removeprefix(RANDOM)
    config = BLTConfig.preset(preset, block_size=None)
    shapes = BLT.on_meta(config).state_dict()
    rows = []
    for layout in ("bltlab", "transformers"):
        with tempfile.TemporaryDirectory() as folder:
            disk = save_random(folder, config, shapes, layout)
            peak = _peak_of_loading(folder)
        rows.append(
            dict(
                preset=preset,
                layout=layout,
                disk_gb=disk / 1e9,
                peak_gb=peak / 1e9,
                ratio=peak / disk,
            )
        )
    return {}, rows


def _peak_of_loading(folder: str) -> int:
    """Bytes that a process held at most while it loaded the checkpoint in a folder."""
    command = [sys.executable, "-c", LOAD, folder]
    done = subprocess.run(command, capture_output=True, check=True)
    return int(done.stdout)


MEMORY = Benchmark(
    run=memory,
    help="peak while a random checkpoint of a preset's shape is loaded (9 GB of disk for blt-1b)",
    example="memory --checkpoint preset:nano",
    checkpoint="preset:blt-1b",
    loads=False,
)
