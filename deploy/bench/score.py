"""Rows per second of `neurips16 score`, beside the loop that one would write and ONNX Runtime alone; and its memory.

    python deploy/bench/score.py [--rows 2000] [--allowed-mb 768] [--times 10]

Speed: the shipped premise encoder over statements in a Parquet file. The loop runs the model row by row with ONNX
Runtime's own settings and writes what it has at the end. The limit is the model alone on batches that lie ready, on all
cores. The time of a job includes its start, reading and writing.

Memory: a Parquet file of noisy images, so many times larger than the memory that the job is allowed; the measure is the
sum of its processes' proportional sets, looked at twenty times a second. More than allowed is an error.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime as ort
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from PIL import Image

from neurips16.clients.tables import print_table
from neurips16.export.spec import EXACT, ModelSpec, TensorSpec, embed_spec
from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "serving/models"
ENCODER = "premise_encoder"
BATCH = 32
SIDE = 512  # pixels; 0.75 MB an image, not compressed
_TINY = """
<ir_version: 10, opset_import: ["": 20]>
tiny (uint8[N,H,W,3] image) => (float[N,3] class_probabilities) {
    axes = Constant <value_ints = [1, 2]> ()
    values = Cast <to = 1> (image)
    means = ReduceMean <keepdims = 0> (values, axes)
    class_probabilities = Softmax <axis = 1> (means)
}"""


def main(
    rows: Annotated[int, typer.Option(help="Statements to encode.")] = 2000,
    allowed_mb: Annotated[int, typer.Option(help="Memory that a job is allowed, all its processes together.")] = 768,
    times: Annotated[float, typer.Option(help="How many times larger than that its input is.")] = 10.0,
) -> None:
    """Measure, and print two tables."""
    with tempfile.TemporaryDirectory(prefix="neurips16-bench-") as folder:
        speed(Path(folder), rows)
        memory(Path(folder), allowed_mb, times)


def speed(folder: Path, rows: int) -> None:
    """Print the rows per second of each way."""
    texts = statements(rows)
    pq.write_table(pa.table({"text": texts}), folder / "in.parquet")
    usual = ["embed", folder / "in.parquet"]
    found = {"loop, row by row": loop(texts, folder / "loop.parquet"), "ONNX Runtime alone": limit(texts)}
    found["score, in process"] = job(*usual, folder / "local", "--models", MODELS)
    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server:
        found["score, through Triton"] = job(*usual, folder / "served", "--url", server.url)
    want = pq.read_table(folder / "loop.parquet")["embedding"].to_pylist()
    for name in ("local", "served"):
        got = pq.read_table(folder / name / "results")["embedding"].to_pylist()
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
    best = rows / found["ONNX Runtime alone"]
    print_table(
        {"way": "left", "rows/s": "right", "of the limit": "right"},
        ((name, f"{rows / seconds:.1f}", f"{rows / seconds / best:.2f}") for name, seconds in found.items()),
    )


def loop(texts: list[str], output: Path) -> float:
    """Seconds of the plain loop."""
    started = time.perf_counter()
    session = ort.InferenceSession(model_file(), providers=["CPUExecutionProvider"])
    vectors = [
        session.run(["embedding"], {"text": np.frombuffer(text.encode(), np.uint8)[None]})[0][0] for text in texts
    ]
    pq.write_table(pa.table({"text": texts, "embedding": vectors}), output)
    return time.perf_counter() - started


def limit(texts: list[str]) -> float:
    """Seconds of the model alone, on batches of like lengths."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = ort.InferenceSession(model_file(), options, providers=["CPUExecutionProvider"])
    codes = sorted((text.replace(" ", "").encode() for text in texts), key=len)
    batches = [codes[start : start + BATCH] for start in range(0, len(codes), BATCH)]
    arrays = [np.stack([np.frombuffer(c.ljust(len(batch[-1]), b"\0"), np.uint8) for c in batch]) for batch in batches]
    session.run(None, {"text": arrays[0]})
    started = time.perf_counter()
    for array in arrays:
        session.run(None, {"text": array})
    return time.perf_counter() - started


def memory(folder: Path, allowed_mb: int, times: float) -> None:
    """Score an input that is larger than the memory allowed, and see that the job keeps to it."""
    rng = np.random.default_rng(0)
    write_tiny(folder / "models")
    size = 0
    with pq.ParquetWriter(folder / "images.parquet", pa.schema([("image", pa.binary())])) as writer:
        while size < times * allowed_mb * 2**20:
            images = [noise(rng) for _ in range(8)]
            writer.write_table(pa.table({"image": images}), row_group_size=8)
            size += sum(map(len, images))
    command = ["classify-image", folder / "images.parquet", folder / "scored", "--model", "tiny", "--workers", 1]
    with start(*command, "--models", folder / "models", "--shard-rows", 64) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, used(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise typer.Exit(process.returncode)
    print_table(
        {"input MB": "right", "allowed MB": "right", "most used MB": "right"},
        [(f"{size / 2**20:.0f}", str(allowed_mb), f"{peak / 2**20:.0f}")],
    )
    if peak > allowed_mb * 2**20:
        typer.echo("error: it used more than it is allowed", err=True)
        raise typer.Exit(1)


def used(pid: int) -> int:
    """Bytes that a process and those below it take; what they share is counted once."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().pss
    except psutil.NoSuchProcess:  # it ended between our two looks
        pass
    return total


def job(*arguments: object) -> float:
    """Seconds of a `neurips16 score`, from its start to its end."""
    started = time.perf_counter()
    with start(*arguments) as process:
        if process.wait():
            raise typer.Exit(process.returncode)
    return time.perf_counter() - started


def start(*arguments: object) -> subprocess.Popen:
    """A `neurips16 score` that was started."""
    command = [Path(sys.executable).with_name("neurips16"), "score", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def model_file() -> Path:
    """The newest version of the encoder."""
    return max((MODELS / ENCODER).glob("*/model.onnx"), key=lambda path: int(path.parent.name))


def statements(count: int) -> list[str]:
    """Statements of ours, of many lengths."""
    return [
        f"! [X{i}] : ({' & '.join(f'r{j % 7}_less(X{i}, k{j}_sum(X{i}, {j}))' for j in range(2 + i * 7 % 23))})"
        for i in range(count)
    ]


def noise(rng: np.random.Generator) -> bytes:
    """A PNG as large as its pixels."""
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def write_tiny(repository: Path) -> None:
    """A classifier that costs nothing beside decoding."""
    model = onnx.parser.parse_model(_TINY)
    spec = ModelSpec(
        name="tiny",
        system="bench",
        summary="The mean colour.",
        inputs=(TensorSpec("image", "UINT8", ("N", "H", "W", 3), "RGB"),),
        outputs=(TensorSpec("class_probabilities", "FP32", ("N", 3), "of the colours", tolerance=EXACT),),
        max_batch_size=4,
        paper="none",
        parameters={"labels": '["red", "green", "blue"]'},
    )
    embed_spec(model, spec)
    path = repository / "tiny/1/model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)


if __name__ == "__main__":
    typer.run(main)
