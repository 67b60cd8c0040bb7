// What a session runs on: ONNX Runtime's execution providers, with their options under its own names.
#pragma once

#include <map>
#include <string>

#include "model_config.h"
#include "ort.h"

namespace neurips16 {

struct Device;

using ProviderOptions = std::map<std::string, std::string>;

// Throws Error where the configuration is wrong, or asks for a provider that this ONNX Runtime does not have. The last
// one is always the CPU, which ONNX Runtime adds by itself.
void append_providers(Ort::SessionOptions& session, const ModelConfig& config, Device device);

// TensorRT's options of a configuration; throws Error where one is unknown.
ProviderOptions tensorrt_options(const ProviderOptions& configured);

// CUDA's, with our defaults.
ProviderOptions cuda_options(const ModelConfig& config, int device_id);

}  // namespace neurips16
