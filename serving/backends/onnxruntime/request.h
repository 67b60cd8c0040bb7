// One request, from its arrival until it is answered and released.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "memory.h"
#include "model_config.h"
#include "triton_api.h"

namespace neurips16 {

// When what happened, in nanoseconds of the monotonic clock.
struct Times {
  std::uint64_t start = 0;
  std::uint64_t compute_start = 0;
  std::uint64_t compute_end = 0;

  static std::uint64_t now();
};

struct RequestInput {
  std::string name;
  const ElementType* type = nullptr;
  Shape shape;  // with the batch axis
  std::uint64_t byte_size = 0;
  std::uint32_t buffers = 0;
  TRITONBACKEND_Input* handle = nullptr;

  Place buffer(std::uint32_t index, std::uint64_t& size) const;
};

class Request {
 public:
  Request(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* handle) : instance_(instance), handle_(handle) {}
  ~Request();  // answers with an error what was not answered, and gives the request back
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // Reads what the request wants. Throws Error where its bytes do not fit its shapes, or it was cancelled.
  void read();

  const std::vector<RequestInput>& inputs() const { return inputs_; }
  const RequestInput* input(const std::string& name) const;
  const std::vector<std::string>& outputs() const { return outputs_; }  // the names that are asked for
  std::int64_t batch() const;                                           // its length along the batch axis
  bool names_sequence() const;  // false for those that Triton fills the empty slots of a batch with
  TRITONBACKEND_Request* handle() const { return handle_; }

  // A place in the response for an output; `wanted` says where it would best be.
  Place output_place(const std::string& name, const ElementType& type, const Shape& shape, std::uint64_t byte_size,
                     Place wanted = {});
  // Forgets the outputs that were made a place for.
  void clear_outputs();

  void succeed(const Times& times);
  void fail(const Error& error, const Times& times) noexcept;

 private:
  TRITONBACKEND_Response* response();
  void finish(TRITONSERVER_Error* error, const Times& times);

  TRITONBACKEND_ModelInstance* instance_;
  TRITONBACKEND_Request* handle_;
  TRITONBACKEND_Response* response_ = nullptr;
  bool answered_ = false;
  std::vector<RequestInput> inputs_;
  std::vector<std::string> outputs_;
};

}  // namespace neurips16
