"""Small valid files of every kind that commands read, for tests to spoil."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from mixit_lightning.inference.safe_tensors import write_safetensors

from ..helpers.trained import LEARNED, network_of, settings_of
from ..recipes.conftest import make_fuss, make_rooms, make_speech, syllables, write
from ..training.conftest import TINY

SUBTYPES = {
    "pcm16.wav": "PCM_16",
    "pcm24.wav": "PCM_24",
    "float.wav": "FLOAT",
    "u8.wav": "PCM_U8",
    "ulaw.wav": "ULAW",
    "adpcm.wav": "IMA_ADPCM",
    "sound.flac": "PCM_16",
    "sound.ogg": "VORBIS",
    "sound.mp3": "MPEG_LAYER_III",
}
"""Of audio files, by name."""

TRAINING = [*TINY, "trainer.max_steps=4", "datamodule.steps_per_epoch=2", "trainer.enable_progress_bar=false"]
"""Settings of the run of generated sounds; two epochs."""

SMALL = [word for word in TRAINING if not word.endswith("_counts=[2,5]")]
"""The same for recipes of recordings."""

COUNTS = ["datamodule.validation_counts=[0,2]", "datamodule.test_counts=[0,2]"]

WSJ0 = {
    "tr": [("si_tr_s/01t/01to030v", "1.9857"), ("si_tr_s/40n/40na010x", "-1.9857")],
    "cv": [("si_tr_s/40n/40na010x", "0.062866"), ("si_tr_s/20g/20ga010m", "-0.062866")],
    "tt": [("si_et_05/445/445c0206", "0.4"), ("si_dt_05/22g/22gc0105", "-0.4")],
}
"""A mixture a split."""

LIBRI = {
    "train-clean-100": ("103/1/103-1-0000", "1034/2/1034-2-0003", "tr/a.wav"),
    "dev-clean": ("84/5/84-5-0001", "174/6/174-6-0000", "cv/b.wav"),
    "test-clean": ("61/7/61-7-0002", "121/8/121-8-0000", "tt/c.wav"),
}
"""A mixture a subset: both utterances and the noise."""


def make_audio(folder: Path) -> Path:
    """A second and a half of each subtype, at 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, subtype) in enumerate(SUBTYPES.items()):
        soundfile.write(folder / name, syllables(number, 1.5, 16000), 16000, subtype=subtype)
    return folder


def make_recordings(folder: Path, count: int = 4) -> Path:
    """Recordings of a second and a half, at 16 kHz."""
    for number in range(count):
        write(folder / f"own{number}.wav", syllables(100 + number, 1.5, 16000), 16000)
    return folder


def make_wsj0(folder: Path, mixtures: int = 1) -> Path:
    """`wsj0/` converted to WAV, and `lists/`; further mixtures are of the same utterances at other levels."""
    names = dict.fromkeys(name for row in WSJ0.values() for name, _ in row)
    for number, name in enumerate(names):
        write(folder / "wsj0" / f"{name}.wav", syllables(number, 0.3 + 0.05 * number, 16000), 16000)
    (folder / "lists").mkdir()
    for split, row in WSJ0.items():
        lines = [
            " ".join(word for name, level in row for word in (f"wsj0/{name}.wav", f"{float(level) + number:g}"))
            for number in range(mixtures)
        ]
        (folder / "lists" / f"mix_2_spk_{split}.txt").write_text("\n".join(lines) + "\n")
    levels = [f"{Path(name).name} {0.002 * (1 + number):.8e}" for number, name in enumerate(names)]
    (folder / "lists" / "activlev.txt").write_text("\n".join(levels) + "\n")
    return folder


def make_libri(folder: Path) -> Path:
    """`LibriSpeech/`, `wham_noise/` and `metadata/`."""
    (folder / "metadata").mkdir(parents=True)
    for number, (subset, (*speech, noise)) in enumerate(LIBRI.items()):
        row = {"mixture_ID": "_".join(Path(name).name for name in speech)}
        for source, name in enumerate(speech, 1):
            write(folder / f"LibriSpeech/{subset}/{name}.flac", syllables(10 * number + source, 0.8, 16000), 16000)
            row |= {f"source_{source}_path": f"{subset}/{name}.flac", f"source_{source}_gain": 0.5 * source}
        write(folder / "wham_noise" / noise, syllables(10 * number + 5, 1.0, 16000), 16000)
        table = pd.DataFrame([row | {"noise_path": noise, "noise_gain": 0.8}])
        table.to_csv(folder / "metadata" / f"libri2mix_{subset}.csv", index=False)
    return folder


def make_network(folder: Path) -> Path:
    """A small separator in the layout of the Hugging Face Hub."""
    folder.mkdir()
    network = network_of(LEARNED)
    description = {"settings": settings_of(LEARNED), "provenance": {"commit": "abc"}, "global_step": 4}
    write_safetensors(folder / "model.safetensors", network.state_dict(), description)
    (folder / "config.json").write_text(json.dumps(description))
    return folder


def make_all(folder: Path) -> Path:
    """All of them but for runs."""
    make_network(folder / "network")
    make_audio(folder / "audio")
    make_recordings(folder / "own")
    make_speech(folder / "speech")
    make_fuss(folder / "fuss")
    make_wsj0(folder / "wsj0")
    make_libri(folder / "libri")
    make_rooms(folder / "rooms" / "rooms.npz", 8000)
    soundfile.write(folder / "secret.wav", np.full(12800, 0.1), 16000)
    return folder
