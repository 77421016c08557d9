"""The page: drop a recording, play it and its outputs, and mix these with a slider each."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio
import numpy as np
import soundfile

from ..audio.finding import CONTAINERS, RECORDINGS
from ..audio.opening import opened, read_block
from ..audio.writing import BLOCK, explained, lossless
from ..errors import UserError
from ..inference.files import separate_file
from ..inference.separator import Separator

QUEUE = 20
"""Recordings that may wait; they are separated one by one."""

SWEEP = (3600, 86400)
"""Seconds between deletions of files that the page was sent or has made, and their age then."""

OFF = -40.0
"""The lowest gain in dB, which silences an output."""


def make_page(separator: Separator, settings: dict[str, Any], max_seconds: float, folder: Path) -> gradio.Blocks:
    """The page, not served yet.

    Args:
        separator: of the recordings.
        settings: of `inference.files.separate_file`.
        max_seconds: of a recording.
        folder: for temporary files.
    """
    count = separator.num_outputs

    def separate(sent: str, progress: gradio.Progress = gradio.Progress()) -> Iterator[list[Any]]:  # noqa: B008
        """Give the recording and its outputs as WAV files of 32-bit floats, which add up to it."""
        source = Path(sent)

        def show(done: float, total: float) -> None:
            progress((int(done), int(total)), desc="Separating", unit="s")

        with TemporaryDirectory(dir=folder) as temporary:  # gradio copies the files before it resumes the iterator
            recording, target = Path(temporary, f"{source.stem}.wav"), Path(temporary, "outputs")
            try:
                remarks = copy_as_wav(source, recording, max_seconds)
                found = separate_file(separator, recording, target, settings, show)
            except UserError as error:
                # Only the name of the file says something to whoever has dropped it.
                text = str(error).replace(str(source), source.name).replace(str(recording), source.name)
                raise gradio.Error(text, duration=None, print_exception=False) from error
            for remark in remarks:
                gradio.Warning(f"{source.name} {remark}")
            outputs = [
                gradio.Audio(
                    (target / name).rename(target / f"{source.stem} output {number}.wav"),
                    label=f"Output {number}, {level} dB",
                )
                for number, (name, level) in enumerate(zip(found["outputs"], found["levels"], strict=True), 1)
            ]
            yield [gradio.Column(visible=True), recording, *outputs, *[0] * count, None]

    def mix(*values: Any) -> Iterator[Path]:
        """Give the sum of the outputs, each with its gain in dB, as a WAV file of 32-bit floats."""
        sources, gains = values[:count], values[count:]
        with TemporaryDirectory(dir=folder) as temporary:
            path = Path(temporary, Path(sources[0]).name.replace("output 1", "mix"))
            add_up(sources, [10 ** (gain / 20) if gain > OFF else 0 for gain in gains], path)
            yield path

    player = partial(gradio.Audio, interactive=False, buttons=["download"])
    with gradio.Blocks(title="mixit listen", analytics_enabled=False, delete_cache=SWEEP) as page:
        gradio.Markdown(
            "# mixit listen\nDrop a recording, hear what it is made of, mix it again.\n\n"
            f"Levels are relative to the recording; a gain of {OFF:g} dB is off."
        )
        upload = gradio.File(
            label=f"Recording of at most {max_seconds / 60:g} min", file_types=[*RECORDINGS, *CONTAINERS]
        )
        with gradio.Column(visible=False) as results:
            recording = player(label="Recording")
            outputs, gains = [], []
            for number in range(1, count + 1):
                with gradio.Row():
                    outputs.append(player(label=f"Output {number}", type="filepath", scale=3, min_width=320))
                    gains.append(gradio.Slider(OFF, 12, 0, step=0.5, label="Gain (dB)", min_width=240))
            button = gradio.Button("Mix")
            mixed = player(label="Mix", autoplay=True)
        separation = upload.upload(
            separate,
            upload,
            [results, recording, *outputs, *gains, mixed],
            show_progress_on=upload,
            concurrency_limit=1,
        )
        separation.failure(lambda: None, None, upload)  # so that the next recording can be dropped
        button.click(mix, [*outputs, *gains], mixed)
    return page.queue(max_size=QUEUE)


def copy_as_wav(source: Path, target: Path, max_seconds: float) -> list[str]:
    """Write a recording of any format as WAV of 32-bit floats, which browsers play and which do not clip.

    Returns:
        Remarks on the recording, such as that its end is missing.

    Raises:
        UserError: it cannot be read, is no audio, damaged, or longer than `max_seconds`.
        CannotWrite: the disk is full.
    """

    def check(frames: int, sample_rate: int, channels: int) -> None:
        if frames > max_seconds * sample_rate:
            raise UserError(f"{source}: is longer than {max_seconds:g} s; cut it, or use `mixit separate`")

    with opened(source, check) as sound, explained(target.parent):
        with wav_file(target, sound.file.samplerate, sound.file.channels, sound.file.frames) as file:
            while len(block := read_block(source, sound.file, BLOCK)):
                file.write(block)
        return sound.remarks


def add_up(sources: Sequence[str], gains: Sequence[float], target: Path) -> None:
    """Write the sum of WAV files of one length, each times its gain, as WAV of 32-bit floats.

    Raises:
        CannotWrite: the disk is full.
    """
    about = soundfile.info(sources[0])
    blocks = (soundfile.blocks(source, BLOCK, dtype="float32", always_2d=True) for source in sources)
    with explained(target.parent), wav_file(target, about.samplerate, about.channels, about.frames) as file:
        for block in zip(*blocks, strict=True):
            file.write(np.tensordot(gains, block, 1))


def wav_file(path: Path, sample_rate: int, channels: int, frames: int) -> soundfile.SoundFile:
    """A new WAV file of 32-bit floats; `frames`, its length, may be more than fits into 4 GiB."""
    kind, subtype = lossless("WAV", "FLOAT", frames * channels)
    return soundfile.SoundFile(path, "w", sample_rate, channels, subtype, format=kind)
