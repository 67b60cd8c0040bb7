#include "signature.h"

#include <algorithm>
#include <set>

#include "error.h"

namespace neurips16 {
namespace {

const char* kind_name(ONNXType kind) {
  switch (kind) {
    case ONNX_TYPE_SEQUENCE: return "a sequence";
    case ONNX_TYPE_MAP: return "a map";
    case ONNX_TYPE_OPAQUE: return "an opaque value";
    case ONNX_TYPE_SPARSETENSOR: return "a sparse tensor";
    case ONNX_TYPE_OPTIONAL: return "of an optional type";
    default: return "no tensor";
  }
}

TensorSignature tensor_of(const std::string& name, const Ort::TypeInfo& info) {
  if (info.GetONNXType() != ONNX_TYPE_TENSOR) {
    throw Error(TRITONSERVER_ERROR_UNSUPPORTED,
                "'" + name + "' is " + kind_name(info.GetONNXType()) + ", which Triton cannot express: only tensors");
  }
  const auto tensor = info.GetTensorTypeAndShapeInfo();
  TensorSignature signature;
  signature.name = name;
  signature.type = find_type(tensor.GetElementType());
  if (signature.type == nullptr) {
    throw Error(TRITONSERVER_ERROR_UNSUPPORTED, "tensor '" + name + "' is of " + onnx_name(tensor.GetElementType()) +
                                                    ", which Triton has no type for");
  }
  signature.dims = tensor.GetShape();
  std::vector<const char*> symbols(signature.dims.size());
  tensor.GetSymbolicDimensions(symbols.data(), symbols.size());
  for (const char* symbol : symbols) signature.axes.emplace_back(symbol == nullptr ? "" : symbol);
  return signature;
}

bool free_first_axis(const TensorSignature& tensor) { return !tensor.dims.empty() && tensor.dims[0] == -1; }

const TensorSignature* find_named(const std::vector<TensorSignature>& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& one) { return one.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

// What is wrong with a declared tensor, or nothing.
std::string mismatch(const std::string& name, const ElementType* type, Shape dims, const TensorSignature* own,
                     bool batched, bool ragged) {
  const std::string what = "'" + name + "' ";
  if (own == nullptr) return what + "is not in the file";
  if (type != own->type) return what + "is " + type->config_name + ", in the file " + own->type->config_name;
  if (ragged) {
    return own->dims.size() == 1 ? "" : what + "is ragged: the file's must have one axis, it has " + to_string(own->dims);
  }
  if (batched) dims.insert(dims.begin(), -1);
  if (!batched && own->dims.empty() && dims == Shape{1}) return "";  // Triton has no dims for a scalar
  const bool fits = dims.size() == own->dims.size() &&
                    std::equal(dims.begin(), dims.end(), own->dims.begin(),
                               [](std::int64_t dim, std::int64_t in_file) { return in_file == -1 || in_file == dim; });
  // A free axis of the configuration over a fixed one of the file would let through what cannot be computed.
  return fits ? "" : what + "has dims " + to_string(dims) + ", in the file " + to_string(own->dims);
}

Json entry_of(const TensorSignature& tensor, bool batched) {
  Json entry;
  entry.member("name") = tensor.name;
  entry.member("data_type") = tensor.type->config_name;
  const Shape dims(tensor.dims.begin() + (batched ? 1 : 0), tensor.dims.end());
  Json::Array listed;
  for (const std::int64_t dim : dims) {
    if (dim == 0) {
      throw Error(TRITONSERVER_ERROR_UNSUPPORTED,
                  "tensor '" + tensor.name + "' has an axis of length 0, which Triton's dims cannot say");
    }
    listed.emplace_back(dim);
  }
  if (listed.empty()) {  // Triton's dims have at least one axis; without a batch [1] stands for a scalar
    listed.emplace_back(std::int64_t{1});
    if (batched) entry.member("reshape").member("shape") = Json::Array();
  }
  entry.member("dims") = std::move(listed);
  if (tensor.optional) entry.member("optional") = true;
  return entry;
}

}  // namespace

Signature Signature::of(const Ort::Session& session) {
  const Ort::AllocatorWithDefaultOptions allocator;
  Signature signature;
  for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
    const auto name = session.GetInputNameAllocated(i, allocator);
    signature.inputs.push_back(tensor_of(name.get(), session.GetInputTypeInfo(i)));
  }
  for (std::size_t i = 0; i < session.GetOverridableInitializerCount(); ++i) {
    const auto name = session.GetOverridableInitializerNameAllocated(i, allocator);
    signature.inputs.push_back(tensor_of(name.get(), session.GetOverridableInitializerTypeInfo(i)));
    signature.inputs.back().optional = true;
  }
  for (std::size_t i = 0; i < session.GetOutputCount(); ++i) {
    const auto name = session.GetOutputNameAllocated(i, allocator);
    signature.outputs.push_back(tensor_of(name.get(), session.GetOutputTypeInfo(i)));
  }
  return signature;
}

const TensorSignature* Signature::input(const std::string& name) const { return find_named(inputs, name); }
const TensorSignature* Signature::output(const std::string& name) const { return find_named(outputs, name); }

void Signature::check(const ModelConfig& config) const {
  std::vector<std::string> problems;
  const auto note = [&](const char* kind, const std::string& problem) {
    if (!problem.empty()) problems.push_back(kind + problem);
  };
  const auto scattered = [&](const std::string& name) {
    return std::any_of(config.batch_outputs.begin(), config.batch_outputs.end(), [&](const BatchOutputConfig& one) {
      return std::find(one.targets.begin(), one.targets.end(), name) != one.targets.end();
    });
  };
  std::set<std::string> known(config.controls.begin(), config.controls.end());
  for (const TensorConfig& one : config.inputs) {
    note("input ", mismatch(one.name, one.type, one.dims, input(one.name), config.batched(), one.ragged));
    if (one.ragged && !config.batched()) note("input ", "'" + one.name + "' is ragged, but max_batch_size is 0");
    known.insert(one.name);
  }
  for (const TensorConfig& one : config.outputs) {
    const bool ragged = scattered(one.name);
    note("output ", mismatch(one.name, one.type, one.dims, output(one.name), config.batched(), ragged));
  }
  for (const StateConfig& one : config.states) {
    note("state input ", mismatch(one.input, one.type, one.dims, input(one.input), config.batched(), false));
    note("state output ", mismatch(one.output, one.type, one.dims, output(one.output), config.batched(), false));
    known.insert(one.input);
  }
  for (const BatchInputConfig& one : config.batch_inputs) {
    if (!config.batched()) note("", "batch_input needs a max_batch_size");
    if (config.input(one.source) == nullptr) note("source_input ", "'" + one.source + "' is no input");
    for (const std::string& target : one.targets) {
      const TensorSignature* own = input(target);
      if (own == nullptr) note("batch_input ", "'" + target + "' is not in the file");
      if (own != nullptr && own->type != one.type) {
        note("batch_input ", "'" + target + "' is " + one.type->config_name + ", in the file " + own->type->config_name);
      }
      known.insert(target);
    }
  }
  for (const BatchOutputConfig& one : config.batch_outputs) {
    if (config.input(one.source) == nullptr) note("source_input ", "'" + one.source + "' is no input");
  }
  for (const std::string& name : config.controls) {
    if (input(name) == nullptr) note("control input ", "'" + name + "' is not in the file");
  }
  for (const TensorSignature& one : inputs) {
    if (!known.contains(one.name) && !one.optional) note("input ", "'" + one.name + "' of the file is not in the configuration");
  }
  const bool ragged = !config.batch_inputs.empty() ||
                      std::any_of(config.inputs.begin(), config.inputs.end(), [](const auto& one) { return one.ragged; });
  if (config.batched() && problems.empty() && !ragged) {
    const auto fixed = [&](const char* kind, const std::vector<TensorSignature>& tensors) {
      for (const TensorSignature& one : tensors) {
        if (one.optional || free_first_axis(one)) continue;
        note(kind, "'" + one.name + "' " + to_string(one.dims) + " has no free first axis: max_batch_size must be 0");
      }
    };
    fixed("input ", inputs);
    fixed("output ", outputs);
  }
  if (problems.empty()) return;
  std::string text = "the configuration does not fit the ONNX file: ";
  for (std::size_t i = 0; i < problems.size(); ++i) text += (i ? "; " : "") + problems[i];
  refuse(text);
}

void Signature::complete(Json& json, int default_max_batch_size) const {
  const ModelConfig config = ModelConfig::from(json);
  std::string fixed;
  for (const auto* tensors : {&inputs, &outputs}) {
    for (const TensorSignature& one : *tensors) {
      if (!one.optional && !free_first_axis(one)) fixed += (fixed.empty() ? "'" : ", '") + one.name + "'";
    }
  }
  if (config.batched() && !fixed.empty()) {
    refuse("max_batch_size is " + std::to_string(config.max_batch_size) + ", but " + fixed + " have no free first axis");
  }
  // Where some tensors are declared already, what they say of the batch axis stands.
  const bool silent = config.inputs.empty() && config.outputs.empty();
  const bool batched = config.batched() || (fixed.empty() && silent && default_max_batch_size > 0);
  const std::int64_t size = batched ? (config.batched() ? config.max_batch_size : default_max_batch_size) : 0;

  std::set<std::string> hidden(config.controls.begin(), config.controls.end());
  for (const StateConfig& one : config.states) {
    hidden.insert(one.input);
    hidden.insert(one.output);
  }
  for (const BatchInputConfig& one : config.batch_inputs) hidden.insert(one.targets.begin(), one.targets.end());
  const auto fill = [&](const char* key, const std::vector<TensorSignature>& tensors) {
    for (const TensorSignature& one : tensors) {
      // An initializer that can be overridden, and has no batch axis, cannot come with one request of a batch.
      const bool shared = batched && one.optional && !free_first_axis(one);
      if (!hidden.contains(one.name) && !shared) json.member(key).push_back(entry_of(one, batched));
    }
  };
  if (config.inputs.empty()) fill("input", inputs);
  if (config.outputs.empty()) fill("output", outputs);
  json.member("max_batch_size") = size;
  if (size > 1 && !config.sequences && !json["dynamic_batching"].is_object()) {
    json.member("dynamic_batching") = Json::Object();
  }
}

}  // namespace neurips16
