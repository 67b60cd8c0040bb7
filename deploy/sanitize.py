"""`make sanitize`: the native code under sanitizers, fuzzers and a static analyser.

    python deploy/sanitize.py [--only address thread fuzz tidy] [--fuzz-seconds 60]

* ``address``: the op library and the backend, built with AddressSanitizer and UBSan. The operators' tests run against
  the one in this Python, the backend's tests against the other in the real server.
* ``thread``: the backend with ThreadSanitizer, and its tests. Of races in Triton and ONNX Runtime, which are not built
  with it, nothing is seen.
* ``fuzz``: libFuzzer on what reads configurations and requests (``deploy/fuzz/native``), the time in equal shares.
* ``tidy``: clang-tidy on the backend, by its own ``.clang-tidy``.

The last two need clang and clang-tidy (apt install clang clang-tidy libclang-rt-14-dev). What is missing is said, and
is a failure where it was asked for by ``--only``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build/sanitize"
BACKEND = ROOT / "serving/backends/onnxruntime"
NATIVE_FUZZ = ROOT / "deploy/fuzz/native"
HEADERS = Path(sys.prefix) / "include/onnxruntime"
BACKEND_TESTS = ("tests/serving/test_backend.py", "tests/serving/test_backend_features.py")
# The sources that each fuzzer reads with, beside its own.
FUZZERS = {
    "configuration": ("json", "model_config", "fields", "element_type", "backend_options"),
    "request": ("json", "model_config", "fields", "element_type", "request", "feed", "strings", "memory", "signature"),
}
# The library of a sanitizer has to be the first that a process loads. Set inside, it is not in pytest's own process.
MEMORY_TEST = "tests/serving/test_backend.py::test_reloading_leaks_nothing"  # a sanitizer keeps what is freed
PYTEST_WITH_PRELOAD = (
    "import os, sys, pytest; os.environ['LD_PRELOAD'] = sys.argv[1]; sys.exit(pytest.main(sys.argv[2:]))"
)


class MissingToolError(RuntimeError):
    """A compiler or analyser is not installed."""


def main() -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(description="Sanitizers, fuzzers and clang-tidy on the native code.")
    parser.add_argument("--only", nargs="+", choices=CHECKS, help="these checks; all by default")
    parser.add_argument("--fuzz-seconds", type=int, default=60, help="how long to fuzz; 3600 for an hour")
    chosen = parser.parse_args()
    failed = []
    for name in chosen.only or CHECKS:
        try:
            CHECKS[name](chosen.fuzz_seconds)
            said = "nothing found"
        except MissingToolError as error:
            said = f"LEFT OUT: {error}"
            failed += [name] if chosen.only else []
        except subprocess.CalledProcessError as error:
            said = f"FAILED with status {error.returncode}"
            failed.append(name)
        sys.stdout.write(f"==> {name}: {said}\n")
        sys.stdout.flush()
    return 1 if failed else 0


def address(_: int) -> None:
    """AddressSanitizer and UBSan."""
    folder = build("address", "address,undefined", "neurips16_ops", "triton_onnxruntime")
    libraries = f"{compiler_file('libasan.so')} {compiler_file('libubsan.so')}"
    options = "detect_leaks=0:alloc_dealloc_mismatch=0"  # Triton's own, which is not built with it
    environment = {
        **os.environ,
        "NEURIPS16_OPS_LIBRARY": str(folder / "libneurips16_ops.so"),
        "NEURIPS16_REQUIRE_OPS": "1",
        "ASAN_OPTIONS": options,
        "LD_PRELOAD": libraries,
    }
    tests = ["-q", "-s", "-p", "no:cacheprovider", "tests/export/ops", "-k", "native or Native or kernel"]
    subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=ROOT, env=environment, check=True)
    test_backend(folder, libraries, "ASAN_OPTIONS", options)


def thread(_: int) -> None:
    """ThreadSanitizer."""
    folder = build("thread", "thread", "triton_onnxruntime")
    test_backend(folder, compiler_file("libtsan.so"), "TSAN_OPTIONS", "ignore_noninstrumented_modules=1")


def fuzz(seconds: int) -> None:
    """Each fuzzer for its share of ``seconds``."""
    compiler = tool("clang++")
    BUILD.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c++20", "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    # Not -I, which would make our strings.h the system's.
    flags += ["-iquote", str(BACKEND), "-isystem", str(HEADERS)]
    for name, sources in FUZZERS.items():
        files = [NATIVE_FUZZ / f"{name}.cc", *(BACKEND / f"{source}.cc" for source in sources)]
        program, corpus = BUILD / f"fuzz_{name}", BUILD / f"corpus_{name}"
        subprocess.run([compiler, *flags, *map(str, files), "-ldl", "-o", str(program)], check=True)
        corpus.mkdir(exist_ok=True)
        limits = [f"-max_total_time={max(1, seconds // len(FUZZERS))}", "-rss_limit_mb=2048", "-print_final_stats=1"]
        limits.append(f"-artifact_prefix={BUILD}/")
        subprocess.run([str(program), *limits, str(corpus)], check=True)


def tidy(_: int) -> None:
    """The static analyser."""
    files = [str(path) for path in sorted(BACKEND.glob("*.cc"))]
    flags = ["-std=c++20", "-isystem", str(HEADERS)]
    subprocess.run([tool("clang-tidy"), "--quiet", *files, "--", *flags], check=True)


CHECKS = {"address": address, "thread": thread, "fuzz": fuzz, "tidy": tidy}


def build(name: str, sanitizers: str, *targets: str) -> Path:
    """Build the targets with sanitizers; the folder."""
    folder = BUILD / name
    options = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DNEURIPS16_NATIVE=ON", "-DNEURIPS16_CUDA=OFF"]
    options.append(f"-DNEURIPS16_SANITIZE={sanitizers}")
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), *options], stdout=subprocess.DEVNULL, check=True)
    build_all = ["cmake", "--build", str(folder), "--parallel", str(len(os.sched_getaffinity(0))), "--target"]
    subprocess.run([*build_all, *targets], stdout=subprocess.DEVNULL, check=True)
    return folder


def test_backend(folder: Path, libraries: str, variable: str, options: str) -> None:
    """Run the backend's tests with the build in ``folder``; what the sanitizer reports is a failure, whoever met it."""
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    environment = {
        **os.environ,
        "NEURIPS16_BACKEND_LIBRARY": str(folder / "backends/onnxruntime/libtriton_onnxruntime.so"),
        variable: f"{options}:log_path={reports}/report",
    }
    tests = ["-q", "-p", "no:cacheprovider", "--timeout", "1800", "--deselect", MEMORY_TEST, *BACKEND_TESTS]
    command = [sys.executable, "-c", PYTEST_WITH_PRELOAD, libraries, *tests]
    ended = subprocess.run(command, cwd=ROOT, env=environment).returncode
    found = sorted(reports.iterdir())
    for report in found:
        sys.stderr.write(report.read_text(errors="replace"))
    if ended or found:
        raise subprocess.CalledProcessError(ended or 1, command)


def compiler_file(name: str) -> str:
    """Where the compiler has a library of its own."""
    found = subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def tool(name: str) -> str:
    """A program of clang's."""
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"{name} is not installed: apt install clang clang-tidy libclang-rt-14-dev")
    return path


if __name__ == "__main__":
    sys.exit(main())
