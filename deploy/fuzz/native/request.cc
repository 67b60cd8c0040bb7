// A request as a hostile client may shape it: any number of inputs, types, shapes, sizes and pieces. It is read, or
// refused with an Error; no byte is touched that was not sent, and each request is answered and given back once.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "feed.h"
#include "request.h"
#include "strings.h"
#include "triton.h"

using namespace neurips16;

// The bytes that decide what the request looks like; zeros follow on their end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  template <typename T>
  T take() {
    T value{};
    const std::size_t found = std::min(sizeof value, size_);
    std::memcpy(&value, data_, found);
    data_ += found;
    size_ -= found;
    return value;
  }
  std::vector<char> take_piece() {
    const std::size_t length = std::min<std::size_t>(take<std::uint8_t>(), size_);
    std::vector<char> piece(data_, data_ + length);
    data_ += length;
    size_ -= length;
    return piece;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

struct TRITONBACKEND_Input {
  std::string name;
  TRITONSERVER_DataType type;
  std::vector<std::int64_t> dims;
  std::uint64_t byte_size;
  std::vector<std::vector<char>> pieces;  // each in memory of its own, so that a byte too far is seen
};

struct TRITONBACKEND_Request {
  std::vector<TRITONBACKEND_Input> inputs;
  bool cancelled;
  bool named_by_text;
  int responses = 0;
  int sent = 0;
  int released = 0;
};

namespace {

TRITONBACKEND_Request made_of(Bytes& bytes) {
  TRITONBACKEND_Request request;
  const auto flags = bytes.take<std::uint8_t>();
  request.cancelled = flags % 16 == 15;
  request.named_by_text = (flags & 16) != 0;
  request.inputs.resize(flags / 32 % 4);
  for (TRITONBACKEND_Input& input : request.inputs) {
    input.name = std::string(1, static_cast<char>('a' + bytes.take<std::uint8_t>() % 3));
    input.type = static_cast<TRITONSERVER_DataType>(bytes.take<std::uint8_t>() % 15);
    input.dims.resize(bytes.take<std::uint8_t>() % 6);
    for (std::int64_t& axis : input.dims) {
      const auto form = bytes.take<std::uint8_t>();
      axis = form < 192 ? form % 8 : bytes.take<std::int64_t>();
    }
    input.pieces.resize(bytes.take<std::uint8_t>() % 4);
    input.byte_size = 0;
    for (auto& piece : input.pieces) {
      piece = bytes.take_piece();
      input.byte_size += piece.size();
    }
  }
  return request;
}

}  // namespace

extern "C" {

TRITONSERVER_Error* TRITONBACKEND_RequestIsCancelled(TRITONBACKEND_Request* request, bool* cancelled) {
  *cancelled = request->cancelled;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestInputCount(TRITONBACKEND_Request* request, std::uint32_t* count) {
  *count = static_cast<std::uint32_t>(request->inputs.size());
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestInputByIndex(TRITONBACKEND_Request* request, std::uint32_t index,
                                                      TRITONBACKEND_Input** input) {
  *input = &request->inputs.at(index);
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_InputProperties(TRITONBACKEND_Input* input, const char** name,
                                                  TRITONSERVER_DataType* type, const std::int64_t** shape,
                                                  std::uint32_t* dims_count, std::uint64_t* byte_size,
                                                  std::uint32_t* buffer_count) {
  *name = input->name.c_str();
  *type = input->type;
  *shape = input->dims.data();
  *dims_count = static_cast<std::uint32_t>(input->dims.size());
  *byte_size = input->byte_size;
  *buffer_count = static_cast<std::uint32_t>(input->pieces.size());
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input* input, std::uint32_t index, const void** buffer,
                                              std::uint64_t* byte_size, TRITONSERVER_MemoryType* memory_type,
                                              std::int64_t* memory_id) {
  *buffer = input->pieces.at(index).data();
  *byte_size = input->pieces.at(index).size();
  *memory_type = TRITONSERVER_MEMORY_CPU;
  *memory_id = 0;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestOutputCount(TRITONBACKEND_Request*, std::uint32_t* count) {
  *count = 1;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestOutputName(TRITONBACKEND_Request*, std::uint32_t, const char** name) {
  *name = "y";
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationId(TRITONBACKEND_Request* request, std::uint64_t* id) {
  *id = 7;
  return request->named_by_text ? TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INVALID_ARG, "its id is a text") : nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestCorrelationIdString(TRITONBACKEND_Request*, const char** id) {
  *id = "seven";
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_RequestRelease(TRITONBACKEND_Request* request, std::uint32_t) {
  ++request->released;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseNew(TRITONBACKEND_Response** response, TRITONBACKEND_Request* request) {
  ++request->responses;
  *response = reinterpret_cast<TRITONBACKEND_Response*>(request);
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseDelete(TRITONBACKEND_Response* response) {
  --reinterpret_cast<TRITONBACKEND_Request*>(response)->responses;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response*, TRITONBACKEND_Output**, const char*,
                                                 TRITONSERVER_DataType, const std::int64_t*, std::uint32_t) {
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output*, void**, std::uint64_t, TRITONSERVER_MemoryType*,
                                               std::int64_t*) {
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ResponseSend(TRITONBACKEND_Response* response, std::uint32_t, TRITONSERVER_Error*) {
  auto* request = reinterpret_cast<TRITONBACKEND_Request*>(response);
  --request->responses;
  ++request->sent;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportStatistics(TRITONBACKEND_ModelInstance*, TRITONBACKEND_Request*,
                                                                bool, std::uint64_t, std::uint64_t, std::uint64_t,
                                                                std::uint64_t) {
  return nullptr;
}

}  // extern "C"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  TRITONBACKEND_Request handle = made_of(bytes);
  static const ModelConfig config;
  static const Signature signature;
  const Feed feed(config, signature, nullptr, false);
  {
    Request request(nullptr, &handle);
    try {
      request.read();
      request.names_sequence();
      request.batch();
      feed.key(request);
      for (const RequestInput& input : request.inputs()) {
        if (input.type->byte_size != 0 || input.buffers != 1) continue;
        std::uint64_t length = 0;
        const Place place = input.buffer(0, length);
        const auto count = static_cast<std::size_t>(element_count(input.shape).value());
        const auto strings = read_strings({static_cast<const char*>(place.data), length}, count, input.name);
        if (strings.size() != count) std::abort();
      }
      request.succeed({});
    } catch (const Error& error) {
      request.fail(error, {});
    }
  }
  if (handle.responses != 0 || handle.sent != 1 || handle.released != 1) std::abort();
  return 0;
}
