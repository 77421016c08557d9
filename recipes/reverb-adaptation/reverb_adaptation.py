"""Labelled mixtures of one domain and unlabelled mixtures of another in one batch."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import ConcatDataset, DataLoader

from mixit_lightning.data import EvaluationBatch, Mixture, MixtureDataModule, Split
from mixit_lightning.data.batches import EvaluationDataset
from mixit_lightning.data.inventory import Inventory
from mixit_lightning.data.mixture import EvaluationMixtures, LabelledAndUnlabelled
from mixit_lightning.errors import UserError


class ReverbAdaptation(MixtureDataModule):
    """Draws from the data modules of two recipes; which domain a mixture comes from never reaches the network.

    Validation needs no references of the unlabelled domain: MixIT's loss is computed on it, PIT's on the labelled one.
    The test goes through all domains.

    Args:
        domains: data modules by name; the first is what results are about.
        unlabelled: the one that unlabelled examples come from.
        labelled: the one that labelled examples come from.
        settings: of the `MixtureDataModule`.

    Raises:
        UserError: there is no such domain, or one differs in rate or duration.
    """

    def __init__(
        self, domains: Mapping[str, MixtureDataModule], unlabelled: str, labelled: str, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.all_domains = dict(domains)
        for key, name in (("unlabelled", unlabelled), ("labelled", labelled)):
            if name not in domains:
                raise UserError(f"{key}={name}: there is no such domain; domains are {', '.join(domains)}")
        for name, domain in domains.items():
            if (domain.sample_rate, domain.length) != (self.sample_rate, self.length):
                raise UserError(f"domains.{name}: its sample_rate or duration differs; set those of the whole run only")
            domain.num_workers = self.num_workers
            # Recipes split their mixtures into labelled and unlabelled ones by this share.
            domain.labelled_share = self.labelled_share if unlabelled == labelled else float(name == labelled)
        self.unlabelled, self.labelled = domains[unlabelled], domains[labelled]

    def setup(self, stage: str | None = None) -> None:
        """Set up all domains."""
        for domain in self.all_domains.values():
            domain.setup(stage)
        super().setup(stage)

    def training_mixtures(self) -> LabelledAndUnlabelled:
        """Each kind from its domain."""
        return LabelledAndUnlabelled(self.labelled.training, self.unlabelled.training)

    def evaluation_mixtures(self, split: Split) -> EvaluationMixtures:
        """The mixtures of the unlabelled domain, without their references."""
        return WithoutReferences(self.unlabelled.evaluation[split])

    def val_dataloader(self) -> DataLoader[EvaluationBatch]:
        """Mixtures of mixtures of the unlabelled domain, then mixtures of the labelled one, as training has them.

        With a limit on validation batches, as of `debug=fast`, the latter may be left out.
        """
        datasets = []
        if self.labelled_share < 1:
            unlabelled = self.evaluation["valid"]
            datasets.append(EvaluationDataset(unlabelled, self.fair_batch_size(unlabelled), self.num_mixtures))
        if self.labelled_share > 0:
            labelled = self.labelled.evaluation["valid"]
            datasets.append(EvaluationDataset(labelled, self.fair_batch_size(labelled), num_mixtures=1))
        return self.loader_of(ConcatDataset(datasets))

    def domains(self) -> dict[str, MixtureDataModule]:
        """All of them are tested."""
        return self.all_domains

    def inventories(self) -> list[Inventory]:
        """Every set once."""
        every: list[Inventory] = []
        for domain in self.all_domains.values():
            every += [inventory for inventory in domain.inventories() if inventory not in every]
        return every


class WithoutReferences:
    """A list of mixtures without their references."""

    def __init__(self, mixtures: EvaluationMixtures) -> None:
        self.mixtures = mixtures

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, number: int) -> Mixture:
        item = self.mixtures[number]
        return item._replace(references=item.references[:0])
