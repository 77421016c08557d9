import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate

from mixit_lightning.cli import main
from mixit_lightning.config import build, load_config
from mixit_lightning.data.batches import TrainingDataset, TrainingSampler
from mixit_lightning.objectives import mixit, pit
from mixit_lightning.training.parts import build_module
from mixit_lightning.training.train import train

SMALL = ["separator.bottleneck=8", "separator.conv_channels=16", "separator.repeats=1"]
SMALL += ["separator.dilations_per_repeat=2", "datamodule.duration=0.5", "trainer.accelerator=cpu"]

COUNTS = ["+shared.datamodule.validation_counts=[0,3]", "+shared.datamodule.test_counts=[0,4]"]


@pytest.fixture
def words(speech, rooms):
    """Command lines of the recipe with generated speech and short lists."""
    base = ["recipe=reverb-adaptation", f"data={speech}", f"rooms={rooms}", *SMALL, *COUNTS]
    return lambda *more: [*base, *more]


def batches(config, count):
    """The first batches of training, as the loader makes them."""
    datamodule = instantiate(config.settings.datamodule)
    datamodule.setup()
    settings = config.settings
    size, share = settings.datamodule.batch_size, settings.objective.labelled_share
    sampler = TrainingSampler(size, share, count, settings.seed)
    dataset = TrainingDataset(datamodule.training, settings.objective.num_mixtures)
    return datamodule, [dataset[drawing] for drawing in sampler]


@pytest.mark.parametrize(("share", "labelled"), [(0.0, 0), (0.1, 1), (0.5, 5), (1.0, 10)])
def test_batches_hold_exactly_the_labelled_share(words, share, labelled):
    objective = {0.0: "mixit", 1.0: "pit"}.get(share, "semi-supervised")
    config = load_config(
        words(f"objective={objective}", f"objective.labelled_share={share}", "datamodule.batch_size=10")
    )
    _, drawn = batches(config, 6)
    for batch in drawn:
        assert len(batch.references) == labelled
        assert len(batch.mixtures) == labelled + 2 * (10 - labelled)


def test_each_kind_comes_from_its_domain(words):
    config = load_config(words("objective.labelled_share=0.5", "datamodule.batch_size=4"))
    datamodule, drawn = batches(config, 3)
    domains = datamodule.domains()
    numbers = {True: 0, False: 0}
    for batch in drawn:
        for place, mixture in enumerate(batch.mixtures):
            labelled = place < 2
            domain = domains["anechoic" if labelled else "reverberant"]
            expected = domain.training.draw(numbers[labelled], labelled=labelled).render()
            numbers[labelled] += 1
            torch.testing.assert_close(mixture, expected.mixture)
            if labelled:
                torch.testing.assert_close(batch.references[place], expected.references)
            # The same number is other speech in the other domain's room.
            dry = domains["anechoic"].training.draw(numbers[labelled] - 1, labelled=labelled).mixture
            assert torch.equal(mixture, dry) == labelled


def test_swapped_domains_and_one_domain_for_both(words):
    swapped, drawn = batches(load_config(words("labelled=reverberant", "unlabelled=anechoic", "objective=mixit")), 1)
    anechoic = swapped.domains()["anechoic"].training
    torch.testing.assert_close(drawn[0].mixtures[0], anechoic.draw(0, labelled=False).mixture)
    both, _ = batches(load_config(words("labelled=reverberant", "objective.labelled_share=0.5")), 1)
    assert both.domains()["reverberant"].labelled_share == 0.5  # parts its recordings


