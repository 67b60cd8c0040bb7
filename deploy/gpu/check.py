"""`make gpu-check`: proves on a machine with an NVIDIA GPU what elsewhere is only compiled, and writes a dated report.

    python deploy/gpu/check.py [--provider cuda|cpu] [--seconds 3] [--report FOLDER]

1. the operators' tests on CUDA: native kernels and torch against the NumPy reference;
2. every shipped model in ONNX Runtime on the GPU, with our native kernels, against the function bodies on the CPU
   under the model's own tolerances; a session with convolutions, products or own operators on the CPU is refused;
3. the same models on Triton, each instance on the GPU, held against the same answers;
4. the time of a batch on GPU and CPU in process, and requests per second over gRPC, one after the other.

Everything that fails is in the report, and the exit status is 1. ``--provider cpu`` walks the same way where there is
no GPU, without step 1; its report says CPU and proves nothing of a GPU.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import onnxruntime as ort
import tritonclient.grpc as grpc_client
import typer
from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

from neurips16.clients import LocalClient
from neurips16.export import ops
from neurips16.export.errors import SessionError, StationError
from neurips16.export.parity.difference import compare
from neurips16.export.session import CPU, CUDA
from neurips16.export.spec import ModelSpec, TensorSpec, read_spec
from neurips16.export.station import Answers, FileStation, ServerStation, run_case
from neurips16.serving import TritonServer
from neurips16.serving.repository import newest_model

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
from examples import Arrays, example_inputs  # noqa: E402

MODELS = ROOT / "serving/models"
LENGTHS = {"N": 2, "H": 480, "W": 640, "T": 110_250, "L": 256, "P": 256}  # of the free axes; T is five seconds of sound
OTHER_LENGTH = 16
STEPS = 3  # of a sequence, for models that keep state


@dataclass
class Report:
    """What was seen, line by line, and what failed."""

    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print and keep a line."""
        typer.echo(line)
        self.lines.append(line)

    def fail(self, text: str) -> None:
        """Keep a failure; the check goes on."""
        typer.echo(f"FAILED {text}", err=True)
        self.failures.append(text)


def main(
    provider: Annotated[Literal["cuda", "cpu"], typer.Option(help="Where the models run.")] = "cuda",
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 3.0,
    report: Annotated[Path, typer.Option(help="Folder of the report.")] = ROOT / "deploy/gpu",
) -> None:
    """Check, measure, write the report; exit status 1 when anything failed."""
    said = Report()
    device = gpu_name() if provider == "cuda" else f"CPU ({platform.machine()}, {os.cpu_count()} cores)"
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    said.say(f"# {device}, {today}\n")
    said.say(f"ONNX Runtime {ort.__version__}, Python {platform.python_version()}, op library: {ops.library_info()}\n")
    if provider == "cuda":
        said.say(f"Operator tests: {operator_tests(said)}\n")
    paths = {folder.name: path for folder in sorted(MODELS.iterdir()) if (path := newest_model(folder)) is not None}
    said.say("| model | largest difference, in process | over gRPC | ms a batch | ms on the CPU | requests/s |")
    said.say("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="neurips16-examples-") as output:
        shown = example_inputs(LocalClient(MODELS, op_library=ops.library_path()), Path(output))
    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server:
        for name, path in paths.items():
            try:
                where = CUDA if provider == "cuda" else CPU
                said.say(check_model(name, path, server.url, where, seconds, said, shown.get(name, ())))
            except (SessionError, StationError) as error:  # the report tells of the others all the same
                said.fail(f"{name}: {error}")
    said.say("\n" + "\n".join(f"FAILED {text}" for text in said.failures) if said.failures else "\nAll of it passed.")
    report.mkdir(parents=True, exist_ok=True)
    path = report / f"{today}-{provider}.md"
    path.write_text("\n".join(said.lines) + "\n", encoding="utf-8")
    typer.echo(f"report: {path}")
    raise typer.Exit(1 if said.failures else 0)


def gpu_name() -> str:
    """The GPU and its driver, as nvidia-smi has it; no GPU ends the check."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"error: gpu-check: no NVIDIA GPU here, so nothing was checked ({error})") from error


def operator_tests(said: Report) -> str:
    """Run the tests that need a GPU; the last line of what pytest says."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", str(ROOT / "tests")]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NEURIPS16_REQUIRE_OPS": "1"}, capture_output=True, text=True
    )
    last = (run.stdout.strip() or run.stderr.strip()).splitlines()[-1]
    if run.returncode or "skipped" in last:  # a test that skips for want of a GPU proves nothing
        said.fail(f"operator tests: {last}\n{run.stdout[-4000:]}")
    return last


