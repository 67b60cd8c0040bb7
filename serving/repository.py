"""The model repository: ``config.pbtxt`` and label files, written from the specification inside each model.

    <repository>/<model>/config.pbtxt              written here
    <repository>/<model>/<output>_labels.txt       written here
    <repository>/<model>/initial_state/<state>     written here, for states that do not start at zero
    <repository>/<model>/<version>/model.onnx      published by `neurips16 export`

A configuration is built and read through its protobuf type, so a field that Triton does not have cannot be written.
One that starts with our first line is ours and is kept up to date; any other is a person's and is left as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from neurips16.export.spec import (
    DTYPES,
    METADATA_KEY,
    ModelSpec,
    NotAnOnnxFileError,
    SpecError,
    StateSpec,
    TensorSpec,
    open_model,
    read_spec,
)
from neurips16.serving.errors import RepositoryError
from neurips16.serving.model_folder import check_folder, folder_contents, refuse_programs
from neurips16.serving.release import Release, preflight

BACKEND = "onnxruntime"
CONFIG_FILE = "config.pbtxt"
MODEL_FILE = "model.onnx"
OP_LIBRARY = "libneurips16_ops.so"  # the bare name: both hosts find it through the loader's path
VERSION = re.compile(r"[1-9][0-9]*")  # the folders that Triton takes for versions
MAX_CONFIG_BYTES = 4 << 20
STATE_FOLDER = "initial_state"  # Triton looks for a state's data file here

HEADER = "# Written by `neurips16 serve` from what model.onnx says of itself; remove this line to keep your changes."

MAX_SEQUENCE_IDLE_US = 60_000_000
MAX_CANDIDATE_SEQUENCES = 256


def config_for(
    spec: ModelSpec,
    name: str | None = None,
    *,
    instances: int | None = None,
    kind: str = "KIND_AUTO",
    keep_versions: int | None = 1,
) -> ModelConfig:
    """Triton's configuration of a model.

    Args:
        spec: what the model is.
        name: the name on the server, where it is not ``spec.name``.
        instances: copies that run at the same time (on each GPU, where there are any); None takes the specification's.
        kind: KIND_AUTO takes the GPUs when there are some and else the CPU, so that one repository fits both.
        keep_versions: how many of the newest versions are served; None serves all.
    """
    config = ModelConfig(name=name or spec.name, backend=BACKEND, max_batch_size=spec.max_batch_size)
    config.default_model_filename = MODEL_FILE
    if keep_versions is None:
        config.version_policy.all.SetInParent()
    else:
        config.version_policy.latest.num_versions = keep_versions
    config.input.extend(_input(tensor, spec) for tensor in spec.inputs)
    config.output.extend(_output(tensor, spec) for tensor in spec.outputs)
    if spec.states:
        # Not the direct strategy: it keeps a batch slot for each sequence, and pads those that have no request.
        oldest = config.sequence_batching.oldest
        oldest.max_candidate_sequences = MAX_CANDIDATE_SEQUENCES
        oldest.max_queue_delay_microseconds = spec.batching_delay_us
        config.sequence_batching.max_sequence_idle_microseconds = MAX_SEQUENCE_IDLE_US
        config.sequence_batching.state.extend(_state(state) for state in spec.states)
    elif spec.max_batch_size > 0:
        config.dynamic_batching.max_queue_delay_microseconds = spec.batching_delay_us
    count = spec.instances if instances is None else instances
    config.instance_group.add(count=count, kind=model_config_pb2.ModelInstanceGroup.Kind.Value(kind))
    for key, value in sorted(spec.client_parameters.items()):
        config.parameters[key].string_value = value
    if spec.custom_ops:
        config.model_operations.op_library_filename.append(OP_LIBRARY)
    return config


def write_config(
    model_path: str | Path, model_dir: str | Path, *, release: Release | str | None = None, **options: object
) -> list[Path]:
    """Write the configuration and what belongs to it for the model file ``model_path`` into ``model_dir``.

    Args:
        model_path: an exported file.
        model_dir: the model's folder in the repository; its name is the model's name on the server.
        release: the Triton release that must be able to load the model; by default the oldest supported one.
        options: of `config_for`.

    Returns:
        The files whose content has changed.

    Raises:
        ReleaseError: the release cannot load the model.
        SpecError: the file carries no specification.
    """
    preflight(model_path, release)
    spec, model_dir = read_spec(model_path), Path(model_dir)
    config = config_for(spec, model_dir.name, **options)  # type: ignore[arg-type]
    wanted = {model_dir / CONFIG_FILE: render(config).encode()}
    for output, labels in spec.labels.items():
        wanted[model_dir / _labels_file(output)] = ("\n".join(labels) + "\n").encode()
    for state in spec.states:
        if state.initial != 0:
            array = np.full(state.dims, state.initial, DTYPES[state.dtype][0])
            wanted[model_dir / STATE_FOLDER / state.input] = array.tobytes()
    changed = [path for path, content in wanted.items() if not _holds(path, content)]
    for path in changed:
        if path.parent.is_symlink() and path.parent != model_dir:
            raise RepositoryError(f"{path.parent} is a link, and what is written there would be another's: remove it")
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)  # never through a link that somebody laid there
        with partial.open("xb") as file:
            file.write(wanted[path])
        partial.replace(path)
    return changed


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content; one of another size is not read, it may be endless."""
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def render(config: ModelConfig) -> str:
    """The text of a configuration of ours; `read_config` is its inverse."""
    return f"{HEADER}\n{text_format.MessageToString(config, as_utf8=True)}"


