"""What a recording may be that somebody drops on the page: its size, length, rate and channels."""

from dataclasses import dataclass

from ..errors import UserError

RATES = (2000, 192_000)
"""Hz, least and most."""

MAX_CHANNELS = 16

USUAL = 2 * 48_000
"""Samples a second of the recording that `max_seconds` has in mind: stereo at 48 kHz."""


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Args:
        max_seconds: of a recording.
    """

    max_seconds: float

    def check(self, frames: int, rate: int, channels: int) -> None:
        """Refuse what would take too much memory, disk or time, by its header or by what was decoded so far.

        Raises:
            UserError: with what it is and what to do.
        """
        if not 1 <= channels <= MAX_CHANNELS:
            raise UserError(f"has {channels} channels; give it at most {MAX_CHANNELS}")
        if not RATES[0] <= rate <= RATES[1]:
            raise UserError(f"has a sample rate of {rate} Hz; convert it to one from {RATES[0]} to {RATES[1]} Hz")
        if frames > self.max_seconds * rate:
            raise UserError(f"is longer than {self.max_seconds:g} s; cut it, or use `mixit separate`")
        if frames * channels > self.max_seconds * USUAL:
            raise UserError(
                f"holds {channels} channels of {frames / rate:.0f} s at {rate} Hz, which is too much for this page; "
                "cut it, or use `mixit separate`"
            )
