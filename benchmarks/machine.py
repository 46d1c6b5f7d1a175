"""What a number was measured on, in words that mean something elsewhere."""

import os
import platform
from pathlib import Path

import torch

from resmlp.utils.errors import counted


def machine() -> str:
    """Processor or accelerator, and how many cores may be used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{counted(len(os.sched_getaffinity(0)), 'core')}, {names[0] if names else platform.processor()}"