def test_one_step_is_the_weighted_sum_of_the_two_losses_in_value_and_gradient(words):
    """PIT of the labelled examples and MixIT of the others, each computed apart, weighed by their shares."""
    config = load_config(words("objective.labelled_share=0.25", "datamodule.batch_size=8"))
    module = build_module(config.settings)
    module.log = lambda *args, **kwargs: None
    _, (batch,) = batches(config, 1)
    parameters = list(module.separator.parameters())

    loss = module.training_step(batch, 0)
    gradients = torch.autograd.grad(loss, parameters)

    supervised = pit(module.separator(batch.mixtures[:2]), batch.references, mixture=batch.mixtures[:2]).loss.mean()
    moms = batch.mixtures[2:].view(6, 2, -1)
    unsupervised = mixit(module.separator(moms.sum(1)), moms).loss.mean()
    expected = 0.25 * supervised + 0.75 * unsupervised
    apart = [torch.autograd.grad(part, parameters) for part in (supervised, unsupervised)]
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-5)
    assert abs(supervised - unsupervised) > 0.1  # other weights would be noticed
    for gradient, of_pit, of_mixit in zip(gradients, *apart, strict=True):
        scale = gradient.abs().max().item()
        torch.testing.assert_close(gradient, 0.25 * of_pit + 0.75 * of_mixit, atol=1e-3 * scale + 1e-6, rtol=1e-3)


def test_validation_asks_for_no_reference_of_the_unlabelled_domain(words):
    for objective, kinds in (("mixit", "u"), ("semi-supervised", "ul"), ("pit", "l")):
        datamodule = instantiate(load_config(words(f"objective={objective}")).settings.datamodule)
        datamodule.setup()
        seen = ""
        for batch in datamodule.val_dataloader():
            # Either mixtures of mixtures without references, or references without mixtures of mixtures.
            assert (batch.references.shape[1], batch.partners.shape[1]) in ((0, 1), (2, 0))
            domain = datamodule.domains()["anechoic" if batch.references.shape[1] else "reverberant"]
            seen += "l" if batch.references.shape[1] else "u"
            assert batch.names == [domain.evaluation["valid"][number].name for number in range(3)]
            torch.testing.assert_close(batch.mixtures[2], domain.evaluation["valid"][2].mixture)
        assert seen == kinds


@pytest.fixture
def finished(words, tmp_path):
    """A run of a few steps, its command and its folder."""
    command = words(
        "debug=fast", f"runs={tmp_path / 'runs'}", "objective.labelled_share=0.5", "trainer.limit_val_batches=1.0"
    )
    assert main(["train", *command]) == 0
    (folder,) = (tmp_path / "runs" / "reverb-adaptation").iterdir()
    return command, folder


def test_both_domains_are_tested_and_shown(finished):
    _, folder = finished
    results = json.loads((folder / "results.json").read_text())
    examples = pd.read_csv(folder / "examples.csv")
    assert examples["domain"].tolist() == ["reverberant"] * 4 + ["anechoic"] * 4
    assert results["domain"] == "reverberant" and results["num_examples"] == 4
    means = examples.groupby("domain")["si_snri"].mean()
    assert results["metrics"]["si_snri"] == pytest.approx(means["reverberant"], abs=1e-3)
    (other,) = results["other_domains"].items()
    assert other[0] == "anechoic" and other[1]["num_examples"] == 4
    assert other[1]["metrics"]["si_snri"] == pytest.approx(means["anechoic"], abs=1e-3)
    page = (folder / "report.html").read_text()
    assert "In the domain <b>anechoic</b>, over 4 test examples" in page
    assert "4 test examples of the domain <b>reverberant</b>" in page


def test_validation_loss_weighs_the_losses_of_the_two_domains(finished):
    _, folder = finished
    curves = pd.read_csv(folder / "metrics.csv")
    last = curves[curves["step"] == 4].set_index("metric")["value"]
    assert last["val/loss"] == pytest.approx(0.5 * last["val/pit_loss"] + 0.5 * last["val/mixit_loss"], abs=1e-5)


