"""What a header may claim: whoever believes more runs out of memory or time."""

from pathlib import Path

from ..errors import UserError

LOWEST_RATE, HIGHEST_RATE = 1000, 2_000_000
"""Hz."""

MOST_CHANNELS = 256

SAMPLES_AT_ONCE = 2**28
"""The most samples, of all channels, of a file that is read whole: a gigabyte, an hour and a half at 48 kHz."""


def check_claims(path: Path, sample_rate: int, channels: int, samples: int = 0) -> None:
    """Refuse what no recording has.

    Args:
        path: of the file.
        sample_rate: Hz.
        channels: their number.
        samples: of each, that are to be read at once.

    Raises:
        UserError: with the claim.
    """
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        expected = f"{LOWEST_RATE} to {HIGHEST_RATE} Hz"
        raise UserError(f"{path}: claims {sample_rate} Hz where {expected} are expected; replace or remove it")
    if channels > MOST_CHANNELS:
        raise UserError(f"{path}: claims {channels} channels, more than {MOST_CHANNELS}; replace or remove it")
    if samples * channels > SAMPLES_AT_ONCE:
        claim = f"{samples} samples of {channels} channels"
        raise UserError(f"{path}: claims {claim}, too many to read at once; cut it into shorter ones")
