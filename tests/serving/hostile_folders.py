"""Model folders as an attacker would give them: each is to be refused in one line, and to harm no neighbour."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import helper
from serving_tools import times

from neurips16.export.spec import METADATA_KEY, ModelSpec, TensorSpec, Tolerance

CLOSE = Tolerance(0, 0, "one product")


def spec(name: str = "scaled") -> ModelSpec:
    """Of ``times``."""
    return ModelSpec(
        name=name,
        system="none",
        summary="y is x times a factor.",
        inputs=(TensorSpec("x", "FP32", ("N", "L"), "anything"),),
        outputs=(TensorSpec("y", "FP32", ("N", "L"), "the product", tolerance=CLOSE),),
        max_batch_size=8,
        opset=17,
        ir_version=8,
        paper="none",
    )


def model(text: str | None = None, **changes: Any) -> onnx.ModelProto:
    """A good model whose specification is ``text``, or has other values."""
    made = times(2)
    raw = {**json.loads(spec().to_json()), **changes}
    made.metadata_props.add(key=METADATA_KEY, value=json.dumps(raw) if text is None else text)
    return made


def lay(folder: Path, made: onnx.ModelProto | bytes, version: str = "1") -> Path:
    path = folder / version / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def weights_in(folder: Path, *, parameters: dict[str, str] | None = None, **external: str) -> Path:
    made = model(**({"parameters": parameters} if parameters else {}))
    tensor = made.graph.initializer.add(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in external.items():
        tensor.external_data.add(key=key, value=value)
    return lay(folder, made)


def environment_of_its_own(folder: Path, outside: Path) -> None:
    """ONNX and a tar at once: a Python-based backend unpacked it and ran what is inside."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        script = f"touch {outside}/ran\n".encode()
        entry = tarfile.TarInfo("bin/activate")
        entry.size = len(script)
        tar.addfile(entry, io.BytesIO(script))
    made = model(parameters={"EXECUTION_ENV_PATH": "$$TRITON_MODEL_DIRECTORY/1/model.onnx"})
    made.doc_string = archive.getvalue().decode("latin-1")
    lay(folder, made)


def weights_folder_of_its_own(folder: Path, outside: Path) -> None:
    name = "session.model_external_initializers_file_folder_path"
    weights_in(folder, parameters={name: str(outside)}, location="secret")
    (folder / "1" / "secret").write_bytes(bytes(16))


def weights_behind_a_link(folder: Path, outside: Path) -> None:
    weights_in(folder, location="w")
    (folder / "1" / "w").symlink_to(outside / "secret")


def file_behind_a_link(folder: Path, outside: Path) -> None:
    lay(outside / folder.name, model())
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").symlink_to(outside / folder.name / "1" / "model.onnx")


def version_behind_a_link(folder: Path, outside: Path) -> None:
    lay(outside / folder.name, model())
    folder.mkdir()
    (folder / "1").symlink_to(outside / folder.name / "1")


def folder_behind_a_link(folder: Path, outside: Path) -> None:
    lay(outside / folder.name, model())
    folder.symlink_to(outside / folder.name)


def pipe(folder: Path, outside: Path) -> None:
    (folder / "1").mkdir(parents=True)
    os.mkfifo(folder / "1" / "model.onnx")


def device(folder: Path, outside: Path) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").symlink_to("/dev/zero")


def loop(folder: Path, outside: Path) -> None:
    lay(folder, model())
    (folder / "2").symlink_to("2")


def endless(folder: Path, outside: Path) -> None:
    path = lay(folder, model(), "2")
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def backend_beside_it(folder: Path, outside: Path) -> None:
    lay(folder, model())
    (folder / "1" / "libtriton_onnxruntime.so").write_bytes(b"\x7fELF")


def script_beside_it(folder: Path, outside: Path) -> None:
    lay(folder, model())
    (folder / "model.py").write_text(f"open({str(outside / 'ran')!r}, 'w')")


def backend_in_a_hidden_folder(folder: Path, outside: Path) -> None:
    store = folder.parent / f".{folder.name}"
    lay(store, model())
    (store / "1/libtriton_onnxruntime.so").write_bytes(b"\x7fELF")
    folder.mkdir()
    (folder / "1").symlink_to(f"../{store.name}/1")


def link_in_a_hidden_folder(folder: Path, outside: Path) -> None:
    store = folder.parent / f".{folder.name}/1"
    store.mkdir(parents=True)
    lay(outside / folder.name, model())
    (store / "model.onnx").symlink_to(outside / folder.name / "1/model.onnx")
    folder.mkdir()
    (folder / "1").symlink_to(f"../{store.parent.name}/1")


