"""The same job on a Ray cluster of two workers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the ray extra"),
]

COMMAND = Path(sys.executable).with_name("neurips16")
# In a process of its own: Ray's import raises deprecation warnings, and its threads outlive it.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 80 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
cluster.add_node(**small)
print("listens at", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two nodes with a core each."""
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("listens at "):
                break
        yield line.split()[-1]
        process.stdin.close()
        process.stdout.read()


def score(*arguments):
    done = subprocess.run([COMMAND, "score", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(output):
    """The files of an output, and their bytes, but for what names the models' host."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in (".lock", "manifest.json")
    }


def test_both_workers_score_and_the_output_is_the_same(cluster, scoring_repository, scoring_server, tmp_path):
    texts = ["ü" if i == 7 else f"p{i}({'f(' * (i % 9)}a{')' * (i % 9)})" for i in range(120)]
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"{text}\n" for text in texts))
    usual = ["embed", tmp_path / "in.csv"]
    options = ["--shard-rows", 6]
    score(*usual, tmp_path / "here", *options, "--models", scoring_repository, "--workers", 1)
    scoring_server.delay_s = 0.05
    on_ray = [*options, "--workers", 2, "--ray", cluster]
    said = score(*usual, tmp_path / "there", *on_ray, "--url", scoring_server.url, "--in-flight", 2)
    assert said.startswith("120 rows: 119 scored, 1 failed; 120 in this run")
    assert len(scoring_server.peers) == 2
    assert scoring_server.most_flying <= 2
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_no_cluster(scoring_repository, tmp_path):
    (tmp_path / "in.csv").write_text("text\np(a)\n")
    usual = ["score", "embed", tmp_path / "in.csv", tmp_path / "out", "--models", scoring_repository]
    command = [COMMAND, *map(str, usual), "--ray", "localhost:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Ray cluster answers at localhost:1")
