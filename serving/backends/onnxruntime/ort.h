// ONNX Runtime's headers, as all of this backend includes them: the library is opened at run time, not linked.
#pragma once

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#undef ORT_API_MANUAL_INIT

namespace neurips16 {

inline constexpr int kOrtApiVersion = 21;  // of the oldest ONNX Runtime that is served: 1.21

}  // namespace neurips16
