import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const definition = loadSync(process.argv[2] ?? "kserve_v2.proto", { keepCase: true });
const { GRPCInferenceService } = loadPackageDefinition(definition).inference;
const service = new GRPCInferenceService(process.env.NEURIPS16_URL ?? "localhost:8001", credentials.createInsecure());

const request = {
  model_name: "infogan",
  inputs: [
    { name: "category", datatype: "INT64", shape: [1, 1] },
    { name: "continuous", datatype: "FP32", shape: [1, 2] },
    { name: "seed", datatype: "INT64", shape: [1, 1] },
  ],
  outputs: [{ name: "image" }],
  raw_input_contents: [
    Buffer.from(BigInt64Array.of(7n).buffer),
    Buffer.from(Float32Array.of(0, 0).buffer),
    Buffer.from(BigInt64Array.of(0n).buffer),
  ],
};
service.ModelInfer(request, { deadline: Date.now() + 10_000 }, (error, reply) => {
  if (error) {
    console.error(error.message);
    process.exit(1);
  }
  const [image] = reply.outputs;
  console.log(JSON.stringify({ shape: image.shape.map(Number), data: [...reply.raw_output_contents[0]] }));
});
