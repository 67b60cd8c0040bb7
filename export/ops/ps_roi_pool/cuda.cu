// PSRoIPool on the GPU: one thread per output value, launched on the stream that ONNX Runtime computes on.
//
// RoIs live in the GPU's memory, and checking them on the host would stop the stream: the output of a RoI that the CPU
// kernel would refuse (not finite, or of no image of the batch) is NaN here.
#include "../cuda_launch.h"
#include "ps_roi_pool.h"

namespace neurips16::ps_roi_pool {
namespace {

__global__ void pool(const float* __restrict__ scores, const float* __restrict__ rois, float* __restrict__ output,
                     std::int64_t count, std::int64_t images, std::int64_t classes, int height, int width, int k,
                     float spatial_scale) {
  for (const std::int64_t i : ThreadRange(count)) {
    const std::int64_t maps = classes * k * k;
    const std::int64_t map = i % maps;  // outputs of one RoI lie as the score maps of one image do
    const int row = static_cast<int>(map / k % k);
    const int column = static_cast<int>(map % k);
    const float* roi = rois + i / maps * kRoiValues;
    const bool finite = isfinite(roi[1]) && isfinite(roi[2]) && isfinite(roi[3]) && isfinite(roi[4]);
    if (!finite || !(roi[0] > -1.0f && roi[0] < static_cast<float>(images))) {
      output[i] = nanf("");
      continue;
    }
    const Span xs = bin(extent(roi[1], roi[3], spatial_scale, k), column, width);
    const Span ys = bin(extent(roi[2], roi[4], spatial_scale, k), row, height);
    const float* values = scores + (static_cast<std::int64_t>(roi[0]) * maps + map) * height * width;
    float sum = 0.0f;
    for (int y = ys.begin; y < ys.end; ++y) {
      for (int x = xs.begin; x < xs.end; ++x) sum += values[static_cast<std::int64_t>(y) * width + x];
    }
    const int pixels = (ys.end - ys.begin) * (xs.end - xs.begin);
    output[i] = pixels > 0 ? sum / static_cast<float>(pixels) : 0.0f;
  }
}

struct CudaKernel : Kernel<CudaKernel> {
  explicit CudaKernel(Ort::ConstKernelInfo info) : attributes_(info) {}

  void compute(Ort::KernelContext& context) const {
    const Ort::ConstValue scores = context.GetInput(0);
    const Ort::ConstValue rois = context.GetInput(1);
    const Sizes sizes(scores.GetTensorTypeAndShapeInfo().GetShape(), rois.GetTensorTypeAndShapeInfo().GetShape(),
                      attributes_);
    Ort::UnownedValue output = context.GetOutput(0, sizes.output_shape());
    const std::int64_t count = sizes.rois * sizes.maps();
    launch(context, "PSRoIPool", count, pool, scores.GetTensorData<float>(), rois.GetTensorData<float>(),
           output.GetTensorMutableData<float>(), count, sizes.images, sizes.classes, static_cast<int>(sizes.height),
           static_cast<int>(sizes.width), sizes.k, attributes_.spatial_scale);
  }

 private:
  Attributes attributes_;
};

struct CudaOp : Op<CudaOp, CudaKernel> {
  const char* GetExecutionProviderType() const { return kDeviceProvider; }
};

const Registered<CudaOp> registered;

}  // namespace
}  // namespace neurips16::ps_roi_pool
