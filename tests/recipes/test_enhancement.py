"""Enhancement: what is read, what is mixed, and which output is the speech."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from mixit_lightning.cli import main
from mixit_lightning.config import load_config
from mixit_lightning.data import recordings as pool_module
from mixit_lightning.data.batches import EvaluationDataset
from mixit_lightning.data.inventory import examine_names
from mixit_lightning.objectives import mixit, negative_thresholded_snr

from ..helpers.corpora import syllables, write
from .conftest import CORPORA

GOLDEN = Path(__file__).parents[1] / "golden" / "mixit.npz"
SHORT = ["datamodule.duration=0.5", "datamodule.validation_count=3", "datamodule.test_count=4"]


def objective_of(name="mixit", tmp_path="/"):
    return instantiate(load_config(["recipe=enhancement", f"objective={name}", f"data={tmp_path}"]).settings.objective)


def datamodule_of(*overrides):
    module = instantiate(load_config(["recipe=enhancement", *SHORT, *overrides]).settings.datamodule)
    module.setup()
    return module


def test_the_recipes_objective_equals_the_released_code():
    with np.load(GOLDEN) as arrays:
        mixtures, estimates, loss, matrix = (
            torch.from_numpy(arrays[f"enhancement_m3k2_{part}"])
            for part in ("reference", "estimate", "loss", "mixing_matrix")
        )
    objective = objective_of()
    constant = (10 * torch.log10(mixtures.square().sum(-1) + 1e-8)).mean(-1)
    assert (objective.unsupervised(estimates, mixtures) + constant - loss).abs().max() < 1e-3
    assert torch.equal(mixit(estimates, mixtures, admissible=objective.admissible).mixing_matrix, matrix)


@given(seed=st.integers(0, 10**6), loudness=st.floats(-60, 60), swapped=st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_speech_output_never_goes_to_the_noise_recording(seed, loudness, swapped):
    torch.manual_seed(seed)
    mixtures = torch.randn(3, 2, 60)
    estimates = torch.randn(3, 3, 60) * 10 ** (loudness / 20)
    if swapped:  # the noise recording comes out of output 1, which is as tempting as can be
        estimates[:, 0], estimates[:, 1], estimates[:, 2] = mixtures[:, 1], mixtures[:, 0], 0
    objective = SPEECH_FIRST
    matrix = mixit(estimates, mixtures, admissible=objective.admissible).mixing_matrix
    assert (matrix[:, 0, 0] == 1).all() and (matrix[:, 1, 0] == 0).all()
    assert torch.equal(matrix.sum(2), torch.tensor([[2.0, 1.0]]).expand(3, 2))
    others = [[0, 0, 1], [0, 1, 0]]
    losses = torch.stack(
        [
            negative_thresholded_snr(
                torch.stack([estimates[:, [m for m in range(3) if row[m] == k]].sum(1) for k in (0, 1)], 1), mixtures
            ).mean(-1)
            for row in others
        ]
    )
    torch.testing.assert_close(objective.unsupervised(estimates, mixtures), losses.amin(0), atol=1e-3, rtol=1e-4)


SPEECH_FIRST = objective_of()


@pytest.mark.parametrize(("name", "outputs", "admissible"), [("mixit", 3, 2), ("semi-supervised", 3, 2), ("pit", 2, 1)])
def test_outputs_follow_from_the_objective(name, outputs, admissible, tmp_path):
    config = load_config(["recipe=enhancement", f"objective={name}", f"data={tmp_path}"]).settings
    assert config.num_outputs == config.separator.num_outputs == outputs
    assert len(config.objective.admissible) == len(config.objective.admissible_references) == admissible
    assert config.objective.labelled_share == {"mixit": 0, "semi-supervised": 0.1, "pit": 1}[name]


def test_labelled_examples_have_the_speech_in_output_1():
    speech_and_noise = torch.randn(5, 2, 200)
    for name in ("semi-supervised", "pit"):
        objective = objective_of(name)
        spare = torch.zeros(5, 3 if name == "semi-supervised" else 2, 200)
        right, wrong = spare.clone(), spare.clone()
        right[:, 0], right[:, -1] = speech_and_noise[:, 0], speech_and_noise[:, 1]
        wrong[:, 0], wrong[:, -1] = speech_and_noise[:, 1], speech_and_noise[:, 0]
        mixture = speech_and_noise.sum(1)
        assert (objective.supervised(right, speech_and_noise, mixture) < -19).all()
        assert (objective.supervised(wrong, speech_and_noise, mixture) > -10).all()


@pytest.fixture
def simulated(noisy, tmp_path):
    """Clean speech and noise only."""
    for kind in ("speech", "noise"):
        shutil.copytree(noisy / kind, tmp_path / "simulated" / kind)
    return tmp_path / "simulated"


@pytest.fixture
def opened(monkeypatch):
    """Files whose samples or headers are read, by whatever way this package has."""
    files = set()
    for name in ("read", "read_header"):
        function = getattr(pool_module, name)

        def spy(path, *rest, function=function, **options):
            files.add(Path(path))
            return function(path, *rest, **options)

        monkeypatch.setattr(pool_module, name, spy)
    return files


def test_unsupervised_training_opens_no_clean_file(noisy, tmp_path, run, opened):
    """Clean files of training and validation are rubbish that no decoder takes; only the test needs its references."""
    data = shutil.copytree(noisy, tmp_path / "data")
    for kind in ("clean", "speech"):
        for split in ("train", "valid"):
            for path in (data / kind / split).rglob("*.wav"):
                path.write_bytes(b"no sound")
    folder = run("enhancement", f"data={data}", "sample_rate=8000", "datamodule.num_workers=0")
    assert (folder / "results.json").is_file()
    read = {tuple(path.relative_to(data).parts[:2]) for path in opened}
    kinds = {("noisy", "train"), ("noise", "train"), ("noisy", "valid"), ("noise", "valid")}
    assert read == kinds | {("noisy", "test"), ("noise", "test"), ("clean", "test")}


def test_supervised_training_needs_what_unsupervised_training_does_not(noisy, tmp_path, run, opened):
    folder = run("enhancement", f"data={noisy}", "objective=pit", "datamodule.num_workers=0")
    read = {tuple(path.relative_to(noisy).parts[:2]) for path in opened}
    assert {("noisy", "train"), ("clean", "train"), ("clean", "valid")} <= read
    assert ("noise", "train") not in read and ("speech", "train") not in read
    assert "num_outputs: 2" in (folder / "config.yaml").read_text()


def test_the_first_mixture_of_an_unlabelled_example_is_noisy_speech_and_the_others_are_noise(noisy, simulated):
    for data, first in ((noisy, "noisy"), (simulated, "speech")):
        module = datamodule_of(f"data={data}", "objective.num_mixtures=3", "objective.admissible=null")
        for number in range(12):
            item = module.training.draw(number, labelled=False)
            assert len(item.references) == 0
            wanted = first if number % 3 == 0 else "noise"
            assert item.name.startswith(wanted), (number, item.name)


def db(signal):
    return 10 * np.log10(np.mean(np.square(np.asarray(signal, dtype=np.float64))))


def test_mixtures_have_the_ratio_that_their_names_say(simulated):
    module = datamodule_of(f"data={simulated}", "objective=pit", "datamodule.snr=[-5,10]")
    ratios = []
    for number in range(len(module.evaluation["test"])):
        item = module.evaluation["test"][number]
        speech, noise = item.references
        ratio = float(item.name.rsplit("_", 1)[1])
        # Whole recordings of speech, and a noise of the same length, though the recordings of noise are shorter.
        assert db(speech) - db(noise) == pytest.approx(ratio, abs=0.01)
        assert noise[-len(noise) // 4 :].abs().max() > 0
        torch.testing.assert_close(speech + noise, item.mixture)
        ratios.append(ratio)
    assert len(set(ratios)) == 4 and min(ratios) >= -5 and max(ratios) <= 10


def test_lists_are_the_same_for_every_seed_and_objective_and_training_is_not(simulated):
    modules = [
        datamodule_of(f"data={simulated}", f"seed={seed}", f"objective={objective}", "sample_rate=8000")
        for seed, objective in ((0, "mixit"), (1, "mixit"), (0, "pit"))
    ]
    for split in ("valid", "test"):
        for number in range(len(modules[0].evaluation[split])):
            items = [module.evaluation[split][number] for module in modules]
            assert len({item.name for item in items}) == 1
            assert all(torch.equal(items[0].references, item.references) for item in items)
    one, other = ([m.training.draw(number, labelled=False).name for number in range(20)] for m in modules[:2])
    assert not set(one) & set(other)
    again = datamodule_of(f"data={simulated}", "sample_rate=8000")
    torch.testing.assert_close(
        again.training.draw(5, labelled=False).mixture, modules[0].training.draw(5, labelled=False).mixture
    )


def names_drawn(module, labelled, count=80):
    return {part for n in range(count) for part in module.training.draw(n, labelled=labelled).name.split("_")}


@pytest.mark.parametrize("kind", ["simulated", "noisy"])
def test_labelled_and_unlabelled_examples_share_no_recording(kind, noisy, simulated):
    data = {"simulated": simulated, "noisy": noisy}[kind]
    module = datamodule_of(f"data={data}", "objective=semi-supervised", "objective.labelled_share=0.5")
    labelled, unlabelled = names_drawn(module, True), names_drawn(module, False)
    shared = {name for name in labelled & unlabelled if name.startswith(("speech", "noisy", "noise"))}
    assert not shared
    assert {name[:5] for name in labelled | unlabelled} >= ({"speec", "noise"} if kind == "simulated" else {"noisy"})


def test_clean_speech_to_mix_helps_out_where_noisy_recordings_are_unlabelled(noisy, tmp_path):
    data = shutil.copytree(noisy, tmp_path / "data")
    shutil.rmtree(data / "clean")
    module = datamodule_of(f"data={data}", "objective=semi-supervised", "objective.labelled_share=0.5")
    assert any(name.startswith("speech") for name in names_drawn(module, True))
    assert not any(name.startswith("noisy") for name in names_drawn(module, True))
    assert not any(name.startswith("speech") for name in names_drawn(module, False))
    assert module.evaluation["test"][0].name.startswith("speech")  # which has references


def test_pairs_are_cut_at_the_same_place_and_add_up(noisy):
    module = datamodule_of(f"data={noisy}", "objective=pit")
    for item in [module.training.draw(number, labelled=True) for number in range(6)] + [module.evaluation["test"][0]]:
        speech, noise = item.references
        torch.testing.assert_close(speech + noise, item.mixture, atol=1e-6, rtol=1e-5)
        # The noise of these recordings is a sixteenth of the speech: that of another place would be much more.
        assert db(noise) < db(speech) - 10
    assert module.evaluation["test"][0].mixture.shape[-1] > 0.5 * 16000  # whole


def test_recordings_without_references_are_judged_by_what_needs_none(noisy, tmp_path, run):
    data = tmp_path / "data"
    for kind in ("noisy", "noise"):
        shutil.copytree(noisy / kind, data / kind)
    folder = run("enhancement", f"data={data}")
    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    assert list(metrics) == ["momi"] and metrics["momi"] is not None
    assert list(folder.glob("examples/*/output_3.wav")) and not list(folder.glob("examples/*/reference_1.wav"))


def test_the_other_mixtures_of_validation_and_test_are_noise(simulated):
    module = datamodule_of(f"data={simulated}")
    for split in ("valid", "test"):
        batch = EvaluationDataset(module.evaluation[split], 1, 2, module.partners[split])[0]
        assert batch.partners.shape == (1, 1, batch.mixtures.shape[-1])
        assert module.partners[split][1].name.startswith("noise")
        torch.testing.assert_close(batch.partners[0, 0], module.partners[split][1].mixture[: batch.mixtures.shape[-1]])


def make_voicebank(folder):
    for part, speakers in (("trainset_28spk", ("p226", "p228", "p287")), ("testset", ("p232",))):
        for number, speaker in enumerate(speakers):
            clean = syllables(number, 0.7, 48000)
            noise = 0.2 * syllables(50 + number, 0.7, 48000)
            write(folder / f"clean_{part}_wav" / f"{speaker}_001.wav", clean, 48000)
            write(folder / f"noisy_{part}_wav" / f"{speaker}_001.wav", clean + noise, 48000)
    for channel in (1, 2):
        write(folder / "DEMAND" / "DKITCHEN" / f"ch{channel:02}.wav", syllables(90 + channel, 1.0, 48000), 48000)
    return folder


@pytest.mark.parametrize("objective", ["mixit", "pit"])
def test_voicebank_demand(tmp_path, run, objective):
    data = make_voicebank(tmp_path)
    words = ["layout=voicebank-demand", f"data={data}", f"noise={data / 'DEMAND'}", f"objective={objective}"]
    module = datamodule_of(*words)
    if objective == "pit":
        assert {module.training.draw(number, labelled=True).name for number in range(20)} == {"p228_001"}
    else:
        names = {module.training.draw(number, labelled=False).name for number in range(20)}
        assert {name for name in names if name.startswith("p")} == {"p228_001"}
    assert [module.evaluation["valid"][number].name for number in range(2)] == ["p226_001", "p287_001"]
    assert module.evaluation["test"][0].mixture.shape == (round(0.7 * 16000),)
    assert (run("enhancement", *words) / "report.html").is_file()


def test_librispeech_in_wham_noise_of_two_channels(tmp_path, run):
    speech, noise = tmp_path / "LibriSpeech", tmp_path / "wham_noise"
    for number, (subset, part) in enumerate((("train-clean-100", "tr"), ("dev-clean", "cv"), ("test-clean", "tt"))):
        for k in range(2):
            write(
                speech / subset / f"{19 + k}" / "198" / f"{19 + k}-198-000{number}.flac",
                syllables(k, 0.8, 16000),
                16000,
            )
        left = syllables(70 + number, 0.9, 16000)
        write(noise / part / f"n{number}.wav", np.stack([left, 0 * left], 1), 16000)
    words = ["layout=librispeech-wham", f"librispeech={speech}", f"wham={noise}"]
    module = datamodule_of(*words)
    assert module.training.draw(1, labelled=False).mixture.abs().max() > 0
    assert len(module.evaluation["test"][0].references) == 2
    assert (run("enhancement", *words, *SHORT[1:]) / "report.html").is_file()


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the recordings beside the repository are absent")
def test_real_speech_and_noise_are_found_and_kept_apart():
    module = datamodule_of(f"data={CORPORA}")
    splits = {
        split: {
            path
            for kind in ("speech", "noise")
            for paths in module.pool(split, kind).recordings.values()
            for path in paths
        }
        for split in ("train", "valid", "test")
    }
    assert {split: len(paths) for split, paths in splits.items()} == {
        "train": 989 + 189,
        "valid": 178 + 67,
        "test": 168 + 73,
    }
    assert all(
        path.relative_to(CORPORA.resolve()).parts[1] == split for split, paths in splits.items() for path in paths
    )


# Bad input


@pytest.fixture
def copy(noisy, tmp_path):
    return shutil.copytree(noisy, tmp_path / "data")


def refused(capfd, *words):
    assert main(["train", "recipe=enhancement", *SHORT, "debug=fast", *words]) == 1
    return capfd.readouterr().err.strip().splitlines()[-1]


def test_a_noisy_recording_without_its_clean_version(copy, capfd):
    path = copy / "clean" / "train" / "a" / "noisy10.wav"
    path.unlink()
    message = refused(capfd, f"data={copy}", "objective=pit")
    assert message.startswith(f"mixit: {path}: missing, the clean version of {copy / 'noisy'}")


def test_a_clean_version_of_another_length(copy, capfd):
    path = copy / "clean" / "test" / "a" / "noisy2010.wav"
    write(path, syllables(0, 0.3, 16000), 16000)
    message = refused(capfd, f"data={copy}")
    assert message.startswith(f"mixit: {path}: 4800 samples at 16000 Hz") and "they must go together" in message


@pytest.mark.parametrize(
    ("missing", "objective", "needed"),
    [("noise", "mixit", "noise/train"), ("noise", "semi-supervised", "noise/train")],
)
def test_no_noise_alone(copy, capfd, missing, objective, needed):
    shutil.rmtree(copy / missing)
    message = refused(capfd, f"data={copy}", f"objective={objective}", "objective.labelled_share=0.5")
    assert f"{copy / needed}: no such folder" in message


def test_nothing_that_could_be_labelled(copy, capfd):
    for kind in ("clean", "speech"):
        shutil.rmtree(copy / kind)
    assert f"{copy / 'speech/train'}: no such folder" in refused(capfd, f"data={copy}", "objective=pit")


def test_validation_speakers_that_are_not_there(tmp_path, capfd):
    data = make_voicebank(tmp_path)
    words = [f"data={data}", f"noise={data / 'DEMAND'}", "layout=voicebank-demand"]
    message = refused(capfd, *words, "datamodule.validation_prefixes=[p999_]")
    assert "nothing is left for valid by datamodule.validation_prefixes=[p999_]" in message


def test_validation_that_would_open_other_files_or_have_no_references(copy, capfd):
    shutil.rmtree(copy / "noisy" / "valid")
    assert f"{copy / 'noisy/valid'}: no such folder" in refused(capfd, f"data={copy}")
    for kind in ("clean", "speech"):
        shutil.rmtree(copy / kind / "valid")
    assert f"{copy / 'speech/valid'}: no such folder" in refused(capfd, f"data={copy}", "objective=pit")


def test_recordings_may_be_numbered_from_one_in_every_split(simulated):
    for kind in ("speech", "noise"):
        for split in ("train", "valid", "test"):
            for number, path in enumerate(sorted((simulated / kind / split).rglob("*.wav"))):
                path.rename(simulated / kind / split / f"{number}.wav")
    module = datamodule_of(f"data={simulated}")
    assert not list(examine_names(module.inventory()))


def test_noise_too_short_to_be_repeated(simulated, capfd):
    for path in (simulated / "noise" / "train").iterdir():
        write(path, syllables(0, 0.2, 16000), 16000)
    message = refused(capfd, f"data={simulated}")
    assert str(simulated / "noise" / "train") in message and "remove recordings below 0.6 s" in message


@pytest.mark.parametrize("kind", ["speech", "noise"])
def test_silent_recordings(simulated, capfd, kind):
    for path in (simulated / kind / "train").rglob("*.wav"):
        write(path, np.zeros(12000), 16000)
    message = refused(capfd, f"data={simulated}")
    assert str(simulated / kind / "train") in message and "is silent throughout; remove it" in message


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("datamodule.snr=[10,-5]", "datamodule.snr=[10, -5]"),
        ("datamodule.snr=[3]", "datamodule.snr=[3]"),
        ("sample_rate=11025", "PESQ is defined for 8000 and 16000 Hz"),
        ("num_outputs=4", "objective.admissible assigns 3 outputs, but num_outputs=4"),
        ("objective.admissible=[[0,0,2],[0,2,0]]", "admissible names targets 0 to 1"),
        ("objective.num_mixtures=3", "objective.admissible gives number 2 of 0 to 2 no output"),
        ("objective.search=least_squares", "goes with all assignments only"),
        ("datamodule.test_count=0", "datamodule.test_count must be positive"),
        ("datamodule.validation_prefixes=p226_", "must be a list: [p226_]"),
        ("layout=librispeech-wham", "librispeech: has no value; give librispeech=VALUE"),
        ("objective.search=best", "objective.search=best does not exist"),
        ("layout=voicebank", "voicebank-demand"),
    ],
)
def test_settings_that_do_not_fit(simulated, capfd, word, message):
    assert message in refused(capfd, f"data={simulated}", word)
