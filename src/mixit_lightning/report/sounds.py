"""Examples to listen to: sounds of runs, their pictures, and which output belongs to which reference."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from ..audio.claims import check_claims
from ..errors import UserError
from ..reading import read_json
from ..records import Metrics, check_entries
from .labels import NOT_APPLICABLE, Quantity, format_number, quantities, quantity_rows
from .runs import Run

LISTING = "examples.json"

WINDOW_SECONDS = 0.032
MAX_COLUMNS = 600  # of a spectrogram
DYNAMIC_RANGE = 80.0  # dB below the loudest cell of a card that its spectrograms still show

ROUNDING = 0.05
"""What is left of a mixture, relative to it, when the same one is subtracted as another run has written it."""


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
        level = format_number(20 * math.log10(peak), 1) if peak > 0 else "\N{MINUS SIGN}∞"
        return f"{level}\N{NO-BREAK SPACE}dBFS"

    @property
    def share_text(self) -> str:
        """Energy share with enough digits to tell silent from nearly silent."""
        share = self.share or 0.0
        return "< 0.01" if 0 < share < 0.01 else f"{share:.2f}" if 0 < share < 1 else f"{share:.0f}"


@dataclass
class Card:
    """An example of one run: its mixture, each reference beside its matched output, and the outputs left over."""

    name: str
    why: str
    metrics: Metrics
    mixture: Sound
    pairs: list[tuple[Sound, Sound | None]]
    rest: list[Sound]
    sample_rate: int
    gain: float = 1.0  # below 1 where a sound would clip; the same for all sounds that are shown together
    scale: str = field(default="", repr=False)  # picture of the colour scale

    @property
    def quantities(self) -> list[Quantity]:
        """Its figures."""
        return quantities(self.metrics)

    @property
    def outputs(self) -> list[Sound]:
        """All outputs, matched or not."""
        return [output for _, output in self.pairs if output is not None] + self.rest

    @property
    def sounds(self) -> list[Sound]:
        """All of them."""
        return [self.mixture, *(reference for reference, _ in self.pairs), *self.outputs]

    @property
    def duration(self) -> float:
        """Seconds of the longest sound."""
        return max(len(sound.samples) for sound in self.sounds) / self.sample_rate


class Entry(BaseModel):
    """An example as the list of a run names it."""

    folder: str
    name: str
    why: str = ""
    metrics: Metrics = {}
    matched: dict[int, int] = {}
    """Outputs by reference, both counted from 1."""


class Example(NamedTuple):
    """A test mixture that runs kept: mixture, references, scale and gain stand on the card of the first of them."""

    places: list[int]
    """Of the runs, among all of the page."""
    cards: list[Card]
    figures: dict[str, list[str]]


def read_examples(runs: Sequence[Run]) -> tuple[list[Example], list[str]]:
    """The examples of one run, or those that several kept in common; and notes on sounds that cannot be played.

    Raises:
        UserError: a list or a sound is broken.
    """
    kept: dict[int, dict[tuple[str, int], Entry]] = {}
    notes = []
    for place, run in enumerate(runs):
        entries = read_entries(run.folder / "examples")
        names = [entry.name for entry in entries]
        if entries:  # of one name there may be several
            kept[place] = {(name, names[:n].count(name)): entries[n] for n, name in enumerate(names)}
        else:
            notes.append(f"{run.label}: no examples, as the run folder has no examples/{LISTING}.")
    if len(kept) < min(len(runs), 2):
        return [], [*notes, "There is nothing to listen to: evaluate again to keep examples."]
    common = [key for key in next(iter(kept.values())) if all(key in entries for entries in kept.values())]
    if not common:
        notes.append("The runs kept no example in common. Evaluate them again: some are then the same in every run.")
    examples = []
    for key in common:
        cards = [read_card(runs[place].folder / "examples", entries[key]) for place, entries in kept.items()]
        first = cards[0]
        others = [runs[place].label for place, card in zip(kept, cards, strict=True) if not fit(card, first)]
        if others:
            notes.append(f"{first.name}: not shown, as other sounds have this name in {', '.join(others)}.")
            continue
        outputs = [output for card in cards[1:] for output in card.outputs]
        first.gain, first.scale = render([*first.sounds, *outputs], first.sample_rate)
        figures = quantity_rows([card.metrics for card in cards])
        examples.append(
            Example(list(kept), cards, {"Kept as": [card.why or NOT_APPLICABLE for card in cards]} | figures)
        )
    if any(len(entries) > len(common) for entries in kept.values()):
        left_out = [f"{len(entries) - len(common)} of {runs[place].label}" for place, entries in kept.items()]
        notes.append(f"Examples that not all runs kept are on the runs' own pages: {', '.join(left_out)}.")
    return examples, notes


def fit(card: Card, first: Card) -> bool:
    """Bring the outputs of a card to the level of another run's; False where the two hold other sounds.

    Runs write an example at one gain each, below 1 where a sound would clip.
    """
    ours, theirs = (one.mixture.samples.astype(np.float64) for one in (card, first))
    if ours.shape != theirs.shape or card.sample_rate != first.sample_rate or len(card.pairs) != len(first.pairs):
        return False
    gain = float(ours @ theirs / (ours @ ours)) if card is not first and ours.any() else 1.0
    if np.linalg.norm(theirs - gain * ours) > ROUNDING * np.linalg.norm(theirs):
        return False
    for output in card.outputs:
        output.samples = output.samples * np.float32(gain)
    return True


def read_entries(folder: Path) -> list[Entry]:
    """The listening examples of a run's `examples` folder; empty where it has none.

    Raises:
        UserError: their list is broken.
    """
    path = folder / LISTING
    return check_entries(read_json(path, "evaluate the run again"), list[Entry], path) if path.is_file() else []


def read_card(folder: Path, entry: Entry) -> Card:
    """One listening example of an `examples` folder: sounds read and matched, not drawn yet.

    Raises:
        UserError: a sound is missing or cannot be read, or the entry does not fit the sounds.
    """
    listing = folder / LISTING
    place = (folder / entry.folder).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise UserError(f"{listing} names a folder outside its own: {entry.folder}")
    sounds, sample_rate = read_sounds(place)
    references = [sound for sound in sounds if sound.role == "reference"]
    outputs = {sound.number: sound for sound in sounds if sound.role == "output"}
    share_energy(references)
    share_energy(list(outputs.values()))
    try:
        found = {reference: outputs.pop(output) for reference, output in entry.matched.items()}
    except KeyError as error:
        raise UserError(
            f"{listing}: 'matched' of {entry.folder!r} must give each reference an output of its own, "
            f"got {entry.matched}: evaluate the run again"
        ) from error
    pairs = [(reference, found.get(reference.number)) for reference in references]
    return Card(entry.name, entry.why, entry.metrics, sounds[0], pairs, list(outputs.values()), sample_rate)


def draw_card(card: Card) -> Card:
    """Give all sounds of a card their pictures and players."""
    card.gain, card.scale = render(card.sounds, card.sample_rate)
    return card


def read_sounds(folder: Path) -> tuple[list[Sound], int]:
    """The sounds of an example, mixture first, then references and outputs by number; and their sample rate."""
    import soundfile

    paths = [("mixture", 0, folder / "mixture.wav")]
    for role in ("reference", "output"):
        numbers = [path.stem.removeprefix(f"{role}_") for path in folder.glob(f"{role}_*.wav")]
        paths += [(role, n, folder / f"{role}_{n}.wav") for n in sorted(int(n) for n in numbers if n.isdecimal())]
    if not paths[0][2].is_file():
        raise UserError(f"{paths[0][2]} is missing: evaluate the run again to write its examples")
    sounds, sample_rates = [], set()
    for role, number, path in paths:
        try:
            about = soundfile.info(path)
            check_claims(path, about.samplerate, about.channels, about.frames)
            samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UserError(f"{path} is not a sound file that can be read: {error}") from error
        samples = samples.mean(axis=1)
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
    peak = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds)
    gain = min(1.0, 0.999 / peak) if peak > 0 else 1.0  # never above 1, for silence is a finding
    length = max(len(sound.samples) for sound in sounds)
    levels = [spectrogram(sound.samples, length, sample_rate) for sound in sounds]
    top = max(float(level.max()) for level in levels)
    for sound, level in zip(sounds, levels, strict=True):
        sound.spectrogram = picture(level, top)
        sound.audio = encode_sound(sound.samples * gain, sample_rate)
    return gain, picture(np.linspace(top - DYNAMIC_RANGE, top, 128)[None], top)


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
    bottom, options = top - DYNAMIC_RANGE, {"quality": 80}
    imsave(buffer, levels, bottom, top, cmap="magma", origin="lower", format="jpg", pil_kwargs=options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def encode_sound(samples: np.ndarray, sample_rate: int) -> str:
    """Samples as a base64 WAV file of 16 bits, which every browser plays."""
    from ..audio.writing import wav_bytes

    return base64.b64encode(wav_bytes(samples, sample_rate)).decode("ascii")
