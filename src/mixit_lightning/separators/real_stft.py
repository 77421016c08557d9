"""The STFT of TDCN++ without complex numbers, for exporters that know none.

Rounding differs from that of the fast transform. Bins that hold nothing but rounding, about a pure tone, make outputs
differ where `magnitude_exponent` is small, as much as those of float32 and float64 do: by 6e-3 of a 1 kHz tone at 0.3.
"""

import copy

import torch
from torch import Tensor, nn

from mixit_lightning.separators.basis import LearnedBasis, STFTBasis, frames_of
from mixit_lightning.separators.tdcnpp import TDCNpp


class RealSTFT(LearnedBasis):
    """What `STFTBasis` does, by two matrices: coefficients are real parts, then imaginary parts.

    Args:
        basis: whose place it takes.
    """

    def __init__(self, basis: STFTBasis) -> None:
        super().__init__(basis.window, basis.hop, 2 * basis.num_coeffs)
        self.norm, self.magnitude_exponent = basis.norm, basis.magnitude_exponent
        # The transforms of unit vectors are the columns of their matrices.
        samples, bins = (torch.eye(size, dtype=torch.float64) for size in (basis.window, basis.num_coeffs))
        spectra = torch.fft.rfft(samples * basis.analysis_window, basis.fft_size)
        frames = torch.fft.irfft(torch.cat([bins, 1j * bins]), basis.fft_size)[:, : basis.window]
        self.analysis.weight = nn.Parameter(torch.cat([spectra.real, spectra.imag], 1).T.float())
        self.synthesis.weight = nn.Parameter((frames * basis.synthesis_window).T.float())

    def encode(self, mixture: Tensor) -> Tensor:
        """Coefficients (batch, part and bin, frame) of a mixture (batch, time)."""
        return self.analysis(frames_of(mixture, self.window, self.hop, (mixture.shape[-1] + self.hop - 1) // self.hop))

    def features(self, coefficients: Tensor) -> Tensor:
        """Magnitude (batch, bin, frame), normalised over bins and frames."""
        magnitude = coefficients.unflatten(1, (2, -1)).square().sum(1).sqrt()
        return self.norm(magnitude if self.magnitude_exponent == 1 else magnitude**self.magnitude_exponent)


def without_complex_numbers(network: nn.Module) -> nn.Module:
    """A copy of a network that computes the same, up to rounding, in real numbers alone."""
    network = copy.deepcopy(network)
    if isinstance(network, TDCNpp) and isinstance(network.basis, STFTBasis):
        masks = network.mask.weight.unflatten(0, (network.num_outputs, 1, network.basis.num_coeffs))
        network.mask.weight = nn.Parameter(masks.expand(-1, 2, -1, -1).flatten(0, 2))  # one mask for both parts
        network.basis = RealSTFT(network.basis)
    return network
