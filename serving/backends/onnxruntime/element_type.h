// Element types, by the names and numbers that Triton, its configurations and ONNX Runtime have for them.
#pragma once

#include <cstddef>
#include <string>

#include "ort.h"
#include "triton_api.h"

namespace neurips16 {

struct ElementType {
  const char* config_name;  // as config.pbtxt has it
  TRITONSERVER_DataType triton;
  ONNXTensorElementDataType onnx;
  std::size_t byte_size;  // of one element; 0 for strings
};

// Null for a type that the other side has no name for.
const ElementType* find_type(TRITONSERVER_DataType type);
const ElementType* find_type(ONNXTensorElementDataType type);
const ElementType* find_type(const std::string& config_name);

// What ONNX calls a type, for messages.
std::string onnx_name(ONNXTensorElementDataType type);

}  // namespace neurips16
