"""Files that appear whole or not at all."""

import os
from pathlib import Path


def write(path, data):
    """Bytes into a file that appears whole or not at all."""
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)