def weights_in_no_text(folder: Path, outside: Path) -> None:
    path = weights_in(folder, location="QQQQ", offset="0", length="16")
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xffQQQ"))


def compiled(folder: Path, outside: Path) -> None:
    made = model()
    made.graph.node.append(helper.make_node("EPContext", [], ["z"], domain="com.microsoft"))
    lay(folder, made)


def session_options(folder: Path, outside: Path) -> None:
    made = model()
    made.metadata_props.add(key="ort_config", value='{"session_options": {"intra_op_num_threads": 500}}')
    lay(folder, made)


def initial_state_elsewhere(folder: Path, outside: Path) -> None:
    lay(folder, model(states=state(1)))
    (folder / "initial_state").symlink_to(outside)


def no_configuration(folder: Path, outside: Path) -> None:
    lay(folder, model())
    (folder / "config.pbtxt").write_text("input {" * 1000)


def raw(**changes: Any) -> Callable[[Path, Path], object]:
    return lambda folder, outside: lay(folder, model(**changes))


def state(count: int) -> list[dict[str, Any]]:
    tolerance = {"rtol": 0.0, "atol": 0.0, "reason": "none"}
    return [{"input": "s", "output": "t", "dtype": "FP32", "dims": [count], "tolerance": tolerance, "initial": 1.0}]


def output(name: str) -> list[dict[str, Any]]:
    (one,) = json.loads(spec().to_json())["outputs"]
    return [{**one, "name": name, "dims": ["N", 1]}]


HOSTILE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "environment_of_its_own": (environment_of_its_own, "'EXECUTION_ENV_PATH' is no fact for clients"),
    "weights_folder_of_its_own": (weights_folder_of_its_own, "folder_path' is no fact for clients"),
    "threads_of_its_own": (raw(parameters={"intra_op_thread_count": "9999"}), "is no fact for clients"),
    "weights_above": (lambda f, o: weights_in(f, location="../../../outside/secret"), "leads out of its folder"),
    "weights_anywhere": (lambda f, o: weights_in(f, location="/etc/passwd"), "leads out of its folder"),
    "weights_in_memory": (lambda f, o: weights_in(f, location="*/_ORT_MEM_ADDR_/*", offset="4096"), "leads out of"),
    "weights_behind_a_link": (weights_behind_a_link, "leads out of the repository"),
    "weights_past_the_end": (lambda f, o: weights_in(f, location="model.onnx", offset="99999"), "has"),
    "file_behind_a_link": (file_behind_a_link, "leads out of the repository"),
    "version_behind_a_link": (version_behind_a_link, "leads out of the repository"),
    "folder_behind_a_link": (folder_behind_a_link, "leads out of the repository"),
    "pipe": (pipe, "neither a file nor a folder"),
    "device": (device, "leads out of the repository"),
    "loop": (loop, "a link that leads nowhere"),
    "endless": (endless, "at most 2147483647"),
    "backend_beside_it": (backend_beside_it, "is a program"),
    "script_beside_it": (script_beside_it, "is a program"),
    "backend_in_a_hidden_folder": (backend_in_a_hidden_folder, "is a program"),
    "link_in_a_hidden_folder": (link_in_a_hidden_folder, "leads out of the repository"),
    "weights_in_no_text": (weights_in_no_text, "bytes that are no text"),
    "compiled": (compiled, "compiled program"),
    "session_options": (session_options, "session options"),
    "initial_state_elsewhere": (initial_state_elsewhere, "leads out of the repository"),
    "no_configuration": (no_configuration, "is no Triton model configuration"),
    "name_that_is_a_path": (raw(outputs=output("../../outside/y"), labels={"../../outside/y": ["a"]}), "identifier"),
    "label_of_lines": (raw(outputs=output("y"), labels={"y": ["a\n}\nbackend: 'python'"]}), "longer than a line"),
    "large_state": (raw(states=state(50_000_000)), "at most 16777216 are kept"),
    "many_instances": (raw(instances=100_000), "at most 64"),
    "deep": (lambda f, o: lay(f, model("[" * 200_000)), "is not JSON"),
    "digits": (lambda f, o: lay(f, model('{"format": ' + "9" * 9000 + "}")), "is not JSON"),
    "text": (lambda f, o: lay(f, b"#!/bin/sh\n"), "is not an ONNX file"),
    "nothing": (lambda f, o: f.mkdir(), "has no <version>/model.onnx"),
    "a name\nof two lines": (lambda f, o: lay(f, model()), "rename it"),
}


def lay_all(repository: Path, outside: Path, prefix: str = "") -> None:
    """All of them, into a repository; a file beyond it, ``outside/secret``, is what some are after."""
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_bytes(bytes(16))
    for name, (make, _) in HOSTILE.items():
        make(repository / f"{prefix}{name}", outside)
