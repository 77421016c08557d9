"""Files that are not what they seem, and what is said of each."""

import struct

import numpy as np
import soundfile


def header(channels=1, rate=8000, samples=b"\0\0" * 4000, claimed=None):
    """A WAV file that says what it is told to."""
    claimed = len(samples) if claimed is None else claimed
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2 % 2**16, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claimed) + samples
    return b"RIFF" + struct.pack("<I", min(len(body) - len(samples) + claimed, 2**32 - 1)) + body


def write_film(path, seconds, rate=8000):
    """A film of silence."""
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("aac", rate=rate, layout="mono", bit_rate=8000)
        for start in range(0, int(seconds * rate), 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def write_bad_files(folder, secret):
    """Write them; `secret` is a recording elsewhere that some refer to.

    Returns:
        Of each name the message.
    """
    texts = {
        "text.wav": "no sound at all",
        "empty.wav": "",
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {secret.name}\n",
        "list.wav": f"#EXTM3U\n{secret}\n",
        "text.mp4": "no film at all",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "no channels.wav").write_bytes(header(channels=0))
    (folder / "no rate.wav").write_bytes(header(rate=0))
    (folder / "fast.wav").write_bytes(header(rate=1_000_000))
    (folder / "fastest.wav").write_bytes(header(rate=4_000_000_000))
    (folder / "many.wav").write_bytes(header(channels=1000))
    (folder / "none.wav").write_bytes(header(samples=b""))
    soundfile.write(folder / "nan.wav", np.full(900, np.nan, np.float32), 8000, subtype="FLOAT")
    soundfile.write(folder / "bomb.flac", np.zeros(8000 * 3600, np.int16), 8000)
    soundfile.write(folder / "wide.flac", np.zeros((192_000 * 40, 8), np.int16), 192_000)
    write_film(folder / "bomb.mp4", 90)
    return {
        "text.wav": "cannot be read as audio",
        "empty.wav": "is empty",
        "list.wav": "cannot be read as audio",
        "list.mp4": "cannot be read as audio",
        "concat.mp4": "cannot be read as audio",
        "text.mp4": "cannot be read as audio",
        "no channels.wav": "cannot be read as audio",
        "no rate.wav": "cannot be read as audio",
        "fastest.wav": "cannot be read as audio",
        "fast.wav": "has a sample rate of 1000000 Hz; convert it to one from 2000 to 192000 Hz",
        "many.wav": "has 1000 channels; give it at most 16",
        "none.wav": "holds no samples; replace or remove it",
        "nan.wav": "holds samples that are not finite numbers (NaN or infinity)",
        "bomb.flac": "is longer than 60 s; cut it, or use `mixit separate`",
        "wide.flac": "holds 8 channels of 40 s at 192000 Hz, which is too much for this page",
        "bomb.mp4": "is longer than 60 s; cut it, or use `mixit separate`",
    }
