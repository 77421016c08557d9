import copy
import itertools
import json

import onnx
import onnxruntime
import pytest
import torch

from mixit_lightning.cli import main
from mixit_lightning.inference import onnx_export
from mixit_lightning.inference.export import export
from mixit_lightning.separators.real_stft import without_complex_numbers

from ..helpers.trained import LEARNED, STFT, asteroid, network_of

LENGTHS = [1, 7, 8, 19, 20, 21, 95, 96, 97, 255, 256, 257, 1601, 4001, 30_011]
"""About hop and window of both bases, 8 and 20 samples, 96 and 256; the example of the export, and long ones."""

DEFAULT = {"stft": STFT}
OTHERS = (
    {"learned": LEARNED}
    | {
        f"{basis}-{kind}{'-skip' if skip else ''}": described | {"mixture_consistency": kind, "skip_residual": skip}
        for (basis, described), kind, skip in itertools.product(
            {"learned": LEARNED, **DEFAULT}.items(), ("uniform", "magsq", "pred_source"), (False, True)
        )
    }
    | {"stft-linear": STFT | {"magnitude_exponent": 1.0}}
)
ASTEROID = ["ConvTasNet", "SuDORMRFNet", "SuDORMRFImprovedNet"]
CASES = [
    *(pytest.param(described, id=name) for name, described in DEFAULT.items()),
    *(pytest.param(described, id=name, marks=pytest.mark.slow) for name, described in OTHERS.items()),
    *(pytest.param(asteroid(name), id=name, marks=pytest.mark.slow) for name in ASTEROID),
]


@pytest.mark.parametrize("described", CASES)
def test_the_file_computes_the_same_at_every_length(save_trained, tmp_path, described):
    network = network_of(described)
    path = tmp_path / "a.onnx"
    said = export(str(save_trained(described, network.state_dict())), str(path))
    assert "of the input's peak at most" in said
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path)
    for number, time in enumerate(LENGTHS):
        if "network" in described and described["network"]["_target_"].endswith("ConvTasNet") and time < 16:
            continue  # asteroid's own refuses less than a window
        mixture = torch.randn(1 + number % 3, time)
        mixture[1:2] = 0  # silence
        with torch.no_grad():
            expected = network(mixture)
        (found,) = session.run(None, {"mixture": mixture.numpy()})
        assert found.shape == expected.shape
        assert (torch.from_numpy(found) - expected).abs().max() < 1e-5 * mixture.abs().max(), time
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["sample_rate"], facts["outputs"]) == ("8000", "3")
    assert json.loads(facts["description"])["settings"]["separator"] == described


def test_on_pure_tones_the_file_is_as_near_to_exact_arithmetic_as_pytorch(save_trained, tmp_path):
    """There the power 0.3 of magnitudes that are nothing but rounding is far from nothing: no two programs agree."""
    network = network_of(STFT)
    export(str(save_trained(STFT, network.state_dict())), str(tmp_path / "a.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    frequencies = torch.tensor([440, 1000, 3000])
    mixture = torch.sin(2 * torch.pi * frequencies[:, None] / 8000 * torch.arange(16_000))
    with torch.no_grad():
        here, exact = network(mixture), copy.deepcopy(network).double()(mixture.double())
    (found,) = session.run(None, {"mixture": mixture.numpy()})
    error, own_error = ((outputs - exact).abs().max() for outputs in (torch.from_numpy(found), here))
    assert own_error > 1e-4  # else it were no exception
    assert error < 2 * own_error


@pytest.mark.parametrize("exponent", [0.3, 1.0])
@pytest.mark.parametrize("window", [0.032, 0.03])  # 256 samples, and 240 that the transform fills up
def test_without_complex_numbers_the_network_is_the_same(exponent, window):
    network = network_of(STFT | {"magnitude_exponent": exponent, "window_seconds": window})
    real = without_complex_numbers(network)
    assert not torch.is_complex(real.basis.encode(torch.randn(1, 100)))
    for time in LENGTHS[:-2]:
        mixture = torch.randn(2, time)
        with torch.no_grad():
            torch.testing.assert_close(real(mixture), network(mixture), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["DPRNNTasNet", "DPTNet"])
def test_recurrent_networks_are_refused_with_the_reason(save_trained, tmp_path, capsys, name):
    path = save_trained(asteroid(name), network_of(asteroid(name)).state_dict())
    assert main(["export", f"checkpoint={path}", f"output={tmp_path / 'a.onnx'}"]) == 1
    assert "has recurrent layers" in capsys.readouterr().err
    assert not list(tmp_path.glob("a.onnx*"))


class Program:
    """What an exporter that is wrong would make."""

    def __init__(self, change):
        self.model, self.change = self, change
        self.metadata_props = {}

    def save(self, path):
        node = onnx.helper.make_node
        value = onnx.helper.make_tensor_value_info
        constants = [
            onnx.numpy_helper.from_array(torch.tensor(value).numpy(), name)
            for name, value in {"axis": [1], "times": [1, 3, 1], "change": self.change}.items()
        ]
        nodes = [
            node("Unsqueeze", ["mixture", "axis"], ["one"]),
            node("Tile", ["one", "times"], ["three"]),
            node("Mul", ["three", "change"], ["outputs"]),
        ]
        inputs = [value("mixture", onnx.TensorProto.FLOAT, ["batch", "time"])]
        outputs = [value("outputs", onnx.TensorProto.FLOAT, ["batch", 3, "time"])]
        graph = onnx.helper.make_graph(nodes, "thirds", inputs, outputs, constants)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, path)


class Thirds(torch.nn.Module):
    sample_rate, num_outputs = 8000, 3

    def forward(self, mixture):
        return torch.stack([mixture / 3] * 3, 1)


@pytest.mark.parametrize("factor", [1 / 3, 1 / 3 + 1e-3, float("nan"), float("inf")])
def test_a_file_that_computes_something_else_never_gets_its_name(tmp_path, monkeypatch, factor):
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: Program(factor))
    path = tmp_path / "a.onnx"
    if factor == 1 / 3:
        assert onnx_export.write_onnx(path, Thirds(), {}) < 1e-6
        assert path.exists()
    else:
        with pytest.raises(onnx_export.UserError, match=r"a\.onnx: its outputs would differ"):
            onnx_export.write_onnx(path, Thirds(), {})
        assert not list(tmp_path.iterdir())


def test_what_the_exporter_says_is_passed_on(tmp_path):
    class Branching(Thirds):
        def forward(self, mixture):
            return super().forward(mixture) if mixture.sum() > 0 else mixture

    with pytest.raises(onnx_export.UserError, match="ONNX exporter cannot write this network"):
        onnx_export.write_onnx(tmp_path / "a.onnx", Branching(), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.onnxx"])
def test_another_kind_of_output_is_refused(save_trained, tmp_path, capsys, name):
    assert main(["export", f"checkpoint={save_trained()}", f"output={tmp_path / name}"]) == 1
    assert "must end in .onnx or .safetensors, or in / for a folder" in capsys.readouterr().err
