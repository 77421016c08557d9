"""The variables of the authors' released TensorFlow separator, by name and in their layout.

Source: google-research/sound-separation, models/neurips2020_mixit and models/train. A dense kernel there is
(inputs, outputs), a depthwise kernel (tap, 1, channel, 1).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mixit_lightning.separators.basis import LearnedBasis
from mixit_lightning.separators.layers import Dense, DepthwiseConv, Norm, PReLU
from mixit_lightning.separators.tdcnpp import Block, SkipResidual, TDCNpp


def reference_parameters(network: TDCNpp) -> dict[str, Tensor]:
    """All parameters of a network, by the authors' names. They are views: writing into one changes the network."""
    return {name: view.detach() for name, view in _views(network)}


def load_reference_parameters(network: TDCNpp, parameters: Mapping[str, ArrayLike]) -> None:
    """Take over parameters from the authors' released code, all of them or none.

    Args:
        network: that gets them.
        parameters: arrays by the authors' variable names, such as
            'improved_tdcn/conv_block_0/tdcn_block/dense1/dense/kernel', with or without ':0' at the end.

    Raises:
        ValueError: if a name is missing or unknown, or an array has another shape; the network is left as it was.
    """
    targets = reference_parameters(network)
    arrays = {name.removesuffix(":0"): np.asarray(array) for name, array in parameters.items()}
    faults = [f"missing: {name}" for name in targets.keys() - arrays.keys()]
    faults += [f"unknown: {name}" for name in arrays.keys() - targets.keys()]
    faults += [
        f"misshapen: {name} must be {tuple(targets[name].shape)}, but is {arrays[name].shape}"
        for name in targets.keys() & arrays.keys()
        if targets[name].shape != arrays[name].shape
    ]
    if faults:
        raise ValueError("these parameters do not fit the network:\n  " + "\n  ".join(sorted(faults)))
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    for name, target in targets.items():
        target.copy_(tensors[name])


def _views(network: TDCNpp) -> Iterator[tuple[str, Tensor]]:
    if isinstance(network.basis, LearnedBasis):
        yield from _dense("conv_encoder/dense", network.basis.analysis)
        yield from _dense("conv_decoder/dense_1", network.basis.synthesis)
    else:
        yield "layer_norm_on_mag/gamma", network.basis.norm.gamma.view(1, 1, 1)
        yield "layer_norm_on_mag/beta", network.basis.norm.beta.view(1, 1, 1)
    yield from _dense("initial_dense/dense", network.initial)
    # A ModuleList does not say what it holds.
    repeats = cast("Sequence[Sequence[Block]]", network.tdcn.repeats)
    skips = cast("Sequence[SkipResidual]", network.tdcn.skips)
    for number, block in enumerate(chain.from_iterable(repeats)):
        prefix = f"improved_tdcn/conv_block_{number}/tdcn_block"
        yield from _dense(f"{prefix}/dense1/dense", block.widen)
        yield from _activation(f"{prefix}/normact1", block.prelu1, block.norm1)
        yield from _convolution(f"{prefix}/timeconv/separable_conv", block.conv)
        yield from _activation(f"{prefix}/normact2", block.prelu2, block.norm2)
        yield from _dense(f"{prefix}/dense2/dense", block.narrow)
    for repeat, skip in enumerate(skips):
        for earlier, dense in enumerate(cast("Sequence[Dense]", skip.from_repeat)):
            # The authors number a repeat by its first block.
            origin, to = (number * len(repeats[0]) for number in (earlier, repeat))
            yield from _dense(f"improved_tdcn/res_dense_{origin}_to_{to}/dense", dense)
    yield from _dense("dense", network.mask)
    if network.mix_weights is not None:
        yield from _dense("mix_weights/dense", network.mix_weights)


def _dense(name: str, layer: Dense) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/kernel", layer.weight.T
    if layer.bias is not None:
        yield f"{name}/bias", layer.bias
    if layer.scale is not None:
        yield f"{name}_scale/scale_layer", layer.scale


def _convolution(name: str, layer: DepthwiseConv) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/depthwise_kernel", layer.weight.permute(2, 1, 0).unsqueeze(-1)
    assert layer.bias is not None
    yield f"{name}/bias", layer.bias


def _activation(name: str, prelu: PReLU, norm: Norm) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/prelu/prelu", prelu.slope
    yield f"{name}/instance_norm/gamma", norm.gamma
    yield f"{name}/instance_norm/beta", norm.beta
