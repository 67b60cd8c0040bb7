// The inputs and outputs of an ONNX file, held against a configuration, or completing one.
#pragma once

#include <string>
#include <vector>

#include "json.h"
#include "model_config.h"
#include "ort.h"

namespace neurips16 {

struct TensorSignature {
  std::string name;
  const ElementType* type = nullptr;
  Shape dims;                      // -1 for a free axis; the batch axis is one of them
  std::vector<std::string> axes;   // names of the free axes, empty where there is none
  bool optional = false;           // an input with a default
};

struct Signature {
  std::vector<TensorSignature> inputs;
  std::vector<TensorSignature> outputs;

  // Throws Error where the file has what Triton cannot express: a sequence, a map, an optional type, a strange element.
  static Signature of(const Ort::Session& session);

  const TensorSignature* input(const std::string& name) const;
  const TensorSignature* output(const std::string& name) const;

  // Throws Error with everything in which the configuration does not fit the file.
  void check(const ModelConfig& config) const;

  // Fills in the inputs, outputs and max_batch_size that `json` leaves out. A model whose tensors all have a free
  // first axis is taken for batched, with `default_max_batch_size`, as NVIDIA's backend does.
  void complete(Json& json, int default_max_batch_size) const;
};

}  // namespace neurips16
