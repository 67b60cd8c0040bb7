// SignSplit: what its two kernels share.
#pragma once

#include <math.h>

#include "custom_op.h"

namespace neurips16::sign_split {

struct Value {
  float magnitude;
  std::int32_t negative;
};

NEURIPS16_HOST_DEVICE inline Value split(float x, float threshold) { return {fabsf(x), x < -threshold ? 1 : 0}; }

template <typename Self, typename TKernel>
struct Op : CustomOp<Self, TKernel> {
  const char* GetName() const { return "SignSplit"; }
  std::size_t GetInputTypeCount() const { return 1; }
  std::size_t GetOutputTypeCount() const { return 2; }
  ONNXTensorElementDataType GetInputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  ONNXTensorElementDataType GetOutputType(std::size_t index) const {
    return index == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
  }

  static void infer_shape(ShapeInference& context) {
    context.set_output(0, context.GetInputShape(0));
    context.set_output(1, context.GetInputShape(0), ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32);
  }
};

}  // namespace neurips16::sign_split
