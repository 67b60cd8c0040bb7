"""Makes the ONNX Runtime session that a model configuration asks for, and refuses to make another."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ort_tensors import ConfigError

DEFAULT_MODEL_FILE = "model.onnx"
# Our exporter writes its operators into each model as functions of standard operators too: right without the library,
# only slower. Any other library is needed.
OUR_OPS = "libneurips16_ops.so"

CUDA, TENSORRT, OPENVINO, CPU = (
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "OpenVINOExecutionProvider",
    "CPUExecutionProvider",
)

# config.pbtxt's own words for TensorRT options; the others carry ONNX Runtime's names already.
_TENSORRT_NAMES = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_TENSORRT_PRECISIONS = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "1"},
    "BF16": {"trt_bf16_enable": "1"},
    "INT8": {"trt_int8_enable": "1"},
}
# CUDA options that may stand among the model's own parameters, as numbers.
_CUDA_CHOICES = {
    "cudnn_conv_algo_search": {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"},
    "arena_extend_strategy": {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"},
}
_CUDA_PLAIN = ("gpu_mem_limit", "do_copy_in_default_stream")
# Exhaustive search would repeat at every new shape, and a doubling arena never gives back what one long request took.
_CUDA_DEFAULTS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}


def model_file(version_dir: str, config: Mapping[str, Any]) -> str:
    """The ONNX file of a model version.

    Raises:
        ConfigError: it does not exist.
    """
    path = Path(version_dir) / (config.get("default_model_filename") or DEFAULT_MODEL_FILE)
    if path.is_dir():  # a model with external data may be a folder
        path = path / DEFAULT_MODEL_FILE
    if not path.is_file():
        raise ConfigError(f"there is no {path}")
    return str(path)


def parameter(config: Mapping[str, Any], name: str, default: str) -> str:
    """A value of the configuration's ``parameters``."""
    return config.get("parameters", {}).get(name, {}).get("string_value") or default


def make_session(path: str, config: Mapping[str, Any], *, kind: str, device_id: int) -> Any:
    """The `onnxruntime.InferenceSession` that ``config`` describes.

    Args:
        path: the ONNX file.
        config: the model configuration, as Triton hands it out.
        kind: what the instance runs on, "CPU" or "GPU".
        device_id: which GPU.

    Raises:
        ConfigError: the configuration is wrong, or the session would not run where it asks for.
    """
    import onnxruntime

    providers = [*_gpu_providers(config, device_id), (CPU, {})] if kind == "GPU" else _cpu_providers(config, kind)
    wanted = [name for name, _ in providers]
    missing = [name for name in wanted if name not in onnxruntime.get_available_providers()]
    if missing:
        raise ConfigError(
            f"the configuration asks for {', '.join(missing)}, but onnxruntime {onnxruntime.__version__} offers only "
            f"{', '.join(onnxruntime.get_available_providers())}: install onnxruntime-gpu in place of onnxruntime, or "
            "take the accelerator (or KIND_GPU) out of config.pbtxt"
        )
    if CUDA in wanted:
        onnxruntime.preload_dlls()  # the CUDA libraries of pip packages are on no loader path
    options = session_options(config)
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    got = session.get_providers()
    if got[: len(wanted)] != wanted:
        raise ConfigError(
            f"the configuration asks for {', '.join(wanted)}, but ONNX Runtime started only {', '.join(got)} "
            "(its warning, in the server's log, says which library it misses)"
        )
    session.disable_fallback()
    return session


def make_plain_session(path: str, config: Mapping[str, Any]) -> Any:
    """A session that is good for reading the file's inputs and outputs, and soon made."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    _register_ops(options, config)
    return onnxruntime.InferenceSession(path, options, providers=[CPU])


def session_options(config: Mapping[str, Any]) -> Any:
    """The `onnxruntime.SessionOptions` of a configuration.

    Raises:
        ConfigError: a parameter is none of the permitted values, or an op library cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _count(config, "intra_op_thread_count") or default_threads(config)
    options.inter_op_num_threads = _count(config, "inter_op_thread_count") or default_threads(config)
    mode = parameter(config, "execution_mode", "0")
    if mode not in ("0", "1"):
        raise ConfigError(f"parameter execution_mode is {mode!r}: 0 (sequential) or 1 (parallel)")
    options.execution_mode = (
        onnxruntime.ExecutionMode.ORT_PARALLEL if mode == "1" else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    )
    options.enable_cpu_mem_arena = _flag(config, "enable_mem_arena", options.enable_cpu_mem_arena)
    options.enable_mem_pattern = _flag(config, "enable_mem_pattern", options.enable_mem_pattern)
    levels = onnxruntime.GraphOptimizationLevel
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = {
        -1: levels.ORT_ENABLE_BASIC,
        1: levels.ORT_ENABLE_EXTENDED,
        2: levels.ORT_DISABLE_ALL,
    }.get(level, levels.ORT_ENABLE_ALL)
    # A pool that waits by spinning keeps the cores from Triton's own threads, which then bring in no requests to batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in config.get("parameters", {}).items():
        if name.startswith("session."):
            options.add_session_config_entry(name, value["string_value"])
    _register_ops(options, config)
    return options


