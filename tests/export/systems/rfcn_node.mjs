// Detects with onnxruntime-node: node rfcn_node.mjs NODE_MODULES MODEL PIXELS HEIGHT WIDTH
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const [modules, model, pixels, height, width] = process.argv.slice(2);
const ort = createRequire(modules + "/")("onnxruntime-node");
const session = await ort.InferenceSession.create(model);
const image = new ort.Tensor("uint8", new Uint8Array(readFileSync(pixels)), [1, +height, +width, 3]);
const found = await session.run({ image });
const boxes = Array.from(found.detection_boxes.data);
console.log(JSON.stringify({ count: found.num_detections.data[0], boxes }));
