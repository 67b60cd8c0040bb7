// PSRoIPool on the CPU. Work is divided by score map: each is read by one thread only, and stays in its nearest cache
// while the bins of all RoIs are taken from it.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "ps_roi_pool.h"

namespace neurips16::ps_roi_pool {
namespace {

constexpr int kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using LaneBits = std::int32_t __attribute__((vector_size(kLanes * sizeof(float))));

// Neighbouring maps write to neighbouring outputs: a block of them fills a cache line of the output of each RoI.
constexpr std::int64_t kMapsPerBlock = 16;

// The bins of all RoIs, sorted by image: one list per row of bins and one per column, so that a map, which belongs to
// one row and one column, reads both lists from start to end.
struct Plan {
  std::vector<std::int64_t> order;        // position -> RoI
  std::vector<std::int64_t> image_start;  // image -> first position; one more than there are images
  std::vector<Span> rows, columns;        // [k][position]

  Plan(const Sizes& sizes, const float* rois, float spatial_scale)
      : order(sizes.rois), image_start(sizes.images + 1), rows(sizes.k * sizes.rois), columns(sizes.k * sizes.rois) {
    check(sizes, rois);
    const auto image_of = [&](std::int64_t roi) { return static_cast<std::int64_t>(rois[roi * kRoiValues]); };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return image_of(a) < image_of(b); });
    for (const std::int64_t roi : order) ++image_start[image_of(roi) + 1];
    std::partial_sum(image_start.begin(), image_start.end(), image_start.begin());

    for (std::int64_t at = 0; at < sizes.rois; ++at) {
      const float* roi = rois + order[at] * kRoiValues;
      const Extent x = extent(roi[1], roi[3], spatial_scale, sizes.k);
      const Extent y = extent(roi[2], roi[4], spatial_scale, sizes.k);
      for (int i = 0; i < sizes.k; ++i) {
        rows[i * sizes.rois + at] = bin(y, i, static_cast<int>(sizes.height));
        columns[i * sizes.rois + at] = bin(x, i, static_cast<int>(sizes.width));
      }
    }
  }

 private:
  static void check(const Sizes& sizes, const float* rois) {
    for (std::int64_t r = 0; r < sizes.rois; ++r) {
      const float* roi = rois + r * kRoiValues;
      const bool finite = std::all_of(roi, roi + kRoiValues, [](float value) { return isfinite(value); });
      if (finite && names_image(roi[0], sizes.images)) continue;
      std::string values;
      for (int i = 0; i < kRoiValues; ++i) values += (i == 0 ? "[" : ", ") + std::to_string(roi[i]);
      refuse("PSRoIPool: RoI " + std::to_string(r) + " is " + values +
             "]: its values must be finite and its batch index in 0.." + std::to_string(sizes.images - 1));
    }
  }
};

// Keeps the first `count` lanes.
struct LaneMasks {
  LaneBits first[kLanes + 1];
  LaneMasks() {
    for (int count = 0; count <= kLanes; ++count) {
      for (int lane = 0; lane < kLanes; ++lane) first[count][lane] = lane < count ? -1 : 0;
    }
  }
};
const LaneMasks kMasks;

// The mean of one map over one bin. Reads up to kLanes - 1 values past the bin's last column, and drops them.
__attribute__((always_inline)) inline float mean(const float* map, std::int64_t width, Span rows, Span columns) {
  Lanes total{};
  for (int x = columns.begin; x < columns.end; x += kLanes) {
    Lanes column_sums{};
    const float* row = map + rows.begin * width + x;
    for (int y = rows.begin; y < rows.end; ++y, row += width) {
      Lanes values;
      std::memcpy(&values, row, sizeof values);
      column_sums += values;
    }
    // By bits, not by a product: what is dropped may be NaN.
    const LaneBits kept = reinterpret_cast<LaneBits>(column_sums) & kMasks.first[std::min(columns.end - x, kLanes)];
    total += reinterpret_cast<Lanes>(kept);
  }
  const float sum = ((total[0] + total[4]) + (total[2] + total[6])) + ((total[1] + total[5]) + (total[3] + total[7]));
  const int count = (rows.end - rows.begin) * (columns.end - columns.begin);
  return count > 0 ? sum / static_cast<float>(count) : 0.0f;
}

// Means of `count` bins of one map, each into its RoI's output.
using MeanOfBins = void (*)(const float* map, std::int64_t width, const Span* rows, const Span* columns,
                            const std::int64_t* order, std::int64_t count, float* output, std::int64_t stride);

