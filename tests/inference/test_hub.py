import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import RepositoryNotFoundError

from mixit_lightning.errors import UserError
from mixit_lightning.inference import Separator, hub
from mixit_lightning.inference.export import export

from ..helpers.trained import LEARNED, network_of

RESULTS = Path(__file__).parents[2] / "recipes" / "synthetic" / "results" / "mixit-seed-0" / "results.json"


@pytest.fixture
def results():
    return json.loads(RESULTS.read_text())


def test_a_folder_has_the_layout_of_the_hub(save_trained, tmp_path):
    Separator.from_checkpoint(save_trained()).save_pretrained(tmp_path / "folder")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["settings"]["separator"] == LEARNED
    assert (config["global_step"], config["settings"]["data_licence"]) == (1000, "CC0-1.0")
    assert config["provenance"]["commit"] == "abc"


def test_a_folder_that_is_there_is_left_as_it_is(save_trained, tmp_path):
    (tmp_path / "folder").mkdir()
    separator = Separator.from_checkpoint(save_trained())
    separator.save_pretrained(tmp_path / "folder")  # empty
    (tmp_path / "folder" / "README.md").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        separator.save_pretrained(tmp_path / "folder")
    assert (tmp_path / "folder" / "README.md").read_text() == "mine"


def test_nothing_is_left_of_a_folder_that_fails(save_trained, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "model_card", lambda description: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Separator.from_checkpoint(save_trained()).save_pretrained(tmp_path / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_separator_of_unknown_origin_is_not_saved(tmp_path):
    with pytest.raises(UserError, match="does not say what it is"):
        Separator(network_of(LEARNED), 8000, 3).save_pretrained(tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_pushing_is_the_librarys_and_reading_is_ours(save_trained, tmp_path, monkeypatch):
    pushed = {}

    class Made:
        repo_id = "user/separator"

    def upload(self, *, folder_path, **more):
        pushed.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()}, **more)
        return "address"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **more: Made)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    separator = Separator.from_checkpoint(save_trained(), device="cpu")
    assert separator.push_to_hub("user/separator", branch="main") == "address"
    assert pushed["repo_id"] == "user/separator"

    def fetch(repo_id, revision, token, allow_patterns):
        assert (repo_id, revision, token) == ("user/separator", "v1", False)
        (tmp_path / "cache").mkdir()
        for name in allow_patterns:
            (tmp_path / "cache" / name).write_bytes(pushed[name])
        return str(tmp_path / "cache")

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    again = Separator.from_pretrained("user/separator", "v1", False, device="cpu", window=20.0)
    mixture = torch.randn(3000)
    assert again.window == 20.0
    assert torch.equal(again.separate(mixture, 8000), separator.separate(mixture, 8000))


@pytest.mark.parametrize("name", ["user/none", "no such folder", "/nowhere"])
def test_a_repository_that_cannot_be_had_is_named(monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=f"{name}: no such folder, and not to be had"):
        Separator.from_pretrained(name)


def test_the_card_is_one_that_the_hub_reads_with_the_figures_of_the_run(save_trained, tmp_path, results):
    export(str(save_trained(results=results)), str(tmp_path / "folder"))
    card = ModelCard.load(tmp_path / "folder" / "README.md")
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {name: value for name, value in results["metrics"].items() if value is not None}
    assert {result.dataset_name for result in card.data.eval_results} == {"mixit-lightning, recipe synthetic"}
    assert card.data.model_name == "mixit.synthetic.tdcnpp-small"
    assert "license" not in card.data.to_dict()
    for said in (
        "| SI-SNRi | 10.33 dB |",
        "On 300 test examples of the same recipe, 300 of 2 sources.",
        results["selection_rule"],
        "CC0-1.0",
        results["commit"],
        "AMD EPYC",
        "torch 2.11.0",
        "6 min 9 s",
        "3 outputs",
        "8000 Hz",
        "on the 25 % that come with their sources",
        "Separator.from_pretrained(",
        "mixit separate checkpoint=",
    ):
        assert said in card.content
    assert "somebody" not in card.content and str(tmp_path) not in card.content
    assert "None" not in card.content and "{" not in card.content


def test_the_card_stays_when_a_folder_is_saved_again(save_trained, tmp_path, results):
    export(str(save_trained(results=results)), str(tmp_path / "a"))
    export(str(tmp_path / "a"), str(tmp_path / "b.safetensors"))
    export(str(tmp_path / "b.safetensors"), str(tmp_path / "c"))
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


@pytest.mark.parametrize("change", [None, {"checkpoint": "last.ckpt"}, {"steps": 999}])
def test_without_results_of_these_weights_the_card_says_so(save_trained, tmp_path, results, change):
    export(str(save_trained(results=change and results | change)), str(tmp_path / "folder"))
    card = ModelCard.load(tmp_path / "folder" / "README.md")
    assert "have not been evaluated" in card.content
    assert card.data.eval_results is None
    assert "dB |" not in card.content
    for said in ("abc", "a CPU", "torch 2.11.0", "| Seed | 7 |", "CC0-1.0"):
        assert said in card.content


def test_a_missing_package_is_named_with_the_cure(save_trained, tmp_path, monkeypatch):
    separator = Separator.from_checkpoint(save_trained())
    for name in [name for name in sys.modules if name.startswith("mixit_lightning.inference.")]:
        if name.endswith(("hub", "model_card")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"huggingface_hub is missing; pip install -e '\.\[share\]'"):
        separator.save_pretrained(tmp_path / "folder")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"onnxruntime is missing; pip install -e '\.\[share\]'"):
        export(str(save_trained()), str(tmp_path / "a.onnx"))


@pytest.mark.slow
def test_packages_for_sharing_are_imported_when_they_are_used():
    code = """
import sys
from mixit_lightning.inference import Separator
assert not {"huggingface_hub", "onnx", "onnxruntime", "onnxscript"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_of_the_hub_are_explained(monkeypatch):
    import httpx

    def refuse(*args, **kwargs):
        response = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))
        raise RepositoryNotFoundError("404\nRepository Not Found", response=response)

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match="user/none: no such folder"):
        hub.download("user/none")
