"""Recordings in, batches out: reading audio, mixing on the fly, and the DataModule that recipes fill in."""

from .datamodule import MixtureDataModule
from .dynamic import DynamicMixtures, SoundPool
from .mixture import EvaluationBatch, Mixture, TrainingBatch
from .prepared import PreparedMixtures
from .speakers import SpeakerPool

__all__ = [
    "DynamicMixtures",
    "EvaluationBatch",
    "Mixture",
    "MixtureDataModule",
    "PreparedMixtures",
    "SoundPool",
    "SpeakerPool",
    "TrainingBatch",
]
