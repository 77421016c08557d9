"""Examples to listen to: sounds of a run, their pictures, and which output belongs to which reference."""

import base64
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.claims import check_claims
from ..errors import UserError
from ..records import read_json
from .labels import Quantity, format_number, quantities

LISTING = "examples.json"

WINDOW_SECONDS = 0.032
MAX_COLUMNS = 600  # of a spectrogram
DYNAMIC_RANGE = 80.0  # dB below the loudest cell of a card that its spectrograms still show


@dataclass
class Sound:
    """One audio file of an example, as the page shows and plays it."""

    role: str  # mixture, reference or output
    number: int
    samples: np.ndarray
    finite: bool
    share: float | None = None  # of the energy of all sounds of the same role, in percent
    spectrogram: str = ""
    audio: str = ""

    @property
    def label(self) -> str:
        """Name shown above the sound."""
        return self.role.capitalize() + (f" {self.number}" if self.number else "")

    @property
    def peak(self) -> str:
        """Peak level in dB relative to full scale."""
        peak = float(np.abs(self.samples).max(initial=0.0))
        return (
            f"{format_number(20 * math.log10(peak), 1)}\N{NO-BREAK SPACE}dBFS"
            if peak > 0
            else "\N{MINUS SIGN}∞\N{NO-BREAK SPACE}dBFS"
        )

    @property
    def share_text(self) -> str:
        """Energy share with enough digits to tell silent from nearly silent."""
        share = self.share or 0.0
        return "< 0.01" if 0 < share < 0.01 else f"{share:.2f}" if 0 < share < 1 else f"{share:.0f}"


@dataclass
class Card:
    """One listening example: its mixture, each reference beside its matched output, and the outputs left over."""

    name: str
    why: str
    quantities: list[Quantity]
    mixture: Sound
    pairs: list[tuple[Sound, Sound | None]]
    rest: list[Sound]
    sample_rate: int
    duration: float
    gain: float = 1.0  # below 1 where a sound would clip; the same for all sounds of the card
    scale: str = field(default="", repr=False)  # picture of the colour scale

    @property
    def outputs(self) -> list[Sound]:
        """All outputs, matched or not."""
        return [output for _, output in self.pairs if output is not None] + self.rest

    @property
    def sounds(self) -> list[Sound]:
        """All of them."""
        return [self.mixture, *(reference for reference, _ in self.pairs), *self.outputs]


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """The list of the listening examples in a run's `examples` folder; empty where it has none.

    Raises:
        UserError: it is not such a list.
    """
    listing = folder / LISTING
    if not listing.is_file():
        return []
    entries = read_json(listing)
    if not isinstance(entries, list):
        raise UserError(f"{listing} must be a list of examples: evaluate the run again")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("folder"), str) or "name" not in entry:
            raise UserError(f"{listing} has an entry without 'folder' or 'name': evaluate the run again")
    return entries


def read_card(folder: Path, entry: dict[str, Any]) -> Card:
    """One listening example of an `examples` folder: sounds read and matched, not drawn yet.

    Raises:
        UserError: a sound is missing or cannot be read, or the entry does not fit the sounds.
    """
    listing = folder / LISTING
    place = (folder / entry["folder"]).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise UserError(f"{listing} names a folder outside its own: {entry['folder']}")
    sounds, sample_rate = read_sounds(place)
    references = [sound for sound in sounds if sound.role == "reference"]
    outputs = {sound.number: sound for sound in sounds if sound.role == "output"}
    matched = read_matches(listing, entry, set(outputs))
    for group in (references, list(outputs.values())):
        share_energy(group)
    pairs = [
        (reference, outputs.pop(matched[reference.number]) if reference.number in matched else None)
        for reference in references
    ]
    return Card(
        name=str(entry["name"]),
        why=str(entry.get("why") or ""),
        quantities=quantities(entry.get("metrics") or {}),
        mixture=sounds[0],
        pairs=pairs,
        rest=list(outputs.values()),
        sample_rate=sample_rate,
        duration=max(len(sound.samples) for sound in sounds) / sample_rate,
    )


def draw_card(card: Card) -> Card:
    """Give all sounds of a card their pictures and players."""
    card.gain, card.scale = render(card.sounds, card.sample_rate)
    return card


