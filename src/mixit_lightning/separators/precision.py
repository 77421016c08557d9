"""Keeping out of half precision what does not survive it: signals, and sums over long ones."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """A half-precision tensor in float32; any other, float64 included, as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def without_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which autocast is off for the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)
