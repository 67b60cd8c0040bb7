"""The backend's modules by themselves, without a server."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from serving_tools import lookup, times, with_optional


@pytest.fixture(autouse=True)
def _bare_names(backend_modules):
    """The backend's modules are imported by the bare names that they have in the stub."""


@pytest.fixture
def double_file(tmp_path) -> str:
    onnx.save(times(2), tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


def config(**changes) -> dict:
    """A model configuration, as Triton hands it to the backend."""
    return {
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}],
        "instance_group": [{"kind": "KIND_CPU", "count": 1, "gpus": []}],
        "optimization": {},
        "parameters": {},
        **changes,
    }


def parameters(**values: str) -> dict:
    return {name.replace("__", "."): {"string_value": value} for name, value in values.items()}


class TestSessionOptions:
    def options(self, **changes):
        from ort_session import session_options

        return session_options(config(**changes))

    def test_every_parameter_is_honoured(self):
        options = self.options(
            parameters=parameters(
                intra_op_thread_count="3",
                inter_op_thread_count="2",
                execution_mode="1",
                enable_mem_arena="0",
                enable_mem_pattern="false",
                session__use_device_allocator_for_initializers="1",
            )
        )
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
        assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
        assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
        assert options.get_session_config_entry("session.use_device_allocator_for_initializers") == "1"

    @pytest.mark.parametrize(("given", "want"), [({}, "0"), ({"session__intra_op__allow_spinning": "1"}, "1")])
    def test_threads_wait_without_spinning_unless_asked_to(self, given, want):
        options = self.options(parameters=parameters(**given))
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == want

    @pytest.mark.parametrize(
        ("level", "name"),
        [(-1, "ORT_ENABLE_BASIC"), (0, "ORT_ENABLE_ALL"), (1, "ORT_ENABLE_EXTENDED"), (2, "ORT_DISABLE_ALL")],
    )
    def test_graph_level(self, level, name):
        options = self.options(optimization={"graph": {"level": level}})
        assert options.graph_optimization_level == getattr(onnxruntime.GraphOptimizationLevel, name)

    def test_our_own_op_library_may_be_missing_but_not_broken(self, monkeypatch, tmp_path):
        from ort_tensors import ConfigError

        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        ours = {"model_operations": {"op_library_filename": ["libneurips16_ops.so"]}}
        assert self.options(**ours)
        (tmp_path / "libneurips16_ops.so").write_bytes(b"no library")
        with pytest.raises(ConfigError, match=r"libneurips16_ops\.so' cannot be loaded"):
            self.options(**ours)
        with pytest.raises(ConfigError, match=r"libother\.so' cannot be loaded"):
            self.options(model_operations={"op_library_filename": ["libother.so"]})

    def test_threads_default_to_the_cores_shared_among_instances(self, monkeypatch):
        monkeypatch.setattr("ort_session.usable_cores", lambda: 8)
        assert self.options().intra_op_num_threads == 8
        groups = [{"kind": "KIND_CPU", "count": 3, "gpus": []}, {"kind": "KIND_GPU", "count": 1, "gpus": [0, 1]}]
        assert self.options(instance_group=groups).intra_op_num_threads == 1
        assert self.options(instance_group=groups[:1]).intra_op_num_threads == 2

    @pytest.mark.parametrize(
        "wrong", [{"intra_op_thread_count": "many"}, {"execution_mode": "2"}, {"enable_mem_arena": "perhaps"}]
    )
    def test_a_wrong_value_is_named(self, wrong):
        from ort_tensors import ConfigError

        ((name, value),) = wrong.items()
        with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
            self.options(parameters=parameters(**wrong))


class FakeSession:
    """Stands for a session on a machine with GPUs: remembers the providers it was asked for."""

    given: ClassVar[list] = []
    starts: ClassVar[list] = []

    def __init__(self, path, options, providers):
        type(self).given = providers

    def get_providers(self):
        return self.starts

    def disable_fallback(self):
        pass


