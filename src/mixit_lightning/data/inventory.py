"""The files that a set should have according to its recipe, and checks of their names alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from ..audio.finding import is_recording

SUBSET = 0.1
"""Share of the standard set below which a split is taken for a deliberate excerpt."""


class Item(NamedTuple):
    """Files that belong together: a mixture and what it is the sum of, or one recording alone."""

    split: str
    name: str
    paths: Mapping[str, Path]
    """Paths by signal: `mix`, `s1`, ..., or only `recording`; a mixture comes first, its sources follow."""
    utterances: Sequence[str] = ()
    """Recordings of the corpus that it is made of, where its name tells."""
    speakers: Sequence[str] = ()
    levels: Sequence[float] = ()
    """Levels (dB) above active speech at which they were mixed, where its name tells."""


@dataclass(frozen=True)
class Inventory:
    """All items of a set, and their expected properties."""

    root: Path
    items: Sequence[Item]
    sample_rate: int
    may_be_higher: bool = False
    """Whether recordings at higher rates than `sample_rate` are welcome."""
    any_channels: bool = False
    """Whether recordings of several channels are welcome, of which the first counts."""
    may_repeat: bool = False
    """Whether files of one split may hold the same samples: sounds mixed again, and mixtures of one source."""
    mode: Literal["min", "max"] | None = None
    standard_counts: Mapping[str, int] = field(default_factory=dict)
    """Items of each split of the standard set."""
    shared_speakers: frozenset[frozenset[str]] = frozenset()
    """Pairs of splits that have speakers in common by design."""


def items_of_folder(split: str, folder: Path, signals: Sequence[str]) -> list[Item]:
    """An item for every name that any of the folders `signals` below `folder` holds."""
    folders = [folder / signal for signal in signals]
    names = {path.name for signal in folders if signal.is_dir() for path in signal.iterdir() if is_recording(path.name)}
    return [
        Item(split, Path(name).stem, {signal: folder / signal / name for signal in signals}) for name in sorted(names)
    ]


class Diagnosis(Protocol):
    """What the doctor says of recordings."""

    @property
    def healthy(self) -> bool:
        """Whether it can be used."""

    def plain(self) -> dict[str, Any]:
        """All of it in plain types."""

    def show(self) -> None:
        """Print it."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    check: str
    severity: Literal["error", "warning"]
    file: str
    message: str
    cure: str


def by_split(inventory: Inventory) -> dict[str, list[Item]]:
    """Items by split, including splits of the standard set without items."""
    splits: dict[str, list[Item]] = {split: [] for split in inventory.standard_counts}
    for item in inventory.items:
        splits.setdefault(item.split, []).append(item)
    return splits


def examine_names(inventory: Inventory) -> Iterator[Finding]:
    """The cheap checks: numbers of items, missing files, recordings and speakers in two splits. No file is opened."""
    root, splits = str(inventory.root), by_split(inventory) if inventory.items else {"the folder": []}
    for split, items in splits.items():
        standard = inventory.standard_counts.get(split)
        if not items:
            cure = "give data= the folder that the recipe's README describes, or run prepare"
            yield Finding("missing", "error", root, f"{split} holds nothing to look at", cure)
        elif standard and SUBSET * standard <= len(items) != standard:
            what = f"{split} has {len(items)} mixtures, the standard set {standard}"
            yield Finding("count", "error", root, what, "run prepare again, or delete what does not belong there")
    for item in inventory.items:
        for signal, path in item.paths.items():
            if not path.is_file():
                yield Finding("missing", "error", str(path), f"{signal} of this item is missing", "run prepare again")
    for one, other in combinations(splits, 2):
        yield from shared(splits[one], splits[other], one, other, inventory)


def shared(items: list[Item], others: list[Item], one: str, other: str, inventory: Inventory) -> Iterator[Finding]:
    """Findings for recordings and speakers that two splits share by mistake."""
    cure = "leave it out of one of the two: what was trained on cannot be tested on"
    names = {(item.name, *sorted(item.speakers)) for item in items}
    utterances = {utterance for item in items for utterance in item.utterances}
    for item in others:
        path = str(next(iter(item.paths.values())))
        common = sorted(utterances & set(item.utterances))
        if common or (item.name, *sorted(item.speakers)) in names:
            what = f"recording {common[0]}" if common else "an item of this name"
            yield Finding("shared_files", "error", path, f"{what} is in {one} and in {other}", cure)
    if frozenset({one, other}) in inventory.shared_speakers:
        return
    first = {speaker: item for item in reversed(others) for speaker in item.speakers}
    speakers = {speaker for item in items for speaker in item.speakers}
    for speaker in sorted(speakers & set(first)):
        path = str(next(iter(first[speaker].paths.values())))
        yield Finding("shared_speakers", "error", path, f"speaker {speaker} is in {one} and in {other}", cure)
