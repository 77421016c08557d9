"""Recordings in, batches out: reading audio, mixing on the fly, and the DataModule that recipes fill in."""

from .datamodule import MixtureDataModule, Split
from .dynamic import DynamicMixtures, SoundPool
from .dynamic_datamodule import DynamicDataModule
from .mixture import EvaluationBatch, Mixture, TrainingBatch
from .prepared import PreparedMixtures, Row, find_rows
from .prepared_datamodule import PreparedDataModule
from .speakers import SpeakerPool

__all__ = [
    "DynamicDataModule",
    "DynamicMixtures",
    "EvaluationBatch",
    "Mixture",
    "MixtureDataModule",
    "PreparedDataModule",
    "PreparedMixtures",
    "Row",
    "SoundPool",
    "SpeakerPool",
    "Split",
    "TrainingBatch",
    "find_rows",
]
