from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from neurips16.export import ops
from neurips16.export.ops.standard import standard_translations

CHECKOUT = Path(__file__).parents[3]


def output_of(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class TestFoundByFolder:
    def test_every_folder_is_an_operator_with_all_its_parts(self) -> None:
        folders = [path for path in (CHECKOUT / "export/ops").iterdir() if (path / "__init__.py").is_file()]
        assert folders
        for folder in folders:
            for part in ("function.onnxtxt", "cpu.cc", "cuda.cu", "README.md"):
                assert (folder / part).is_file(), f"{folder.name} lacks {part}"
        assert len(ops.custom_translation_table()) == len(folders) + len(standard_translations())

    def test_body_s_signature_is_the_schema_s(self) -> None:
        (body,) = ops.function_bodies(["PSRoIPool"])
        schema = ops.operator_schema("PSRoIPool")
        assert (body.domain, body.name) == (schema.domain, schema.name)
        assert list(body.input) == [i.name for i in schema.inputs]
        assert sorted(body.attribute) == sorted(schema.attributes)

    def test_unknown_name(self) -> None:
        with pytest.raises(ops.OpError, match=r"neurips16::Nothing is no operator of ours: there are .*PSRoIPool"):
            ops.function_bodies(["Nothing"])

    def test_opset_too_low(self) -> None:
        with pytest.raises(ops.OpError, match="need opset 17 or later, the model has 16"):
            ops.function_bodies(["PSRoIPool"], opset=16)


class TestPath:
    def test_variable_names_another_build(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        other = tmp_path / ops.LIBRARY
        other.touch()
        monkeypatch.setenv("NEURIPS16_OPS_LIBRARY", str(other))
        assert ops.library_path() == other

    def test_variable_names_no_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NEURIPS16_OPS_LIBRARY", "/nowhere/lib.so")
        with pytest.raises(ops.OpError, match=r"/nowhere/lib\.so"):
            ops.library_path()

    def test_not_built(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("NEURIPS16_OPS_LIBRARY", raising=False)
        monkeypatch.setattr(ops, "__path__", [str(tmp_path)])
        assert ops.library_path() is None
        assert ops.library_info() is None


class TestBinary:
    def test_only_one_symbol_is_exported(self, ops_library: Path) -> None:
        lines = output_of("nm", "-D", "--defined-only", str(ops_library)).splitlines()
        assert [line.split()[1:] for line in lines] == [["T", "RegisterCustomOps"]]

    def test_links_neither_onnxruntime_nor_cuda(self, ops_library: Path) -> None:
        needed = output_of("ldd", str(ops_library))
        assert "libc.so" in needed
        assert "onnxruntime" not in needed
        assert "libcuda" not in needed  # libcudart is linked statically, the driver is loaded when it is used

    def test_info(self, ops_library: Path) -> None:
        info = ops.library_info()
        assert "CPUExecutionProvider" in info["providers"]
        assert ("CUDAExecutionProvider" in info["providers"]) == bool(info["cuda_architectures"])
        assert info["headers_api_version"] >= 21
        source = (CHECKOUT / "export/ops/custom_op.h").read_text()
        assert f"kOrtApiVersion = {info['oldest_api_version']};" in source

    def test_an_onnxruntime_that_is_too_old_is_told_so(self, ops_library: Path) -> None:
        """Register into an ONNX Runtime of 1.16, which has no API 17, only the means to say so."""
        said: list[tuple[int, str]] = []
        create_status_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
        get_api_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)
        get_version_type = ctypes.CFUNCTYPE(ctypes.c_void_p)

        class Api(ctypes.Structure):
            _fields_ = (("create_status", create_status_type),)  # the first of many

        class ApiBase(ctypes.Structure):
            _fields_ = (("get_api", get_api_type), ("get_version_string", get_version_type))

        def create_status(code: int, text: bytes) -> int:
            said.append((code, text.decode()))
            return 1

        version = ctypes.create_string_buffer(b"1.16.3")
        api = Api(create_status_type(create_status))
        base = ApiBase(
            get_api_type(lambda version: ctypes.addressof(api) if version <= 16 else None),
            get_version_type(lambda: ctypes.addressof(version)),
        )
        register = ctypes.CDLL(str(ops_library)).RegisterCustomOps
        register.argtypes, register.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_void_p
        assert register(None, ctypes.addressof(base)) == 1
        assert [code for code, _ in said] == [9]  # ORT_NOT_IMPLEMENTED
        assert "needs ONNX Runtime 1.17 or later, this is 1.16.3" in said[0][1]


class TestBuild:
    """What CMakeLists.txt does where something is missing; the build that works is the one under test above."""

    @pytest.fixture
    def configure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        cmake = shutil.which("cmake")
        if cmake is None:
            pytest.skip("cmake is not installed")

        def run(*options: str) -> subprocess.CompletedProcess[str]:
            command = [cmake, "-S", str(CHECKOUT), "-B", str(tmp_path / "build"), *options]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        return run

    @pytest.mark.parametrize(
        ("variables", "reason"),
        [
            ({"ONNXRUNTIME_INCLUDE_DIR": "/nowhere"}, "ONNXRUNTIME_INCLUDE_DIR is /nowhere"),
            ({"CXX": "/nowhere/g++"}, "no C++ compiler"),
        ],
    )
    def test_what_is_missing_is_one_line_or_an_error(
        self, configure, monkeypatch, tmp_path: Path, variables: dict[str, str], reason: str
    ) -> None:
        headers = tmp_path / "headers"
        headers.mkdir()
        (headers / "onnxruntime_cxx_api.h").touch()
        (headers / "onnxruntime_c_api.h").write_text("#define ORT_API_VERSION 21\n")
        for name, value in {"ONNXRUNTIME_INCLUDE_DIR": str(headers), **variables}.items():
            monkeypatch.setenv(name, value)
        left_out = configure()
        assert left_out.returncode == 0, left_out.stderr
        lines = [line for line in left_out.stderr.splitlines() if "NOT BUILT" in line]
        assert len(lines) == 1
        assert reason in lines[0]
        required = configure("-DNEURIPS16_NATIVE=ON")
        assert required.returncode != 0
        assert reason in " ".join(required.stderr.split())

    def test_headers_too_old(self, configure, tmp_path: Path) -> None:
        (tmp_path / "onnxruntime_cxx_api.h").touch()
        (tmp_path / "onnxruntime_c_api.h").write_text("#define ORT_API_VERSION 16\n")
        left_out = configure(f"-DONNXRUNTIME_INCLUDE_DIR={tmp_path}")
        assert left_out.returncode == 0
        assert "has ORT API '16', 21 or later is needed" in left_out.stderr

    def test_off(self, configure) -> None:
        assert "NEURIPS16_NATIVE is OFF" in configure("-DNEURIPS16_NATIVE=OFF").stderr

    def test_wrong_value(self, configure) -> None:
        assert configure("-DNEURIPS16_NATIVE=PERHAPS").returncode != 0


def test_info_is_json_beside_the_library(ops_library: Path) -> None:
    assert json.loads(ops_library.with_suffix(".json").read_text()) == ops.library_info()
