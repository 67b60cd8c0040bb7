// SignSplit on the CPU.
#include "sign_split.h"

namespace neurips16::sign_split {
namespace {

struct CpuKernel : Kernel<CpuKernel> {
  explicit CpuKernel(Ort::ConstKernelInfo info) : threshold_(info.GetAttribute<float>("threshold")) {}

  void compute(Ort::KernelContext& context) const {
    const Ort::ConstValue x = context.GetInput(0);
    const auto info = x.GetTensorTypeAndShapeInfo();
    const float* values = x.GetTensorData<float>();
    float* magnitude = context.GetOutput(0, info.GetShape()).GetTensorMutableData<float>();
    std::int32_t* negative = context.GetOutput(1, info.GetShape()).GetTensorMutableData<std::int32_t>();
    parallel_for(context, static_cast<std::int64_t>(info.GetElementCount()), 4, [&](std::int64_t i) {
      const Value found = split(values[i], threshold_);
      magnitude[i] = found.magnitude;
      negative[i] = found.negative;
    });
  }

 private:
  float threshold_;
};

struct CpuOp : Op<CpuOp, CpuKernel> {
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
};

const Registered<CpuOp> registered;

}  // namespace
}  // namespace neurips16::sign_split
