"""Whatever is planted in a set is found, at the file where it was planted, and a clean set has no finding."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from mixit_lightning.audio.resampling import resample
from mixit_lightning.cli import main
from mixit_lightning.corpora.active_level import active_level
from mixit_lightning.corpora.doctor import SetDiagnosis, examine
from mixit_lightning.data.inventory import Finding, Inventory, Item

ROOT = Path(__file__).parents[2]

CORPORA = ROOT.parent / "shared" / "corpora"
"""Recordings that are no part of the project; tests that use them are skipped where they are absent."""

PARTS = ("mix", "s1", "s2")

COUNTS = {"tr": 24, "cv": 3, "tt": 3}

SETS = [(8000, "min"), (8000, "max"), (16000, "min")]


def syllables(rng, sample_rate, seconds=1.0):
    """Noise of all frequencies that comes and goes but is nowhere zero, at RMS 1."""
    samples = rng.standard_normal(round(seconds * sample_rate))
    time = np.arange(len(samples)) / sample_rate
    samples *= np.where((rng.uniform(3, 5) * time + rng.random()) % 1 < 0.6, 1, 0.05)
    return samples / np.sqrt(np.mean(samples**2))


def load(path):
    return soundfile.read(path, dtype="int16")[0].astype(np.int64)


def save(path, samples, sample_rate=None, **options):
    """Write 16-bit steps, cut at full scale; at the sample rate that the file had, where none is given."""
    sample_rate = sample_rate or soundfile.info(path).samplerate
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(np.round(samples), -32768, 32767).astype(np.int16), sample_rate, **options)


def rms(samples):
    return np.sqrt(np.mean(np.square(samples, dtype=float)))


def make_set(folder, sample_rate, mode):
    """Like wsj0-2mix: named after utterances and the levels above active speech that they were brought to."""
    rng = np.random.default_rng(sample_rate)
    for split_number, (split, count) in enumerate(COUNTS.items()):
        for number in range(count):
            level = float(f"{rng.uniform(0, 2.5):.5g}")
            # Validation has the training's speakers.
            speakers = [f"{4 * (split_number // 2) + k}{number:02}" for k in range(2)]
            utterances = [f"{speaker}{'abc'[split_number]}{number:04}" for speaker in speakers]
            sources = []
            for gain in (level, -level):
                samples = syllables(rng, sample_rate)
                if mode == "max" and gain < 0:
                    samples[len(samples) * 2 // 3 :] = 0
                samples *= 10 ** ((gain - active_level(samples, sample_rate)) / 20)
                sources.append(np.round(1600 * samples))
            name = f"{utterances[0]}_{level}_{utterances[1]}_{-level}.wav"
            root = folder / "2speakers" / f"wav{sample_rate // 1000}k" / mode / split
            for part, samples in zip(PARTS, (sum(sources), *sources), strict=True):
                save(root / part / name, samples, sample_rate)


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    for sample_rate, mode in SETS:
        make_set(folder, sample_rate, mode)
    return folder


class Doctor:
    """`mixit doctor` with some settings: exit status and findings."""

    def __init__(self, capsys):
        self.capsys = capsys

    def __call__(self, *words):
        status = 0
        try:
            status = main(["doctor", "--json", *map(str, words)])
        except SystemExit as error:
            status = error.code
        record = json.loads(self.capsys.readouterr().out)
        findings = [Finding(**finding) for finding in record["findings"]]
        assert record["healthy"] == (status == 0) == all(finding.severity == "warning" for finding in findings)
        assert all(finding.message and finding.cure for finding in findings)
        return status, findings


@pytest.fixture
def doctor(capsys, monkeypatch):
    monkeypatch.delenv("WSJ0_2MIX_DATA", raising=False)
    return Doctor(capsys)


@pytest.fixture
def standard_counts(monkeypatch):
    """Numbers of mixtures of the recipe's standard set, to change."""
    monkeypatch.syspath_prepend(ROOT / "recipes" / "wsj0-2mix")
    import wsj0_2mix

    return lambda **counts: [monkeypatch.setitem(wsj0_2mix.STANDARD_COUNTS, *count) for count in counts.items()]


