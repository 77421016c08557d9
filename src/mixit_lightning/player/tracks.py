"""A recording and its outputs as the mixer plays and draws them."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..report.sounds import MAX_COLUMNS, picture, spectrogram

BLOCK_SECONDS = 30
"""That are drawn at once, so that memory does not grow with the recording."""

QUIETEST_TOP = -40.0
"""dB of the scale of levels: what is all silent is drawn dark."""


def make_track(
    name: str, sound: soundfile.SoundFile, samples: Path, *, mean: bool = False
) -> tuple[dict[str, Any], np.ndarray]:
    """Write a sound as plain samples, little-endian float32 `(time, channel)`, and analyse it.

    Args:
        name: that the mixer shows.
        sound: open at its beginning.
        samples: file to write.
        mean: of the channels, instead of each.

    Returns:
        The track, and levels of the mean of its channels in dB `(frequency, time)` for its picture.
    """
    blocks = []
    with samples.open("wb") as file:
        for block in sound.blocks(BLOCK_SECONDS * sound.samplerate, dtype="float32", always_2d=True):
            block = block.mean(1, keepdims=True) if mean else block
            file.write(block.astype("<f4").tobytes())
            blocks.append(spectrogram(block.mean(1), len(block), sound.samplerate))
    return {"name": name, "samples": str(samples)}, narrowed(np.concatenate(blocks, 1))


def narrowed(levels: np.ndarray) -> np.ndarray:
    """Levels in dB `(frequency, time)` in at most as many columns as a picture has."""
    count = levels.shape[1]
    starts = np.unique(np.linspace(0, count, min(count, MAX_COLUMNS), endpoint=False).astype(int))
    power = np.add.reduceat(10 ** (levels / 10), starts, axis=1) / np.diff([*starts, count])
    return 10 * np.log10(power)


def draw(tracks: list[dict[str, Any]], levels: list[np.ndarray]) -> None:
    """Give all tracks their pictures, as `data:` addresses, on one scale of levels."""
    top = max(QUIETEST_TOP, *(float(level.max()) for level in levels))
    for track, level in zip(tracks, levels, strict=True):
        track["picture"] = f"data:image/jpeg;base64,{picture(level, top)}"
