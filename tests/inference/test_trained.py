import json
import resource
import shutil
import struct

import pytest
import torch
from safetensors.torch import save_file

from mixit_lightning.cli import main
from mixit_lightning.errors import UserError
from mixit_lightning.inference import Separator
from mixit_lightning.inference.export import export
from mixit_lightning.inference.trained import load_trained, make

from ..helpers.trained import LEARNED, STFT, asteroid, network_of
from . import traps

FORMS = ("model.safetensors", "folder")


@pytest.mark.parametrize("described", [LEARNED, STFT, asteroid("ConvTasNet")], ids=["learned", "stft", "asteroid"])
def test_all_forms_hold_the_same_network_and_description(save_trained, tmp_path, described):
    network = network_of(described)
    path = save_trained(described, network.state_dict())
    mixture = torch.randn(2, 4001)
    with torch.no_grad():
        expected = network(mixture)
    loaded = [Separator.from_checkpoint(path, device="cpu")]
    for form in FORMS:
        export(str(path), str(tmp_path / form))
        loaded.append(Separator.from_checkpoint(tmp_path / form, device="cpu"))
    loaded.append(Separator.from_pretrained(tmp_path / "folder", device="cpu"))
    for separator in loaded:
        assert (separator.sample_rate, separator.num_outputs) == (8000, 3)
        assert separator.description == loaded[0].description
        with torch.no_grad():
            assert torch.equal(separator.network(mixture), expected)
    assert loaded[0].description.keys() == {"settings", "provenance", "global_step"}
    assert "somebody" not in (tmp_path / "folder" / "config.json").read_text()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("form", ["run/checkpoints/best.ckpt", *FORMS])
def test_the_command_line_separates_with_any_form(save_trained, tmp_path, form):
    import soundfile

    path = save_trained()
    if form in FORMS:
        assert main(["export", f"checkpoint={path}", f"output={tmp_path / form}"]) == 0
    soundfile.write(tmp_path / "a.wav", torch.randn(4000).numpy() / 10, 8000)
    words = [f"checkpoint={tmp_path / form}", f"input={tmp_path / 'a.wav'}", f"output={tmp_path / 'out'}"]
    assert main(["separate", *words, "silent=keep"]) == 0
    assert len(list((tmp_path / "out" / "a").glob("*.wav"))) == 3


def test_a_pickled_object_is_refused_and_its_code_does_not_run(save_trained):
    path = save_trained()
    state = torch.load(path, weights_only=True)
    torch.save(state | {"extra": traps.Trap()}, path)
    with pytest.raises(UserError, match=r"best\.ckpt: not a checkpoint of plain tensors"):
        Separator.from_checkpoint(path)
    assert not traps.SPRUNG
    torch.load(path, weights_only=False)
    assert traps.SPRUNG.pop() == (("unpickled",), {})  # the trap works


TRAP = "tests.inference.traps.spring"
SNEAKY = [
    {"_target_": TRAP},
    {"_target_": "os.system"},
    LEARNED | {"basis": {"_target_": TRAP}},
    LEARNED | {"basis": [[{"_target_": TRAP}]]},
    LEARNED | {"basis": f"${{oc.create:{{_target_: {TRAP}}}}}"},
    LEARNED | {"basis": f"${{oc.decode:'{{_target_: {TRAP}}}'}}"},
    LEARNED | {"_target_": "asteroid.models.ConvTasNet.from_pretrained"},
    LEARNED | {"_target_": "mixit_lightning.separators.tdcnpp.TDCNpp"},
    LEARNED | {"_target_": ["mixit_lightning.separators.TDCNpp"]},
    LEARNED | {"_args_": [1]},
    LEARNED | {"_partial_": True},
    {"separator": LEARNED},
    None,
    "mixit_lightning.separators.TDCNpp",
]


@pytest.mark.parametrize("described", SNEAKY, ids=str)
@pytest.mark.parametrize("form", ["checkpoint", *FORMS])
def test_nothing_but_a_network_is_made(save_trained, tmp_path, described, form):
    path = save_trained()
    if form == "checkpoint":
        save_trained(described)
    else:
        export(str(path), str(tmp_path / form))
        path = tmp_path / form
        rewrite(path, lambda description: description["settings"].update(separator=described))
    with pytest.raises(UserError, match=path.name):
        Separator.from_checkpoint(path)
    assert not traps.SPRUNG


