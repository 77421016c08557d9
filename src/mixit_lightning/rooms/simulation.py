"""One shoebox room: impulse responses from source positions to a microphone, for a given reverberation time."""

from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .acoustics import SPEED_OF_SOUND, direct_sample, reverberation_time

Point = tuple[float, float, float]
"""Metres from one corner."""

MAX_ORDER = 150
"""Reflections that an image may have gone through; 4.5 million images per source."""

MAX_ABSORPTION = 0.99

DISPLACEMENT = 0.08
"""Largest displacement of image sources along each axis, in metres."""

CLOSE_ENOUGH = 0.05
"""Relative error of the reverberation time at which the search for the absorption ends."""


class Room(NamedTuple):
    """A shoebox room with a microphone and sources."""

    size: Point
    """Length, width and height, metres."""
    rt60: float
    """Seconds."""
    microphone: Point
    sources: tuple[Point, ...]

    def distance(self, source: int) -> float:
        """Metres from a source to the microphone."""
        return float(np.linalg.norm(np.subtract(self.sources[source], self.microphone)))

    def __str__(self) -> str:
        return f"a room of {metres(self.size)}"


class Simulated(NamedTuple):
    """Simulated acoustics of a room."""

    responses: list[np.ndarray]
    """One response `(time,)` per source in float32, until it has decayed by about 60 dB; the direct sound arrives at
    `direct_sample` with a pressure of 1 / distance."""
    rt60: list[float]
    """Measured reverberation times in seconds."""
    absorption: float
    """Energy absorption of all walls: the share of the energy that a reflection takes away."""


def simulate(room: Room, sample_rate: int, seed: int) -> Simulated:
    """Impulse responses by the image method, with walls that absorb what gives the reverberation time asked for.

    Eyring's formula is off by up to half in rooms that are not cubes, so its absorption is where a search begins. All
    images but the direct sound are moved by up to 8 cm along each axis, against the sweeping echoes of perfect boxes.

    Sources: Allen and Berkley, "Image method for efficiently simulating small-room acoustics", JASA 1979; De Sena et
    al., "On the modeling of rectangular geometries in room acoustic simulations", TASLP 2015; computed by
    pyroomacoustics (Scheibler et al., ICASSP 2018).

    Args:
        room: what to simulate.
        sample_rate: Hz.
        seed: of the displacements.

    Raises:
        UserError: the microphone or a source is outside the room, or its reverberation time cannot be reached.
    """
    check(room)
    exponent = eyring_exponent(room)
    for _ in range(8):
        absorption = 1 - np.exp(-exponent)
        if absorption > MAX_ABSORPTION:
            raise UserError(unreachable(room))
        responses = image_method(room, absorption, sample_rate, seed)
        try:
            measured = [reverberation_time(response, sample_rate) for response in responses]
        except ValueError as error:
            raise UserError(f"{room}: {error}") from error
        ratio = float(np.mean(measured)) / room.rt60
        if abs(ratio - 1) < CLOSE_ENOUGH:
            return Simulated(responses, measured, float(absorption))
        exponent *= ratio
    raise UserError(
        f"{room}: found no walls for rt60={room.rt60:.2f} s, came to {ratio * room.rt60:.2f} s; "
        "choose another range of rt60 or size, or another seed"
    )


def check(room: Room) -> None:
    """Refuse rooms that cannot be simulated, before any computation.

    Raises:
        UserError: the microphone or a source is outside the room, or its reverberation time cannot be reached.
    """
    sources = {f"source {number}": position for number, position in enumerate(room.sources, 1)}
    for what, position in ({"microphone": room.microphone} | sources).items():
        if not all(0 < at < size for at, size in zip(position, room.size, strict=True)):
            raise UserError(
                f"the {what} at {metres(position)} is outside {room}; choose rooms that are larger, or a "
                "smaller distance, height or clearance"
            )
    if room.rt60 <= 0 or 1 - np.exp(-eyring_exponent(room)) > MAX_ABSORPTION:
        raise UserError(unreachable(room))
    if (order := max_order(room)) > MAX_ORDER:
        raise UserError(
            f"rt60={room.rt60:.2f} s in {room} needs reflections of order {order}, more than {MAX_ORDER}; "
            "ask for less, or for larger rooms"
        )


def unreachable(room: Room) -> str:
    """The message for a room that would have to absorb all energy, or more."""
    return (
        f"rt60={room.rt60:.2f} s cannot be reached in {room}, not even by walls that absorb "
        f"{MAX_ABSORPTION:.0%}; ask for more, or for smaller rooms"
    )


def eyring_exponent(room: Room) -> float:
    """-log(1 - absorption) of the walls for the reverberation time, by Eyring's formula."""
    length, width, height = room.size
    surface = 2 * (length * width + length * height + width * height)
    return 24 * np.log(10) / SPEED_OF_SOUND * length * width * height / (surface * room.rt60)


def max_order(room: Room) -> int:
    """Reflections of sound that travels along the narrowest dimension for the reverberation time."""
    return int(np.ceil(SPEED_OF_SOUND * room.rt60 / min(room.size)))


def image_method(room: Room, absorption: float, sample_rate: int, seed: int) -> list[np.ndarray]:
    """Impulse responses of all sources."""
    import pyroomacoustics

    pyroomacoustics.constants.set("c", SPEED_OF_SOUND)
    pyroomacoustics.constants.set("num_threads", 1)  # rooms run side by side
    rng = np.random.default_rng(seed)
    walls = pyroomacoustics.Material(absorption)
    box = pyroomacoustics.ShoeBox(room.size, fs=sample_rate, materials=walls, max_order=max_order(room))
    box.add_microphone(room.microphone)
    for source in room.sources:
        box.add_source(source)
    box.image_source_model()
    for source in box.sources:  # the library's own displacements would move the direct sound as well
        source.images += rng.uniform(-DISPLACEMENT, DISPLACEMENT, source.images.shape) * (source.orders > 0)
    box.compute_rir()
    decay = round(room.rt60 * sample_rate)
    return [
        np.asarray(response[: direct_sample(room.distance(source), sample_rate) + decay], dtype=np.float32)
        for source, response in enumerate(box.rir[0])
    ]


def metres(values: Point) -> str:
    """Three lengths, to read."""
    return " x ".join(f"{value:.2f}" for value in values) + " m"
