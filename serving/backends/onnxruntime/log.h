// Lines in Triton's log.
#pragma once

#include <string>

#include "triton_api.h"

namespace neurips16 {

inline void log(TRITONSERVER_LogLevel level, const std::string& message, const char* file = "onnxruntime",
                int line = 0) noexcept {
  if (!TRITONSERVER_LogIsEnabled(level)) return;
  // There is nobody to tell that the log itself fails.
  if (TRITONSERVER_Error* error = TRITONSERVER_LogMessage(level, file, line, message.c_str())) {
    TRITONSERVER_ErrorDelete(error);
  }
}

}  // namespace neurips16
