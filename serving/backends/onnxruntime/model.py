"""Triton's `onnxruntime` backend in Python: the C++ backend's name, configuration and behaviour, from pip alone.

Self-contained: the stub process that imports this finds NumPy, ONNX Runtime and the modules beside this file, and
nothing else of ours. What the C++ backend does, this does from the same config.pbtxt, so a model repository is
served by either unchanged. Three things differ: CUDA sessions search convolution algorithms heuristically and grow
their arena by what is asked for, and threads do not spin while they wait, unless the configuration says otherwise; and
threads default to the cores shared among a model's instances, where each would take all.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from ort_batch import Arrays, Job, decode_strings, encode_strings, run_jobs
from ort_session import make_plain_session, make_session, model_file
from ort_state import LostSequenceError, SequenceStates
from ort_tensors import ConfigError, check_tensors, completed, read_tensors


class RunError(RuntimeError):
    """A run of the session failed; carries the status for the client."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class TritonPythonModel:
    """One instance of one version of a model."""

    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        """Fill in what config.pbtxt leaves out: inputs, outputs and max_batch_size, from the ONNX file."""
        known = config.as_dict()
        if known["input"] and known["output"]:
            return config
        inputs, outputs = read_tensors(make_plain_session(model_file(pb_utils.get_model_dir(), known), known))
        found = completed(known, inputs, outputs)
        config.set_max_batch_size(found["max_batch_size"])
        if not known["input"]:
            for entry in found["input"]:
                config.add_input(entry)
        if not known["output"]:
            for entry in found["output"]:
                config.add_output(entry)
        if found["max_batch_size"] > 1 and "sequence_batching" not in known:
            config.set_dynamic_batching()
        return config

    def initialize(self, args: dict[str, str]) -> None:
        """Make the session; what is wrong with the model, its configuration or the machine is said here."""
        if int(np.__version__.split(".")[0]) >= 2:
            # This stub was built for NumPy 1, and hands out empty arrays under NumPy 2, without an error.
            raise ConfigError(f"NumPy {np.__version__} is installed, this server needs NumPy 1: pip install 'numpy<2'")
        config = json.loads(args["model_config"])
        path = model_file(os.path.join(args["model_repository"], args["model_version"]), config)
        self._session = make_session(
            path, config, kind=args["model_instance_kind"], device_id=int(args["model_instance_device_id"])
        )
        self._inputs, self._outputs = read_tensors(self._session)
        check_tensors(config, self._inputs, self._outputs)
        self._batched = config["max_batch_size"] > 0
        self._reshapes = {
            entry["name"]: [int(dim) for dim in entry["dims"]] for entry in config["output"] if "reshape" in entry
        }
        self._states = SequenceStates(config["sequence_batching"]) if "sequence_batching" in config else None

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, together where that can be; one that fails does not fail its neighbours."""
        jobs: dict[int, Job] = {}
        answers: dict[int, Any] = {}
        for position, request in enumerate(requests):
            try:
                job = self._job(request)
            except (UnicodeDecodeError, LostSequenceError) as error:
                answers[position] = _failure(str(error), pb_utils.TritonError.INVALID_ARG)
                continue
            if job is None:
                answers[position] = pb_utils.InferenceResponse([])
            else:
                jobs[position] = job
        run_jobs(list(jobs.values()), self._run, batched=self._batched, error_type=RunError)
        for position, job in jobs.items():
            answers[position] = self._answer(requests[position], job)
        if self._states is not None:
            self._states.forget_idle()
        return [answers[position] for position in range(len(requests))]

    def _job(self, request: Any) -> Job | None:
        """What a request wants; None when nothing of it is to be computed."""
        feed = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        feed = {name: decode_strings(a) if a.dtype == np.object_ else a for name, a in feed.items()}
        wanted = frozenset(request.requested_output_names())
        if self._states is not None:
            if request.correlation_id() in (0, ""):  # the batcher fills its empty slots with requests of no sequence
                return None
            feed.update(self._states.before(request.correlation_id(), request.flags(), feed))
            wanted |= set(self._states.pairs.values())
        return Job(feed, wanted)

    def _run(self, names: Any, feed: Arrays) -> Arrays:
        ordered = sorted(names)
        try:
            outputs = self._session.run(ordered, feed)
        except Exception as error:  # ONNX Runtime's classes derive from nothing more special
            raise RunError(*_status_of(error, feed)) from error
        return dict(zip(ordered, outputs, strict=True))

    def _answer(self, request: Any, job: Job) -> Any:
        if job.error is not None:
            return _failure(str(job.error), job.error.status)
        if self._states is not None:
            self._states.after(request.correlation_id(), request.flags(), job.results)
        tensors = []
        for name in sorted(request.requested_output_names()):
            array = job.results[name]
            if name in self._reshapes:
                array = array.reshape([*array.shape[: int(self._batched)], *self._reshapes[name]])
            tensors.append(pb_utils.Tensor(name, encode_strings(array) if array.dtype == np.object_ else array))
        return pb_utils.InferenceResponse(tensors)


def _failure(message: str, status: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, status))


def _status_of(error: Exception, feed: Arrays) -> tuple[str, int]:
    """ONNX Runtime's errors as Triton's: the one place where they are told apart, by class and by what was fed."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    if isinstance(error, ort.InvalidArgument):
        return str(error), pb_utils.TritonError.INVALID_ARG
    # Some models can take an axis of no length. For the others operators fail anyhow, as if it were their fault.
    empty = [f"{name!r} {list(array.shape)}" for name, array in sorted(feed.items()) if array.size == 0]
    if empty:
        return f"this model cannot take inputs of no elements, as {', '.join(empty)}: {error}", (
            pb_utils.TritonError.INVALID_ARG
        )
    return str(error), pb_utils.TritonError.INTERNAL