class Mixtures(NamedTuple):
    """A prepared set to break, by split and number."""

    root: Path

    def row(self, split, number):
        """Mixture and sources."""
        name = sorted(path.name for path in (self.root / split / "mix").iterdir())[number]
        return [self.root / split / part / name for part in PARTS]

    def copy(self, split, number, to, rename=lambda name: name):
        """A row once more, below another split or under another name, which is returned."""
        paths = self.row(split, number)
        copies = [self.root / to / path.parent.name / rename(path.name) for path in paths]
        assert not copies[0].exists()
        for path, copy in zip(paths, copies, strict=True):
            shutil.copy(path, copy)
        return copies


def plant_missing(mixtures, split, number):
    path = mixtures.row(split, number)[2]
    path.unlink()
    return path


def plant_rate_of_header(mixtures, split, number):
    path = mixtures.row(split, number)[1]
    save(path, load(path), 2 * soundfile.info(path).samplerate)
    return path


def plant_length(mixtures, split, number):
    path = mixtures.row(split, number)[2]
    save(path, load(path)[:-100])
    return path


def plant_sum(mixtures, split, number):
    """A source of another row."""
    mix, _, path = mixtures.row(split, number)
    other = load(mixtures.row(split, number + 1)[2])
    save(path, np.resize(np.roll(other, 200), len(load(path))))
    return mix


def plant_clipping(mixtures, split, number):
    mix, *sources = mixtures.row(split, number)
    scaled = [np.clip(load(path) * (20000 / rms(load(path))), -32768, 32767) for path in sources]
    for path, samples in zip((*sources, mix), (*scaled, sum(scaled)), strict=True):
        save(path, samples)
    return sources[0]


def plant_offset(mixtures, split, number):
    mix, path, _ = mixtures.row(split, number)
    offset = round(0.3 * rms(load(mix)))
    save(mix, load(mix) + offset)
    save(path, load(path) + offset)
    return path


def plant_silence(mixtures, split, number):
    mix, remaining, path = mixtures.row(split, number)
    save(path, 0 * load(path))
    save(mix, load(remaining))
    return path


