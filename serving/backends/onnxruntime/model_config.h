// A model's configuration, as far as the backend has to do with it, read from what Triton hands out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "element_type.h"
#include "json.h"

namespace neurips16 {

using Shape = std::vector<std::int64_t>;  // -1 for a free axis

struct TensorConfig {
  std::string name;
  const ElementType* type = nullptr;
  Shape dims;  // as the model takes it, after a reshape, without the batch axis
  bool optional = false;
  bool ragged = false;
};

struct StateConfig {
  std::string input;
  std::string output;
  const ElementType* type = nullptr;
  Shape dims;
};

// A tensor that the backend makes of the shapes of a batch's requests.
struct BatchInputConfig {
  enum class Kind { ElementCount, AccumulatedCount, AccumulatedCountWithZero, MaxCountAsShape, ItemShape, ItemShapeFlat };
  Kind kind;
  std::vector<std::string> targets;
  const ElementType* type = nullptr;
  std::string source;
};

// An output in which the requests' parts follow on one another, each shaped as an input of its request.
struct BatchOutputConfig {
  std::vector<std::string> targets;
  std::string source;
};

struct Accelerator {
  std::string name;
  std::map<std::string, std::string> options;
};

struct ModelConfig {
  std::int64_t max_batch_size = 0;
  std::vector<TensorConfig> inputs;
  std::vector<TensorConfig> outputs;
  std::vector<StateConfig> states;
  std::vector<std::string> controls;  // inputs that Triton fills in for a sequence
  std::vector<BatchInputConfig> batch_inputs;
  std::vector<BatchOutputConfig> batch_outputs;
  std::string model_file;
  bool sequences = false;
  bool any_gpu_group = false;
  std::int64_t instances = 0;  // of all groups, on each GPU of theirs
  std::int64_t graph_level = 0;
  std::vector<std::string> op_libraries;
  std::vector<Accelerator> gpu_accelerators;
  std::vector<Accelerator> cpu_accelerators;
  std::map<std::string, std::string> parameters;

  // Throws Error with what is wrong.
  static ModelConfig from(const Json& json);

  bool batched() const { return max_batch_size > 0; }
  const TensorConfig* input(const std::string& name) const;
  const TensorConfig* output(const std::string& name) const;

  // A parameter's value; each throws Error where it is none of those that are possible.
  std::string parameter(const std::string& name) const;
  int count_parameter(const std::string& name) const;                                // 0 where it is not set
  std::optional<bool> flag_parameter(const std::string& name) const;                 // none where it is not set
  std::optional<std::string> choice_parameter(const std::string& name,
                                              const std::map<std::string, std::string>& choices) const;
};

std::string to_string(const Shape& shape);

}  // namespace neurips16
