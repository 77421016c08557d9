"""Recordings in, batches out: reading audio, mixing on the fly, and the DataModule that recipes fill in."""

from .datamodule import MixtureDataModule
from .dynamic import DynamicMixtures, SoundPool
from .dynamic_datamodule import DynamicDataModule
from .mixture import EvaluationBatch, Mixture, TrainingBatch
from .prepared import PreparedMixtures
from .speakers import SpeakerPool

__all__ = [
    "DynamicDataModule",
    "DynamicMixtures",
    "EvaluationBatch",
    "Mixture",
    "MixtureDataModule",
    "PreparedMixtures",
    "SoundPool",
    "SpeakerPool",
    "TrainingBatch",
]
