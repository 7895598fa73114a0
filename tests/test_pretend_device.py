"""A GPU's rules, without one, in processes of their own: the device is there for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow  # its operations are counted one by one
@pytest.mark.parametrize(
    "file, chosen",
    [
        ("on_pretend_device.py", ""),
        ("notebooks_on_pretend_device.py", "tour or patching or latents or forgetting or blanks"),
    ],
)
def test_a_device_by_cuda_s_rules_writes_the_same_bytes_and_learns_the_same(file, chosen):
    command = [sys.executable, "-m", "pytest", "-q", str(HERE / file), "-k", chosen]
    environment = os.environ | {"BLTLAB_PRETEND": "1", "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout[-4000:]
