// ONNX Runtime in this process: the library, its environment with a thread pool and an arena that all sessions share.
#pragma once

#include <memory>

#include "backend_options.h"
#include "ort.h"

namespace neurips16 {

class OrtRuntime {
 public:
  // Throws Error where the library cannot be opened or is too old.
  explicit OrtRuntime(const BackendOptions& options);

  const Ort::Env& env() const { return env_; }
  int threads() const { return threads_; }
  std::string version() const;

 private:
  int threads_;
  Ort::Env env_{nullptr};
};

// The cores that this process may use: its affinity, or less when a container's quota says so.
int usable_cores();

}  // namespace neurips16
