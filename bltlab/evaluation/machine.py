"""What a number was measured on, in words."""

import platform

import torch


def machine_name(device: torch.device) -> str:
    """The processor, and on a CPU how many threads.

    >>> "thread" in machine_name(torch.device("cpu"))
    True
    """
    name = device_name(device)
    if device.type != "cpu":
        return name
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def device_name(device: torch.device) -> str:
    """The name of the processor that a device stands for."""
    if device.type != "cpu":
        return torch.get_device_module(device).get_device_name(device)
    return _cpu_name() or platform.processor() or platform.machine()


def _cpu_name() -> str | None:
    """The processor's name where the system is Linux."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return None
