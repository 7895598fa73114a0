"""From the host to a device and back, in few copies: the host waits for what comes back alone.

A look at what a GPU has computed waits for all that it was asked to do before. So decoding looks
seldom, and then at everything it wants to know. On a CPU nothing is copied.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def send(numbers: Any, device: torch.device) -> Tensor:
    """Nested lists of whole numbers, or a tensor, as a tensor on a device.

    Nobody waits for it, but where it comes back to the host: it would be read before it is there.
    """
    found = numbers if torch.is_tensor(numbers) else torch.tensor(numbers, dtype=torch.long)
    return found.to(device, non_blocking=found.device.type == "cpu")


def send_padded(
    rows: Sequence[Sequence[int]], device: torch.device, width: int | None = None
) -> Tensor:
    """Rows of unequal length as a tensor (B, width) on a device, 0 behind; width: of the longest.

    >>> send_padded([[5], [6, 7]], torch.device("cpu"))
    tensor([[5, 0],
            [6, 7]])
    """
    width = max(map(len, rows)) if width is None else width
    filled = [[*row, *[0] * (width - len(row))] for row in rows]
    return send(filled, device)


def fetch(*tensors: Tensor | None) -> list[Any]:
    """The numbers of tensors of one device as lists, after one wait for it; None stays None.

    >>> fetch(torch.tensor([[1, 2]]), None, torch.tensor([0.5]))
    [[[1, 2]], None, [0.5]]
    """
    given = [x for x in tensors if x is not None]
    if given and given[0].device.type != "cpu":
        given = _copied(given)
    lists = iter([x.tolist() for x in given])
    return [None if x is None else next(lists) for x in tensors]


def _copied(tensors: list[Tensor]) -> list[Tensor]:
    """The same on the CPU, after one copy of all their bytes."""
    flat = [x.contiguous().flatten().view(torch.uint8) for x in tensors]
    together = torch.cat(flat).cpu()
    parts = together.split([len(x) for x in flat])
    pairs = zip(parts, tensors, strict=True)
    return [part.clone().view(x.dtype).view(x.shape) for part, x in pairs]
