from __future__ import annotations

import json
from concurrent import futures

import grpc
import numpy as np
import pytest
import soundfile
from PIL import Image
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

RATE, WINDOW, STEP, STEPS = 22_050, 110_250, 8_192, 13
LABELS = ["dog", "rain", "sea waves"]


class Listener(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A server whose model hears rain in everything, the surer the louder."""

    def ModelConfig(self, request, context):  # noqa: N802
        config = model_config_pb2.ModelConfig(name=request.name, backend="onnxruntime", max_batch_size=32)
        facts = {"labels": json.dumps(LABELS), "sample_rate_hz": RATE, "window_samples": WINDOW, "step_samples": STEP}
        for key, value in facts.items():
            config.parameters[key].string_value = str(value)
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request, context):  # noqa: N802
        shape = tuple(request.inputs[0].shape)
        waveform = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(shape)
        rain = np.clip(np.abs(waveform).max(1), 0.4, 0.9)[:, None].repeat(STEPS, axis=1)
        likely = np.stack([(1 - rain) * 0.75, rain, (1 - rain) * 0.25], axis=2).astype(np.float32)
        reply = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, value in (("step_probabilities", likely), ("step_weights", np.ones(likely.shape[:2], np.float32))):
            reply.outputs.add(name=name, datatype="FP32", shape=value.shape)
            reply.raw_output_contents.append(value.tobytes())
        return reply


@pytest.fixture(scope="module")
def url():
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Listener(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


@pytest.fixture
def sounds(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "quiet.wav", 0.5 * np.sign(rng.standard_normal(2 * RATE)), RATE)
    soundfile.write(tmp_path / "long.flac", 0.8 * np.sign(rng.standard_normal((12 * RATE, 2))), RATE)
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    return tmp_path


def test_json_has_one_line_for_each_file(run_command, url, sounds):
    files = [sounds / "quiet.wav", sounds / "long.flac"]
    status, out, err = run_command("classify-sound", *files, "--json", "--url", url)
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["audio"] for line in lines] == [str(file) for file in files]
    for line in lines:
        assert list(line) == ["audio", "classes"]
        assert [list(found) for found in line["classes"]] == [["label", "probability"]] * 3
        assert [found["label"] for found in line["classes"]] == ["rain", "dog", "sea waves"]
        assert sum(found["probability"] for found in line["classes"]) == pytest.approx(1)
    assert lines[0]["classes"][0]["probability"] < lines[1]["classes"][0]["probability"]


def test_the_table_and_top(run_command, url, sounds):
    status, out, err = run_command("classify-sound", sounds / "long.flac", "--top", 2, "--url", url)
    assert (status, err) == (0, "")
    first, *rows = [line.split() for line in out.splitlines() if line.strip()]
    assert first[-2:] == ["(12.0", "s)"]
    assert rows[0] == ["probability", "class"]
    assert [row[1] for row in rows[2:]] == ["rain", "dog"]


def test_a_bad_file_does_not_silence_the_others(run_command, url, sounds):
    files = [sounds / "text.wav", sounds / "quiet.wav", sounds / "silent.wav", sounds / "none.wav"]
    status, out, err = run_command("classify-sound", *files, "--json", "--url", url)
    assert status == 1
    assert [json.loads(line)["audio"] for line in out.splitlines()] == [str(files[1])]
    errors = err.splitlines()
    assert len(errors) == 3
    assert all(line.startswith(f"error: {sounds}") for line in errors)
    for line, text in zip(errors, ("cannot be read as audio", "is silent", "is not there"), strict=True):
        assert text in line


def test_a_file_over_the_limit_is_refused(run_command, url, sounds):
    asked = ["classify-sound", sounds / "long.flac", "--url", url, "--max-sound-seconds"]
    assert run_command(*asked, 100)[0] == 0
    status, out, err = run_command(*asked, 1)
    assert (status, out) == (1, "")
    assert "the limit is 1 s" in err
    assert run_command(*asked, 0)[0] == 2


def test_the_timeline_is_a_picture(run_command, url, sounds):
    usual = ["--timeline", sounds / "when.png", "--url", url]
    status, _, err = run_command("classify-sound", sounds / "long.flac", *usual)
    assert (status, err) == (0, "")
    with Image.open(sounds / "when.png") as picture:
        assert min(picture.size) > 100
        assert len(set(picture.convert("L").tobytes())) > 20  # something is drawn
    status, out, err = run_command("classify-sound", sounds / "long.flac", sounds / "quiet.wav", *usual)
    assert (status, out) == (2, "")
    assert "--timeline draws one file, got 2" in err
    nowhere = ["--timeline", sounds / "no/such/folder.png", "--url", url]
    status, _, err = run_command("classify-sound", sounds / "long.flac", *nowhere)
    assert status == 2
    assert "cannot be written" in err


def test_no_server(run_command, sounds):
    status, out, err = run_command("classify-sound", sounds / "quiet.wav", "--url", "localhost:1")
    assert (status, out) == (1, "")
    assert "start one with `neurips16 serve`" in err
