"""Six kinds of generated sound, each random but unmistakable: voice, siren, birds, drums, bells, noise.

Every function takes a random generator, a number of samples and a sample rate (Hz), and returns that many samples of
float32 at any level. Generation must cost far less than training on the result, so there is no loop over samples.
"""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

Sound = Callable[[np.random.Generator, int, int], np.ndarray]


def voice(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """Syllables of a pulse train with a gliding pitch through three formants, with pauses."""
    pitch = rng.uniform(90, 260) * glide(rng, length, sample_rate, rate=3.0, depth=0.12)
    pulses = np.diff(np.floor(phase(pitch, sample_rate)), prepend=0.0)
    sound = np.zeros(length, dtype=np.float32)
    start = 0
    while start < length:
        stop = min(length, start + int(rng.uniform(0.12, 0.35) * sample_rate))
        if rng.random() < 0.85:
            syllable = pulses[start:stop]
            formants = [(rng.uniform(300, 850), 70), (rng.uniform(900, 2200), 100), (rng.uniform(2400, 3200), 150)]
            for frequency, bandwidth in formants:
                radius = np.exp(-np.pi * bandwidth / sample_rate)
                cosine = np.cos(2 * np.pi * frequency / sample_rate)
                syllable = lfilter([1.0], [1.0, -2 * radius * cosine, radius**2], syllable)
            sound[start:stop] = syllable * np.hanning(stop - start) * rng.uniform(0.5, 1.0)
        start = stop
    return sound


def siren(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """A tone with overtones that swings slowly and widely up and down."""
    centre, depth = rng.uniform(600, 1100), rng.uniform(0.15, 0.4)
    swing = np.sin(2 * np.pi * rng.uniform(0.3, 1.2) * seconds(length, sample_rate) + rng.uniform(0, 2 * np.pi))
    turns = phase(centre * 2 ** (depth * swing), sample_rate)
    return sum(np.sin(2 * np.pi * k * turns) / k**2 for k in (1, 2, 3)).astype(np.float32)


def birds(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """Short high chirps, up or down, in series."""
    sound = np.zeros(length, dtype=np.float32)
    low, ratio = rng.uniform(1800, 2600), rng.uniform(1.15, 1.5)
    duration, pause = rng.uniform(0.05, 0.12), rng.uniform(0.06, 0.25)
    chirp_length = int(duration * sample_rate)
    sweep = low * ratio ** np.linspace(0, 1, chirp_length)
    sweep = sweep[::-1] if rng.random() < 0.5 else sweep
    chirp = np.sin(2 * np.pi * phase(sweep, sample_rate)) * np.hanning(chirp_length)
    start = int(rng.uniform(0, pause) * sample_rate)
    while start + chirp_length <= length:
        sound[start : start + chirp_length] = chirp * rng.uniform(0.6, 1.0)
        start += chirp_length + int(pause * rng.uniform(0.7, 1.3) * sample_rate)
    return sound


def drums(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """A beat of bursts of noise over a falling low tone."""
    beat = int(rng.uniform(0.18, 0.4) * sample_rate)
    hit = np.arange(min(beat, int(0.15 * sample_rate))) / sample_rate
    burst = rng.standard_normal(len(hit)) * np.exp(-hit / rng.uniform(0.008, 0.02))
    drop = rng.uniform(80, 160) * (1 + 2 * np.exp(-hit / 0.02))
    thump = np.sin(2 * np.pi * phase(drop, sample_rate)) * np.exp(-hit / rng.uniform(0.03, 0.06))
    kinds = (burst, thump * 2, burst + thump)
    sound = np.zeros(length, dtype=np.float32)
    for start in range(rng.integers(beat), length, beat):
        part = kinds[rng.integers(3)][: length - start]
        sound[start : start + len(part)] += part * rng.uniform(0.6, 1.0)
    return sound


def bells(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """Struck notes of partials in no harmonic ratio, which ring and die away."""
    sound = np.zeros(length, dtype=np.float32)
    start = rng.integers(int(0.3 * sample_rate))
    while start < length:
        time = np.arange(length - start) / sample_rate
        base = rng.uniform(350, 700)
        for ratio, strength in ((1.0, 1.0), (2.76, 0.6), (4.07, 0.35)):
            decay = np.exp(-time * rng.uniform(2.5, 5.0) * ratio**0.5)
            sound[start:] += (strength * np.sin(2 * np.pi * base * ratio * time) * decay).astype(np.float32)
        start += int(rng.uniform(0.4, 0.9) * sample_rate)
    return sound


def noise(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """A band of noise, half an octave to an octave wide, that swells slowly."""
    low = rng.uniform(200, 1600)
    high = min(low * 2 ** rng.uniform(0.5, 1.0), 0.45 * sample_rate)
    band = butter(4, [low, high], "bandpass", fs=sample_rate, output="sos")
    sound = sosfilt(band, rng.standard_normal(length))
    return (sound * glide(rng, length, sample_rate, rate=2.0, depth=0.5)).astype(np.float32)


KINDS: dict[str, Sound] = {
    "voice": voice,
    "siren": siren,
    "birds": birds,
    "drums": drums,
    "bells": bells,
    "noise": noise,
}


def seconds(length: int, sample_rate: int) -> np.ndarray:
    """The time of every sample."""
    return np.arange(length) / sample_rate


def phase(frequency: np.ndarray, sample_rate: int) -> np.ndarray:
    """Turns of an oscillator of that frequency (Hz) at every sample."""
    return np.cumsum(frequency) / sample_rate


def glide(rng: np.random.Generator, length: int, sample_rate: int, rate: float, depth: float) -> np.ndarray:
    """A smooth random curve around 1, with about `rate` turning points per second, within a factor of 2 ** depth."""
    points = max(3, int(length / sample_rate * rate) + 2)
    positions = np.linspace(0, points - 1, length)
    return 2 ** (depth * np.interp(positions, np.arange(points), rng.uniform(-1, 1, points)))
