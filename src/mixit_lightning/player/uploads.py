"""What a recording may be that somebody drops on the page: its size, length, rate and channels."""

from dataclasses import asdict, dataclass

from ..errors import UserError

LEAST_RATE = 2000
"""Hz."""

USUAL = 2 * 48_000
"""Samples a second of the recording that `max_seconds` has in mind: stereo at 48 kHz."""


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Args:
        max_seconds: of a recording.
        max_channels: of one.
        max_rate: Hz, of one.

    Raises:
        UserError: one is not positive.
    """

    max_seconds: float
    max_channels: int
    max_rate: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise UserError(f"{name}={value}: must be positive")

    def check(self, frames: int, rate: int, channels: int) -> None:
        """Refuse what would take too much memory, disk or time, by its header or by what was decoded so far.

        Raises:
            UserError: with what it is and what to do.
        """
        if not 1 <= channels <= self.max_channels:
            raise UserError(f"has {channels} channels; give it at most {self.max_channels}")
        if not LEAST_RATE <= rate <= self.max_rate:
            raise UserError(
                f"has a sample rate of {rate} Hz; convert it to one from {LEAST_RATE} to {self.max_rate} Hz"
            )
        if frames > self.max_seconds * rate:
            raise UserError(f"is longer than {self.max_seconds:g} s; cut it, or use `mixit separate`")
        if frames * channels > self.max_seconds * USUAL:
            raise UserError(
                f"holds {channels} channels of {frames / rate:.0f} s at {rate} Hz, which is too much for this page; "
                "cut it, or use `mixit separate`"
            )
