"""The DataModule of recipes whose mixtures are stored: a recipe says where, and this makes the training items."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ..errors import UserError
from .datamodule import LIST_SEEDS, MixtureDataModule, Split
from .dynamic import DynamicMixtures
from .mixture import TrainingMixtures
from .prepared import PreparedMixtures, Row, split_rows
from .recordings import Recording, RecordingPool


class PreparedDataModule(MixtureDataModule):
    """Prepared mixtures, or new mixtures of their sources, for the 2-source and the 1-or-2-source task.

    Args:
        train_share: share of the training mixtures that are used, the same ones for every seed: how results depend on
            the amount of data.
        one_source_share: share of training items with one speaker; the others have all speakers of a mixture.
        evaluate_one_source: whether validation and test also have one source of every mixture alone (1S).
        dynamic: whether training mixes the sources anew every time: other pairs, crops and levels.
        max_level: dB; with `dynamic`, levels of the sources are uniform within plus and minus this.
        speeds: with `dynamic`, factors of the speed perturbation, see `RecordingPool`.
        settings: of the `MixtureDataModule`.
    """

    def __init__(
        self,
        train_share: float,
        one_source_share: float,
        evaluate_one_source: bool,
        dynamic: bool,
        max_level: float,
        speeds: Sequence[float],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.train_share = train_share
        self.one_source_share = one_source_share
        self.evaluate_one_source = evaluate_one_source
        self.dynamic = dynamic
        self.max_level = max_level
        self.speeds = speeds

    @abstractmethod
    def rows(self, split: Split) -> list[Row]:
        """The stored mixtures of a split."""

    @abstractmethod
    def speakers(self, row: Row) -> Sequence[str]:
        """The speaker of each reference of a row."""

    def training_mixtures(self) -> TrainingMixtures:
        """Random crops of the mixtures in random order, or endless new mixtures."""
        rows = self.training_rows()
        if not self.dynamic:
            return PreparedMixtures(rows, self.length, self.labelled_share, self.seed, self.one_source_share)
        splits = split_rows(rows, self.labelled_share, self.seed)
        # An empty split is not drawn from.
        labelled, unlabelled = (
            RecordingPool(self.recordings(split or rows), self.sample_rate, self.speeds) for split in splits
        )
        shares = [0.0] * len(rows[0].references)
        shares[-1] += 1 - self.one_source_share
        shares[0] += self.one_source_share
        return DynamicMixtures(labelled, unlabelled, shares, self.length, self.max_level, self.seed)

    def training_rows(self) -> list[Row]:
        """The share of the training mixtures that are used.

        Raises:
            UserError: that is no share, or none of them.
        """
        rows = self.rows("train")
        count = round(self.train_share * len(rows))
        if not 0 < count <= len(rows):
            raise UserError(
                f"datamodule.train_share={self.train_share} must be a share, up to 1, that leaves some of the "
                f"{len(rows)} training mixtures"
            )
        return split_rows(rows, self.train_share, LIST_SEEDS["train"])[0] if count < len(rows) else rows

    def recordings(self, rows: Sequence[Row]) -> list[Recording]:
        """All references of some rows, each with its speaker.

        Raises:
            UserError: a row's name does not say who speaks.
        """
        recordings = []
        for row in rows:
            speakers = self.speakers(row)
            if len(speakers) != len(row.references):
                raise UserError(
                    f"{row.mixture}: its name does not tell its {len(row.references)} speakers, as the standard "
                    "set's do; set datamodule.dynamic=false"
                )
            recordings += [Recording(path, speaker) for path, speaker in zip(row.references, speakers, strict=True)]
        return recordings

    def evaluation_mixtures(self, split: Split) -> PreparedMixtures:
        """The middle of every mixture for validation, whole mixtures for the test."""
        rows = self.rows(split)
        if self.evaluate_one_source:
            # First sources and second sources in turn.
            rows = rows + [row.alone(number % len(row.references)) for number, row in enumerate(rows)]
        return PreparedMixtures(rows, self.length if split == "valid" else None)