def read_matches(listing: Path, entry: dict[str, Any], outputs: set[int]) -> dict[int, int]:
    """The output number matched to each reference number, an output at most once."""
    try:
        matched = {int(key): int(value) for key, value in (entry.get("matched") or {}).items() if value is not None}
    except (AttributeError, TypeError, ValueError):
        matched = {0: 0}  # no such output, so refused below
    if not set(matched.values()) <= outputs or len(set(matched.values())) < len(matched):
        raise UserError(
            f"{listing}: 'matched' of {entry['folder']!r} must give each reference an output of its own among "
            f"{sorted(outputs)}, got {entry['matched']}: evaluate the run again"
        )
    return matched


def read_sounds(folder: Path) -> tuple[list[Sound], int]:
    """The sounds of an example, mixture first, then references and outputs by number; and their sample rate."""
    import soundfile

    mixture = folder / "mixture.wav"
    if not mixture.is_file():
        raise UserError(f"{mixture} is missing: evaluate the run again to write its examples")
    found = [
        (role, int(match[1]), path)
        for role in ("reference", "output")
        for path in folder.glob(f"{role}_*.wav")
        if (match := re.fullmatch(r"[a-z]+_(\d+)\.wav", path.name))
    ]
    found.sort(key=lambda item: (item[0] == "output", item[1]))
    sounds, sample_rates = [], set()
    for role, number, path in [("mixture", 0, mixture), *found]:
        try:
            about = soundfile.info(path)
            check_claims(path, about.samplerate, about.channels, about.frames)
            samples, sample_rate = soundfile.read(path, dtype="float32")
        except soundfile.LibsndfileError as error:
            raise UserError(f"{path} is not a sound file that can be read: {error}") from error
        samples = samples.mean(axis=1) if samples.ndim > 1 else samples
        finite = bool(np.isfinite(samples).all())
        sounds.append(Sound(role, number, np.nan_to_num(samples, posinf=0, neginf=0), finite))
        sample_rates.add(int(sample_rate))
    if len(sample_rates) > 1:
        raise UserError(f"{folder} mixes sample rates {sorted(sample_rates)} Hz: write its examples again")
    return sounds, sample_rates.pop()


def share_energy(group: list[Sound]) -> None:
    """Tell each sound its share of the energy of all."""
    energies = [float(np.square(sound.samples, dtype=np.float64).sum()) for sound in group]
    for sound, energy in zip(group, energies, strict=True):
        sound.share = 100 * energy / (sum(energies) or 1.0)


def render(sounds: list[Sound], sample_rate: int) -> tuple[float, str]:
    """Give sounds that are shown together their pictures and their players' data.

    Returns:
        The gain at which all of them are played, and the picture of the colour scale of all their pictures.
    """
    gain = common_gain(sounds)
    length = max(len(sound.samples) for sound in sounds)
    levels = [spectrogram(sound.samples, length, sample_rate) for sound in sounds]
    top = max(float(level.max()) for level in levels)
    for sound, level in zip(sounds, levels, strict=True):
        sound.spectrogram = picture(level, top)
        sound.audio = encode_sound(sound.samples * gain, sample_rate)
    return gain, picture(np.linspace(top - DYNAMIC_RANGE, top, 128)[None], top)


def common_gain(sounds: list[Sound]) -> float:
    """The gain that keeps all sounds of a card within full scale; never above 1, for silence is a finding."""
    peak = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds)
    return min(1.0, 0.999 / peak) if peak > 0 else 1.0


def spectrogram(samples: np.ndarray, length: int, sample_rate: int) -> np.ndarray:
    """Level in dB (frequency, time) of samples padded to `length`, with at most MAX_COLUMNS columns."""
    window = int(WINDOW_SECONDS * sample_rate)
    hop = window // 4
    padded = np.pad(samples, (window // 2, window // 2 + length - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32), axis=1)))
    starts = np.unique(np.linspace(0, len(power), min(len(power), MAX_COLUMNS), endpoint=False).astype(int))
    power = np.add.reduceat(power, starts, axis=0) / np.diff([*starts, len(power)])[:, None]
    return 10 * np.log10(power.T + 1e-12)


def picture(levels: np.ndarray, top: float) -> str:
    """Levels as a base64 JPEG on the colour scale that ends at `top`."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    options = {"quality": 80}
    imsave(
        buffer,
        levels,
        vmin=top - DYNAMIC_RANGE,
        vmax=top,
        cmap="magma",
        origin="lower",
        format="jpg",
        pil_kwargs=options,
    )
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def encode_sound(samples: np.ndarray, sample_rate: int) -> str:
    """Samples as a base64 WAV file of 16 bits, which every browser plays."""
    from ..audio.writing import wav_bytes

    return base64.b64encode(wav_bytes(samples, sample_rate)).decode("ascii")
