"""A GPU's rules, without one, in a process of their own: the device is there for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow  # its operations are counted one by one
def test_a_device_by_cuda_s_rules_writes_the_same_bytes_and_learns_the_same():
    command = [sys.executable, "-m", "pytest", "-q", str(HERE / "on_pretend_device.py")]
    environment = os.environ | {"BLTLAB_PRETEND": "1", "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout[-4000:]
