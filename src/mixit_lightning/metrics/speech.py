"""How well the first output recovers the first reference: speech in noise."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .functional import is_active, si_snr

PESQ_MODES = {8000: "nb", 16000: "wb"}
"""PESQ is defined at these rates (Hz) only: narrow band, ITU-T P.862.1, and wide band, P.862.2."""


class SpeechScores(NamedTuple):
    """Per example, the first output against the first reference; `input_` is the unprocessed mixture in its place."""

    num_references: Tensor
    """`(batch,)`, the references with sound."""
    input_si_snr: Tensor
    """`(batch,)` dB."""
    si_snr: Tensor
    """`(batch,)` dB."""
    si_snri: Tensor
    """`(batch,)` dB, the difference of the two; NaN where there is nothing but speech."""
    input_estoi: Tensor
    """`(batch,)`, 0 to 1; NaN where it was not asked for or the speech is too short."""
    estoi: Tensor
    """The same."""
    input_pesq: Tensor
    """`(batch,)` MOS, 1 to 4.6; NaN where it was not asked for or there is no speech to be found."""
    pesq: Tensor
    """The same."""
    mixing_matrix: Tensor
    """`(batch, reference, output)`: the first output for the first reference."""


def speech_scores(
    estimates: Tensor, references: Tensor, mixtures: Tensor, sample_rate: int, *, perceptual: bool
) -> SpeechScores:
    """Score the first output; nothing is selected.

    Args:
        estimates: `(batch, output, time)`.
        references: `(batch, reference, time)`, speech first; examples without references score NaN.
        mixtures: `(batch, time)`, the input.
        sample_rate: Hz.
        perceptual: also compute ESTOI (Jensen and Taal, 2016) and PESQ, which takes about half a second an example.
    """
    unknown = torch.full((len(estimates),), torch.nan, dtype=torch.float64, device=estimates.device)
    matrices = estimates.new_zeros(len(estimates), references.shape[1], estimates.shape[1])
    values = {name: unknown.clone() for name in SpeechScores._fields[1:-1]}
    active = is_active(references.double().square().sum(-1), references.shape[-1])
    known = active[:, 0] if references.shape[1] else active.any(-1)
    if known.any():
        speech, output, mixture = references[known, 0], estimates[known, 0], mixtures[known]
        matrices[known, 0, 0] = 1
        values["input_si_snr"][known] = si_snr(mixture, speech)
        values["si_snr"][known] = si_snr(output, speech)
        # Speech without noise cannot be improved.
        values["si_snri"] = (values["si_snr"] - values["input_si_snr"]).where(active.sum(-1) > 1, torch.nan)
        if perceptual:
            for prefix, signals in (("input_", mixture), ("", output)):
                values[f"{prefix}estoi"][known] = each(estoi, speech, signals, sample_rate)
                values[f"{prefix}pesq"][known] = each(pesq, speech, signals, sample_rate)
            for name in ("estoi", "pesq"):  # both or none, so that means are over the same examples
                unknown_pair = values[name].isnan() | values[f"input_{name}"].isnan()
                values[name][unknown_pair] = values[f"input_{name}"][unknown_pair] = torch.nan
    return SpeechScores(num_references=active.sum(-1), mixing_matrix=matrices, **values)


def each(
    metric: Callable[[np.ndarray, np.ndarray, int], float], references: Tensor, estimates: Tensor, sample_rate: int
) -> Tensor:
    """A metric of single signals, for a batch of them."""
    pairs = zip(references.cpu().numpy(), estimates.float().cpu().numpy(), strict=True)
    return torch.tensor([metric(*pair, sample_rate) for pair in pairs], dtype=torch.float64, device=estimates.device)


def estoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Extended short-time objective intelligibility."""
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(reference, estimate, sample_rate, extended=True))
        except RuntimeWarning:  # too little speech
            return np.nan


def pesq(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Perceptual evaluation of speech quality, as a mean opinion score."""
    from pesq import PesqError
    from pesq import pesq as compute

    if not estimate.any():
        return 1.0  # the worst there is; the algorithm itself needs some sound
    score = compute(sample_rate, reference, estimate, PESQ_MODES[sample_rate], on_error=PesqError.RETURN_VALUES)
    return np.nan if score < 0 else float(score)  # one of its errors: too short, or no speech to be found
