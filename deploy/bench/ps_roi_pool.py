"""PSRoIPool at the paper's size: the native kernel beside the function body, torch, and what moving the data costs.

    python deploy/bench/ps_roi_pool.py [--seconds 2]

300 RoIs, k = 7, 21 classes, a map of 38 x 63 (an image of 600 x 1000). The floor is one copy of the score maps: what
reading and writing as much takes; the kernel reads them and writes an eighth. Every answer is held against torch's.
The best time of each counts, since a busy machine can only make one longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import onnx
import onnxruntime as ort
import torch
import typer
from onnx import TensorProto, helper

from neurips16.clients.tables import print_table
from neurips16.export import ops
from neurips16.training.ops import ps_roi_pool

ROIS, K, CLASSES, HEIGHT, WIDTH, STRIDE = 300, 7, 21, 38, 63, 16


def main(seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 2.0) -> None:
    """Print the times, on one thread and on as many as there are cores."""
    library = ops.library_path()
    if library is None:
        raise SystemExit("error: libneurips16_ops.so was not built: `make ops` says why")
    scores, rois = inputs()
    want = ps_roi_pool(torch.from_numpy(scores), torch.from_numpy(rois), 1 / STRIDE, K).numpy()
    rows = []
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        kernel, body = (session(threads, chosen) for chosen in (library, None))
        for name, run in (("native", kernel), ("body", body)):
            np.testing.assert_allclose(run(scores, rois), want, rtol=1e-4, atol=1e-5, err_msg=name)
        copied = torch.from_numpy(scores.copy())
        times = {
            "native kernel": best(lambda run=kernel: run(scores, rois), seconds),
            "function body": best(lambda run=body: run(scores, rois), seconds),
            "torch": best(
                lambda: ps_roi_pool(torch.from_numpy(scores), torch.from_numpy(rois), 1 / STRIDE, K), seconds
            ),
            "floor": best(lambda to=copied: to.copy_(torch.from_numpy(scores)), seconds),
        }
        native = times["native kernel"]
        rows += [(str(threads), name, f"{t * 1e3:.2f}", f"{t / native:.1f}") for name, t in times.items()]
    print_table({"threads": "right", "what": "left", "ms": "right", "times the kernel's": "right"}, rows)


def inputs() -> tuple[np.ndarray, np.ndarray]:
    """Random score maps [1, C·k·k, H, W], and RoIs [R, 5] of 20 to 400 pixels a side within the image."""
    rng = np.random.default_rng(0)
    size = np.array([WIDTH, HEIGHT]) * STRIDE
    low = rng.uniform(0, 0.8, (ROIS, 2)) * size
    high = np.minimum(low + rng.uniform(20, 400, (ROIS, 2)), size - 1)
    scores = rng.normal(size=(1, CLASSES * K * K, HEIGHT, WIDTH)).astype(np.float32)
    return scores, np.column_stack([np.zeros(ROIS), low, high]).astype(np.float32)


def session(threads: int, library: os.PathLike[str] | None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """One node of the operator in ONNX Runtime: with the library its kernel, without it its function body."""
    node = helper.make_node(
        "PSRoIPool", ["scores", "rois"], ["pooled"], domain=ops.DOMAIN, spatial_scale=1 / STRIDE, group_size=K
    )
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("scores", ["N", "M", "H", "W"]), ("rois", ["R", 5]), ("pooled", ["R", "C", K, K]))
    ]
    model = helper.make_model(
        helper.make_graph([node], "one_node", values[:2], values[2:]),
        opset_imports=[helper.make_opsetid("", ops.LOWEST_OPSET), helper.make_opsetid(ops.DOMAIN, 1)],
        functions=ops.function_bodies(["PSRoIPool"]),
        ir_version=8,
    )
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    if library is not None:
        options.register_custom_ops_library(os.fspath(library))
    made = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda scores, rois: made.run(None, {"scores": scores, "rois": rois})[0]


def best(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls that fit into the time, in seconds; the first one only warms up."""
    call()
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    typer.run(main)
