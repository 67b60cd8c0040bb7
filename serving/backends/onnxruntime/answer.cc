#include "answer.h"

#include <algorithm>

#include "memory.h"

namespace neurips16 {

Output::Output(const TensorSignature& signature, Ort::Value value) : signature_(&signature), value_(std::move(value)) {
  shape_ = value_.GetTensorTypeAndShapeInfo().GetShape();
  if (signature.type->byte_size == 0) {
    strings_.emplace_back(value_, static_cast<std::size_t>(element_count(shape_).value_or(0)));
  }
}

template <typename MakePlace>
void Output::write(std::int64_t begin, std::int64_t end, MakePlace&& place) const {
  if (!strings_.empty()) {
    std::string text = strings_.front().serialise(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
    copy(place(text.size()), Place{text.data()}, text.size());
    return;
  }
  const std::size_t element = signature_->type->byte_size;
  const std::size_t size = static_cast<std::size_t>(end - begin) * element;
  auto* data = static_cast<std::byte*>(const_cast<void*>(value_.GetTensorRawData()));
  copy(place(size), Place{data + static_cast<std::size_t>(begin) * element}, size);
}

std::set<std::string> Answer::needed(Group group) const {
  std::set<std::string> names;
  for (const Request* request : group) names.insert(request->outputs().begin(), request->outputs().end());
  for (const StateConfig& state : config_.states) names.insert(state.output);
  return names;
}

std::optional<Shape> Answer::foretell(const TensorSignature& output, const std::vector<FedTensor>& fed) const {
  Shape shape = output.dims;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] >= 0) continue;
    if (output.axes[axis].empty()) return std::nullopt;
    for (const FedTensor& tensor : fed) {
      const TensorSignature* input = signature_.input(tensor.name);
      if (input == nullptr || input->axes.size() != tensor.shape.size()) continue;
      const auto same = std::find(input->axes.begin(), input->axes.end(), output.axes[axis]);
      if (same != input->axes.end()) shape[axis] = tensor.shape[static_cast<std::size_t>(same - input->axes.begin())];
    }
    if (shape[axis] < 0) return std::nullopt;
  }
  return shape;
}

const BatchOutputConfig* Answer::scattered(const std::string& name) const {
  for (const BatchOutputConfig& one : config_.batch_outputs) {
    if (std::find(one.targets.begin(), one.targets.end(), name) != one.targets.end()) return &one;
  }
  return nullptr;
}

// What belongs to one request, shaped for its response.
Shape Answer::part_shape(const Request& request, const Output& output, bool alone) const {
  const std::string& name = output.signature().name;
  if (const BatchOutputConfig* scatter = scattered(name)) {
    const RequestInput* source = request.input(scatter->source);
    if (source == nullptr) refuse("output '" + name + "' is shaped as input '" + scatter->source + "', which is left out");
    Shape shape = config_.output(name)->dims;
    shape.insert(shape.begin(), source->shape[0]);
    for (std::size_t axis = 1; axis < shape.size(); ++axis) {
      if (shape[axis] == -1 && axis < source->shape.size()) shape[axis] = source->shape[axis];
    }
    return shape;
  }
  Shape shape = output.shape();
  if (!alone) shape[0] = request.batch();
  return shape;
}

void Answer::spread(Group group, const std::vector<Output>& outputs, const std::set<std::string>& in_place,
                    std::vector<std::optional<Error>>& failures) const {
  const bool alone = group.size() == 1;
  std::int64_t total = 0;
  for (const Request* request : group) total += request->batch();
  for (const Output& output : outputs) {
    const std::string& name = output.signature().name;
    if (scattered(name) != nullptr) {
      std::int64_t elements = 0;
      for (const Request* request : group) elements += element_count(part_shape(*request, output, alone)).value_or(0);
      if (elements != element_count(output.shape())) {
        const std::string what = "output '" + name + "' has not as many elements as its requests' inputs";
        if (alone) throw Error(TRITONSERVER_ERROR_INTERNAL, what);
        throw Unsplittable(what);
      }
    } else if (!alone && (output.shape().empty() || output.shape()[0] != total)) {
      throw Unsplittable("output '" + name + "' has not as many rows as the batch");
    }
  }

  std::vector<std::int64_t> begins(outputs.size(), 0);
  for (std::size_t position = 0; position < group.size(); ++position) {
    Request& request = *group[position];
    const auto wanted = [&](const std::string& name) {
      return std::find(request.outputs().begin(), request.outputs().end(), name) != request.outputs().end();
    };
    try {
      std::vector<TRITONBACKEND_State*> states;
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        const Output& output = outputs[i];
        const std::string& name = output.signature().name;
        const ElementType& type = *output.signature().type;
        Shape shape = part_shape(request, output, alone);
        const std::int64_t begin = begins[i];
        begins[i] += element_count(shape).value_or(0);
        const auto is_state = [&](const StateConfig& state) { return state.output == name; };
        if (std::any_of(config_.states.begin(), config_.states.end(), is_state)) {
          output.write(begin, begins[i], [&](std::size_t size) {
            TRITONBACKEND_State* state = nullptr;
            Place place;
            check(TRITONBACKEND_StateNew(&state, request.handle(), name.c_str(), type.triton, shape.data(),
                                         static_cast<std::uint32_t>(shape.size())));
            check(TRITONBACKEND_StateBuffer(state, &place.data, size, &place.type, &place.id));
            states.push_back(state);
            return place;
          });
        }
        if (!wanted(name) || in_place.contains(name)) continue;
        if (shape.empty()) shape = {1};  // Triton has no scalars
        output.write(begin, begins[i], [&](std::size_t size) { return request.output_place(name, type, shape, size); });
      }
      for (TRITONBACKEND_State* state : states) check(TRITONBACKEND_StateUpdate(state));
    } catch (const Error& error) {
      failures[position] = error;
    }
  }
}

}  // namespace neurips16