__attribute__((always_inline)) inline void mean_of_bins(const float* map, std::int64_t width, const Span* rows,
                                                        const Span* columns, const std::int64_t* order,
                                                        std::int64_t count, float* output, std::int64_t stride) {
  for (std::int64_t i = 0; i < count; ++i) output[order[i] * stride] = mean(map, width, rows[i], columns[i]);
}

void mean_of_bins_baseline(const float* map, std::int64_t width, const Span* rows, const Span* columns,
                           const std::int64_t* order, std::int64_t count, float* output, std::int64_t stride) {
  mean_of_bins(map, width, rows, columns, order, count, output, stride);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) void mean_of_bins_avx2(const float* map, std::int64_t width, const Span* rows,
                                                       const Span* columns, const std::int64_t* order,
                                                       std::int64_t count, float* output, std::int64_t stride) {
  mean_of_bins(map, width, rows, columns, order, count, output, stride);
}
#endif

MeanOfBins best_mean_of_bins() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return mean_of_bins_avx2;
#endif
  return mean_of_bins_baseline;
}

// One call of the operator, and what each thread does for it.
struct Call {
  const Sizes& sizes;
  const Plan& plan;
  const float* scores;
  float* output;
  std::int64_t maps_per_block;
  MeanOfBins mean_of_bins;

  void pool_block(std::int64_t block) const {
    const std::int64_t first = block * maps_per_block;
    const std::int64_t last = std::min(first + maps_per_block, sizes.maps());
    std::vector<float> padded;
    for (std::int64_t map = first; map < last; ++map) {
      for (std::int64_t image = 0; image < sizes.images; ++image) pool_map(image, map, padded);
    }
  }

 private:
  void pool_map(std::int64_t image, std::int64_t map, std::vector<float>& padded) const {
    const std::int64_t start = plan.image_start[image];
    const std::int64_t count = plan.image_start[image + 1] - start;
    if (count == 0) return;
    const float* values = scores + (image * sizes.maps() + map) * sizes.map_size();
    const float* scores_end = scores + sizes.images * sizes.maps() * sizes.map_size();
    if (scores_end - values < sizes.map_size() + kLanes) {  // reading past this map would leave the tensor
      padded.assign(sizes.map_size() + kLanes, 0.0f);
      std::copy_n(values, sizes.map_size(), padded.begin());
      values = padded.data();
    }
    const std::int64_t cell = map % (sizes.k * sizes.k);  // its bin: row cell / k, column cell % k
    mean_of_bins(values, sizes.width, plan.rows.data() + cell / sizes.k * sizes.rois + start,
                 plan.columns.data() + cell % sizes.k * sizes.rois + start, plan.order.data() + start, count,
                 output + map, sizes.maps());
  }
};

struct CpuKernel : Kernel<CpuKernel> {
  explicit CpuKernel(Ort::ConstKernelInfo info) : attributes_(info), mean_of_bins_(best_mean_of_bins()) {}

  void compute(Ort::KernelContext& context) const {
    const Ort::ConstValue scores = context.GetInput(0);
    const Ort::ConstValue rois = context.GetInput(1);
    const Sizes sizes(scores.GetTensorTypeAndShapeInfo().GetShape(), rois.GetTensorTypeAndShapeInfo().GetShape(),
                      attributes_);
    Ort::UnownedValue output = context.GetOutput(0, sizes.output_shape());
    const Plan plan(sizes, rois.GetTensorData<float>(), attributes_.spatial_scale);
    if (sizes.rois == 0 || sizes.maps() == 0) return;

    // Blocks small enough that every thread gets some.
    const std::int64_t per_block = std::clamp<std::int64_t>(sizes.maps() / 64, 1, kMapsPerBlock);
    Call call{sizes,     plan,         scores.GetTensorData<float>(), output.GetTensorMutableData<float>(),
              per_block, mean_of_bins_};
    context.ParallelFor([](void* data, std::size_t block) { static_cast<const Call*>(data)->pool_block(block); },
                        (sizes.maps() + per_block - 1) / per_block, 0, &call);
  }

 private:
  Attributes attributes_;
  MeanOfBins mean_of_bins_;
};

struct CpuOp : Op<CpuOp, CpuKernel> {
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
};

const Registered<CpuOp> registered;

}  // namespace
}  // namespace neurips16::ps_roi_pool
