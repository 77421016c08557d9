"""Export of a trained separator; the name of the output decides on its format."""

from pathlib import Path

from ..errors import UserError
from .onnx_export import write_onnx
from .safe_tensors import write_safetensors
from .separator import Separator


def export(checkpoint: str, output: str) -> str:
    """Write a trained separator as `.onnx`, `.safetensors` or a folder for the Hub; see `conf/export.yaml`.

    Returns:
        A summary to print.

    Raises:
        UserError: no such checkpoint, another kind of output, or one that cannot be made of this network.
    """
    path = Path(output).expanduser()
    folder = output.endswith("/") or not path.suffix
    if not folder and path.suffix not in (".onnx", ".safetensors"):
        raise UserError(f"output={output}: must end in .onnx or .safetensors, or in / for a folder")
    separator = Separator.from_checkpoint(Path(checkpoint).expanduser(), device="cpu")
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        separator.save_pretrained(path)
        return f"{path}: weights, description and model card"
    if path.suffix == ".safetensors":
        write_safetensors(path, separator.network.state_dict(), separator.description)
        return f"{path}: weights and description"
    difference = write_onnx(path, separator.network, separator.description)
    return f"{path}: outputs differ from PyTorch's by {difference:.1e} of the input's peak at most"