def rewrite(path, change):
    """Change the description of a file or a folder."""
    if path.is_dir():
        description = json.loads((path / "config.json").read_text())
        change(description)
        (path / "config.json").write_text(json.dumps(description))
    else:
        trained = load_trained(path)
        change(trained.description)
        save_file(dict(trained.weights), path, {"description": json.dumps(trained.description)})


def memory():
    """The most that this process ever took, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"bottleneck": 10**9}, "1000000000"),
        ({"bottleneck": -(10**9)}, "bottleneck"),
        ({"window_seconds": 1e9}, "basis"),
        ({"window_seconds": float("nan")}, r"best\.ckpt"),
        ({"sample_rate": 10**9}, "basis"),
        ({"bottleneck": 10_000, "conv_channels": 10_000}, "do not fit the network that it describes .*size mismatch"),
        ({"repeats": 1}, r"Unexpected key.*tdcn\.repeats"),
        ({"repeats": 3}, r"Missing key.*tdcn\.repeats"),
    ],
    ids=str,
)
def test_a_network_of_other_sizes_is_refused_before_it_takes_memory(save_trained, sizes, message):
    path = save_trained(LEARNED | sizes)
    before = memory()
    with pytest.raises(UserError, match=message):
        Separator.from_checkpoint(path)
    assert memory() - before < 100


def test_weights_without_memory_are_refused(save_trained):
    described = LEARNED | {"bottleneck": 10_000, "conv_channels": 10_000}
    with torch.device("meta"):
        shapes = make(described).state_dict()
    path = save_trained(described, {name: torch.zeros(()).expand(weight.shape) for name, weight in shapes.items()})
    before = memory()
    with pytest.raises(UserError, match="larger than the file"):
        Separator.from_checkpoint(path)
    assert memory() - before < 100


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99, -1])
@pytest.mark.parametrize("form", ["checkpoint", "model.safetensors", "folder/config.json", "folder/model.safetensors"])
def test_files_that_are_cut_off_are_refused(save_trained, tmp_path, form, share):
    path = cut = save_trained()
    if form != "checkpoint":
        cut = tmp_path / form
        path = tmp_path / form.split("/")[0]
        export(str(save_trained()), str(path))
    whole = cut.read_bytes()
    # A description without its last line end is whole.
    cut.write_bytes(whole[: int(share * len(whole)) if share >= 0 else -2])
    with pytest.raises(UserError, match=path.name):
        Separator.from_checkpoint(path)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_one_of_its_files_is_refused(save_trained, tmp_path, missing):
    export(str(save_trained()), str(tmp_path / "folder"))
    (tmp_path / "folder" / missing).unlink()
    with pytest.raises(UserError, match=missing):
        Separator.from_checkpoint(tmp_path / "folder")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not an object"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "does not say which network"),
        ('{"settings": {"separator": {}}}', "does not say which network"),
        (None, "does not say which network"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_descriptions_that_are_none_are_refused(tmp_path, description, message):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path, description and {"description": description})
    with pytest.raises(UserError, match=message):
        Separator.from_checkpoint(path)
    if description is not None:
        (tmp_path / "folder").mkdir()
        shutil.copy(path, tmp_path / "folder" / "model.safetensors")
        (tmp_path / "folder" / "config.json").write_text(description)
        with pytest.raises(UserError, match=message):
            Separator.from_checkpoint(tmp_path / "folder")


@pytest.mark.parametrize("length", [2**62, 2**40, 200_000_000, 3])
def test_a_header_that_claims_to_be_huge_is_refused(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 100)
    before = memory()
    with pytest.raises(UserError, match="not a whole safetensors file"):
        Separator.from_checkpoint(path)
    assert memory() - before < 100


@pytest.mark.parametrize("name", ["none.ckpt", "none.safetensors", "none"])
def test_what_is_not_there_is_said_to_be_missing(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: no such"):
        Separator.from_checkpoint(tmp_path / name)
