import subprocess

import pytest
import torch

from mixit_lightning.errors import UserError
from mixit_lightning.files import replacing
from mixit_lightning.run import check_results, commit, differences, open_run, run_name
from mixit_lightning.training.checkpoints import load_checkpoint
from mixit_lightning.training.csv_logger import CurvesLogger


def test_run_names():
    assert run_name("mixit", "synthetic", "tdcnpp", []) == "mixit.synthetic.tdcnpp"
    one, two = (run_name("mixit", "synthetic", "tdcnpp", words) for words in (["a=1", "b=2"], ["b=2", "a=1"]))
    assert one == two
    assert one != run_name("mixit", "synthetic", "tdcnpp", ["a=1", "b=3"])
    assert one.startswith("mixit.synthetic.tdcnpp.")


def test_a_run_goes_on_only_with_its_own_settings(tmp_path):
    config = {"seed": 0, "optimizer": {"lr": 0.1}}
    open_run(tmp_path / "run", config)
    open_run(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"config.yaml.*optimizer\.lr"):
        open_run(tmp_path / "run", {"seed": 0, "optimizer": {"lr": 0.2}})
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "d": 3}) == ["c", "d"]


@pytest.mark.parametrize(
    "name", ["metrics.csv", "training.json", "checkpoints/best.ckpt", "examples/mine.wav", "results.json"]
)
def test_a_folder_of_somebody_else_does_not_become_a_run(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(UserError, match=name.partition("/")[0]):
        open_run(tmp_path, {"seed": 0})
    if name in ("examples/mine.wav", "results.json"):
        with pytest.raises(UserError, match=name.partition("/")[0]):
            check_results(tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "{}"


def test_a_folder_of_results_becomes_a_run(tmp_path):
    (tmp_path / "results.json").write_text('{"run": "mixit.synthetic.tdcnpp"}')
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "examples.json").write_text("[]")
    (tmp_path / "checkpoints").mkdir()  # a run that was killed before its config was written
    check_results(tmp_path)
    open_run(tmp_path, {"seed": 0})
    assert (tmp_path / "config.yaml").is_file()


def test_curves_go_on_after_a_kill(tmp_path):
    path = tmp_path / "metrics.csv"
    taken = 0
    curves = CurvesLogger(path, lambda: taken)
    curves.rewind(0)
    for taken in (10, 20, 30):
        curves.log_metrics({"train/loss": -float(taken), "epoch": 1})
    with path.open("a") as file:
        file.write("40,1.0,train/lo")  # cut off by the kill
    again = CurvesLogger(path, lambda: 21)
    again.rewind(20)
    assert again.seconds >= float(path.read_text().splitlines()[-1].split(",")[1])
    again.log_metrics({"train/loss": -21.0})
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert rows[0] == ["step", "seconds", "metric", "value"]
    assert [(row[0], row[2], row[3]) for row in rows[1:]] == [
        ("10", "train/loss", "-10.0"),
        ("20", "train/loss", "-20.0"),
        ("21", "train/loss", "-21.0"),
    ]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


class Pickled:
    def __reduce__(self):
        return print, ("this code came with a checkpoint",)


def test_a_checkpoint_with_a_pickled_object_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "extra": Pickled()}, path)
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        load_checkpoint(path)
    assert "this code" not in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        load_checkpoint(path)
    with pytest.raises(UserError, match=r"none\.ckpt"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=__file__.rsplit("/", 1)[0])
    if head.returncode:
        pytest.skip("not a git checkout")
    assert commit().removesuffix("+changes") == head.stdout.strip()
