"""Choosing the recordings of an index that can be trained on, with reasons for the others."""

from typing import NamedTuple

from .crops import Recording, as_recording
from .index import AnalysedRecording, Index


class Usable(NamedTuple):
    """The recordings of a folder, usable ones and skipped ones."""

    recordings: list[Recording]
    analysed: list[AnalysedRecording]
    """The results of the scan, one per recording."""
    skipped: dict[str, str]
    """Reasons why recordings are skipped, by name."""


def usable(index: Index, sample_rate: int, shortest: float) -> Usable:
    """Choose the usable recordings of an index.

    Args:
        index: of a folder.
        sample_rate: Hz; recordings at lower rates are skipped, as their missing highs would give them away.
        shortest: seconds of a recording.
    """
    recordings, chosen = [], []
    skipped = dict(index.problems)
    known: dict[str, str] = {}
    for analysed in index.recordings:
        survey, recording = analysed.survey, as_recording(analysed)
        if not recording.channels:
            skipped[analysed.name] = "is silent: nothing above -70 dB"
        elif survey.digest in known:
            skipped[analysed.name] = f"holds the same samples as {known[survey.digest]}"
        elif survey.seconds < shortest:
            skipped[analysed.name] = f"is {survey.seconds:.2g} s long, below datamodule.shortest={shortest:g}"
        elif survey.sample_rate < sample_rate:
            skipped[analysed.name] = f"has {survey.sample_rate} Hz, below sample_rate={sample_rate}"
        else:
            recordings.append(recording)
            chosen.append(analysed)
        known.setdefault(survey.digest, analysed.name)
    return Usable(recordings, chosen, dict(sorted(skipped.items())))