def test_warm_start_takes_over_the_weights_with_other_settings(finished, tmp_path, words, capsys):
    _, folder = finished
    checkpoint = folder / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    more = ["debug=fast", f"runs={tmp_path / 'warm'}", "objective=mixit", "objective.sparsity=2"]
    assert main(["train", *words(*more, f"warm_start={checkpoint}", "optimizer.lr=0")]) == 0  # not moved at all
    assert "weights" in capsys.readouterr().out
    (warm,) = (tmp_path / "warm" / "reverb-adaptation").iterdir()
    ended = torch.load(warm / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    weights = [name for name in state if name.startswith("separator.")]
    assert weights and all(torch.equal(state[name], ended[name]) for name in weights)
    assert f"warm_start: {checkpoint}" in (warm / "config.yaml").read_text()


def test_warm_start_with_more_outputs_leaves_what_depends_on_them(words):
    larger = ["separator.conv_channels=256", "separator.bottleneck=128"]
    checkpoint = Path("last.ckpt")
    state = build_module(load_config(words(*larger)).settings).state_dict()
    module = build_module(load_config(words(*larger, "num_outputs=5")).settings)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    told = module.start_from(state, checkpoint)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    other = {name for name in before if name in state and state[name].shape != before[name].shape}
    assert other and not (changed & other)
    assert all(name.removeprefix("separator.") in told for name in other)
    for name in changed:
        assert torch.equal(module.state_dict()[name], state[name])


def test_warm_start_from_another_network_is_refused_before_anything_is_written(finished, tmp_path, words, capsys):
    _, folder = finished
    command = words("debug=fast", f"runs={tmp_path / 'other'}", "separator.conv_channels=40", "separator.bottleneck=30")
    assert main(["train", *command, f"warm_start={folder / 'checkpoints' / 'last.ckpt'}"]) == 1
    assert "weights fit this separator; give separator settings like those" in capsys.readouterr().err
    assert main(["train", *command, "warm_start=/none.ckpt"]) == 1
    assert "/none.ckpt: no such checkpoint" in capsys.readouterr().err
    torch.save({"weights": torch.zeros(3)}, tmp_path / "weights.ckpt")
    assert main(["train", *command, f"warm_start={tmp_path / 'weights.ckpt'}"]) == 1
    assert "weights.ckpt: not a checkpoint of a run, it has no state_dict" in capsys.readouterr().err
    assert not list(tmp_path.glob("other/*/*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["labelled=dry"], "labelled=dry: there is no such domain; domains are reverberant, anechoic"),
        (["sample_rate=16000"], "rooms at 8000 Hz where sample_rate=16000"),
        (["shared.datamodule.duration=0.6"], "its sample_rate or duration differs"),
        (["domains.anechoic.recipe=nothing"], "domains.anechoic: recipe=nothing: "),
        (["+domains.anechoic.datamodule.x=1"], "domains.anechoic: datamodule.x=1: there is no such key"),
        (
            ["+domains.other={data:x}"],
            "domains.other: must be settings of a recipe, such as {recipe:speech-folder",
        ),
        (["rooms=none.npz"], "none.npz: no such file; make it with `mixit rooms path="),
    ],
)
def test_settings_that_cannot_be(words, more, message, capsys, tmp_path):
    assert main(["train", *words(*more), f"runs={tmp_path / 'runs'}"]) == 1
    told = capsys.readouterr().err
    assert message in told and told.startswith("mixit: ") and "interpolation" not in told
    assert not list(tmp_path.glob("runs/*/*"))


def test_early_concerns_the_domain_in_rooms(words):
    _, dry_and_early = batches(load_config(words("early=10", "labelled=reverberant", "objective=pit")), 1)
    _, whole = batches(load_config(words("labelled=reverberant", "objective=pit")), 1)
    torch.testing.assert_close(dry_and_early[0].mixtures, whole[0].mixtures)
    assert not torch.allclose(dry_and_early[0].references, whole[0].references, atol=1e-4)


def test_paths_are_absolute_wherever_they_were_given_from(words, rooms, monkeypatch):
    monkeypatch.chdir(rooms.parent)
    one, other = load_config(words()), load_config(words(f"rooms={rooms.name}"))
    assert one.folder == other.folder
    assert one.settings.datamodule.domains.reverberant.rooms == other.settings.datamodule.domains.reverberant.rooms


def test_training_is_the_same_where_the_device_convolves(words, monkeypatch, tmp_path):
    """As with a GPU: the loader returns dry mixtures, and Lightning's hook renders them."""
    make = TrainingDataset.__init__
    trained = []
    for number, lazy in enumerate((False, True)):

        def forced(self, *given, choice=lazy, **more):
            make(self, *given, **more | {"lazy": choice})

        monkeypatch.setattr(TrainingDataset, "__init__", forced)
        config = load_config(words("debug=fast", f"runs={tmp_path / str(number)}", "objective.labelled_share=0.5"))
        state = torch.load(train(config) / "checkpoints" / "last.ckpt", weights_only=True)
        trained.append(state["state_dict"])
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, atol=1e-6, rtol=1e-5)


