"""What a header may claim: whoever believes more runs out of memory or time."""

from pathlib import Path

from ..errors import UserError

LOWEST_RATE, HIGHEST_RATE = 1000, 2_000_000
"""Hz."""

MOST_CHANNELS = 256

SAMPLES_AT_ONCE = 2**28
"""The most samples, of all channels, of a file that is read whole: a gigabyte, an hour and a half at 48 kHz."""


def check_claims(path: Path, sample_rate: int, channels: int, samples: int = 0) -> None:
    """Refuse a file that claims what no recording has, or more `samples` of each channel than can be read at once.

    Raises:
        UserError: with the claim.
    """
    claim = ""
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        claim = f"{sample_rate} Hz where {LOWEST_RATE} to {HIGHEST_RATE} Hz are expected; replace or remove it"
    elif channels > MOST_CHANNELS:
        claim = f"{channels} channels, more than {MOST_CHANNELS}; replace or remove it"
    elif samples * channels > SAMPLES_AT_ONCE:
        claim = f"{samples} samples of {channels} channels, too many to read at once; cut it into shorter ones"
    if claim:
        raise UserError(f"{path}: claims {claim}")
