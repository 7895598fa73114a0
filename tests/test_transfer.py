"""What is sent from the host is not waited for; what comes back to it is."""

import pytest
import torch

from bltlab.transfer import send


@pytest.mark.parametrize("there, waits", [("cpu", False), ("meta", True)])
def test_the_host_waits_for_what_comes_back_from_a_device(there, waits, monkeypatch):
    asked = []
    numbers = torch.zeros(2, device=there)
    monkeypatch.setattr(torch.Tensor, "to", lambda *_, non_blocking: asked.append(not non_blocking))
    send(numbers, torch.device("cpu"))
    assert asked == [waits]