class TestProviders:
    @pytest.fixture
    def gpu_machine(self, monkeypatch):
        everything = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
        monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
        monkeypatch.setattr(FakeSession, "starts", everything[1:])

    def make(self, path="model.onnx", kind="GPU", device_id=3, **changes):
        from ort_session import make_session

        return make_session(path, config(**changes), kind=kind, device_id=device_id)

    def accelerated(self, name, **options) -> dict:
        accelerator = {"name": name, "parameters": options}
        return {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}

    def test_a_gpu_instance_runs_on_its_own_gpu(self, gpu_machine):
        self.make()
        assert FakeSession.given == [
            (
                "CUDAExecutionProvider",
                {
                    "cudnn_conv_algo_search": "HEURISTIC",
                    "arena_extend_strategy": "kSameAsRequested",
                    "device_id": "3",
                },
            ),
            ("CPUExecutionProvider", {}),
        ]

    def test_cuda_options_come_from_the_accelerator_and_the_parameters(self, gpu_machine):
        self.make(
            optimization=self.accelerated("cuda", use_ep_level_unified_stream="1"),
            parameters=parameters(cudnn_conv_algo_search="0", arena_extend_strategy="0", gpu_mem_limit="4294967296"),
        )
        assert FakeSession.given[0][1] == {
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "arena_extend_strategy": "kNextPowerOfTwo",
            "gpu_mem_limit": "4294967296",
            "use_ep_level_unified_stream": "1",
            "device_id": "3",
        }

    def test_tensorrt_comes_before_cuda_with_its_options(self, gpu_machine, monkeypatch):
        monkeypatch.setattr(FakeSession, "starts", onnxruntime.get_available_providers())
        options = {"precision_mode": "FP16", "max_workspace_size_bytes": "1024", "trt_engine_cache_enable": "1"}
        self.make(optimization=self.accelerated("tensorrt", **options))
        assert [name for name, _ in FakeSession.given] == onnxruntime.get_available_providers()
        assert FakeSession.given[0][1] == {
            "trt_fp16_enable": "1",
            "trt_max_workspace_size": "1024",
            "trt_engine_cache_enable": "1",
            "device_id": "3",
        }

    @pytest.mark.parametrize(
        ("accelerator", "options", "problem"),
        [
            ("vulkan", {}, "'vulkan' is unknown"),
            ("tensorrt", {"speed": "1"}, "'speed' is unknown"),
            ("tensorrt", {"precision_mode": "FP4"}, "precision_mode is 'FP4'"),
        ],
    )
    def test_what_is_unknown_is_named(self, gpu_machine, accelerator, options, problem):
        from ort_tensors import ConfigError

        with pytest.raises(ConfigError, match=problem):
            self.make(optimization=self.accelerated(accelerator, **options))

    def test_a_gpu_that_does_not_start_is_an_error(self, gpu_machine, monkeypatch):
        from ort_tensors import ConfigError

        monkeypatch.setattr(FakeSession, "starts", ["CPUExecutionProvider"])
        with pytest.raises(ConfigError, match="ONNX Runtime started only CPUExecutionProvider"):
            self.make()

    def test_a_gpu_instance_needs_a_runtime_for_gpus(self, double_file):
        from ort_tensors import ConfigError

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime is one for GPUs")
        with pytest.raises(ConfigError, match="install onnxruntime-gpu"):
            self.make(double_file)

    def test_the_cpu_is_enough_where_no_gpu_is_asked_for(self, double_file):
        session = self.make(double_file, kind="CPU", device_id=0)
        assert session.get_providers() == ["CPUExecutionProvider"]

    def test_a_cpu_accelerator_that_is_not_there_is_an_error(self, double_file):
        from ort_tensors import ConfigError

        accelerators = {"execution_accelerators": {"cpu_execution_accelerator": [{"name": "openvino"}]}}
        with pytest.raises(ConfigError, match="OpenVINOExecutionProvider"):
            self.make(double_file, kind="CPU", optimization=accelerators)


@pytest.mark.parametrize("location", ["../secret", "/secret", "link"])
def test_the_runtime_itself_reads_no_weights_from_elsewhere(tmp_path, location):
    """What an admin has the server load is not seen by `neurips16 serve`."""
    from ort_session import make_plain_session

    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_bytes(np.float32(2).tobytes())
    (tmp_path / "model" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "model" / "weights").write_bytes(np.float32(2).tobytes())
    model = times(2)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add(key="location", value="weights")
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    make_plain_session(str(path), config())
    entry.value = str(tmp_path / "secret") if location == "/secret" else location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail, match="External data path validation failed"):
        make_plain_session(str(path), config())


