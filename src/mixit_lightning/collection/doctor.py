"""The doctor on unlabelled recordings: their amount, problems, and what will be used."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..audio.levels import CLIPPED_SHARE
from ..errors import visible
from .crops import Recording
from .index import AnalysedRecording, Index
from .proposals import Proposal
from .usable import Usable


@dataclass(frozen=True)
class CollectionDiagnosis:
    """What the doctor says of a folder of recordings.

    Args:
        index: all recordings that were found.
        usable: those that can be trained on.
        splits: recordings for training, validation and test.
        proposals: settings that the recordings suggest.
        chosen: those settings, by their keys, that are in force.
        problem: why nothing can be trained on them, if so.
    """

    index: Index
    usable: Usable
    splits: Mapping[str, Sequence[Recording]]
    proposals: Mapping[str, Proposal]
    chosen: Mapping[str, Any]
    problem: str = ""

    @property
    def healthy(self) -> bool:
        """Whether there is enough to train on; unusable recordings are left out."""
        return not self.problem

    def plain(self) -> dict[str, Any]:
        """All of it in plain types."""
        analysed = self.usable.analysed
        active = sum(recording.active_seconds for recording in self.usable.recordings)
        seconds = sorted(one.survey.seconds for one in analysed)
        return {
            "root": str(self.index.root),
            "found": len(self.index.recordings) + len(self.index.problems),
            "used": len(analysed),
            "hours": hours(sum(seconds)),
            "silent_share": round(max(0.0, 1 - active / sum(seconds)), 3) if seconds else None,
            "seconds": {"shortest": seconds[0], "median": seconds[len(seconds) // 2], "longest": seconds[-1]}
            if seconds
            else None,
            "hours_by_rate": by(analysed, lambda one: one.survey.sample_rate),
            "hours_by_channels": by(analysed, lambda one: len(one.survey.levels)),
            "hours_by_format": by(analysed, lambda one: one.name.rpartition(".")[2].lower()),
            "parts": {
                split: {
                    "recordings": len(recordings),
                    "hours_with_sound": hours(sum(recording.active_seconds for recording in recordings)),
                }
                for split, recordings in self.splits.items()
            },
            "clipped": {
                one.name: round(one.survey.clipped, 4) for one in analysed if one.survey.clipped > CLIPPED_SHARE
            },
            "remarks": {one.name: list(one.survey.remarks) for one in analysed if one.survey.remarks},
            "skipped": self.usable.skipped,
            "proposed": {key: proposal._asdict() for key, proposal in self.proposals.items()},
            "in_force": dict(self.chosen),
            "problem": self.problem or None,
        }

    def show(self, limit: int = 20) -> None:
        """Print it, with at most `limit` recordings of a kind."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        facts = self.plain()
        console = Console(soft_wrap=True)
        table = Table(
            "split", "recordings", "hours with sound", title=escape(visible(facts["root"])), title_justify="left"
        )
        for split, found in facts["parts"].items():
            table.add_row(split, str(found["recordings"]), f"{found['hours_with_sound']:.2f}")
        console.print(table)
        print(f"{facts['used']} of {facts['found']} recordings are used: {facts['hours']:.2f} hours", end="")
        if facts["used"]:
            shortest, median, longest = (clock(facts["seconds"][key]) for key in ("shortest", "median", "longest"))
            print(f", {facts['silent_share']:.0%} of it silence; from {shortest} to {longest}, half below {median}")
            for what in ("rate", "channels", "format"):
                spread = facts[f"hours_by_{what}"].items()
                print(f"hours by {what}: " + ", ".join(f"{key}: {value:.2f}" for key, value in spread))
        else:
            print()
        for key, proposed in facts["proposed"].items():
            force = facts["in_force"].get(key, proposed["value"])
            note = "" if force == proposed["value"] else f" (in force: {force})"
            print(f"proposed: {key}={proposed['value']}{note}: {proposed['why']}")
        warnings = {name: f"{share:.1%} of it are cut off at full scale" for name, share in facts["clipped"].items()}
        for name, remarks in facts["remarks"].items():
            warnings[name] = ", ".join([*([warnings[name]] if name in warnings else []), *remarks])
        for kind, entries in (("warning", warnings), ("skipped", facts["skipped"])):
            for name, what in list(entries.items())[:limit]:
                print(f"{kind}: {visible(name)}: {visible(what)}")
            if len(entries) > limit:
                print(f"{kind}: {len(entries) - limit} more; --json lists all")
        if self.problem:
            print(f"error: {self.problem}")


def by(recordings: Sequence[AnalysedRecording], key: Callable[[AnalysedRecording], Any]) -> dict[str, float]:
    """Hours of recordings by a key, in descending order."""
    seconds: dict[str, float] = defaultdict(float)
    for one in recordings:
        seconds[str(key(one))] += one.survey.seconds
    return {name: hours(value) for name, value in sorted(seconds.items(), key=lambda pair: -pair[1])}


def hours(seconds: float) -> float:
    """Hours, rounded to four digits."""
    return round(seconds / 3600, 4)


def clock(seconds: float) -> str:
    """A length in readable form."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
