"""Recordings as the package sees them."""

from mixit_lightning.audio.opening import opened
from mixit_lightning.data.survey import survey


def surveyed(path):
    with opened(path) as sound:
        return survey(path, sound)