def read_config(path: str | Path) -> ModelConfig:
    """Read a ``config.pbtxt``.

    Raises:
        RepositoryError: it is not there, or is no configuration of Triton's.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise RepositoryError(f"{path} is no Triton model configuration: it has {path.stat().st_size} bytes")
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except OSError as error:
        raise RepositoryError(f"cannot read {path}: {error.strerror}") from error
    except (text_format.ParseError, ValueError) as error:  # ValueError: bytes that are no UTF-8
        raise RepositoryError(f"{path} is no Triton model configuration: {' '.join(str(error).split())}") from error


def prepare(repository: str | Path, *, release: Release | str | None = None) -> list[str]:
    """Make every model of a repository ready to be served, as `prepare_model` does.

    What is no model (see `is_model`) is passed over: a repository may lie in a checkout, or be a mounted volume.

    Returns:
        What was changed, one sentence for each model; nothing when all was up to date.

    Raises:
        RepositoryError: the folder is no repository, or a model cannot be served; the text names it and what to do.
    """
    models = model_folders(Path(repository))
    changes: list[str] = []
    problems: list[RepositoryError] = []
    for model_dir in models:
        try:
            changed = prepare_model(model_dir, release=release)
            if changed:
                changes.append(f"{model_dir.name}: wrote {', '.join(path.name for path in changed)}")
        except RepositoryError as error:
            problems.append(error)
    if len(problems) > 1:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise RepositoryError(f"{len(problems)} models of {repository} cannot be served:{listed}") from problems[0]
    if problems:
        raise problems[0]
    return changes


def model_folders(repository: Path) -> list[Path]:
    """The folders of a repository's models, by name.

    Raises:
        RepositoryError: the folder is not there, or holds none.
    """
    if not repository.is_dir():
        raise RepositoryError(f"{repository} is no folder: name a model repository (MODEL/VERSION/model.onnx in it)")
    models = sorted(path for path in repository.iterdir() if is_model(path))
    if not models:
        raise RepositoryError(
            f"{repository} holds no model: expected MODEL/VERSION/model.onnx in it, as "
            f"`neurips16 export SYSTEM --repository {repository}` writes"
        )
    return models


def is_model(folder: Path) -> bool:
    """Whether an entry of a repository is a model: a folder with a version, or with a configuration of a person's.

    Not hidden ones (.git, .ipynb_checkpoints), nor what cannot be looked into (lost+found), nor what is left where the
    last version was taken away.
    """
    if folder.name.startswith(".") or not folder.is_dir():
        return False
    try:
        if any(VERSION.fullmatch(path.name) and path.is_dir() for path in folder.iterdir()):
            return True
        config = folder / CONFIG_FILE
        return config.is_file() and not is_written_here(config)
    except OSError:
        return False


def prepare_model(
    model_dir: Path, *, release: Release | str | None = None, keep_versions: int | None = 1
) -> list[Path]:
    """Make one model ready to be served.

    Nothing in its folder may lead out of the repository. The newest version's own specification is read, the model is
    held against ``release``, and the configuration is written where it is missing or outdated. A configuration that a
    person wrote is kept: who writes a config.pbtxt says what is run. A model file says only what it is, so beside it
    there must be no program that the server would take for the backend. A file that was not exported by us, and has no
    configuration, is left to the server, which reads its inputs and outputs from the file.

    Args:
        model_dir: the model's folder.
        release: the Triton release that must be able to load the model; by default the oldest supported one.
        keep_versions: how many of the newest versions are served; None serves all. They must have the same tensors.

    Returns:
        The files that were written.

    Raises:
        RepositoryError: the model cannot be served; the text, of one line, names it and what to do.
    """
    try:
        return _prepare_model(model_dir, release, keep_versions)
    except OSError as error:
        raise RepositoryError(f"model {model_dir.name!r} cannot be read or written: {error}") from error


def _prepare_model(model_dir: Path, release: Release | str | None, keep_versions: int | None) -> list[Path]:
    check_folder(model_dir)
    config_path, model_path = model_dir / CONFIG_FILE, newest_model(model_dir)
    configured = config_path.is_file()
    for path in folder_contents(model_dir):  # every version, ours or not, that the server might open
        if path.suffix != ".onnx" or path.is_dir():
            continue
        try:
            open_model(path)
        except NotAnOnnxFileError:  # what is said of it elsewhere, or by the server, says more
            continue
        except SpecError as error:
            raise RepositoryError(f"model {model_dir.name!r}: {error}") from error
    if configured and not is_written_here(config_path):
        read_config(config_path)
        if model_path is not None and _is_ours(model_path):
            preflight(model_path, release)
        return []
    if model_path is None:
        raise RepositoryError(
            f"{model_dir} has no <version>/{MODEL_FILE}"
            f"{'' if configured else f' and no {CONFIG_FILE}'}: export the model again, or remove the folder"
        )
    refuse_programs(model_dir)
    try:
        if not configured and not carries_spec(model_path):
            return []
        _check_alike(model_dir, model_path, keep_versions, release)
        return write_config(model_path, model_dir, release=release, keep_versions=keep_versions)
    except SpecError as error:
        raise RepositoryError(
            f"model {model_dir.name!r}: {error}; export it with `neurips16 export`, or write {config_path} yourself"
        ) from error


def newest_model(model_dir: str | Path) -> Path | None:
    """The model file of the newest version, or None where no version has one of ours."""
    return next(reversed(_model_files(Path(model_dir))), None)


def _model_files(model_dir: Path) -> list[Path]:
    """The model files of all versions, oldest first."""
    numbered = [p for p in model_dir.iterdir() if VERSION.fullmatch(p.name)]
    return [p / MODEL_FILE for p in sorted(numbered, key=lambda p: int(p.name)) if (p / MODEL_FILE).is_file()]


def _check_alike(model_dir: Path, newest: Path, keep_versions: int | None, release: Release | str | None) -> None:
    """Refuse versions to be served side by side that one configuration cannot describe.

    Raises:
        RepositoryError: their tensors differ; also as `preflight` and `read_spec`.
    """
    files = _model_files(model_dir)
    for path in files[-keep_versions:] if keep_versions else files:
        if path == newest:
            continue
        preflight(path, release)
        old, new = (config_for(read_spec(one), model_dir.name) for one in (path, newest))
        for kind in ("max_batch_size", "input", "output", "sequence_batching"):
            if getattr(old, kind) != getattr(new, kind):
                raise RepositoryError(
                    f"versions {path.parent.name} and {newest.parent.name} of model {model_dir.name!r} cannot be "
                    f"served side by side: {kind.replace('_', ' ')} differs; serve fewer versions"
                )


def is_written_here(config_path: Path) -> bool:
    """Whether a configuration is ours, and so kept up to date."""
    with config_path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()


def carries_spec(model_path: Path) -> bool:
    """Whether an ONNX file carries a specification, whatever it says.

    Raises:
        SpecError: it is no ONNX file.
    """
    return any(entry.key == METADATA_KEY for entry in open_model(model_path).metadata_props)


def _is_ours(model_path: Path) -> bool:
    try:
        read_spec(model_path)
    except SpecError:
        return False
    return True


def _input(tensor: TensorSpec, spec: ModelSpec) -> model_config_pb2.ModelInput:
    return model_config_pb2.ModelInput(
        name=tensor.name, data_type=_data_type(tensor.dtype), dims=_dims(tensor, spec), optional=tensor.optional
    )


def _output(tensor: TensorSpec, spec: ModelSpec) -> model_config_pb2.ModelOutput:
    labels = _labels_file(tensor.name) if tensor.name in spec.labels else ""
    return model_config_pb2.ModelOutput(
        name=tensor.name, data_type=_data_type(tensor.dtype), dims=_dims(tensor, spec), label_filename=labels
    )


def _state(state: StateSpec) -> model_config_pb2.ModelSequenceBatching.State:
    initial = model_config_pb2.ModelSequenceBatching.InitialState(
        name=f"{state.input}_initial", data_type=_data_type(state.dtype), dims=state.dims
    )
    if state.initial == 0:
        initial.zero_data = True
    else:
        initial.data_file = state.input
    return model_config_pb2.ModelSequenceBatching.State(
        input_name=state.input,
        output_name=state.output,
        data_type=_data_type(state.dtype),
        dims=state.dims,
        initial_state=[initial],
    )


def _dims(tensor: TensorSpec, spec: ModelSpec) -> list[int]:
    """The axes as the configuration has them: without the batch axis, -1 where free."""
    return [dim if isinstance(dim, int) else -1 for dim in tensor.dims[1 if spec.max_batch_size else 0 :]]


def _data_type(dtype: str) -> int:
    return model_config_pb2.DataType.Value(DTYPES[dtype][2])


def _labels_file(output: str) -> str:
    return f"{output}_labels.txt"