def default_threads(config: Mapping[str, Any]) -> int:
    """Threads for one instance when the configuration names none: the cores shared among the model's instances."""
    instances = sum(group["count"] * max(1, len(group.get("gpus", []))) for group in config.get("instance_group", []))
    return max(1, usable_cores() // max(1, instances))


def usable_cores() -> int:
    """The cores that this process may use: its affinity, or less when a container's quota says so."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):  # no such quota on this machine
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def _register_ops(options: Any, config: Mapping[str, Any]) -> None:
    for library in config.get("model_operations", {}).get("op_library_filename", []):
        if library == OUR_OPS and not _on_loader_path(library):
            continue  # not built here; where a model has no bodies, ONNX Runtime says which operator it lacks
        try:
            options.register_custom_ops_library(library)  # a bare name is looked for along the loader path
        except Exception as error:  # ONNX Runtime raises its own class, derived from nothing more special
            raise ConfigError(
                f"the op library {library!r} cannot be loaded: {error}; build it, or set NEURIPS16_OPS_LIBRARY"
            ) from error


def _on_loader_path(library: str) -> bool:
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return any(Path(folder, library).is_file() for folder in folders if folder)


def _gpu_providers(config: Mapping[str, Any], device_id: int) -> list[tuple[str, dict[str, str]]]:
    providers: list[tuple[str, dict[str, str]]] = []
    cuda = {**_CUDA_DEFAULTS, **_cuda_parameters(config)}
    for accelerator in _accelerators(config, "gpu_execution_accelerator"):
        options = dict(accelerator.get("parameters", {}))
        if accelerator["name"] == "tensorrt":
            providers.append((TENSORRT, {**tensorrt_options(options), "device_id": str(device_id)}))
        elif accelerator["name"] == "cuda":
            cuda.update(options)
        else:
            raise ConfigError(f"GPU accelerator {accelerator['name']!r} is unknown: cuda or tensorrt")
    return [*providers, (CUDA, {**cuda, "device_id": str(device_id)})]


def _cpu_providers(config: Mapping[str, Any], kind: str) -> list[tuple[str, dict[str, str]]]:
    asked = [accelerator["name"] for accelerator in _accelerators(config, "gpu_execution_accelerator")]
    groups = {group["kind"] for group in config.get("instance_group", [])}
    if asked and "KIND_GPU" not in groups:
        raise ConfigError(
            f"the configuration asks for the GPU accelerator {', '.join(asked)}, but all instances run on the "
            f"{kind}: give an instance_group of KIND_GPU, on a machine with a GPU"
        )
    providers: list[tuple[str, dict[str, str]]] = []
    for accelerator in _accelerators(config, "cpu_execution_accelerator"):
        if accelerator["name"] != "openvino":
            raise ConfigError(f"CPU accelerator {accelerator['name']!r} is unknown: openvino")
        providers.append((OPENVINO, {"device_type": "CPU", **accelerator.get("parameters", {})}))
    return [*providers, (CPU, {})]


def _accelerators(config: Mapping[str, Any], which: str) -> list[Mapping[str, Any]]:
    return config.get("optimization", {}).get("execution_accelerators", {}).get(which, [])


def tensorrt_options(options: Mapping[str, str]) -> dict[str, str]:
    """TensorRT options of config.pbtxt under ONNX Runtime's names.

    Raises:
        ConfigError: a name or a precision is unknown.
    """
    named: dict[str, str] = {}
    for name, value in options.items():
        if name == "precision_mode":
            if value not in _TENSORRT_PRECISIONS:
                raise ConfigError(f"precision_mode is {value!r}: {', '.join(_TENSORRT_PRECISIONS)}")
            named.update(_TENSORRT_PRECISIONS[value])
        elif name in _TENSORRT_NAMES or name.startswith("trt_"):
            named[_TENSORRT_NAMES.get(name, name)] = value
        else:
            raise ConfigError(f"TensorRT option {name!r} is unknown")
    return named


def _cuda_parameters(config: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, choices in _CUDA_CHOICES.items():
        value = parameter(config, name, "")
        if value and value not in choices:
            raise ConfigError(f"parameter {name} is {value!r}: {', '.join(f'{k} ({v})' for k, v in choices.items())}")
        if value:
            found[name] = choices[value]
    for name in _CUDA_PLAIN:
        value = parameter(config, name, "")
        if value:
            found[name] = value
    return found


def _count(config: Mapping[str, Any], name: str) -> int:
    value = parameter(config, name, "0")
    if not value.isdecimal():
        raise ConfigError(f"parameter {name} is {value!r}: a number of threads, 0 for the default")
    return int(value)


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameter(config, name, "").lower()
    if value not in ("", "0", "1", "false", "true"):
        raise ConfigError(f"parameter {name} is {value!r}: 0 or 1")
    return default if not value else value in ("1", "true")
