"""From a waveform to coefficients of short frames, and back.

A basis has three methods. `encode` turns a mixture (batch, time) into coefficients (batch, coefficient, frame), real
or complex. `features` turns these into what a network reads, real and of the same shape. `decode` turns masked
coefficients (batch, output, coefficient, frame) into estimates (batch, output, time). Windows and hops are in samples.
Nothing is padded before the first sample; zeros after the last one fill the last frame. Waveforms and coefficients stay
in float32 (or float64) under autocast.

Source: released code of Wisdom et al., arXiv 2006.12701.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixit_lightning.separators.layers import Dense, Norm
from mixit_lightning.separators.precision import at_least_float32, without_autocast


class LearnedBasis(nn.Module):
    """A linear map of every frame to coefficients, rectified; another linear map and overlap-add back.

    Args:
        window: length of a frame in samples.
        hop: distance between frames in samples.
        num_coeffs: number of coefficients of a frame.
    """

    def __init__(self, window: int, hop: int, num_coeffs: int) -> None:
        super().__init__()
        self.window, self.hop, self.num_coeffs = window, hop, num_coeffs
        self.analysis = Dense(window, num_coeffs)
        self.synthesis = Dense(num_coeffs, window)

    def encode(self, mixture: Tensor) -> Tensor:
        """Coefficients (batch, coefficient, frame), not negative, of a mixture (batch, time)."""
        with without_autocast(mixture):
            num_frames = (torch.sym_max(mixture.shape[-1], self.window) - self.window + self.hop - 1) // self.hop + 1
            return functional.relu(self.analysis(frames_of(mixture, self.window, self.hop, num_frames)))

    def features(self, coefficients: Tensor) -> Tensor:
        """The coefficients themselves."""
        return coefficients

    def decode(self, coefficients: Tensor, time: int) -> Tensor:
        """Estimates (batch, output, time) of coefficients (batch, output, coefficient, frame)."""
        with without_autocast(coefficients):
            frames = self.synthesis(at_least_float32(coefficients).flatten(0, 1))
            return _overlap_add(frames, self.hop, time).unflatten(0, coefficients.shape[:2])


class STFTBasis(nn.Module):
    """Short-time Fourier transform with square-root Hann windows; the network reads its normalised magnitude.

    The synthesis window makes up for the overlap of many frames. The first ``window - hop`` samples have fewer of them
    and come back faded in; mixture consistency restores their sum.

    Args:
        window: length of a frame in samples.
        hop: distance between frames in samples.
        magnitude_exponent: the network reads the magnitude to this power; 1 as released, about 0.3 shows it quiet
            partials as well and helps small networks and short trainings.

    Raises:
        ValueError: if the frames do not overlap, or the exponent is not positive.
    """

    analysis_window: Tensor
    synthesis_window: Tensor

    def __init__(self, window: int, hop: int, magnitude_exponent: float = 1.0) -> None:
        super().__init__()
        if magnitude_exponent <= 0:
            raise ValueError(f"magnitude_exponent must be positive, but is {magnitude_exponent}")
        self.magnitude_exponent = magnitude_exponent
        if window <= hop:
            # A Hann window begins at zero: without overlap, nothing could bring its first sample back.
            raise ValueError(f"the STFT's window must be longer than its hop, but they are {window} and {hop} samples")
        self.window, self.hop = window, hop
        self.fft_size = 1 << (window - 1).bit_length()
        self.num_coeffs = self.fft_size // 2 + 1
        self.norm = Norm(over_channels=True)
        hann = torch.hann_window(window, periodic=True, dtype=torch.float64)
        overlap = functional.pad(hann, (0, -window % hop)).view(-1, hop).sum(0)
        overlap = overlap.repeat(math.ceil(window / hop))[:window]
        self.register_buffer("analysis_window", hann.sqrt().float(), persistent=False)
        self.register_buffer("synthesis_window", (hann.sqrt() / overlap).float(), persistent=False)

    def encode(self, mixture: Tensor) -> Tensor:
        """Complex coefficients (batch, bin, frame) of a mixture (batch, time)."""
        with without_autocast(mixture):
            num_frames = (mixture.shape[-1] + self.hop - 1) // self.hop
            frames = frames_of(mixture, self.window, self.hop, num_frames) * self.analysis_window.unsqueeze(-1)
            return torch.fft.rfft(frames.mT, self.fft_size).mT

    def features(self, coefficients: Tensor) -> Tensor:
        """Magnitude (batch, bin, frame), normalised over bins and frames."""
        magnitude = coefficients.abs()
        return self.norm(magnitude if self.magnitude_exponent == 1 else magnitude**self.magnitude_exponent)

    def decode(self, coefficients: Tensor, time: int) -> Tensor:
        """Estimates (batch, output, time) of complex coefficients (batch, output, bin, frame)."""
        with without_autocast(coefficients):
            frames = torch.fft.irfft(coefficients.flatten(0, 1).mT, self.fft_size).mT[:, : self.window]
            frames = frames * self.synthesis_window.unsqueeze(-1)
            return _overlap_add(frames, self.hop, time).unflatten(0, coefficients.shape[:2])


def frames_of(signal: Tensor, window: int, hop: int, num_frames: int) -> Tensor:
    """Cut (batch, time), zeros appended, into (batch, window, frame)."""
    missing = (num_frames - 1) * hop + window - signal.shape[-1]
    return functional.pad(at_least_float32(signal), (0, missing)).unfold(-1, window, hop).mT


def _overlap_add(frames: Tensor, hop: int, time: int) -> Tensor:
    """Add up (batch, window, frame) into (batch, time)."""
    # A frame is cut into pieces of one hop. All first pieces of the frames make up a signal without overlap, so do all
    # second pieces one hop later, and so on: a handful of sums instead of one for every frame.
    num_pieces = math.ceil(frames.shape[1] / hop)
    pieces = functional.pad(frames.mT, (0, num_pieces * hop - frames.shape[1])).unflatten(-1, (num_pieces, hop))
    signals = [functional.pad(piece, (0, 0, i, num_pieces - 1 - i)) for i, piece in enumerate(pieces.unbind(2))]
    return sum(signals[1:], start=signals[0]).flatten(1).narrow(1, 0, time)
