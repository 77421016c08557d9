"""What a set consists of, as a recipe's data module tells it, whether or not the files are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from ..audio.finding import is_recording


class Item(NamedTuple):
    """Files that belong together: a mixture and what it is the sum of, or one recording alone."""

    split: str
    name: str
    paths: Mapping[str, Path]
    """By part: `mix`, `s1`, ..., or only `recording`; a mixture comes first, its parts follow."""
    utterances: Sequence[str] = ()
    """Which recordings of the corpus it is made of, where its name says so."""
    speakers: Sequence[str] = ()
    levels: Sequence[float] = ()
    """Levels (dB) above active speech at which they were mixed, where its name says so."""


@dataclass(frozen=True)
class Inventory:
    """All items of a set, and what is to be expected of them."""

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


class Look(Protocol):
    """What the doctor says of a set."""

    @property
    def healthy(self) -> bool:
        """Whether it can be used."""
        ...

    def plain(self) -> dict[str, Any]:
        """All of it in plain types."""
        ...

    def show(self) -> None:
        """Print it."""
        ...


def items_of_folder(split: str, folder: Path, parts: Sequence[str]) -> list[Item]:
    """An item for every name that any of the folders `parts` below `folder` holds."""
    folders = [folder / part for part in parts]
    names = {path.name for part in folders if part.is_dir() for path in part.iterdir() if is_recording(path.name)}
    return [Item(split, Path(name).stem, {part: folder / part / name for part in parts}) for name in sorted(names)]
