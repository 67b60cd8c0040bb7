// An operator of nobody's that ends the process where its input is negative, for the tests of what comes after that.
#include <csignal>

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

namespace {

struct Kernel {
  void Compute(OrtKernelContext* raw) {
    Ort::KernelContext context(raw);
    const auto input = context.GetInput(0);
    const auto info = input.GetTensorTypeAndShapeInfo();
    const auto shape = info.GetShape();
    auto output = context.GetOutput(0, shape.data(), shape.size());
    const float* from = input.GetTensorData<float>();
    float* to = output.GetTensorMutableData<float>();
    for (std::size_t i = 0; i < info.GetElementCount(); ++i) {
      if (from[i] < 0) raise(SIGSEGV);
      to[i] = from[i];
    }
  }
};

struct Op : Ort::CustomOpBase<Op, Kernel> {
  void* CreateKernel(const OrtApi&, const OrtKernelInfo*) const { return new Kernel; }
  const char* GetName() const { return "CrashIfNegative"; }
  std::size_t GetInputTypeCount() const { return 1; }
  std::size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetInputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  ONNXTensorElementDataType GetOutputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
};

}  // namespace

extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  Ort::InitApi(base->GetApi(17));
  static const Op op;
  static Ort::CustomOpDomain domain = [] {
    Ort::CustomOpDomain made("tests");
    made.Add(&op);
    return made;
  }();
  return Ort::GetApi().AddCustomOpDomain(options, domain);
}
