"""From corpora to prepared sets: bit by bit what the public scripts make, mistakes are named."""

import importlib
import shutil
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import resample_poly

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError

from ..helpers.corpora import syllables, write
from .conftest import CORPORA

LISTS = CORPORA.parent / "lists"
"""The complete standard lists, no part of the project either."""

needs_corpora = pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora beside the repository are absent")
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="the standard lists beside the repository are absent")

RATES = (8000, 16000)


@pytest.fixture(scope="module")
def wsj0_2mix():
    load_config(["recipe=wsj0-2mix", "data=."])  # makes the recipe's modules known
    return importlib.import_module("wsj0_2mix_preparation")


@pytest.fixture(scope="module")
def libri_preparation():
    load_config(["recipe=libri2mix", "data=."])
    return importlib.import_module("libri2mix_preparation")


def below(folder, suffix=".wav"):
    """Bytes of all files by their paths below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(f"*{suffix}") if path.is_file()}


def check_same(made, expected):
    """The same files with the same bytes; a difference is told by name, not by bytes."""
    assert made and sorted(made) == sorted(expected)
    assert [name for name in made if made[name] != expected[name]] == []


def wav(samples, sample_rate):
    """Bytes of a 16-bit file."""
    file = BytesIO()
    soundfile.write(file, samples, sample_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


# The small corpora beside the repository, whose `expected/` the public scripts made.


@needs_corpora
def test_wsj0_2mix_is_made_as_the_public_script_makes_it(tmp_path):
    corpus = CORPORA / "wsj0-2mix"
    paths = [f"wsj0={corpus / 'wsj0_root'}", f"lists={corpus / 'lists'}", f"data={tmp_path}"]
    assert main(["prepare", "recipe=wsj0-2mix", *paths]) == 0
    check_same(below(tmp_path), below(corpus / "expected"))


@needs_corpora
def test_libri2mix_is_made_as_the_public_script_makes_it(tmp_path):
    corpus = CORPORA / "libri2mix"
    paths = [f"librispeech={corpus}", f"wham={corpus}", f"metadata={corpus / 'metadata'}", f"data={tmp_path}"]
    assert main(["prepare", "recipe=libri2mix", *paths]) == 0
    expected = corpus / "expected"
    check_same(below(tmp_path), below(expected))
    tables = sorted(below(expected, ".csv"))
    assert sorted(below(tmp_path, ".csv")) == tables and len(tables) == 2 * 2 * 2 * 3 * 3
    for name in tables:
        if "/mixture_" in name:
            assert (tmp_path / name).read_bytes() == (expected / name).read_bytes()
        else:
            made, wanted = (pd.read_csv(folder / name, index_col="mixture_ID") for folder in (tmp_path, expected))
            pd.testing.assert_frame_equal(made, wanted, rtol=0, atol=1e-5)


# The same on generated recordings, against references that do one mixture after another as the public scripts do.

WSJ0_LISTS = {
    "tr": [("si_tr_s/01t/01to030v", "1.9857"), ("si_tr_s/40n/40na010x", "-1.9857"), ("si_tr_s/01x/01xo031a", "0")],
    "cv": [("si_tr_s/40n/40na010x", "0.062866"), ("si_tr_s/20g/20ga010m", "-0.062866"), ("si_tr_s/01t/01to030v", "0")],
    "tt": [("si_et_05/445/445c0206", "0.4"), ("si_dt_05/22g/22gc0105", "-0.4"), ("si_et_05/442/442c0203", "0")],
}
"""One mixture a split; the first two utterances, or all three of them."""

ACTIVE_LEVELS = {
    "01to030v": 2e-3,
    "40na010x": 4e-3,
    "01xo031a": 3e-3,
    "20ga010m": 4e-3,
    # So large that the mixture stays far below full scale.
    "445c0206": 2.0,
    "22gc0105": 3.0,
    "442c0203": 5.0,
}

DISCS = {"si_tr_s": "11-1.1", "si_dt_05": "11-6.1", "si_et_05": "11-14.1"}


def utterances():
    """16-bit samples of different lengths, also odd ones."""
    names = dict.fromkeys(name for row in WSJ0_LISTS.values() for name, _ in row)
    recordings = {
        name: np.round(2**15 * syllables(number, 0.3 + 0.0501 * number, 16000)).astype(np.int16)
        for number, name in enumerate(names)
    }
    # These nearly cancel, so that a source of theirs is louder than the mixture.
    first, second = recordings["si_tr_s/40n/40na010x"], recordings["si_tr_s/20g/20ga010m"]
    second[: len(first)] = -0.7 * first
    return recordings


def write_sphere(path, samples, sample_rate=16000):
    fields = [
        "channel_count -i 1",
        f"sample_count -i {len(samples)}",
        f"sample_rate -i {sample_rate}",
        "sample_n_bytes -i 2",
        "sample_byte_format -s2 01",
        "sample_sig_bits -i 16",
        "end_head",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    header = "\n".join(["NIST_1A", "   1024", *fields, ""]).encode().ljust(1024, b" ")
    path.write_bytes(header + samples.astype("<i2").tobytes())


def make_wsj0(folder, layout):
    """The corpus converted to WAV, on LDC's discs with both microphones, or in upper case."""
    for number, (name, samples) in enumerate(utterances().items()):
        if layout == "converted":
            write(folder / "wsj0" / f"{name}.wav", samples, 16000)
        elif layout == "discs":
            disc = folder / DISCS[name.split("/")[0]] / "wsj0"
            write_sphere(disc / f"{name}.wv1", samples)
            write_sphere(disc / f"{name}.wv2", samples // 2)
        else:
            # Beside a conversion, which the disk may list before or after it.
            recordings = [(write_sphere, "WV1", samples), (write, "WAV", samples // 2)]
            for save, suffix, content in recordings if number % 2 else reversed(recordings):
                save(folder / "WSJ0" / f"{name.upper()}.{suffix}", content, 16000)
    return folder


def make_lists(folder):
    folder.mkdir()
    for split, row in WSJ0_LISTS.items():
        for number in (2, 3):
            words = [word for name, level in row[:number] for word in (f"wsj0/{name}.wav", level)]
            (folder / f"mix_{number}_spk_{split}.txt").write_text(" ".join(words) + " \n")
    rows = [f"{name} {level:.16e}" for name, level in ACTIVE_LEVELS.items()]
    (folder / "activlev_one.txt").write_text("\n".join(rows[:4]) + "\n")
    (folder / "activlev_two.txt").write_text("\n".join(rows[4:]) + "\n")
    return folder


def wsj0_reference(num_speakers):
    """What the public script makes of the generated corpus."""
    recordings, files = utterances(), {}
    for rate in RATES:
        for split, row in WSJ0_LISTS.items():
            scaled = []
            for name, level in row[:num_speakers]:
                resampled = resample_poly((recordings[name] / 2**15).astype(np.float32), rate, 16000)
                power = ACTIVE_LEVELS[name.split("/")[-1]]
                scaled.append(resampled.astype(np.float64) / np.sqrt(power) * 10 ** (float(level) / 20))
            longest, shortest = max(map(len, scaled)), min(map(len, scaled))
            padded = [np.concatenate([signal, np.zeros(longest - len(signal))]) for signal in scaled]
            mixture_name = "_".join(f"{name.split('/')[-1]}_{level}" for name, level in row[:num_speakers])
            for mode, length in (("max", longest), ("min", shortest)):
                sources = [signal[:length] for signal in padded]
                parts = {"mix": sum(sources)} | {f"s{n}": source for n, source in enumerate(sources, 1)}
                gain = max(1.0, *(np.abs(signal).max() for signal in parts.values())) / 0.9
                for part, signal in parts.items():
                    name = f"{num_speakers}speakers/wav{rate // 1000}k/{mode}/{split}/{part}/{mixture_name}.wav"
                    files[name] = wav(np.int16(np.round(2**15 * (signal / gain))), rate)
    return files


@pytest.mark.parametrize("num_speakers", [2, 3])
@pytest.mark.parametrize("layout", ["converted", "discs", "upper case"])
def test_wsj0_mixtures_are_made_as_the_public_script_makes_them(tmp_path, wsj0_2mix, layout, num_speakers):
    corpus = make_wsj0(tmp_path / "corpus", layout)
    lists = make_lists(tmp_path / "lists")
    wsj0_2mix.prepare(str(tmp_path / "out"), str(corpus), str(lists), num_speakers, RATES, ["min", "max"])
    made = below(tmp_path / "out")
    check_same(made, wsj0_reference(num_speakers))
    for mode in ("min", "max"):
        peaks = {}
        for path in (tmp_path / "out" / f"{num_speakers}speakers" / "wav8k" / mode).rglob("*.wav"):
            split = path.parts[-3]
            peaks[split] = max(peaks.get(split, 0), np.abs(soundfile.read(path)[0]).max())
        assert peaks["tr"] == pytest.approx(0.9, abs=1e-4) and peaks["tt"] < 0.5  # both kinds of gain are seen


def test_only_what_is_asked_for_is_made(tmp_path, wsj0_2mix):
    corpus, lists = make_wsj0(tmp_path / "corpus", "converted"), make_lists(tmp_path / "lists")
    wsj0_2mix.prepare(str(tmp_path / "out"), str(corpus), str(lists), 2, [8000], ["max"])
    part = "2speakers/wav8k/max/"
    check_same(
        below(tmp_path / "out"), {name: data for name, data in wsj0_reference(2).items() if name.startswith(part)}
    )


LIBRI_ROWS = {
    # By subset: both utterances with their gains and lengths (s), and the noise with its gain.
    "train-clean-100": [("103/1/103-1-0000", 0.5, 1.3), ("1034/2/1034-2-0003", 1.7, 0.9), ("tr/two_channels.wav", 0.8)],
    "dev-clean": [("84/5/84-5-0001", 2.1, 0.8), ("174/6/174-6-0000", 0.9, 1.50005), ("cv/too_short.wav", 1.1)],
    "test-clean": [("61/7/61-7-0002", 1.2, 0.7), ("121/8/121-8-0000", 0.8, 0.71), ("tt/long.wav", 0.7)],
}

NOISE_SECONDS = {"two_channels": 1.1, "too_short": 0.6, "long": 3.0}

SPLITS = {"train-clean-100": "train-100", "dev-clean": "dev", "test-clean": "test"}

LIBRI_TYPES = {"clean": ["s1", "s2"], "both": ["s1", "s2", "noise"], "single": ["s1", "noise"]}


def make_libri(folder):
    """`LibriSpeech/`, `wham_noise/` and `metadata/`, one mixture a split."""
    for number, (subset, (*speech, (noise, noise_gain))) in enumerate(LIBRI_ROWS.items()):
        row = {"mixture_ID": mixture_id(subset)}
        for source, (name, gain, seconds) in enumerate(speech, 1):
            write(folder / f"LibriSpeech/{subset}/{name}.flac", syllables(10 * number + source, seconds, 16000), 16000)
            row |= {f"source_{source}_path": f"{subset}/{name}.flac", f"source_{source}_gain": gain}
        kind = noise.split("/")[1].removesuffix(".wav")
        samples = [syllables(10 * number + channel, NOISE_SECONDS[kind], 16000) for channel in (5, 6)]
        write(folder / "wham_noise" / noise, np.stack(samples, 1) if kind == "two_channels" else samples[0], 16000)
        table = pd.DataFrame([row | {"noise_path": noise, "noise_gain": noise_gain}])
        (folder / "metadata").mkdir(exist_ok=True)
        table.to_csv(folder / "metadata" / f"libri2mix_{subset}.csv", index=False)
    return folder


def mixture_id(subset):
    return "_".join(name.split("/")[-1] for name, _, _ in LIBRI_ROWS[subset][:2])


def extended(noise, length):
    """Repeated until it is long enough, one end fading into the next beginning within half a second, both included."""
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(8001) / 8000)
    fall = rise[::-1]
    result = noise
    while len(result) < length:
        crossing = result[-8001:] * fall + noise[:8001] * rise
        result = np.concatenate([result[:-8001], crossing, noise[8001:]])
    return result[:length]


def energy(samples):
    return np.sum(samples.astype(np.float64) ** 2)


def libri_reference(folder):
    """What the public script makes of the generated corpus: the files, and SNRs by split, rate and mode."""
    files, ratios = {}, {}
    for subset, (*speech, (noise_name, noise_gain)) in LIBRI_ROWS.items():
        signals = [
            soundfile.read(folder / f"LibriSpeech/{subset}/{name}.flac", dtype="float32")[0] for name, _, _ in speech
        ]
        longest = max(map(len, signals))
        noise = soundfile.read(folder / "wham_noise" / noise_name, dtype="float32", always_2d=True)[0][:longest, 0]
        signals.append(extended(noise, longest))
        gains = [gain for _, gain, _ in speech] + [noise_gain]
        for rate in RATES:
            resampled = [resample_poly(signal * gain, rate, 16000) for signal, gain in zip(signals, gains, strict=True)]
            for mode in ("min", "max"):
                length = (min if mode == "min" else max)(map(len, resampled))
                sources = {
                    part: np.concatenate([signal[:length], np.zeros(max(0, length - len(signal)), signal.dtype)])
                    for part, signal in zip(["s1", "s2", "noise"], resampled, strict=True)
                }
                mixtures = {}
                for kind, parts in LIBRI_TYPES.items():
                    mixtures[kind] = np.zeros(length, np.float32)
                    for part in parts:
                        mixtures[kind] += sources[part]
                    ratios[SPLITS[subset], rate, mode, kind] = [
                        10 * np.log10(energy(sources[part]) / energy(mixtures[kind] - sources[part])) for part in parts
                    ]
                everything = sources | {f"mix_{kind}": mixture for kind, mixture in mixtures.items()}
                for part, signal in everything.items():
                    place = f"Libri2Mix/wav{rate // 1000}k/{mode}/{SPLITS[subset]}/{part}"
                    files[f"{place}/{mixture_id(subset)}.wav"] = wav(signal, rate)
    return files, ratios


@pytest.fixture(scope="module")
def libri(tmp_path_factory):
    return make_libri(tmp_path_factory.mktemp("libri"))


def prepare_libri(prepare, libri, out, **settings):
    defaults = {
        "librispeech": str(libri),
        "wham": str(libri),
        "metadata": str(libri / "metadata"),
        "splits": ["train-100", "train-360", "dev", "test"],
        "types": list(LIBRI_TYPES),
        "sample_rates": RATES,
        "modes": ["min", "max"],
        "download": False,
    }
    prepare(str(out), **(defaults | settings))


def test_libri2mix_mixtures_are_made_as_the_public_script_makes_them(tmp_path, libri_preparation, libri):
    prepare_libri(libri_preparation.prepare, libri, tmp_path)
    files, ratios = libri_reference(libri)
    check_same(below(tmp_path), files)
    for (split, rate, mode, kind), expected in ratios.items():
        folder = tmp_path / "Libri2Mix" / f"wav{rate // 1000}k" / mode
        metrics = pd.read_csv(folder / "metadata" / f"metrics_{split}_mix_{kind}.csv")
        names = [f"source_{part[1]}" if part.startswith("s") else part for part in LIBRI_TYPES[kind]]
        assert list(metrics) == ["mixture_ID", *(f"{name}_SNR" for name in names)]
        np.testing.assert_allclose(metrics.iloc[0, 1:].to_numpy(float), expected, rtol=0, atol=1e-5)
        mixtures = pd.read_csv(folder / "metadata" / f"mixture_{split}_mix_{kind}.csv")
        assert list(mixtures) == ["mixture_ID", "mixture_path", *(f"{name}_path" for name in names), "length"]
        for path in mixtures.iloc[0, 1:-1]:
            assert soundfile.info(tmp_path / path).frames == mixtures.length[0]


def test_libri2mix_of_clean_mixtures_needs_no_noise(tmp_path, libri_preparation, libri):
    settings = {"wham": None, "types": ["clean"], "modes": ["max"], "splits": ["dev"], "sample_rates": [8000]}
    prepare_libri(libri_preparation.prepare, libri, tmp_path, **settings)
    everything = libri_reference(libri)[0]
    names = [f"Libri2Mix/wav8k/max/dev/{part}/{mixture_id('dev-clean')}.wav" for part in ("s1", "s2", "mix_clean")]
    check_same(below(tmp_path), {name: everything[name] for name in names})
    assert {path.name for path in tmp_path.rglob("*.csv")} == {"mixture_dev_mix_clean.csv", "metrics_dev_mix_clean.csv"}


def test_metadata_is_written_again_without_the_recordings(tmp_path, libri_preparation, libri):
    prepare_libri(libri_preparation.prepare, libri, tmp_path)
    tables, times = below(tmp_path, ".csv"), {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    for path in tmp_path.rglob("*.csv"):
        path.unlink()
    prepare_libri(libri_preparation.prepare, libri, tmp_path)
    check_same(below(tmp_path, ".csv"), tables)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")} == times


# The complete standard lists.


@pytest.fixture(scope="module")
def standard_names(wsj0_2mix):
    """Names of the mixtures, by number of speakers and split."""
    return {
        (number, split): [row.name for row in wsj0_2mix.read_list(LISTS / "wsj0-mix", number, split)]
        for number in (2, 3)
        for split in ("tr", "cv", "tt")
    }


@needs_lists
def test_all_rows_of_the_standard_lists_make_a_mixture_of_their_own(standard_names):
    for (_, split), names in standard_names.items():
        assert len(names) == len(set(names)) == {"tr": 20000, "cv": 5000, "tt": 3000}[split]


@needs_lists
def test_every_utterance_of_the_standard_lists_has_an_active_level(wsj0_2mix, standard_names):
    levels = wsj0_2mix.read_active_levels(LISTS / "wsj0-mix")
    assert {word for names in standard_names.values() for name in names for word in name.split("_")[::2]} <= set(levels)


@needs_lists
@pytest.mark.parametrize(("split", "count"), [("train-100", 13900), ("dev", 3000), ("test", 3000)])
def test_all_rows_of_libri2mix_are_named_after_their_utterances(libri_preparation, split, count):
    rows = libri_preparation.read_metadata(libri_preparation.find_metadata(LISTS / "libri2mix", split))
    assert len(rows) == count
    for row in rows:
        assert row.mixture_id == "_".join(path.split("/")[-1].removesuffix(".flac") for path in row.sources)


# Bad input: refused in one line that names the file, the row or the key, before anything is written.


@pytest.fixture
def wsj0_is_refused(tmp_path, wsj0_2mix):
    """A corpus and lists to break; then prepare and check the message."""
    corpus, lists = make_wsj0(tmp_path / "corpus", "converted"), make_lists(tmp_path / "lists")

    def check(message, **settings):
        defaults = {
            "wsj0": str(corpus),
            "lists": str(lists),
            "num_speakers": 2,
            "sample_rates": RATES,
            "modes": ["min"],
        }
        with pytest.raises(UserError, match=message):
            wsj0_2mix.prepare(str(tmp_path / "out"), **(defaults | settings))
        assert not (tmp_path / "out").exists()

    check.corpus, check.lists = corpus, lists
    check.utterance = corpus / "wsj0" / "si_tr_s" / "01t" / "01to030v.wav"
    return check


@pytest.mark.parametrize("setting", ["wsj0", "lists"])
def test_paths_that_are_not_given_are_asked_for(wsj0_is_refused, setting):
    wsj0_is_refused(f"{setting}=PATH", **{setting: None})


@pytest.mark.parametrize(
    ("setting", "values"),
    [("num_speakers", 4), ("sample_rates", [8000, 11025]), ("sample_rates", []), ("modes", ["mean"])],
)
def test_settings_that_wsj0_has_not_are_refused(wsj0_is_refused, setting, values):
    wsj0_is_refused(rf"^(preparation\.)?{setting}=", **{setting: values})


def test_the_second_microphone_alone_is_refused(wsj0_is_refused):
    path = wsj0_is_refused.utterance
    path.rename(path.with_suffix(".wv2"))
    wsj0_is_refused(rf"^{path.with_suffix('.wv2')}: ")


def test_a_missing_utterance_is_named(wsj0_is_refused):
    wsj0_is_refused.utterance.unlink()
    wsj0_is_refused(rf"^{wsj0_is_refused.corpus}: no si_tr_s/01t/01to030v\.wv1 ")


def test_an_utterance_without_an_active_level_is_named(wsj0_is_refused):
    path = wsj0_is_refused.lists / "activlev_one.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    wsj0_is_refused(rf"^{wsj0_is_refused.lists}: .*01to030v")


@pytest.mark.parametrize("row", ["40na010x", "40na010x loud", "40na010x -1", "40na010x inf", "40na010x 1 2"])
def test_an_active_level_that_is_none_is_named_with_its_row(wsj0_is_refused, row):
    path = wsj0_is_refused.lists / "activlev_two.txt"
    path.write_text(f"01to030v 1e-3\n{row}\n")
    wsj0_is_refused(f"^{path}, row 2: .*'{row}'")


@pytest.mark.parametrize("row", ["a.wav 1 b.wav", "a.wav loud b.wav 1", "a.wav 1", "a.wav nan b.wav 1", "a 1 b 1 c 1"])
def test_a_malformed_row_of_a_list_is_named(wsj0_is_refused, row):
    path = wsj0_is_refused.lists / "mix_2_spk_cv.txt"
    path.write_text(path.read_text() + f"\n{row}\n")
    wsj0_is_refused(f"^{path}, row 3: .*'{row}'")


def test_missing_lists_are_named(wsj0_is_refused):
    (wsj0_is_refused.lists / "mix_3_spk_tt.txt").unlink()
    wsj0_is_refused(rf"^{wsj0_is_refused.lists}: no mix_3_spk_tt\.txt ", num_speakers=3)
    shutil.rmtree(wsj0_is_refused.lists)
    wsj0_is_refused(rf"^{wsj0_is_refused.lists}: no activlev\*\.txt")


@pytest.mark.parametrize("suffix", [".wav", ".wv1"])
def test_an_utterance_at_another_rate_is_named(wsj0_is_refused, suffix):
    path = wsj0_is_refused.utterance.with_suffix(suffix)
    samples = np.zeros(100, np.int16)
    if suffix == ".wav":
        write(path, samples, 8000)
    else:
        write_sphere(path, samples, 8000)
    wsj0_is_refused(f"^{path}: 8000 Hz; .* 16000 Hz")


def test_an_utterance_that_is_no_audio_is_named(wsj0_is_refused):
    wsj0_is_refused.utterance.write_text("none")
    wsj0_is_refused(f"^{wsj0_is_refused.utterance}: ")


@pytest.fixture
def libri_is_refused(tmp_path, libri_preparation, libri):
    """Corpora and metadata to break; then prepare and check the message."""
    copy = shutil.copytree(libri, tmp_path / "libri")

    def check(message, **settings):
        with pytest.raises(UserError, match=message):
            prepare_libri(libri_preparation.prepare, copy, tmp_path / "out", **settings)
        assert not list(tmp_path.rglob("*.partial"))

    def change(**values):
        for column, value in values.items():
            table[column] = value
        table.to_csv(check.metadata, index=False)

    check.folder, check.change = copy, change
    check.metadata = copy / "metadata" / "libri2mix_dev-clean.csv"
    check.speech = copy / "LibriSpeech" / "dev-clean" / "174" / "6" / "174-6-0000.flac"
    check.noise = copy / "wham_noise" / "cv" / "too_short.wav"
    table = pd.read_csv(check.metadata).astype(object)
    return check


@pytest.mark.parametrize("setting", ["librispeech", "wham", "metadata"])
def test_paths_that_libri2mix_needs_are_asked_for(libri_is_refused, setting):
    libri_is_refused(f"{setting}=PATH", **{setting: None})


@pytest.mark.parametrize(
    ("setting", "values"),
    [("splits", ["valid"]), ("types", ["noisy"]), ("sample_rates", [11025]), ("modes", ["mean"]), ("types", [])],
)
def test_settings_that_libri2mix_has_not_are_refused(libri_is_refused, setting, values):
    libri_is_refused(rf"^preparation\.{setting}=\{str(values)[:-1]}\]: ", **{setting: values})


def test_a_missing_column_of_the_metadata_is_named(libri_is_refused):
    path = libri_is_refused.metadata
    path.write_text(path.read_text().replace("source_2_gain", "gain"))
    libri_is_refused(f"^{path}: .*source_2_gain")


@pytest.mark.parametrize("column", ["source_1_gain", "source_2_gain", "noise_gain"])
@pytest.mark.parametrize("value", ["loud", "", "inf"])
def test_a_gain_that_is_no_number_is_named_with_its_row(libri_is_refused, column, value):
    libri_is_refused.change(**{column: value})
    libri_is_refused(f"^{libri_is_refused.metadata}, row 2: {column} ")


def test_a_mixture_that_occurs_twice_is_named(libri_is_refused):
    path = libri_is_refused.metadata
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    libri_is_refused(f"^{path}: .*{mixture_id('dev-clean')}")


def test_missing_metadata_is_named(libri_is_refused):
    folder = libri_is_refused.metadata.parent
    for path in folder.iterdir():
        path.unlink()
    libri_is_refused(rf"^{folder}: no libri2mix_\*\.csv ")
    folder.rmdir()
    libri_is_refused(f"^metadata={folder}: ")


@pytest.mark.parametrize("corpus", ["LibriSpeech", "wham_noise"])
def test_a_missing_corpus_of_libri2mix_is_named(libri_is_refused, corpus):
    shutil.rmtree(libri_is_refused.folder / corpus)
    libri_is_refused(f"^{libri_is_refused.folder}: .*{corpus}")


def test_a_missing_recording_of_librispeech_is_named(libri_is_refused):
    libri_is_refused.speech.unlink()
    libri_is_refused(f"^{libri_is_refused.speech}: .*librispeech=PATH")


def test_a_missing_noise_is_named(libri_is_refused):
    libri_is_refused.noise.unlink()
    libri_is_refused(f"^{libri_is_refused.noise}: .*wham=PATH")


def test_a_noise_at_another_rate_is_named(libri_is_refused):
    write(libri_is_refused.noise, syllables(0, 2.0, 8000), 8000)
    libri_is_refused(f"^{libri_is_refused.noise}: 8000 Hz")


def test_a_noise_too_short_to_repeat_is_named(libri_is_refused):
    write(libri_is_refused.noise, syllables(0, 0.4, 16000), 16000)
    libri_is_refused(f"^{libri_is_refused.noise}: 6400 ")


def test_a_recording_of_librispeech_at_another_rate_is_named(libri_is_refused):
    write(libri_is_refused.speech, syllables(0, 1.0, 8000), 8000)
    libri_is_refused(f"^{libri_is_refused.speech}: 8000 Hz; .* 16000 Hz")


def test_a_recording_that_is_cut_off_is_told_in_one_line_of_the_command(libri_is_refused, tmp_path, capfd):
    """Its header is whole, so that only the process that reads it finds it."""
    path = libri_is_refused.speech
    path.write_bytes(path.read_bytes()[:-2000])
    folder = libri_is_refused.folder
    paths = [f"librispeech={folder}", f"wham={folder}", f"metadata={folder / 'metadata'}", f"data={tmp_path / 'out'}"]
    assert main(["prepare", "recipe=libri2mix", *paths, "types=[clean]"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"mixit: {path}: ")
    assert not list(tmp_path.rglob("*.partial"))
