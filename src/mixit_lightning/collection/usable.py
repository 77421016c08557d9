"""Which recordings of an index can be trained on, and why the others cannot."""

from typing import NamedTuple

from .crops import Recording, as_recording
from .index import Heard, Index


class Usable(NamedTuple):
    """The recordings of a folder, sorted out."""

    recordings: list[Recording]
    heard: list[Heard]
    """The same, as they were heard."""
    skipped: dict[str, str]
    """By name: why a recording is of no use."""


def usable(index: Index, sample_rate: int, shortest: float) -> Usable:
    """Sort out the recordings of an index.

    Args:
        index: of a folder.
        sample_rate: Hz; recordings at lower rates would tell themselves from the others by the highs that they lack.
        shortest: seconds of a recording.
    """
    recordings, chosen = [], []
    skipped = dict(index.problems)
    known: dict[str, str] = {}
    for heard in index.heard:
        survey, recording = heard.survey, as_recording(heard)
        if not recording.channels:
            skipped[heard.name] = "is silent: nothing above -70 dB"
        elif survey.digest in known:
            skipped[heard.name] = f"holds the same samples as {known[survey.digest]}"
        elif survey.seconds < shortest:
            skipped[heard.name] = f"is {survey.seconds:.2g} s long, below datamodule.shortest={shortest:g}"
        elif survey.sample_rate < sample_rate:
            skipped[heard.name] = f"has {survey.sample_rate} Hz, below sample_rate={sample_rate}"
        else:
            recordings.append(recording)
            chosen.append(heard)
        known.setdefault(survey.digest, heard.name)
    return Usable(recordings, chosen, dict(sorted(skipped.items())))
