// What goes wrong, as an exception with Triton's class of error, and the way to and from Triton's own errors.
#pragma once

#include <stdexcept>
#include <string>

#include "triton_api.h"

namespace neurips16 {

class Error : public std::runtime_error {
 public:
  Error(TRITONSERVER_Error_Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  TRITONSERVER_Error_Code code() const { return code_; }

 private:
  TRITONSERVER_Error_Code code_;
};

// The caller, or who wrote the model's configuration, is at fault.
[[noreturn]] inline void refuse(const std::string& message) { throw Error(TRITONSERVER_ERROR_INVALID_ARG, message); }

// Throws what a call of Triton's returned, and deletes it.
inline void check(TRITONSERVER_Error* error) {
  if (error == nullptr) return;
  Error made(TRITONSERVER_ErrorCode(error), TRITONSERVER_ErrorMessage(error));
  TRITONSERVER_ErrorDelete(error);
  throw made;
}

// Runs `body` at the border to Triton: what it throws is the error that is returned.
template <typename Body>
TRITONSERVER_Error* as_error(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Error& error) {
    return TRITONSERVER_ErrorNew(error.code(), error.what());
  } catch (const std::exception& error) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, error.what());
  }
}

}  // namespace neurips16
