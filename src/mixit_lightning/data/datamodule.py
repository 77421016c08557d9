"""The DataModule that recipes fill in with their training and evaluation mixtures."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from .. import processes
from ..errors import UserError
from ..interrupts import leave_to_parent
from .batches import DrawnBatch, EvaluationDataset, TrainingDataset, TrainingSampler
from .inventory import Diagnosis, Inventory
from .mixture import EvaluationBatch, EvaluationMixtures, TrainingBatch, TrainingMixtures
from .reverberation import ReverberantMixtures, Rooms

Split = Literal["train", "valid", "test"]

EVALUATED: tuple[Split, ...] = ("valid", "test")

LIST_SEEDS: dict[Split, int] = {"train": 1_000_003, "valid": 1_000_001, "test": 1_000_002}
"""Lists are the same for every seed of training, so that runs can be compared; no one trains with these seeds."""


class MixtureDataModule(lightning.LightningDataModule):
    """Batches of mixtures for any objective; a recipe says which mixtures.

    Args:
        sample_rate: Hz.
        duration: seconds of training and validation crops.
        batch_size: examples (inputs of the network) of a training step, of all processes together.
        labelled_share: share of the examples of a batch that come with references, 0 to 1.
        num_mixtures: mixtures that are added up for an unlabelled example.
        silent_share: share of the unlabelled examples of which one mixture is left silent, so that the network also
            gets mixtures as they are. Only the sparsity term of the objective learns from those.
        steps_per_epoch: training steps between two validations; the order of the data does not depend on it.
        evaluation_batch_size: mixtures of a validation step. Tests go through whole mixtures one by one, unless
            the recipe's all have one length.
        num_workers: processes that load; what they load does not depend on their number.
        seed: of everything that is drawn for training.
        rooms: a bank of room impulse responses, see `mixit rooms`, with which all sources are then convolved; for
            recipes that mix their sources on the fly.
        early: with `rooms`, ms after the direct sound that still belong to the references; None is all of it.
        repeated_batches: train on the first so many batches again and again, to find faults; 0 is new ones throughout.
    """

    def __init__(
        self,
        sample_rate: int,
        duration: float,
        batch_size: int,
        labelled_share: float,
        num_mixtures: int,
        steps_per_epoch: int,
        silent_share: float = 0.0,
        evaluation_batch_size: int = 8,
        num_workers: int = 1,
        seed: int = 0,
        rooms: str | None = None,
        early: float | None = None,
        repeated_batches: int = 0,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.length = round(duration * sample_rate)
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.num_mixtures = num_mixtures
        self.silent_share = silent_share
        self.steps_per_epoch = steps_per_epoch
        self.evaluation_batch_size = evaluation_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.rooms = rooms
        self.early = early
        self.repeated_batches = repeated_batches

    def setup(self, stage: str | None = None) -> None:
        """Check the settings, find and check the recordings, once; `train` does so before it makes a run folder.

        Raises:
            UserError: a size is not positive, or something is wrong with the recordings or the rooms.
        """
        sizes = {name: getattr(self, name) for name in ("batch_size", "steps_per_epoch", "evaluation_batch_size")}
        for name, size in (sizes | {"duration": self.length}).items():
            if size < 1:
                raise UserError(f"datamodule.{name} must be positive")
        if not 0 <= self.silent_share <= 1:
            raise UserError(f"datamodule.silent_share={self.silent_share} must be a share, between 0 and 1")
        if self.early is not None and self.rooms is None:
            raise UserError("early has no meaning without rooms; give rooms=FILE, or early=null")
        if not hasattr(self, "training"):
            rooms = Rooms.load(self.rooms, ("train", *EVALUATED), self.sample_rate, self.early) if self.rooms else {}
            self.training = self.training_mixtures()
            self.evaluation = {split: self.evaluation_mixtures(split) for split in EVALUATED}
            self.partners = {split: self.evaluation_partners(split) for split in EVALUATED}
            if rooms and not hasattr(self.training, "draw_sources"):
                raise UserError(
                    f"rooms={self.rooms}: this recipe does not mix sources on the fly, so they cannot be convolved "
                    "with room impulse responses"
                )
            if rooms:
                self.training = ReverberantMixtures(self.training, rooms["train"], self.seed)
                for split in EVALUATED:
                    mixtures = self.evaluation[split]
                    self.evaluation[split] = ReverberantMixtures(mixtures, rooms[split], LIST_SEEDS[split])

    @abstractmethod
    def training_mixtures(self) -> TrainingMixtures:
        """Mixtures to train on, crops of `self.length` samples."""

    @abstractmethod
    def evaluation_mixtures(self, split: Split) -> EvaluationMixtures:
        """The fixed list of a split: crops of `self.length` samples for validation, whole mixtures for the test."""

    def evaluation_partners(self, split: Split) -> EvaluationMixtures | None:
        """Partners of the mixtures of a split in mixtures of mixtures; None stands for their neighbours in the list."""
        return None

    def inventory(self) -> Inventory | None:
        """All files of the set for the doctor, whether or not they are there; None where sounds are generated."""
        return None

    def inventories(self) -> list[Inventory]:
        """The inventories of all sets that mixtures come from."""
        inventory = self.inventory()
        return [] if inventory is None else [inventory]

    def diagnoses(self, quiet: bool) -> Sequence[Diagnosis] | None:
        """What the doctor says of recordings that are not a set; None lets the doctor examine `inventories`.

        Args:
            quiet: without progress.
        """
        return None

    def skipped(self) -> dict[str, str]:
        """Recordings of the set that are not used, by name, and why."""
        return {}

    def domains(self) -> dict[str, "MixtureDataModule"]:
        """Data modules of the test by name; the first one gives the main results."""
        return {"test": self}

    def on_after_batch_transfer(self, batch: Any, dataloader_number: int) -> Any:
        """Render lazy mixtures on the device."""
        return batch.render() if isinstance(batch, DrawnBatch) else batch

    def train_dataloader(self) -> DataLoader[TrainingBatch | DrawnBatch]:
        """Endless mixtures in epochs of `steps_per_epoch`; a GPU convolves them with room impulse responses itself."""
        trainer = self.trainer
        sampler = self.training_sampler(lambda: trainer.global_step * trainer.accumulate_grad_batches if trainer else 0)
        lazy = trainer is not None and trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            TrainingDataset(self.training, self.num_mixtures, self.silent_share, self.seed, lazy=lazy),
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=leave_to_parent,
        )

    def training_sampler(self, steps_taken: Callable[[], int] = lambda: 0) -> TrainingSampler:
        """Sampler of the examples that this process trains on.

        Raises:
            UserError: the processes cannot share a batch evenly.
        """
        return TrainingSampler(
            batch_size=self.batch_size,
            labelled_share=self.labelled_share,
            steps=self.steps_per_epoch,
            seed=self.seed,
            steps_taken=steps_taken,
            rank=processes.rank(),
            world_size=processes.count(),
            repeated=self.repeated_batches,
        )

    def check_processes(self, count: int) -> None:
        """Refuse a number of processes before they start.

        Raises:
            UserError: they cannot share a batch evenly, or not all would have a batch of the validation list, and
                Lightning would let them wait.
        """
        TrainingSampler(self.batch_size, self.labelled_share, self.steps_per_epoch, self.seed, world_size=count)
        if (mixtures := len(self.evaluation["valid"])) < count:
            raise UserError(
                f"{count} processes cannot share {mixtures} mixtures of validation; take fewer, or more mixtures"
            )

    def val_dataloader(self) -> DataLoader[EvaluationBatch]:
        """The validation list."""
        return self.evaluation_dataloader("valid", self.fair_batch_size(self.evaluation["valid"]))

    def fair_batch_size(self, mixtures: EvaluationMixtures) -> int:
        """`evaluation_batch_size`, or less where processes would else be left without a batch of a validation list."""
        return max(1, min(self.evaluation_batch_size, len(mixtures) // processes.count()))

    def test_dataloader(self) -> DataLoader[EvaluationBatch]:
        """The test list."""
        return self.evaluation_dataloader("test", 1)

    def evaluation_dataloader(self, split: Split, batch_size: int) -> DataLoader[EvaluationBatch]:
        """A fixed list in order."""
        mixtures, partners = self.evaluation[split], self.partners[split]
        return self.loader_of(EvaluationDataset(mixtures, batch_size, self.num_mixtures, partners))

    def loader_of(self, dataset: Dataset[EvaluationBatch]) -> DataLoader[EvaluationBatch]:
        """Batches in order; processes take turns at them, so that each is seen once."""
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=range(processes.rank(), len(dataset), processes.count()),  # type: ignore[arg-type]
            num_workers=self.num_workers,
            worker_init_fn=leave_to_parent,
        )
