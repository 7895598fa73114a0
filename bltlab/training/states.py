"""The tensors of a saved state, written by torch.distributed.checkpoint and read without running
what a file says.

A state may come from elsewhere. Two of the things in it are pickles, which torch would load with
whatever code they name: `.metadata`, which says what lies where, and every value that is no tensor.
Here the first may name the few classes of torch that such a file is made of, the second none.
"""

import io
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import filesystem, metadata
from torch.serialization import _get_layout

SHARD = re.compile(r"__\d+_\d+\.distcp")
# What `.metadata` may name, by module and name; paths are read as plain words about a place.
_NAMED: dict[tuple[str, str], Any] = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (
        metadata.Metadata,
        metadata.TensorStorageMetadata,
        metadata.BytesStorageMetadata,
        metadata.ChunkStorageMetadata,
        metadata.TensorProperties,
        metadata.MetadataIndex,
        metadata.StorageMeta,
        metadata._MEM_FORMAT_ENCODING,
        filesystem._StorageInfo,
        torch.Size,
        _get_layout,
    )
}
for _module in ("pathlib", "pathlib._local"):
    _NAMED[_module, "PosixPath"] = PurePosixPath
    _NAMED[_module, "WindowsPath"] = PureWindowsPath


def save(folder: Path, tensors: dict[str, Any]) -> None:
    """Write a dict of (sharded) tensors and plain values. All processes call it."""
    _quietly(dcp.save, tensors, checkpoint_id=folder)


def load(folder: Path, tensors: dict[str, Any]) -> None:
    """Fill such a dict in place, however many processes wrote the folder. All processes call it.

    Raises one of many errors where the folder is damaged, or names what no state holds.
    """
    _quietly(dcp.load, tensors, storage_reader=_Reader(folder), planner=_Planner())


class _Unpickler(pickle.Unpickler):
    """Loads `.metadata` with the few classes that it is made of."""

    def find_class(self, module: str, name: str) -> Any:
        dtype = getattr(torch, name, None) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        if (module, name) not in _NAMED:
            raise pickle.UnpicklingError(f"a state holds no {module}.{name}")
        return _NAMED[module, name]


class _Reader(dcp.FileSystemReader):
    """Reads the shards of one folder."""

    def read_metadata(self, *arguments: Any, **options: Any) -> metadata.Metadata:
        with open(Path(self.path) / ".metadata", "rb") as file:
            found = _Unpickler(file).load()
        for place in found.storage_data.values():
            if not SHARD.fullmatch(place.relative_path) or place.transform_descriptors:
                raise pickle.UnpicklingError(f"{place.relative_path} is no shard of a state")
        found.storage_meta = metadata.StorageMeta(load_id=self.load_id)
        return found


class _Planner(dcp.DefaultLoadPlanner):
    """Puts what was read where it belongs."""

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        """Take a value that is no tensor: what torch gets to load was written here."""
        plain = io.BytesIO()
        torch.save(torch.load(value, weights_only=True), plain)
        plain.seek(0)
        super().load_bytes(read_item, plain)


def _quietly(call: Callable, *arguments: Any, **options: Any) -> None:
    """A call without its warnings.

    torch.distributed.checkpoint warns when there is one process; it works there too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(*arguments, **options)
