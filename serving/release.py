"""What each release of NVIDIA's Triton image can load, and whether a model is within it.

Sources of the table:

* ONNX Runtime of a release, its Python and its CUDA: the server's own ``docs/introduction/compatibility.md`` (tables
  "ONNX Runtime Versions" and "vllm-python-py3") and the release notes on docs.nvidia.com. Release notes of 26.09 and
  26.10 say their CUDA and not their ONNX Runtime, and that table ends with 26.08: so does this one.
* Triton's version: the server's README and release pull requests; one minor version a month (25.07 is 2.59.1).
* The highest opset and IR version of an ONNX Runtime: measured, by loading a small model of each into the wheels of
  1.20.1, 1.21.0, 1.22.0, 1.23.0, 1.23.2, 1.24.1, 1.24.4, 1.27.0 and 1.28.0. Release 25.08 has a snapshot from before
  1.23.0, which is not to be had as a wheel: it is given the limits of 1.22.

The custom-op API of ONNX Runtime 1.x is numbered x, and a library that was compiled against an older one keeps working.
Where Triton comes from pip, our backend uses that environment's own ONNX Runtime (1.21 at least), so a
model that passes here for the oldest supported release is loaded there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurips16.export.spec import SpecError, open_model, read_spec
from neurips16.serving.errors import ReleaseError

OP_LIBRARY_API = 21  # what libneurips16_ops.so is compiled against
# What the files in deploy/ name; a test holds them to it, and it to the bulletins in deploy/THREATS.md. ONNX Runtime
# 1.28.0, from its wheel, was seen to load every model in serving/models.
DEPLOYED = "26.08"


@dataclass(frozen=True)
class Release:
    """One release of the image ``nvcr.io/nvidia/tritonserver:<name>-py3``."""

    name: str
    triton: str
    onnxruntime: str
    max_opset: int
    max_ir_version: int
    cuda: str
    python: str

    @property
    def custom_op_api(self) -> int:
        """The newest custom-op API that this release's ONNX Runtime offers."""
        return int(self.onnxruntime.split(".")[1])


RELEASES: dict[str, Release] = {
    release.name: release
    for release in (
        Release("24.12", "2.53.0", "1.20.1", 21, 10, "12.6", "3.12"),
        Release("25.01", "2.54.0", "1.20.1", 21, 10, "12.8", "3.12"),
        Release("25.02", "2.55.0", "1.20.1", 21, 10, "12.8", "3.12"),
        Release("25.03", "2.56.0", "1.21.0", 22, 10, "12.8", "3.12"),
        Release("25.04", "2.57.0", "1.21.0", 22, 10, "12.9", "3.12"),
        Release("25.05", "2.58.0", "1.22.0", 22, 10, "12.9", "3.12"),
        Release("25.06", "2.59.0", "1.22.0", 22, 10, "12.9", "3.12"),
        Release("25.07", "2.59.1", "1.22.0", 22, 10, "12.9", "3.12"),
        Release("25.08", "2.60.0", "1.23.0.dev", 22, 10, "13.0", "3.12"),
        Release("25.09", "2.61.0", "1.23.0", 23, 11, "13.0", "3.12"),
        Release("25.10", "2.62.0", "1.23.1", 23, 11, "13.0", "3.12"),
        Release("25.11", "2.63.0", "1.23.2", 23, 11, "13.0", "3.12"),
        Release("25.12", "2.64.0", "1.23.2", 23, 11, "13.1", "3.12"),
        Release("26.01", "2.65.0", "1.23.2", 23, 11, "13.1", "3.12"),
        Release("26.02", "2.66.0", "1.24.1", 25, 13, "13.1", "3.12"),
        Release("26.03", "2.67.0", "1.24.2", 25, 13, "13.2", "3.12"),
        Release("26.04", "2.68.0", "1.24.4", 25, 13, "13.2", "3.12"),
        Release("26.05", "2.69.0", "1.24.4", 25, 13, "13.2", "3.12"),
        Release("26.06", "2.70.0", "1.24.4", 25, 13, "13.3", "3.12"),
        Release("26.07", "2.71.0", "1.27.0", 26, 13, "13.3", "3.12"),
        Release("26.08", "2.72.0", "1.28.0", 26, 13, "13.4", "3.12"),
    )
}


def oldest_supported() -> Release:
    """The first release that loads the op library: what models are exported for unless another is named."""
    return min((r for r in RELEASES.values() if r.custom_op_api >= OP_LIBRARY_API), key=lambda r: r.name)


def get_release(name: str) -> Release:
    """The release called ``name`` (year.month).

    Raises:
        ReleaseError: the table does not have it.
    """
    if name not in RELEASES:
        raise ReleaseError(f"Triton release {name!r} is not in the table; it has {', '.join(RELEASES)}")
    return RELEASES[name]


def preflight(model: str | Path | Any, release: Release | str | None = None) -> None:
    """Refuse a model that ``release`` cannot load, before a server does.

    Args:
        model: an ONNX file, or an ``onnx.ModelProto``.
        release: by default the oldest supported one.

    Raises:
        ReleaseError: the IR version, the opset or the op library is too new; all that is wrong is said.
        SpecError: the file carries no specification.
    """
    if release is None:
        release = oldest_supported()
    elif isinstance(release, str):
        release = get_release(release)
    where = "the model"
    if isinstance(model, (str, Path)):
        where = str(model)
        spec = read_spec(model)  # first: it says which file it was
        model = open_model(model)
    else:
        spec = read_spec(model)

    problems = []
    if model.ir_version > release.max_ir_version:
        problems.append(f"IR version {model.ir_version}, at most {release.max_ir_version} is loaded")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise SpecError(f"{where} imports no standard operator set: it is no model that can be run")
    if opset > release.max_opset:
        problems.append(f"opset {opset}, at most {release.max_opset} is loaded")
    if spec.custom_ops and release.custom_op_api < OP_LIBRARY_API:
        problems.append(
            f"operators of libneurips16_ops.so, which needs API {OP_LIBRARY_API}; its runtime offers "
            f"{release.custom_op_api} (`neurips16 export --inline` writes a file that needs no library)"
        )
    if problems:
        raise ReleaseError(
            f"Triton {release.name} (ONNX Runtime {release.onnxruntime}) cannot load {where}: it has "
            f"{'; '.join(problems)}. Export it for opset <= {release.max_opset} and IR version <= "
            f"{release.max_ir_version}, or serve it with a later release"
        )
