import os
import struct

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

request = service_pb2.ModelInferRequest(model_name="infogan")
for name, datatype, shape, raw in (
    ("category", "INT64", [1, 1], struct.pack("<q", 7)),
    ("continuous", "FP32", [1, 2], struct.pack("<2f", 0.0, 0.0)),
    ("seed", "INT64", [1, 1], struct.pack("<q", 0)),
):
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)
request.outputs.add(name="image")

with grpc.insecure_channel(os.environ.get("NEURIPS16_URL", "localhost:8001")) as channel:
    service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    reply = service.ModelInfer(request, timeout=10)
print(list(reply.outputs[0].shape), len(reply.raw_output_contents[0]))
