"""Recordings in, batches out: reading audio, mixing on the fly, and the DataModule that recipes fill in."""

from .datamodule import MixtureDataModule, Split
from .dynamic import DynamicMixtures, SoundPool
from .dynamic_datamodule import DynamicDataModule
from .mixture import EvaluationBatch, Mixture, TrainingBatch
from .prepared import PreparedMixtures, Row, find_rows, make_rows
from .prepared_datamodule import PreparedDataModule
from .recordings import RecordingPool

__all__ = [
    "DynamicDataModule",
    "DynamicMixtures",
    "EvaluationBatch",
    "Mixture",
    "MixtureDataModule",
    "PreparedDataModule",
    "PreparedMixtures",
    "RecordingPool",
    "Row",
    "SoundPool",
    "Split",
    "TrainingBatch",
    "find_rows",
    "make_rows",
]
