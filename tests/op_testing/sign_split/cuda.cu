// SignSplit on the GPU: one thread per value.
#include "cuda_launch.h"
#include "sign_split.h"

namespace neurips16::sign_split {
namespace {

__global__ void split_all(const float* x, float* magnitude, std::int32_t* negative, std::int64_t count,
                          float threshold) {
  for (const std::int64_t i : ThreadRange(count)) {
    const Value found = split(x[i], threshold);
    magnitude[i] = found.magnitude;
    negative[i] = found.negative;
  }
}

struct CudaKernel : Kernel<CudaKernel> {
  explicit CudaKernel(Ort::ConstKernelInfo info) : threshold_(info.GetAttribute<float>("threshold")) {}

  void compute(Ort::KernelContext& context) const {
    const Ort::ConstValue x = context.GetInput(0);
    const auto info = x.GetTensorTypeAndShapeInfo();
    const auto count = static_cast<std::int64_t>(info.GetElementCount());
    launch(context, "SignSplit", count, split_all, x.GetTensorData<float>(),
           context.GetOutput(0, info.GetShape()).GetTensorMutableData<float>(),
           context.GetOutput(1, info.GetShape()).GetTensorMutableData<std::int32_t>(), count, threshold_);
  }

 private:
  float threshold_;
};

struct CudaOp : Op<CudaOp, CudaKernel> {
  const char* GetExecutionProviderType() const { return kDeviceProvider; }
};

const Registered<CudaOp> registered;

}  // namespace
}  // namespace neurips16::sign_split
