#include "request.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "log.h"

namespace neurips16 {
namespace {

// For calls whose failure nobody can be told of but the log.
void log_failure(TRITONSERVER_Error* error) noexcept {
  if (error == nullptr) return;
  log(TRITONSERVER_LOG_ERROR, TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
}

}  // namespace

std::uint64_t Times::now() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

Place RequestInput::buffer(std::uint32_t index, std::uint64_t& size) const {
  Place place;
  const void* data = nullptr;
  check(TRITONBACKEND_InputBuffer(handle, index, &data, &size, &place.type, &place.id));
  place.data = const_cast<void*>(data);  // ONNX Runtime's tensors do not know const; it does not write into inputs
  return place;
}

Request::~Request() {
  if (!answered_) fail(Error(TRITONSERVER_ERROR_INTERNAL, "the request was not answered"), Times{});
  log_failure(TRITONBACKEND_RequestRelease(handle_, TRITONSERVER_REQUEST_RELEASE_ALL));
}

void Request::read() {
  bool cancelled = false;
  check(TRITONBACKEND_RequestIsCancelled(handle_, &cancelled));
  if (cancelled) throw Error(TRITONSERVER_ERROR_CANCELLED, "the request was cancelled");

  std::uint32_t count = 0;
  check(TRITONBACKEND_RequestInputCount(handle_, &count));
  inputs_.reserve(count);
  for (std::uint32_t index = 0; index < count; ++index) {
    RequestInput input;
    const char* name = nullptr;
    TRITONSERVER_DataType type = TRITONSERVER_TYPE_INVALID;
    const std::int64_t* dims = nullptr;
    std::uint32_t rank = 0;
    check(TRITONBACKEND_RequestInputByIndex(handle_, index, &input.handle));
    check(TRITONBACKEND_InputProperties(input.handle, &name, &type, &dims, &rank, &input.byte_size, &input.buffers));
    input.name = name;
    input.type = find_type(type);
    if (rank > 0) input.shape.assign(dims, dims + rank);
    if (input.type == nullptr) refuse("input '" + input.name + "' has no data type");
    // Triton's own check counts in 64 bits, which a shape can exceed.
    const bool text = input.type->byte_size == 0;
    const auto bytes = byte_count(input.shape, text ? 1 : input.type->byte_size);
    if (!bytes || (!text && *bytes != input.byte_size)) {
      refuse("input '" + input.name + "' has the shape " + to_string(input.shape) + " and " +
             std::to_string(input.byte_size) + " bytes, which do not fit");
    }
    inputs_.push_back(std::move(input));
  }

  check(TRITONBACKEND_RequestOutputCount(handle_, &count));
  for (std::uint32_t index = 0; index < count; ++index) {
    const char* name = nullptr;
    check(TRITONBACKEND_RequestOutputName(handle_, index, &name));
    outputs_.emplace_back(name);
  }
}

const RequestInput* Request::input(const std::string& name) const {
  const auto found = std::find_if(inputs_.begin(), inputs_.end(), [&](const auto& one) { return one.name == name; });
  return found == inputs_.end() ? nullptr : &*found;
}

std::int64_t Request::batch() const {
  return inputs_.empty() || inputs_.front().shape.empty() ? 1 : inputs_.front().shape.front();
}

bool Request::names_sequence() const {
  std::uint64_t number = 0;
  if (TRITONSERVER_Error* error = TRITONBACKEND_RequestCorrelationId(handle_, &number)) {
    TRITONSERVER_ErrorDelete(error);  // its name is a string
    const char* text = nullptr;
    check(TRITONBACKEND_RequestCorrelationIdString(handle_, &text));
    return text != nullptr && *text != '\0';
  }
  return number != 0;
}

TRITONBACKEND_Response* Request::response() {
  if (response_ == nullptr) check(TRITONBACKEND_ResponseNew(&response_, handle_));
  return response_;
}

Place Request::output_place(const std::string& name, const ElementType& type, const Shape& shape,
                            std::uint64_t byte_size, Place wanted) {
  TRITONBACKEND_Output* output = nullptr;
  check(TRITONBACKEND_ResponseOutput(response(), &output, name.c_str(), type.triton, shape.data(),
                                     static_cast<std::uint32_t>(shape.size())));
  check(TRITONBACKEND_OutputBuffer(output, &wanted.data, byte_size, &wanted.type, &wanted.id));
  return wanted;
}

void Request::clear_outputs() {
  if (response_ != nullptr) log_failure(TRITONBACKEND_ResponseDelete(std::exchange(response_, nullptr)));
}

void Request::succeed(const Times& times) {
  response();  // there may be no output in it
  finish(nullptr, times);
}

void Request::fail(const Error& error, const Times& times) noexcept {
  try {
    clear_outputs();
    response();
    const std::unique_ptr<TRITONSERVER_Error, void (*)(TRITONSERVER_Error*)> made(
        TRITONSERVER_ErrorNew(error.code(), error.what()), TRITONSERVER_ErrorDelete);
    finish(made.get(), times);
  } catch (const std::exception& failure) {
    answered_ = true;  // nobody is there to be answered
    log(TRITONSERVER_LOG_ERROR, std::string("a request cannot be answered: ") + failure.what());
  }
}

void Request::finish(TRITONSERVER_Error* error, const Times& times) {
  // Counted before it is sent: who has an answer finds it in the statistics.
  const std::uint64_t now = Times::now();
  const std::uint64_t start = times.start ? times.start : now;
  const std::uint64_t compute_start = times.compute_start ? times.compute_start : start;
  const std::uint64_t compute_end = times.compute_end ? times.compute_end : compute_start;
  log_failure(TRITONBACKEND_ModelInstanceReportStatistics(instance_, handle_, error == nullptr, start, compute_start,
                                                          compute_end, now));
  answered_ = true;
  check(TRITONBACKEND_ResponseSend(std::exchange(response_, nullptr), TRITONSERVER_RESPONSE_COMPLETE_FINAL, error));
}

}  // namespace neurips16