class TestTensors:
    def read(self, model):
        from ort_tensors import read_tensors

        return read_tensors(onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]))

    def test_all_that_does_not_fit_is_named_at_once(self):
        from ort_tensors import ConfigError, check_tensors

        wrong = config(
            input=[{"name": "x", "data_type": "TYPE_INT64", "dims": [-1]}],
            output=[{"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 3]}, {"name": "z", "dims": []}],
        )
        with pytest.raises(ConfigError) as caught:
            check_tensors(wrong, *self.read(times(2)))
        for problem in ("input 'x' is TYPE_INT64", "output 'y' has dims [-1, -1, 3]", "output 'z' is not in the file"):
            assert problem in str(caught.value)

    def test_a_fixed_first_axis_cannot_be_batched(self):
        from ort_tensors import ConfigError, check_tensors, completed

        inputs, outputs = self.read(with_optional())
        fixed = config(
            input=[{"name": "x", "data_type": "TYPE_FP32", "dims": []}],
            output=[{"name": "y", "data_type": "TYPE_FP32", "dims": []}],
        )
        with pytest.raises(ConfigError):
            check_tensors(fixed, inputs, outputs)
        with pytest.raises(ConfigError, match="'x', 'y' have no free first axis"):
            completed(config(), inputs, outputs)

    def test_an_input_of_the_file_that_the_configuration_omits(self):
        from ort_tensors import ConfigError, check_tensors

        with pytest.raises(ConfigError, match="input 'x' of the file is not in the configuration"):
            check_tensors(config(input=[]), *self.read(times(2)))

    def test_completion(self):
        from ort_tensors import completed

        found = completed(config(max_batch_size=0), *self.read(lookup()))
        assert found["max_batch_size"] == 4
        assert found["input"] == [{"name": "index", "data_type": "TYPE_INT64", "dims": [-1]}]
        assert [entry["name"] for entry in found["output"]] == ["value", "negative"]


class TestBatch:
    def jobs(self, *lengths: int):
        from ort_batch import Job

        return [Job({"x": np.full((n, 2), n, np.float32)}, frozenset(["y"])) for n in lengths]

    def test_jobs_are_run_together_and_taken_apart(self):
        from ort_batch import run_jobs

        runs = []

        def run(names, feed):
            runs.append(feed["x"].shape)
            return {"y": feed["x"] * 2}

        jobs = self.jobs(1, 3, 2)
        run_jobs(jobs, run, batched=True, error_type=RuntimeError)
        assert runs == [(6, 2)]
        assert [job.results["y"].tolist() for job in jobs] == [[[n * 2.0] * 2] * n for n in (1, 3, 2)]

    def test_an_output_without_the_batch_axis_is_computed_for_each(self):
        from ort_batch import run_jobs

        def run(names, feed):
            return {"y": feed["x"].sum(keepdims=True)}

        jobs = self.jobs(1, 3)
        run_jobs(jobs, run, batched=True, error_type=RuntimeError)
        assert [job.results["y"].item() for job in jobs] == [2.0, 18.0]

    def test_an_error_of_our_own_is_not_taken_for_the_requests(self):
        from ort_batch import run_jobs

        def run(names, feed):
            raise KeyError("a bug")

        with pytest.raises(KeyError):
            run_jobs(self.jobs(1), run, batched=True, error_type=RuntimeError)


class TestStates:
    def test_idle_sequences_are_forgotten(self):
        from ort_state import END, START, LostSequenceError, SequenceStates

        now = [0.0]
        pairs = [{"input_name": "s", "output_name": "t"}]
        states = SequenceStates({"state": pairs, "max_sequence_idle_microseconds": 1000}, clock=lambda: now[0])
        one = {"s": np.ones(1)}
        for sequence in (1, "two"):
            assert states.before(sequence, START, one)["s"] == 1
            states.after(sequence, START, {"t": np.full(1, 5.0)})
        now[0] = 0.0009
        assert states.before(1, 0, one)["s"] == 5
        states.after(1, 0, {"t": np.full(1, 6.0)})
        now[0] = 0.0015
        states.forget_idle()
        assert len(states) == 1
        with pytest.raises(LostSequenceError, match="sequence two is not known here"):
            states.before("two", 0, one)
        states.after(1, END, {})
        assert len(states) == 0


def test_the_backend_itself_refuses_numpy_2(needs_triton, double_file, monkeypatch):
    from neurips16.serving.triton.installation import find_triton

    monkeypatch.syspath_prepend(str(find_triton().python_backend))
    try:
        import model

        monkeypatch.setattr(np, "__version__", "2.0.0")
        with pytest.raises(model.ConfigError, match="numpy<2"):
            model.TritonPythonModel().initialize({})
    finally:
        sys.modules.pop("model", None)
