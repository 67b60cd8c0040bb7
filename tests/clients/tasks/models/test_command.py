import json


def test_json(run_command, server):
    server.faults.unloaded = {"premise_ranker"}
    status, out, err = run_command("models", "--json", "--url", server.url)
    assert (status, err) == (0, "")
    first, second = json.loads(out)["models"]
    assert (first["name"], first["version"], first["ready"]) == ("premise_encoder", "1", True)
    assert first["inputs"] == [{"name": "text", "dtype": "UINT8", "dims": [-1]}]
    assert first["parameters"]["max_length"] == "256"
    assert first["max_batch_size"] == 8
    assert second == {"name": "premise_ranker", "version": "1", "ready": False, "reason": "unloaded"}


def test_table(run_command, server):
    server.faults.unloaded = {"premise_ranker"}
    _, out, _ = run_command("models", "--url", server.url)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert any(
        line.startswith("premise_encoder 1 ready 8 text UINT8[?] -> premise_embedding FP32[16]") for line in lines
    )
    assert "premise_ranker 1 not ready - unloaded" in lines


def test_empty_server(run_command, server):
    server.faults.missing = {"premise_encoder", "premise_ranker"}
    assert run_command("models", "--url", server.url)[1] == f"{server.url} holds no model\n"


def test_no_server(run_command):
    status, out, err = run_command("models", "--url", "localhost:1")
    assert (status, out) == (1, "")
    assert err.startswith("error: no server answers at localhost:1 (")
    assert len(err.splitlines()) == 1


def test_without_the_admin_token_the_loaded_models_are_listed(run_command, server, monkeypatch):
    server.faults.unloaded = {"premise_encoder"}
    server.faults.admin_header = ("triton-grpc-protocol-neurips16-admin", "token-of-the-admins")
    _, out, _ = run_command("models", "--json", "--url", server.url)
    assert [model["name"] for model in json.loads(out)["models"]] == ["premise_ranker"]
    monkeypatch.setenv("NEURIPS16_ADMIN_TOKEN", "token-of-the-admins")
    _, out, _ = run_command("models", "--json", "--url", server.url)
    assert [model["name"] for model in json.loads(out)["models"]] == [
        "premise_encoder",
        "premise_ranker",
    ]