def plant_nan(mixtures, split, number):
    path = mixtures.row(split, number)[1]
    samples, sample_rate = soundfile.read(path)
    samples[len(samples) // 2] = np.nan
    soundfile.write(path, samples, sample_rate, subtype="FLOAT")
    return path


def plant_end(mixtures, split, number):
    path = mixtures.row(split, number)[2]
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def plant_copy(mixtures, split, number):
    """Other utterances of the same speakers, as the name says."""
    return mixtures.copy(split, number, split, lambda name: "".join([name[:3], "z9", name[5:-9], name[-9:]]))[1]


def plant_shared_row(mixtures, split, number):
    """A row of the test set in the training set."""
    mixtures.copy("tt", number, "tr")
    return mixtures.row("tt", number)[0]


def plant_shared_speaker(mixtures, split, number):
    """One of those that validation does not have."""
    speaker = mixtures.row("tr", -1)[0].name[:3]
    renamed = [path.rename(path.with_name(speaker + path.name[3:])) for path in mixtures.row("tt", number)]
    return renamed[0]


def plant_padding(mixtures, split, number):
    """All rows of the split look like `mode=max`."""
    for row in range(len(list((mixtures.root / split / "mix").iterdir()))):
        mix, first, second = mixtures.row(split, row)
        samples = load(second)
        samples[len(samples) * 2 // 3 :] = 0
        save(second, samples)
        save(mix, load(first) + samples)
    return mixtures.row(split, 0)[0]


def plant_one_level(mixtures, split, number):
    return move_level(mixtures, split, number, -10)


def plant_levels(mixtures, split, number):
    rng = np.random.default_rng(0)
    for row in range(COUNTS[split]):
        move_level(mixtures, split, row, rng.choice([-4, 4]))
    return mixtures.row(split, 0)[0]


def move_level(mixtures, split, number, decibels):
    mix, first, second = mixtures.row(split, number)
    samples = np.round(load(second) * 10 ** (decibels / 20)).astype(int)
    save(second, samples)
    save(mix, load(first) + samples)
    return mix


class Fault(NamedTuple):
    """What to plant, and the finding that must name the file that planting it returns."""

    plant: Callable
    check: str
    split: str = "tr"
    severity: str = "error"
    also: tuple[str, ...] = ()
    """What else is then wrong with the row."""


FAULTS = [
    Fault(plant_missing, "missing"),
    Fault(plant_rate_of_header, "sample_rate"),
    Fault(plant_length, "length"),
    Fault(plant_sum, "sum"),
    Fault(plant_clipping, "clipping", severity="warning"),
    Fault(plant_offset, "dc", severity="warning"),
    Fault(plant_silence, "silence", also=("identical",)),
    Fault(plant_nan, "nan"),
    Fault(plant_end, "unreadable"),
    Fault(plant_copy, "identical"),
    Fault(plant_shared_row, "shared_files", "tt", also=("shared_speakers",)),
    Fault(plant_shared_speaker, "shared_speakers", "tt"),
    Fault(plant_padding, "mode", "cv"),
]

LEVELS = [
    Fault(plant_one_level, "channel", severity="warning"),
    Fault(plant_levels, "channel"),
]

by_name = pytest.mark.parametrize("fault", [*FAULTS, *LEVELS], ids=lambda fault: fault.plant.__name__[6:])


@pytest.fixture
def mixtures(clean, tmp_path):
    """A copy of the set at 8 kHz, `mode=min`."""
    below = "2speakers/wav8k/min"
    return Mixtures(shutil.copytree(clean / below, tmp_path / below))


def kinds(findings):
    return {finding.check for finding in findings}


def of_file(findings, check, path):
    return [finding for finding in findings if finding.check == check and finding.file == str(path)]


@pytest.mark.parametrize(("sample_rate", "mode"), SETS)
def test_nothing_is_found_in_a_clean_set(doctor, clean, sample_rate, mode):
    assert doctor("recipe=wsj0-2mix", f"data={clean}", f"sample_rate={sample_rate}", f"mode={mode}") == (0, [])


def test_nothing_but_the_set_is_printed_where_it_is_clean(clean, capsys):
    assert main(["doctor", "recipe=wsj0-2mix", f"data={clean}"]) == 0
    printed = capsys.readouterr().out
    assert "24 (an excerpt)" in printed and "20000" in printed
    assert printed.strip().splitlines()[-1] == "0 errors, 0 warnings"


@by_name
def test_a_planted_fault_is_found_and_nothing_else(doctor, mixtures, fault):
    path = fault.plant(mixtures, fault.split, 2)
    status, findings = doctor("recipe=wsj0-2mix", f"data={mixtures.root.parents[2]}")
    (finding,) = of_file(findings, fault.check, path)
    assert finding.severity == fault.severity
    assert status == (0 if fault.severity == "warning" else 1)
    assert kinds(findings) <= {fault.check, *fault.also}
    assert {Path(finding.file).name for finding in findings} == {path.name}


def test_a_dozen_faults_are_found_in_one_call(doctor, mixtures, standard_counts):
    """All faults in rows of their own; each is found where it is, and no row but these is named."""
    faults, more = [*FAULTS, LEVELS[0]], {"count"}
    standard_counts(tr=100)
    # From the end of each split, so that rows which are added or renamed do not move those that are still to come.
    planted = []
    numbers = {"tr": len([fault for fault in faults if fault.split == "tr"]), "tt": 3, "cv": 1}
    for fault in reversed(faults):
        numbers[fault.split] -= 1
        planted.append((fault, fault.plant(mixtures, fault.split, numbers[fault.split])))
    status, findings = doctor("recipe=wsj0-2mix", f"data={mixtures.root.parents[2]}")
    assert status == 1
    lost = [fault.check for fault, path in planted if not of_file(findings, fault.check, path)]
    assert not lost
    assert len({fault.check for fault, _ in planted} | more) >= 12
    assert kinds(findings) == {fault.check for fault, _ in planted} | more
    named = {Path(finding.file).name for finding in findings if finding.check not in more}
    assert named == {path.name for _, path in planted}


def test_unpadded_mixtures_among_padded_ones_are_found(doctor, clean, tmp_path):
    below = "2speakers/wav8k"
    shutil.copytree(clean / below / "max", tmp_path / below / "max")
    shutil.rmtree(tmp_path / below / "max" / "cv")
    shutil.copytree(clean / below / "min" / "cv", tmp_path / below / "max" / "cv")
    status, (finding,) = doctor("recipe=wsj0-2mix", f"data={tmp_path}", "mode=max")
    assert (status, finding.check) == (1, "mode")
    assert "/cv/mix/" in finding.file and "mode=min" in finding.message


def test_sources_that_are_missing_do_not_make_padded_mixtures_look_unpadded(doctor, clean, tmp_path):
    below = "2speakers/wav8k/max"
    mixtures = Mixtures(shutil.copytree(clean / below, tmp_path / below))
    for number in range(2):
        plant_missing(mixtures, "cv", number)
    _, findings = doctor("recipe=wsj0-2mix", f"data={tmp_path}", "mode=max")
    assert kinds(findings) == {"missing"}


UPSAMPLING = pytest.mark.parametrize(
    "upsample",
    [lambda samples: resample_poly(samples, 2, 1), lambda samples: resample(samples, 8000, 16000)],
    ids=["scipy", "torchaudio"],
)


@UPSAMPLING
def test_what_was_made_at_8_khz_is_found_at_16_khz(doctor, clean, tmp_path, upsample):
    below = "2speakers/wav16k/min"
    mixtures = Mixtures(shutil.copytree(clean / below, tmp_path / below))
    planted = []
    # Where a recording is cut, it ends in a step, which has all frequencies.
    for number, end in ((4, 16000), (5, 15000)):
        mix, path, other = mixtures.row("tr", number)
        samples = np.round(upsample(resample_poly(load(path).astype(float), 1, 2)))[:end]
        for changed, values in ((path, samples), (other, load(other)[:end]), (mix, samples + load(other)[:end])):
            save(changed, values)
        planted.append(("rate", "warning", str(path)))
    status, findings = doctor("recipe=wsj0-2mix", f"data={tmp_path}", "sample_rate=16000")
    assert status == 0
    assert [(finding.check, finding.severity, finding.file) for finding in findings] == planted


def test_a_split_of_another_size_than_the_standard_set_is_found(doctor, clean, standard_counts):
    standard_counts(tr=25, cv=3, tt=2)
    status, findings = doctor("recipe=wsj0-2mix", f"data={clean}")
    assert status == 1
    assert [finding.check for finding in findings] == ["count", "count"]
    assert [finding.message for finding in findings] == [
        "tr has 24 mixtures, the standard set 25",
        "tt has 3 mixtures, the standard set 2",
    ]


def test_an_excerpt_is_no_finding(doctor, clean, standard_counts):
    standard_counts(tr=241, cv=31, tt=31)
    assert doctor("recipe=wsj0-2mix", f"data={clean}") == (0, [])


@pytest.mark.parametrize("recipe", ["wsj0-2mix", "libri2mix", "speech-folder"])
def test_a_folder_with_nothing_in_it_is_a_finding(doctor, tmp_path, recipe):
    status, (finding,) = doctor(f"recipe={recipe}", f"data={tmp_path}")
    assert (status, finding.check) == (1, "missing")
    assert finding.file.startswith(str(tmp_path)) and "README" in finding.cure


def test_a_split_with_nothing_in_it_is_a_finding(doctor, mixtures):
    shutil.rmtree(mixtures.root / "cv")
    status, (finding,) = doctor("recipe=wsj0-2mix", f"data={mixtures.root.parents[2]}")
    assert (status, finding.check, finding.file) == (1, "missing", str(mixtures.root))
    assert "cv" in finding.message


def test_training_refuses_a_test_set_that_was_trained_on(mixtures, tmp_path, capfd):
    path = plant_shared_row(mixtures, "tt", 1)
    words = ["recipe=wsj0-2mix", f"data={mixtures.root.parents[2]}", f"runs={tmp_path / 'runs'}", "debug=fast"]
    assert main(["train", *words, "separator=tdcnpp-small", "trainer.accelerator=cpu"]) == 1
    (message,) = capfd.readouterr().err.strip().splitlines()
    assert message.startswith(f"mixit: {path}: ") and "`mixit doctor`" in message
    assert not list(tmp_path.glob("runs/*/*"))


def test_generated_sounds_are_nothing_to_look_at(capsys):
    assert main(["doctor", "recipe=synthetic"]) == 1
    assert "there are no files to look at" in capsys.readouterr().err


def test_a_long_list_is_shortened(capsys):
    clipped = [Finding("clipping", "warning", f"{number}.wav", "is cut off", "again") for number in range(15)]
    missing = [Finding("missing", "error", f"{number}.wav", "is missing", "again") for number in range(10)]
    findings = [finding for pair in zip(clipped, missing, strict=False) for finding in pair] + clipped[10:]
    SetDiagnosis(Path("set [old]"), {"tr": {"found": 3, "standard": None, "hours": 0.1}}, findings).show(limit=10)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert sum(line.startswith("warning: clipping: ") for line in lines) == 10
    assert sum(line.startswith("error: missing: ") for line in lines) == 10
    assert lines.count("clipping: 5 more; --json lists all") == 1
    assert "missing: " not in "".join(line for line in lines if "more" in line)
    assert lines[-1] == "10 errors, 15 warnings"
    assert "set [old]" in printed


CORPUS_SETS = pytest.mark.parametrize(("sample_rate", "mode"), [(r, m) for r in (8000, 16000) for m in ("min", "max")])


@pytest.mark.skipif(not (CORPORA / "wsj0-2mix").is_dir(), reason="the corpora are not on this machine")
@CORPUS_SETS
def test_nothing_is_found_in_prepared_real_speech(doctor, sample_rate, mode):
    words = [f"data={CORPORA / 'wsj0-2mix' / 'expected'}", f"sample_rate={sample_rate}", f"mode={mode}"]
    assert doctor("recipe=wsj0-2mix", *words) == (0, [])


@pytest.mark.skipif(not (CORPORA / "libri2mix").is_dir(), reason="the corpora are not on this machine")
@pytest.mark.parametrize("type", ["clean", "both", "single"])
@CORPUS_SETS
def test_nothing_is_found_in_prepared_real_speech_with_noise(doctor, sample_rate, mode, type):
    words = [f"data={CORPORA / 'libri2mix' / 'expected'}", f"sample_rate={sample_rate}", f"mode={mode}"]
    assert doctor("recipe=libri2mix", *words, f"datamodule.type={type}") == (0, [])


@pytest.mark.slow
@pytest.mark.skipif(not (CORPORA / "speech").is_dir(), reason="the corpora are not on this machine")
@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_nothing_is_found_in_real_speech(doctor, sample_rate):
    words = [f"data={CORPORA / 'speech'}", f"sample_rate={sample_rate}"]
    assert doctor("recipe=speech-folder", *words) == (0, [])


@pytest.mark.slow
@pytest.mark.skipif(not (CORPORA / "speech").is_dir(), reason="the corpora are not on this machine")
@UPSAMPLING
def test_real_speech_that_was_made_at_8_khz_is_found(doctor, tmp_path, upsample):
    """Cut in the middle of words, as in `mode=min`."""
    paths = sorted((CORPORA / "speech" / "test").rglob("*.flac"))
    for path in paths:
        samples = soundfile.read(path, dtype="float32")[0]
        samples = upsample(resample_poly(samples[len(samples) // 10 : -len(samples) // 4], 1, 2))
        save(tmp_path / "test" / path.parent.name / path.name, samples * 32768, 16000)
    status, findings = doctor("recipe=speech-folder", f"data={tmp_path}", "sample_rate=16000")
    assert (status, kinds(findings), len(findings)) == (0, {"rate"}, len(paths))


@pytest.fixture
def speakers(tmp_path):
    """`<split>/<speaker>/`, two recordings of each of two speakers of a split, at 16 kHz."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for speaker in "ab":
            for number in range(2):
                path = tmp_path / split / f"{split}-{speaker}" / f"{split}-{speaker}-{number}.wav"
                save(path, 1600 * syllables(rng, 16000, 0.5), 16000)
    return tmp_path


def again(folder):
    """A recording once more, as FLAC and under another name."""
    path = folder / "train/train-b/train-b-1.wav"
    copy = path.with_name("train-b-2.flac")
    save(copy, load(path), 16000)
    return copy


def in_two_splits(folder):
    path = folder / "train/train-b/train-b-1.wav"
    copy = folder / "valid/valid-b/valid-b-2.wav"
    shutil.copy(path, copy)
    return copy


def speaker_in_two_splits(folder):
    return (folder / "test/test-a").rename(folder / "test/train-a") / "test-a-0.wav"


def changed(change):
    def plant(folder):
        path = folder / "valid/valid-b/valid-b-1.wav"
        save(path, change(load(path)))
        return path

    return plant


def at_half_the_rate(folder):
    path = folder / "test/test-b/test-b-0.wav"
    save(path, load(path)[::2], 8000)
    return path


@pytest.mark.parametrize(
    ("plant", "check", "severity"),
    [
        (again, "identical", "error"),
        (in_two_splits, "shared_files", "error"),
        (speaker_in_two_splits, "shared_speakers", "error"),
        (at_half_the_rate, "sample_rate", "error"),
        (changed(lambda samples: 20 * samples), "clipping", "warning"),
        (changed(lambda samples: samples + 300), "dc", "warning"),
        (changed(lambda samples: samples // 10000), "silence", "error"),
        (changed(lambda samples: resample_poly(samples[::2].astype(float), 2, 1)), "rate", "warning"),
    ],
    ids=["identical", "shared", "speaker", "sample rate", "clipping", "offset", "silence", "made at 8 kHz"],
)
def test_a_fault_of_a_recording_is_found_and_nothing_else(doctor, speakers, plant, check, severity):
    path = plant(speakers)
    status, (finding,) = doctor("recipe=speech-folder", f"data={speakers}", "sample_rate=16000")
    assert (finding.check, finding.severity, finding.file) == (check, severity, str(path))
    assert status == (1 if severity == "error" else 0)


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_nothing_is_found_in_clean_recordings_of_the_wanted_rate_or_a_higher_one(doctor, speakers, sample_rate):
    assert doctor("recipe=speech-folder", f"data={speakers}", f"sample_rate={sample_rate}") == (0, [])


def test_what_was_made_at_8_khz_is_good_enough_for_8_khz(doctor, speakers):
    changed(lambda samples: resample_poly(samples[::2].astype(float), 2, 1))(speakers)
    assert doctor("recipe=speech-folder", f"data={speakers}", "sample_rate=8000") == (0, [])


def test_recordings_that_every_speaker_numbers_anew_are_not_taken_for_the_same(doctor, speakers):
    for path in sorted(speakers.rglob("*.wav")):
        path.rename(path.with_name(f"{path.stem[-1]}.wav"))
    assert doctor("recipe=speech-folder", f"data={speakers}", "sample_rate=16000") == (0, [])


def test_speakers_that_two_splits_share_by_design_are_no_finding(tmp_path):
    rng = np.random.default_rng(0)
    items = []
    for split in ("tr", "cv", "tt"):
        path = tmp_path / f"{split}.wav"
        save(path, 1600 * syllables(rng, 8000, 0.3), 8000)
        items.append(Item(split, split, {"recording": path}, speakers=["one"]))
    shared = frozenset({frozenset({"tr", "cv"})})
    findings = examine(Inventory(tmp_path, items, 8000, shared_speakers=shared), quiet=True).findings
    assert [(finding.check, finding.file) for finding in findings] == [
        ("shared_speakers", str(tmp_path / "tt.wav")),
        ("shared_speakers", str(tmp_path / "tt.wav")),
    ]
