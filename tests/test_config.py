import subprocess
import sys
from pathlib import Path

import lightning
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mixit_lightning.cli import COMMANDS, main
from mixit_lightning.config import ROOT, TAKEN_AS_TYPED, compose_settings, load_config, recipe_names
from mixit_lightning.errors import UserError


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("recipe=sintetic", "synthetic"),
        ("recipe=wsj0_2mix", "wsj0-2mix"),
        ("separator=tdcnp", "tdcnpp"),
        ("objective=mixitt", "mixit"),
        ("optimizer.lrr=1", "optimizer.lr"),
        ("lr=1", "optimizer.lr"),
        ("datamodule.batchsize=3", "datamodule.batch_size"),
    ],
)
def test_a_mistake_names_the_nearest_that_exists(word, nearest):
    with pytest.raises(UserError, match=rf"{word}.* {nearest}\?"):
        load_config([word])


@pytest.mark.parametrize("word", ["--verbose", "seed=-1"])
def test_a_word_that_makes_no_sense_is_named(word):
    with pytest.raises(UserError, match=word):
        load_config([word])


def test_a_mistake_is_one_line_and_status_one(capsys):
    assert main(["train", "recipe=sintetic"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mixit: recipe=sintetic: ") and line.endswith("synthetic?")


@pytest.mark.parametrize(
    "word",
    [
        "num_outputs=0",
        "separator.basis=fourier",
        "objective.labelled_share=1.5",
        "objective.num_mixtures=1",
        "datamodule.batch_size=0",
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_is_written(word, capsys, tmp_path):
    assert main(["train", word, f"runs={tmp_path / 'runs'}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert word.partition("=")[0].rpartition(".")[2] in line
    assert not list(tmp_path.glob("runs/*/*"))


def test_recipes_need_data_unless_they_make_it(monkeypatch, tmp_path):
    assert load_config([]).settings.recipe == "synthetic"
    monkeypatch.delenv("SPEECH_FOLDER_DATA", raising=False)
    with pytest.raises(UserError, match="SPEECH_FOLDER_DATA"):
        load_config(["recipe=speech-folder"])
    monkeypatch.setenv("SPEECH_FOLDER_DATA", str(tmp_path))
    assert load_config(["recipe=speech-folder"]).settings.data == str(tmp_path)
    with pytest.raises(UserError, match=r"data=.*nowhere"):
        load_config(["recipe=speech-folder", f"data={tmp_path / 'nowhere'}"])


def test_the_folder_says_what_was_run(tmp_path):
    plain = load_config([])
    assert str(plain.folder) == "runs/synthetic/mixit.synthetic.tdcnpp-small"
    changed = load_config(["optimizer.lr=0.5", "objective=pit"])
    assert changed.folder.name.startswith("pit.synthetic.tdcnpp-small.")
    assert changed.settings.optimizer.lr == 0.5
    assert changed.settings.datamodule.labelled_share == 1.0
    for word in ("datamodule.num_workers=0", "logger=wandb", "checkpoint=x", "trainer.enable_progress_bar=false"):
        assert load_config([word]).folder == plain.folder
    assert load_config(["logger=wandb"]).plain() == plain.plain()
    # What the name says itself, or leaves the results as they are, is not in the hash.
    named = load_config(["objective=pit", "separator=convtasnet", "trainer=ddp"]).folder.name
    assert named == "pit.synthetic.convtasnet"
    relative, absolute = (load_config([f"warm_start={path}"]).folder for path in ("a.ckpt", Path("a.ckpt").resolve()))
    assert relative == absolute != plain.folder


def test_all_recipes_are_listed(capsys):
    assert main(["recipes"]) == 0
    assert capsys.readouterr().out.split() == recipe_names()
    assert {"synthetic", "speech-folder", "wsj0-2mix"} <= set(recipe_names())


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom mixit_lightning.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'lightning', 'hydra', 'pandas') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_a_recipe_may_change_another_ones_settings(tmp_path):
    names = ("wsj0-2mix", "wsj0-1or2mix")
    base, changed = (load_config([f"recipe={name}", f"data={tmp_path}"]).plain() for name in names)
    assert changed["datamodule"]["_target_"] == base["datamodule"]["_target_"]
    assert changed["preparation"] == base["preparation"]
    differing = {key for key in base["datamodule"] if base["datamodule"][key] != changed["datamodule"][key]}
    assert differing == {"one_source_share", "evaluate_one_source"}


def test_what_is_to_be_prepared_need_not_be_there_yet(tmp_path, capsys):
    assert main(["prepare", "recipe=wsj0-2mix", f"data={tmp_path / 'new'}"]) == 1
    assert "wsj0=PATH" in capsys.readouterr().err
    assert main(["prepare", "recipe=speech-folder", f"data={tmp_path}"]) == 1
    assert "speech-folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


PATHS = [
    "ünï.wav",
    "日本語.wav",
    "live (2019).wav",
    "it's.wav",
    'say "hi".wav',
    "a,b.wav",
    "[mix].wav",
    "{mix}",
    "/home/Jürgen",
    "~/recordings",
    "runs/r/checkpoints/epoch=3-step=9.ckpt",
    "007",
    "1e3",
    "true",
    "a: b",
    "#1",
    " lead and trail ",
    "back\\slash\\",
    "\\'",
    "$HOME",
    "a=b=c",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_what_was_typed(path, tmp_path, monkeypatch):
    described = compose_settings("separate", [f"checkpoint={path}", f"input={path}", f"output={path}"])
    expected = str(Path(path).expanduser()) if path[0] == "~" else path
    assert (described.checkpoint, described.input, described.output) == (expected,) * 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / path.lstrip("/")).mkdir(parents=True)
    if path[0] not in "/~":
        assert load_config(["recipe=speech-folder", f"data={path}"]).settings.data == str(tmp_path / path)
    assert load_config([f"runs={path}", f"checkpoint={path}"]).settings.checkpoint == expected


def test_a_path_may_be_nothing_and_keeps_hydras_own_quotes():
    settings = load_config(["checkpoint=null", "runs='a, b'"]).settings
    assert settings.checkpoint is None and settings.runs == "a, b"


def test_settings_that_are_paths_are_known_as_such():
    """Top-level settings without a value are paths, or stand here."""
    others = {"needs_data", "note", "data_licence", "early", "labelled", "mode", "licence", "device", "port", "types"}
    others |= {"sample_rate", "num_outputs", "seed", "rows", "labels", "count", "agents"}
    for path in [*ROOT.glob("conf/*.yaml"), *ROOT.glob("conf/*/*.yaml")]:
        settings = OmegaConf.to_container(OmegaConf.load(path))
        if path.parent == ROOT / "conf" or "@package _global_" in path.read_text():
            open_ones = {name for name, value in settings.items() if value in (None, "???")}
            assert open_ones <= TAKEN_AS_TYPED | others, path


def test_the_folder_of_a_run_can_be_given_and_its_name_stays(tmp_path):
    config = load_config([f"hydra.run.dir={tmp_path / 'it, (here)'}"])
    assert config.folder == tmp_path / "it, (here)"
    assert config.settings.run == load_config([]).settings.run


def test_a_key_that_can_be_added_is_said_to_be():
    with pytest.raises(UserError, match=r"\+trainer\.max_time="):
        load_config(["trainer.max_time=00:00:01:00"])
    assert load_config(["+trainer.max_time=00:00:01:00"]).settings.trainer.max_time == "00:00:01:00"


def hydra(*words):
    """What a command prints."""
    command = [sys.executable, "-m", "mixit_lightning.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_users_of_hydra_type(tmp_path):
    (tmp_path / "separator").mkdir()
    (tmp_path / "separator" / "mynet.yaml").write_text("_target_: my_package.MyNet\nwidth: 3\n")
    mine = ["--config-dir", str(tmp_path), "separator=mynet"]
    assert OmegaConf.create(hydra("train", "--cfg", "job", "-p", "separator", *mine)).width == 3
    resolved = OmegaConf.create(hydra("train", "--cfg", "job", "--resolve", "optimizer.lr=0.5"))
    assert resolved.run == load_config(["optimizer.lr=0.5"]).settings.run
    assert "separator: " in hydra("evaluate", "--help") and "max_steps" in hydra("train", "--help")
    assert "searchpath" in hydra("train", "--cfg", "hydra")


def test_all_parts_of_a_config_can_be_made_in_a_notebook():
    settings = load_config([]).settings
    made = {key: instantiate(settings[key]) for key in ("separator", "objective", "datamodule", "scoring", "schedule")}
    assert isinstance(made["datamodule"], lightning.LightningDataModule)
    assert isinstance(instantiate(settings.trainer), lightning.Trainer)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_config_that_composes(command):
    assert "hydra" not in compose_settings(command, [])
