"""A network as an ONNX file, for any batch and any length, compared with PyTorch before it is renamed into place."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import first_line
from ..errors import UserError
from ..files import replacing
from ..separators.real_stft import without_complex_numbers
from .extra import share_packages

CHECKED = ((1, 101), (3, 1003), (2, 9001))
"""Batches and lengths at which the file is compared with PyTorch; none is the example's of the export."""

LARGEST_DIFFERENCE = 1e-4
"""Largest allowed difference from PyTorch's outputs, in peaks of the input."""


def write_onnx(path: Path, network: nn.Module, description: Mapping[str, Any]) -> float:
    """Write a network, from `mixture` (batch, time) to `outputs` (batch, output, time), both of any size from one on.

    A pure tone leaves most of a spectrum to rounding errors, which `magnitude_exponent` 0.3 makes some 5e-3 of the peak
    in the outputs: there the file differs from PyTorch as PyTorch differs from double precision, and by no more.

    Metadata of the file: `sample_rate` in Hz, `outputs`, their number, and `description`, JSON of `inference.trained`.

    Args:
        path: of the file.
        network: on the CPU, that says its `sample_rate` and `num_outputs`.
        description: of what was trained.

    Returns:
        The largest difference from PyTorch's outputs, in peaks of the input.

    Raises:
        UserError: the exporter cannot, its network computes something else, or its packages are missing.
    """
    with share_packages():
        import onnxruntime
        import onnxscript  # noqa: F401 - what torch exports by
    if any(isinstance(module, nn.RNNBase) for module in network.modules()):
        raise UserError(
            f"{path}: the network has recurrent layers, which torch's ONNX exporter writes for one length only; "
            "export it as .safetensors"
        )
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    batch, time = (torch.export.Dim(name, min=1) for name in ("batch", "time"))
    with replacing(path) as partial, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of three packages about each other
        try:
            program = torch.onnx.export(
                without_complex_numbers(network),
                (torch.zeros(2, 1601),),
                input_names=["mixture"],
                output_names=["outputs"],
                dynamic_shapes=({0: batch, 1: time},),
                dynamo=True,
                optimize=False,  # the optimizer drops summands of 1e-8, and silence would be divided by zero
                verbose=False,
            )
            assert program is not None
            facts = {"sample_rate": network.sample_rate, "outputs": network.num_outputs}
            program.model.metadata_props.update({name: str(value) for name, value in facts.items()})
            program.model.metadata_props["description"] = json.dumps(description)
            program.save(partial)
            session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
            difference = torch.tensor([difference_at(session, network, *sizes) for sizes in CHECKED]).max().item()
        except Exception as error:  # of any of them
            reason = first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
            raise UserError(f"{path}: torch's ONNX exporter cannot write this network ({reason})") from error
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(f"{path}: its outputs would differ from PyTorch's by {difference:.1e} of the input's peak")
    return difference


def difference_at(session: Any, network: nn.Module, batch: int, time: int) -> float:
    """Largest difference between onnxruntime's and PyTorch's outputs for noise, in peaks of the noise."""
    noise = torch.randn(batch, time, generator=torch.Generator().manual_seed(time))
    noise[2:] = 0  # silence as well
    (found,) = session.run(None, {"mixture": noise.numpy()})
    return ((network(noise) - torch.from_numpy(found)).abs().max() / noise.abs().max()).item()
