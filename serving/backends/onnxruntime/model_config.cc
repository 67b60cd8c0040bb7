#include "model_config.h"

#include <algorithm>
#include <charconv>

#include "error.h"

namespace neurips16 {
namespace {

Shape shape_of(const Json& json) {
  Shape shape;
  for (const Json& dim : json.array()) shape.push_back(dim.integer());
  return shape;
}

const ElementType* type_of(const Json& json, const std::string& whose) {
  const ElementType* type = find_type(json.string());
  if (type == nullptr) refuse(whose + " has the data type '" + json.string() + "', which is none");
  return type;
}

TensorConfig tensor_of(const Json& json) {
  TensorConfig tensor;
  tensor.name = json["name"].string();
  tensor.type = type_of(json["data_type"], "tensor '" + tensor.name + "'");
  // An empty shape is one, too: a reshape to a scalar.
  tensor.dims = shape_of(json["reshape"].is_object() ? json["reshape"]["shape"] : json["dims"]);
  tensor.optional = json["optional"].boolean();
  tensor.ragged = json["allow_ragged_batch"].boolean();
  return tensor;
}

std::vector<std::string> strings_of(const Json& json) {
  std::vector<std::string> found;
  for (const Json& one : json.array()) found.push_back(one.string());
  return found;
}

BatchInputConfig batch_input_of(const Json& json) {
  using Kind = BatchInputConfig::Kind;
  static const std::map<std::string, Kind> kinds{
      {"BATCH_ELEMENT_COUNT", Kind::ElementCount},
      {"BATCH_ACCUMULATED_ELEMENT_COUNT", Kind::AccumulatedCount},
      {"BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", Kind::AccumulatedCountWithZero},
      {"BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", Kind::MaxCountAsShape},
      {"BATCH_ITEM_SHAPE", Kind::ItemShape},
      {"BATCH_ITEM_SHAPE_FLATTEN", Kind::ItemShapeFlat},
  };
  const std::string name = json["kind"].string();
  const auto kind = kinds.find(name.empty() ? "BATCH_ELEMENT_COUNT" : name);
  if (kind == kinds.end()) refuse("batch_input is of kind '" + name + "', which is unknown");
  BatchInputConfig made{kind->second, strings_of(json["target_name"]), type_of(json["data_type"], "batch_input"), ""};
  const auto sources = strings_of(json["source_input"]);
  if (sources.size() != 1 || made.targets.empty()) refuse("batch_input needs one source_input, and a target_name");
  made.source = sources.front();
  if (made.type->triton != TRITONSERVER_TYPE_INT32 && made.type->triton != TRITONSERVER_TYPE_FP32) {
    refuse("batch_input for '" + made.targets.front() + "' is " + made.type->config_name + ": TYPE_INT32 or TYPE_FP32");
  }
  return made;
}

BatchOutputConfig batch_output_of(const Json& json) {
  const std::string kind = json["kind"].string();
  if (!kind.empty() && kind != "BATCH_SCATTER_WITH_INPUT_SHAPE") refuse("batch_output is of kind '" + kind + "'");
  BatchOutputConfig made{strings_of(json["target_name"]), ""};
  const auto sources = strings_of(json["source_input"]);
  if (sources.size() != 1 || made.targets.empty()) refuse("batch_output needs one source_input, and a target_name");
  made.source = sources.front();
  return made;
}

std::vector<Accelerator> accelerators_of(const Json& json) {
  std::vector<Accelerator> found;
  for (const Json& one : json.array()) {
    Accelerator accelerator{one["name"].string(), {}};
    for (const auto& [name, value] : one["parameters"].object()) accelerator.options[name] = value.string();
    found.push_back(std::move(accelerator));
  }
  return found;
}

template <typename Tensors>
auto* find_named(Tensors& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& one) { return one.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace

ModelConfig ModelConfig::from(const Json& json) {
  ModelConfig config;
  config.max_batch_size = json["max_batch_size"].integer();
  for (const Json& one : json["input"].array()) config.inputs.push_back(tensor_of(one));
  for (const Json& one : json["output"].array()) config.outputs.push_back(tensor_of(one));
  for (const Json& one : json["batch_input"].array()) config.batch_inputs.push_back(batch_input_of(one));
  for (const Json& one : json["batch_output"].array()) config.batch_outputs.push_back(batch_output_of(one));

  const Json& sequences = json["sequence_batching"];
  config.sequences = sequences.is_object();
  for (const Json& one : sequences["control_input"].array()) config.controls.push_back(one["name"].string());
  for (const Json& one : sequences["state"].array()) {
    const std::string name = one["input_name"].string();
    config.states.push_back(
        {name, one["output_name"].string(), type_of(one["data_type"], "state '" + name + "'"), shape_of(one["dims"])});
  }

  config.model_file = json["default_model_filename"].string();
  for (const Json& group : json["instance_group"].array()) {
    config.any_gpu_group = config.any_gpu_group || group["kind"].string() == "KIND_GPU";
    const auto gpus = static_cast<std::int64_t>(group["gpus"].array().size());
    config.instances += group["count"].integer() * std::max<std::int64_t>(1, gpus);
  }
  const Json& optimization = json["optimization"];
  config.graph_level = optimization["graph"]["level"].integer();
  const Json& accelerators = optimization["execution_accelerators"];
  config.gpu_accelerators = accelerators_of(accelerators["gpu_execution_accelerator"]);
  config.cpu_accelerators = accelerators_of(accelerators["cpu_execution_accelerator"]);
  config.op_libraries = strings_of(json["model_operations"]["op_library_filename"]);
  for (const auto& [name, value] : json["parameters"].object()) {
    config.parameters[name] = value["string_value"].string();
  }
  return config;
}

const TensorConfig* ModelConfig::input(const std::string& name) const { return find_named(inputs, name); }
const TensorConfig* ModelConfig::output(const std::string& name) const { return find_named(outputs, name); }

std::string ModelConfig::parameter(const std::string& name) const {
  const auto found = parameters.find(name);
  return found == parameters.end() ? "" : found->second;
}

int ModelConfig::count_parameter(const std::string& name) const {
  const std::string text = parameter(name);
  if (text.empty()) return 0;
  int value = 0;
  const char* end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data(), end, value); read.ec != std::errc() || read.ptr != end || value < 0) {
    refuse("parameter " + name + " is '" + text + "': a number of threads, 0 for the default");
  }
  return value;
}

std::optional<bool> ModelConfig::flag_parameter(const std::string& name) const {
  std::string text = parameter(name);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  if (text.empty()) return std::nullopt;
  if (text == "1" || text == "true") return true;
  if (text == "0" || text == "false") return false;
  refuse("parameter " + name + " is '" + text + "': 0 or 1");
}

std::optional<std::string> ModelConfig::choice_parameter(const std::string& name,
                                                         const std::map<std::string, std::string>& choices) const {
  const std::string text = parameter(name);
  if (text.empty()) return std::nullopt;
  const auto found = choices.find(text);
  if (found != choices.end()) return found->second;
  std::string offered;
  for (const auto& [key, value] : choices) offered += (offered.empty() ? "" : ", ") + key + " (" + value + ")";
  refuse("parameter " + name + " is '" + text + "': " + offered);
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

}  // namespace neurips16
