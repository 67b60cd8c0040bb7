// What the server's operator decides for all models: `--backend-config=onnxruntime,NAME=VALUE` on Triton's command line.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace neurips16 {

struct BackendOptions {
  std::string library = "libonnxruntime.so";  // ONNX Runtime's; a bare name is looked for beside us, then as usual
  std::string ops_library;                    // where libneurips16_ops.so is, if anywhere
  std::vector<std::string> allowed_op_libraries;  // others that a configuration may name
  std::string in_flight;                      // a file that says what runs at this moment; none if empty
  std::string loaded;                         // a folder that says what is loaded; none if empty
  std::string quarantined;                    // a file that says which models are refused, and why; none if empty
  int intra_op_threads = 0;                   // of the pool that all sessions share; 0: the cores we may use
  int inter_op_threads = 0;                   // likewise, for sessions that run operators side by side
  int default_max_batch_size = 4;             // Triton's own option

  // Throws Error where a value is none, or a name is unknown.
  static BackendOptions from(const Json& config);
};

}  // namespace neurips16
