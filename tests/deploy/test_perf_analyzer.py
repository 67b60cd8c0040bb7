"""deploy/bench/perf_analyzer.sh, with stand-ins for pip's download, ldconfig and perf_analyzer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy/bench/perf_analyzer.sh"
FAILS_HALFWAY = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --dest ] && echo half > "$2/tritonclient-half.whl"; shift; done
exit 1
"""
# Unpacks, as it is handed the folder after "-", a program that prints its arguments.
UNPACKS = """#!/bin/sh
[ "$1" = - ] || exit 0
cat > /dev/null
printf '#!/bin/sh\\necho "$@"\\n' > "$2/perf_analyzer"
chmod +x "$2/perf_analyzer"
"""


def _program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def _run(folder: Path, python: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHON": str(python)}
    return subprocess.run([SCRIPT, "rfcn"], cwd=folder, env=environment, capture_output=True, text=True)


def test_a_failed_download_leaves_nothing_behind(tmp_path):
    (tmp_path / "bin").mkdir()
    _program(tmp_path / "bin/ldconfig", "#!/bin/sh\necho libb64.so.0d\n")
    assert _run(tmp_path, _program(tmp_path / "bin/fails", FAILS_HALFWAY)).returncode == 1
    assert not list((tmp_path / "build").iterdir())
    unpacks = _program(tmp_path / "bin/unpacks", UNPACKS)
    for _ in range(2):  # the second time, from the cache
        done = _run(tmp_path, unpacks)
        assert (done.returncode, done.stdout) == (0, "-m rfcn -i grpc -u localhost:8001\n"), done.stderr
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["perf_analyzer"]