def test_rooms_are_asked_for(speech, capsys):
    assert main(["train", "recipe=reverb-adaptation", f"data={speech}"]) == 1
    assert "rooms: has no value; give rooms=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "more", "message"),
    [
        ("speech-folder", ["sample_rate=16000"], "rooms at 8000 Hz where sample_rate=16000"),
        ("speech-folder", ["datamodule.source_shares=[0,0,1]"], "num_sources=3"),
        ("speech-folder", ["datamodule.test_counts=[0,0,2]"], "num_sources=3"),
    ],
)
def test_rooms_that_do_not_fit_a_recipe(recipe, more, message, speech, rooms, capsys, tmp_path):
    command = [
        "train",
        f"recipe={recipe}",
        f"data={speech}",
        f"rooms={rooms}",
        f"runs={tmp_path}",
        "debug=fast",
        *SMALL,
    ]
    assert main([*command, *more]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*"))


def test_noise_of_libri2mix_has_no_room(libri2mix, rooms, capsys):
    assert main(["train", "recipe=libri2mix", f"data={libri2mix}", f"rooms={rooms}", "datamodule.type=both"]) == 1
    assert "datamodule.type=both" in capsys.readouterr().err


def test_early_without_rooms(speech, capsys):
    assert main(["train", "recipe=speech-folder", f"data={speech}", "early=50"]) == 1
    assert "early has no meaning without rooms" in capsys.readouterr().err


def test_doctor_looks_at_every_folder_once(words, capsys):
    assert main(["doctor", "--json", *words()]) == 0
    assert json.loads(capsys.readouterr().out)["healthy"]
    inventories = build(load_config(words()).settings, "datamodule").inventories()
    assert len(inventories) == 1
    other = load_config(words("+domains.anechoic.datamodule.splits=[valid,train,test]"))
    assert len(build(other.settings, "datamodule").inventories()) == 2


def test_reverberant_speech_has_the_level_of_the_dry(words):
    """Rooms change the sound, not the levels that a recipe mixes at."""
    config = load_config(words("objective=pit"))
    datamodule = instantiate(config.settings.datamodule)
    datamodule.setup()
    domains = datamodule.domains()
    levels = {
        name: [
            20 * np.log10(np.sqrt(np.mean(np.square(reference.numpy()))))
            for number in range(4)
            for reference in domain.evaluation["test"][number].references
        ]
        for name, domain in domains.items()
    }
    assert np.abs(np.mean(levels["reverberant"]) - np.mean(levels["anechoic"])) < 1.5
    for number in range(4):
        dry, wet = (domains[name].evaluation["test"][number] for name in ("anechoic", "reverberant"))
        assert dry.name == wet.name and dry.mixture.shape == wet.mixture.shape
        assert not torch.allclose(dry.mixture, wet.mixture, atol=1e-3)
