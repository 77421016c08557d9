"""Recordings as other programs leave them, made with FFmpeg's libraries, and as the package sees them."""

import ctypes
import struct

import av
import numpy as np
import soundfile

from mixit_lightning.audio.opening import opened
from mixit_lightning.collection.survey import survey


def surveyed(path):
    """What the index keeps of a recording."""
    with opened(path) as sound:
        return survey(path, sound)


def noise(seconds, rate=8000, channels=1, scale=0.1, seed=0):
    """Pink-like noise `(time, channel)`, float32, that compressed formats find something in."""
    white = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    smooth = white + np.roll(white, 1, 0) + np.roll(white, 2, 0)
    return (scale / 2 * smooth).astype(np.float32)


class Pipe:
    """A file that cannot be sought in, so that whoever writes into it cannot go back to its header."""

    def __init__(self, path):
        self.file = path.open("wb")

    def write(self, content):
        return self.file.write(content)

    def close(self):
        self.file.close()


def encode(path, samples, rate, codec, container=None, pipe=False, options=None, variable=False):
    """Write samples `(time, channel)` as FFmpeg would."""
    target = Pipe(path) if pipe else str(path)
    with av.open(target, "w", format=container, options=options or {}) as file:
        layout = "mono" if samples.shape[1] == 1 else "stereo"
        stream = file.add_stream(codec, rate=rate, layout=layout)
        if variable:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 4 * 118
        kind = stream.codec_context.codec.audio_formats[0].name
        size = 1024
        resampler = av.AudioResampler(kind, layout, rate, frame_size=stream.codec_context.frame_size or size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate = rate
        for part in (frame, None):
            for block in resampler.resample(part):
                file.mux(stream.encode(block))
        file.mux(stream.encode(None))
    if pipe:
        target.close()


def write_piped_flac(path, samples, rate=44100):
    """`ffmpeg ... -f flac - > FILE`: its header does not say how long it is."""
    encode(path, samples, rate, "flac", "flac", pipe=True)


def write_bare_mp3(path, samples, rate=44100, variable=True):
    """`ffmpeg ... -write_xing 0 FILE.mp3`: without the header that says how long it is."""
    encode(
        path, samples, rate, "libmp3lame", "mp3", variable=variable, options={"write_xing": "0", "id3v2_version": "0"}
    )


def write_crashed_wav(path, samples, rate=8000):
    """A recorder that was switched off: the samples are there, the header was never filled in."""
    soundfile.write(path, samples, rate, subtype="PCM_16", format="WAV")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = content[4:8] = struct.pack("<I", 0)
    path.write_bytes(content)


def without_privileges():
    """Drop what lets root read everything, in a process that is about to run another program."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability)  # PR_CAPBSET_DROP
