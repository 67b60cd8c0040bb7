#include "feed.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "strings.h"

namespace neurips16 {
namespace {

const OrtMemoryInfo* cpu_memory() {
  static const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
  return memory;
}

// Copies an input's buffers, one after the other; returns where they end.
std::byte* append(std::byte* to, const RequestInput& input) {
  for (std::uint32_t index = 0; index < input.buffers; ++index) {
    std::uint64_t size = 0;
    const Place from = input.buffer(index, size);
    copy(Place{to}, from, size);
    to += size;
  }
  return to;
}

// An input's bytes as one piece on the host; `storage` holds them where they do not lie so.
std::string_view whole(const RequestInput& input, std::string& storage) {
  std::uint64_t size = 0;
  if (input.buffers == 0) return {};
  if (const Place place = input.buffer(0, size); input.buffers == 1 && !place.on_gpu()) {
    return {static_cast<const char*>(place.data), size};
  }
  storage.resize(input.byte_size);
  append(reinterpret_cast<std::byte*>(storage.data()), input);
  return storage;
}

std::int64_t elements_of(const Shape& shape) { return element_count(shape).value_or(0); }

}  // namespace

std::vector<FedTensor> Feed::of(Group group) const {
  std::vector<FedTensor> fed;
  const auto& inputs = group.front()->inputs();
  fed.reserve(inputs.size());
  for (const RequestInput& input : inputs) fed.push_back(gather(group, input));
  for (const BatchInputConfig& made : config_.batch_inputs) {
    for (const std::string& target : made.targets) fed.push_back(batch_input(group, made, target));
  }
  return fed;
}

std::string Feed::key(const Request& request) const {
  std::vector<std::string> parts;
  for (const RequestInput& input : request.inputs()) {
    std::string part = input.name + '/' + input.type->config_name;
    const TensorConfig* configured = config_.input(input.name);
    if (configured == nullptr || !configured->ragged) {
      for (std::size_t axis = 1; axis < input.shape.size(); ++axis) part += ',' + std::to_string(input.shape[axis]);
    }
    parts.push_back(std::move(part));
  }
  std::sort(parts.begin(), parts.end());
  return std::accumulate(parts.begin(), parts.end(), std::string(),
                         [](std::string all, const std::string& part) { return std::move(all) + part + '\n'; });
}

FedTensor Feed::gather(Group group, const RequestInput& first) const {
  const TensorSignature* own = signature_.input(first.name);
  if (own == nullptr) refuse("the model has no input '" + first.name + "'");
  if (own->type != first.type) {
    refuse("input '" + first.name + "' is " + first.type->config_name + ", the model's " + own->type->config_name);
  }
  const TensorConfig* configured = config_.input(first.name);
  const bool ragged = configured != nullptr && configured->ragged;

  std::vector<const RequestInput*> parts;
  for (const Request* request : group) parts.push_back(request->input(first.name));
  FedTensor fed{first.name, first.shape, Ort::Value(nullptr)};
  if (ragged) {
    fed.shape = {0};
    for (const RequestInput* part : parts) fed.shape[0] += elements_of(part->shape);
  } else if (own->dims.empty()) {
    fed.shape.clear();  // Triton's [1] is the file's scalar
  } else if (group.size() > 1) {
    fed.shape[0] = 0;
    for (const RequestInput* part : parts) fed.shape[0] += part->shape[0];
  }

  if (first.type->byte_size == 0) {
    std::vector<std::string_view> elements;
    std::vector<std::string> storage(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto read = read_strings(whole(*parts[i], storage[i]), static_cast<std::size_t>(elements_of(parts[i]->shape)),
                                     first.name);
      elements.insert(elements.end(), read.begin(), read.end());
    }
    fed.value = make_string_tensor(elements, fed.shape);
    return fed;
  }
  if (group.size() == 1) fed.value = as_it_lies(first, fed.shape);
  if (!fed.value) {
    fed.value = Ort::Value::CreateTensor(arena_, fed.shape.data(), fed.shape.size(), first.type->onnx);
    auto* to = static_cast<std::byte*>(fed.value.GetTensorMutableRawData());
    for (const RequestInput* part : parts) to = append(to, *part);
  }
  return fed;
}

// A tensor over the request's own buffer; none where it lies in pieces, at an odd address or on another device.
Ort::Value Feed::as_it_lies(const RequestInput& input, const Shape& shape) const {
  if (input.buffers != 1) return Ort::Value(nullptr);
  std::uint64_t size = 0;
  const Place place = input.buffer(0, size);
  const bool aligned = reinterpret_cast<std::uintptr_t>(place.data) % input.type->byte_size == 0;
  if (place.data == nullptr || size != input.byte_size || !aligned || (place.on_gpu() && !gpu_)) {
    return Ort::Value(nullptr);
  }
  if (!place.on_gpu()) {
    return Ort::Value::CreateTensor(cpu_memory(), place.data, size, shape.data(), shape.size(), input.type->onnx);
  }
  const Ort::MemoryInfo memory("Cuda", OrtDeviceAllocator, static_cast<int>(place.id), OrtMemTypeDefault);
  return Ort::Value::CreateTensor(memory, place.data, size, shape.data(), shape.size(), input.type->onnx);
}

FedTensor Feed::batch_input(Group group, const BatchInputConfig& made, const std::string& target) const {
  using Kind = BatchInputConfig::Kind;
  std::vector<std::int64_t> values;
  Shape shape{0};
  std::int64_t total = 0;
  if (made.kind == Kind::AccumulatedCountWithZero) values.push_back(0);
  for (const Request* request : group) {
    const RequestInput* source = request->input(made.source);
    if (source == nullptr) refuse("batch_input '" + target + "' is made of input '" + made.source + "', which is left out");
    const std::int64_t count = elements_of(source->shape);
    total += count;
    switch (made.kind) {
      case Kind::ElementCount: values.push_back(count); break;
      case Kind::AccumulatedCount:
      case Kind::AccumulatedCountWithZero: values.push_back(total); break;
      case Kind::MaxCountAsShape: shape[0] = std::max(shape[0], count); break;
      case Kind::ItemShape:
      case Kind::ItemShapeFlat:
        for (std::int64_t item = 0; item < source->shape[0]; ++item) {
          values.insert(values.end(), source->shape.begin() + 1, source->shape.end());
        }
        break;
    }
  }
  if (made.kind == Kind::MaxCountAsShape) {
    values.assign(static_cast<std::size_t>(shape[0]), 0);  // its length is what counts
  } else if (made.kind == Kind::ItemShape) {
    const auto axes = static_cast<std::int64_t>(group.front()->input(made.source)->shape.size()) - 1;
    shape = {axes > 0 ? static_cast<std::int64_t>(values.size()) / axes : 0, axes};
  } else {
    shape[0] = static_cast<std::int64_t>(values.size());
  }
  FedTensor fed{target, shape, Ort::Value::CreateTensor(arena_, shape.data(), shape.size(), made.type->onnx)};
  if (made.type->triton == TRITONSERVER_TYPE_FP32) {
    std::transform(values.begin(), values.end(), fed.value.GetTensorMutableData<float>(),
                   [](std::int64_t value) { return static_cast<float>(value); });
  } else {
    std::transform(values.begin(), values.end(), fed.value.GetTensorMutableData<std::int32_t>(),
                   [](std::int64_t value) { return static_cast<std::int32_t>(value); });
  }
  return fed;
}

std::string describe(const std::vector<FedTensor>& fed) {
  std::string text;
  for (const FedTensor& one : fed) text += (text.empty() ? "'" : ", '") + one.name + "' " + to_string(one.shape);
  return text;
}

}  // namespace neurips16