def check_model(
    name: str, path: Path, url: str, provider: str, seconds: float, said: Report, shown: Sequence[Arrays]
) -> str:
    """One model in process and on the server, with what its task's examples ask it; a row of the report's table."""
    spec = read_spec(path)
    rng = np.random.default_rng(0)
    steps = [made_inputs(spec, rng) for _ in range(STEPS if spec.states else 1)]
    if shown and not spec.states:
        steps = [shown[0]]
    with FileStation(path, spec, threads=0) as plain:
        want = run_case(spec, plain, steps)
        plain_s = mean_time(lambda: run_case(spec, plain, steps), seconds) / len(steps)
    with FileStation(path, spec, providers=[provider], op_library=ops.library_path(), threads=0) as fast:
        near = difference(name, "in process", spec, run_case(spec, fast, steps), want, said)
        fast_s = mean_time(lambda: run_case(spec, fast, steps), seconds) / len(steps)
    placed = placement(url, name)
    if placed != {"KIND_GPU" if provider == CUDA else "KIND_CPU"}:
        said.fail(f"{name}: Triton has put it on {', '.join(sorted(placed))}")
    with ServerStation(url, name) as served:
        far = difference(name, "over gRPC", spec, run_case(spec, served, steps), want, said)
        rate = len(steps) / mean_time(lambda: run_case(spec, served, steps), seconds)
    return f"| `{name}` | {near:.2g} | {far:.2g} | {1e3 * fast_s:.2f} | {1e3 * plain_s:.2f} | {rate:.1f} |"


def placement(url: str, model: str) -> set[str]:
    """Where Triton runs a model's instances: KIND_AUTO has become KIND_GPU or KIND_CPU when it is loaded."""
    with grpc_client.InferenceServerClient(url) as client:
        groups = client.get_model_config(model).config.instance_group
    return {ModelInstanceGroup.Kind.Name(group.kind) for group in groups}


def difference(name: str, where: str, spec: ModelSpec, got: list[Answers], want: list[Answers], said: Report) -> float:
    """The largest absolute difference over outputs and steps; what the tolerances do not allow is a failure."""
    largest = 0.0
    for mine, theirs in zip(got, want, strict=True):
        for tensor in spec.outputs:
            found, problems = compare(tensor, mine[tensor.name], theirs[tensor.name])
            largest = max(largest, found.max_abs)
            for problem in problems:
                said.fail(f"{name}, {where}, {tensor.name}: {problem}")
    return largest


def mean_time(call: Callable[[], object], seconds: float) -> float:
    """Seconds of a call, on average over as many as fit."""
    call()
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        call()
        done += 1
    return passed / done


def made_inputs(spec: ModelSpec, rng: np.random.Generator) -> Arrays:
    """Inputs of a model that no example asks, a batch of two: a signal of its kind, else values in range."""
    return {tensor.name: values(tensor, LENGTHS, rng) for tensor in spec.inputs}


def values(tensor: TensorSpec, lengths: Mapping[str, int], rng: np.random.Generator) -> np.ndarray:
    """Values for one input: letters for text, coloured discs for images, tones for sound, else what is permitted."""
    shape = [dim if isinstance(dim, int) else lengths.get(dim, OTHER_LENGTH) for dim in tensor.dims]
    if tensor.name == "text":
        return rng.integers(ord("a"), ord("z") + 1, shape).astype(np.uint8)
    if tensor.name == "waveform":
        pitches = rng.uniform(200, 4000, (shape[0], 1))
        return np.sin(np.arange(shape[1]) / 22_050 * 2 * np.pi * pitches).astype(np.float32) * 0.3
    if tensor.dtype == "UINT8" and len(shape) == 4:
        y, x = np.mgrid[: shape[1], : shape[2]]
        image = np.full(shape, 220, np.uint8)
        for _ in range(15):
            centre, radius = rng.uniform((0, 0), shape[1:3]), rng.uniform(0.05, 0.12) * shape[1]
            image[:, np.hypot(y - centre[0], x - centre[1]) < radius] = rng.integers(60, 200, shape[3])
        return image
    low, high = tensor.range or (-1, 1)
    if np.issubdtype(tensor.numpy_dtype, np.integer):
        return rng.integers(int(low), int(min(high, low + 200)) + 1, shape).astype(tensor.numpy_dtype)
    return rng.uniform(low, min(high, low + 2), shape).astype(tensor.numpy_dtype)


if __name__ == "__main__":
    typer.run(main)
