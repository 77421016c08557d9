"""Speech enhancement: noisy speech and noise alone, from folders or mixed on the fly."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixit_lightning.audio.finding import recordings_below
from mixit_lightning.audio.opening import read_headers
from mixit_lightning.data import Mixture, MixtureDataModule, RecordingPool, Split
from mixit_lightning.data.datamodule import LIST_SEEDS
from mixit_lightning.data.dynamic import REFERENCE_RMS
from mixit_lightning.data.inventory import Inventory, Item
from mixit_lightning.data.mixture import fit_length, generator
from mixit_lightning.data.recordings import QUIET, Recording
from mixit_lightning.errors import UserError

SPLITS: tuple[Split, ...] = ("train", "valid", "test")

KINDS = ("noisy", "clean", "speech", "noise")
"""Kinds of recordings that a split may have a folder of."""

TEST_NOISE_SECONDS = 30
"""Noise alone that is cut to the length of a test mixture."""


class SpeechInNoise:
    """Clean speech and noise, mixed at random ratios.

    Args:
        speech: recordings.
        noise: recordings, repeated where they are shorter than the speech.
        length: samples; None mixes whole recordings of speech.
        snr: dB, lowest and highest; the power of the whole recording of speech to that of the crop of noise.
        max_level: dB; the level of the mixture is uniform within plus and minus this.
    """

    def __init__(
        self,
        speech: RecordingPool,
        noise: RecordingPool,
        length: int | None,
        snr: tuple[float, float],
        max_level: float,
    ) -> None:
        self.speech = speech
        self.noise = NoiseAlone(noise, length, snr, max_level=0)
        self.length = length
        self.max_level = max_level

    def draw(self, rng: np.random.Generator) -> Mixture:
        """References are the speech and the noise."""
        name, speech = self.speech.draw_any(rng, self.length)
        noise = self.noise.draw(rng, len(speech))
        gain = 10 ** (rng.uniform(-self.max_level, self.max_level) / 20)
        references = gain * torch.stack([torch.from_numpy(REFERENCE_RMS * speech), noise.mixture])
        return Mixture(f"{name}_{noise.name}", references.sum(0), references)


class NoiseAlone:
    """Noise at levels as in the mixtures, for the second mixture of a mixture of mixtures.

    Args:
        noise: recordings.
        length: samples, where a draw does not say.
        snr: dB, lowest and highest, below the level of speech.
        max_level: dB, up or down from there.
    """

    def __init__(self, noise: RecordingPool, length: int | None, snr: tuple[float, float], max_level: float) -> None:
        self.noise = noise
        self.length = length
        self.snr = snr
        self.max_level = max_level

    def draw(self, rng: np.random.Generator, length: int | None = None) -> Mixture:
        """A crop without references, named after its recording and its level."""
        name, noise = self.noise.draw_any(rng, length or self.length)
        snr = rng.uniform(*self.snr)
        level = rng.uniform(-self.max_level, self.max_level) - snr
        # The level is that of the crop, but a silent crop stays silent.
        rms = max(float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))), QUIET)
        samples = torch.from_numpy((REFERENCE_RMS * 10 ** (level / 20) / rms * noise).astype(np.float32))
        return Mixture(f"{name}_{snr:+.2f}", samples, samples.new_zeros(0, len(samples)))


class NoisyRecordings:
    """Noisy speech as it was recorded, at a common level, with what is known of it.

    Args:
        noisy: recordings of noisy speech.
        clean: folder of the clean version of every recording under the same name; None where nothing is known.
        length: samples; None is whole recordings.
        max_level: dB; the level is uniform within plus and minus this.
    """

    def __init__(self, noisy: RecordingPool, clean: Path | None, length: int | None, max_level: float) -> None:
        self.noisy = noisy
        self.clean = clean
        self.length = length
        self.max_level = max_level
        if clean is not None:
            check_pairs(noisy, clean)

    def draw(self, rng: np.random.Generator) -> Mixture:
        """A crop of a random recording."""
        return self.crop(self.noisy.groups[rng.integers(len(self.noisy.groups))], rng)

    def crop(self, name: str, rng: np.random.Generator) -> Mixture:
        """A random crop of one recording; references are the clean speech and the rest, or none."""
        (path,) = self.noisy.recordings[name]
        noisy, rms = self.noisy.decoded.load(path)
        signals = [noisy]
        if self.clean is not None:
            clean, _ = self.noisy.decoded.load(self.clean / name)
            signals += [clean, noisy - clean]
        length = self.length or len(noisy)
        start = rng.integers(max(0, len(noisy) - length) + 1)
        gain = REFERENCE_RMS * 10 ** (rng.uniform(-self.max_level, self.max_level) / 20) / rms
        crops = torch.from_numpy(np.stack([gain * signal[start : start + length] for signal in signals]))
        crops = fit_length(crops.float(), length)
        return Mixture(Path(name).stem, crops[0], crops[1:])


Drawable = SpeechInNoise | NoiseAlone | NoisyRecordings


class EnhancementMixtures:
    """Training mixtures: labelled ones, and for unlabelled examples noisy speech followed by noise alone.

    Args:
        labelled: noisy speech with the speech and the noise as references; None where no example is labelled.
        noisy: the first mixture of every unlabelled example; its references are taken away.
        noise: the others.
        num_mixtures: mixtures of an unlabelled example.
        seed: of the random mixtures.
    """

    def __init__(
        self, labelled: Drawable | None, noisy: Drawable | None, noise: Drawable | None, num_mixtures: int, seed: int
    ) -> None:
        self.labelled = labelled
        self.noisy = noisy
        self.noise = noise
        self.num_mixtures = num_mixtures
        self.seed = seed

    def draw(self, number: int, *, labelled: bool) -> Mixture:
        """Mixture of that number."""
        source = self.labelled if labelled else self.noise if number % self.num_mixtures else self.noisy
        assert source is not None, "the sampler draws from what labelled_share asks for"
        mixture = source.draw(generator(self.seed, number, labelled))
        return mixture if labelled else mixture._replace(references=mixture.references[:0])


class DrawnList:
    """A fixed number of random mixtures, the same on every machine and for every seed of training."""

    def __init__(self, source: Drawable, count: int, seed: int) -> None:
        self.source = source
        self.count = count
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Mixture:
        return self.source.draw(generator(self.seed, number))


class RecordedList:
    """Every noisy recording once, the same crop of it on every machine."""

    def __init__(self, source: NoisyRecordings, seed: int) -> None:
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source.noisy.groups)

    def __getitem__(self, number: int) -> Mixture:
        return self.source.crop(self.source.noisy.groups[number], generator(self.seed, number))


class Enhancement(MixtureDataModule):
    """Noisy speech, recorded or mixed on the fly, and noise alone.

    Unlabelled examples are noisy speech plus noise alone: `noisy` recordings where there are any, otherwise simulated
    from `speech` and `noise`. Labelled examples are pairs of `noisy` and `clean` recordings where there are any,
    otherwise mixed from `speech` and `noise`. What both kinds of examples are made of is split between them by
    `labelled_share`. Without labelled examples, and with `noisy` recordings, training and validation open nothing else
    than these and `noise`.

    Args:
        root: folder of `<kind>/<split>/`, for the kinds that there are; or null, and `folders` says where they are.
        folders: for every split, the folder of each kind: `noisy` speech, its `clean` version under the same name,
            clean `speech` to be mixed, and `noise` alone.
        validation_prefixes: recordings whose names begin so are left out of training; validation uses only these.
            For sets whose training and validation share a folder.
        snr: dB, lowest and highest, where speech and noise are mixed.
        max_level: dB, up or down, of every mixture.
        speeds: factors of the speed perturbation of clean speech in training.
        validation_count: mixtures of the validation list, where they are mixed; recordings all count.
        test_count: the same of the test.
        settings: of the `MixtureDataModule`.
    """

    def __init__(
        self,
        root: str | None,
        folders: Mapping[Split, Mapping[str, str | None]],
        validation_prefixes: Sequence[str],
        snr: Sequence[float],
        max_level: float,
        speeds: Sequence[float],
        validation_count: int,
        test_count: int,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if len(snr) != 2 or not snr[0] <= snr[1]:
            raise UserError(f"datamodule.snr={list(snr)} must be the lowest and the highest ratio in dB")
        if min(validation_count, test_count) < 1:
            raise UserError("datamodule.validation_count and datamodule.test_count must be positive")
        if isinstance(validation_prefixes, str):
            raise UserError(f"datamodule.validation_prefixes must be a list: [{validation_prefixes}]")
        self.root = root
        if root is not None:
            folders = {split: {kind: f"{root}/{kind}/{split}" for kind in KINDS} for split in SPLITS}
            folders = {
                split: {k: path for k, path in of.items() if Path(path).is_dir()} for split, of in folders.items()
            }
        self.folders: dict[Split, dict[str, Path]] = {
            split: {kind: Path(path) for kind, path in kinds.items() if path is not None}
            for split, kinds in folders.items()
        }
        self.validation_prefixes = tuple(validation_prefixes)
        self.snr = (float(snr[0]), float(snr[1]))
        self.max_level = max_level
        self.speeds = speeds
        self.counts: dict[Split, int] = {"valid": validation_count, "test": test_count}
        self.pool = lru_cache(maxsize=None)(self.find_pool)

    def training_mixtures(self) -> EnhancementMixtures:
        """Only recordings that the share of labelled examples needs are opened."""
        labelled: Drawable | None = None
        noisy: Drawable | None = None
        noise: Drawable | None = None
        if self.labelled_share > 0:
            labelled = self.paired("train", True) or self.mixed("train", True)
        if self.labelled_share < 1:
            noisy = self.recorded("train", False) or self.mixed("train", False)
            noise = NoiseAlone(self.recordings_for("noise", False), self.length, self.snr, self.max_level)
        return EnhancementMixtures(labelled, noisy, noise, self.num_mixtures, self.seed)

    def evaluation_mixtures(self, split: Split) -> RecordedList | DrawnList:
        """Recordings with references if there are any, otherwise mixtures, otherwise recordings without references.

        Validation without labelled examples takes recordings without references first.
        """
        kinds = set(self.folders[split])
        blind = split == "valid" and self.labelled_share == 0
        if blind and "noisy" in self.folders["train"]:
            self.pool(split, "noisy")  # must be there: clean speech would be opened instead
        if split == "valid" and not blind and not {"noisy", "clean"} <= kinds:
            self.pool(split, "speech")  # must be there: labelled training is judged by references
        recordings = (self.recorded(split) if blind else None) or self.paired(split)
        if not recordings and "speech" not in kinds:
            recordings = self.recorded(split)
        if recordings:
            return RecordedList(recordings, LIST_SEEDS[split])
        return DrawnList(self.mixed(split), self.counts[split], LIST_SEEDS[split])

    def evaluation_partners(self, split: Split) -> DrawnList | None:
        """Noise alone; where a set has none, as for supervised training only, the neighbours in the list."""
        if "noise" not in self.folders[split]:
            return None
        length = self.length if split == "valid" else TEST_NOISE_SECONDS * self.sample_rate
        noise = NoiseAlone(self.pool(split, "noise"), length, self.snr, max_level=0)
        return DrawnList(noise, self.counts[split], LIST_SEEDS[split] + len(SPLITS))

    def paired(self, split: Split, labelled: bool | None = None) -> NoisyRecordings | None:
        """Noisy recordings with their clean versions, if there are any."""
        if not {"noisy", "clean"} <= set(self.folders[split]):
            return None
        return NoisyRecordings(
            self.recordings_for("noisy", labelled, split), self.folders[split]["clean"], *self.shape(split)
        )

    def recorded(self, split: Split, labelled: bool | None = None) -> NoisyRecordings | None:
        """Noisy recordings of which nothing is known, if there are any."""
        if "noisy" not in self.folders[split]:
            return None
        return NoisyRecordings(self.recordings_for("noisy", labelled, split), None, *self.shape(split))

    def mixed(self, split: Split, labelled: bool | None = None) -> SpeechInNoise:
        """Speech and noise, mixed."""
        speech, noise = (self.recordings_for(kind, labelled, split) for kind in ("speech", "noise"))
        length, max_level = self.shape(split)
        return SpeechInNoise(speech, noise, length, self.snr, max_level)

    def shape(self, split: Split) -> tuple[int | None, float]:
        """Length and range of levels: whole recordings for the test, one level for all evaluation."""
        return (None if split == "test" else self.length), (self.max_level if split == "train" else 0.0)

    def recordings_for(self, kind: str, labelled: bool | None, split: Split = "train") -> RecordingPool:
        """Recordings of a kind: those of the labelled or of the unlabelled examples where both are made of them."""
        pool = self.pool(split, kind)
        paired = {"noisy", "clean"} <= set(self.folders[split])
        shared = {"noisy": paired, "noise": not paired, "speech": "noisy" not in self.folders[split]}[kind]
        if labelled is None or not shared:
            return pool
        return pool.split(self.labelled_share, self.seed)[0 if labelled else 1]

    def find_pool(self, split: Split, kind: str) -> RecordingPool:
        """All recordings of a kind.

        Raises:
            UserError: there is no such folder, or something is wrong with it.
        """
        if kind not in self.folders[split]:
            needed = f"{self.root}/{kind}/{split}" if self.root is not None else f"datamodule.folders.{split}.{kind}"
            raise UserError(f"{needed}: no such folder, but objective and data need it; see the recipe's README")
        speeds = self.speeds if (split, kind) == ("train", "speech") else (1.0,)
        folder = self.folders[split][kind]
        pool = RecordingPool.of_folder(folder, self.sample_rate, speeds, repeats=kind == "noise")
        if not self.validation_prefixes or split == "test" or kind == "noise":
            return pool
        chosen = [
            Recording(path, name)
            for name, paths in pool.recordings.items()
            for path in paths
            if path.name.startswith(self.validation_prefixes) == (split == "valid")
        ]
        if not chosen:
            prefixes = ", ".join(self.validation_prefixes)
            raise UserError(f"{folder}: nothing is left for {split} by datamodule.validation_prefixes=[{prefixes}]")
        return RecordingPool(chosen, self.sample_rate, speeds)

    def inventory(self) -> Inventory:
        """One item per recording, even where splits share a folder."""
        items: dict[Path, Item] = {}
        for split, kinds in self.folders.items():
            for kind, folder in kinds.items():
                for path in recordings_below(folder):
                    name = f"{kind}/{split}/{path.relative_to(folder)}"  # numbers may start again in every split
                    items.setdefault(path, Item(f"{kind}/{split}", name, {"recording": path}))
        root = Path(self.root) if self.root is not None else next(iter(self.folders["train"].values()))
        return Inventory(root, list(items.values()), self.sample_rate, may_be_higher=True, any_channels=True)


def check_pairs(noisy: RecordingPool, clean: Path) -> None:
    """Check that every noisy recording has a clean version of the same length and rate.

    Raises:
        UserError: one has none.
    """
    paths = {name: (noisy.recordings[name][0], clean / name) for name in noisy.groups}
    for name, (_, path) in paths.items():
        if not path.is_file():
            raise UserError(f"{path}: missing, the clean version of {noisy.recordings[name][0]}; the two have one name")
    headers = read_headers([path for pair in paths.values() for path in pair], str(clean), any_channels=True)
    for (one, other), of_noisy, of_clean in zip(paths.values(), headers[::2], headers[1::2], strict=True):
        if of_noisy != of_clean:
            raise UserError(
                f"{other}: {of_clean.frames} samples at {of_clean.sample_rate} Hz, where its noisy version {one} has "
                f"{of_noisy.frames} at {of_noisy.sample_rate} Hz; they must go together"
            )
