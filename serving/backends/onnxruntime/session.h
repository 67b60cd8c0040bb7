// ONNX Runtime sessions as a model configuration asks for them, and refusals of those that it cannot have.
#pragma once

#include <filesystem>
#include <string>

#include "backend_options.h"
#include "model_config.h"
#include "ort.h"
#include "ort_runtime.h"

namespace neurips16 {

// What an instance runs on.
struct Device {
  bool gpu = false;
  int id = 0;

  auto operator<=>(const Device&) const = default;
};

class SessionMaker {
 public:
  SessionMaker(const OrtRuntime& runtime, const BackendOptions& options) : runtime_(runtime), options_(options) {}

  // Throws Error where the configuration is wrong, or asks for what is not here, and Ort::Exception.
  Ort::Session make(const std::filesystem::path& model, const ModelConfig& config, Device device,
                    const std::string& name) const;

  // Good for reading the file's inputs and outputs, and soon made.
  Ort::Session make_plain(const std::filesystem::path& model, const ModelConfig& config) const;

 private:
  Ort::SessionOptions options_of(const ModelConfig& config) const;
  void register_ops(Ort::SessionOptions& made, const ModelConfig& config) const;

  const OrtRuntime& runtime_;
  const BackendOptions& options_;
};

}  // namespace neurips16
