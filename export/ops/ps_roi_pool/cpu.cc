// PSRoIPool on the CPU, in two steps with the classes side by side, because a RoI's bin has the same pixels in the map of
// every class: one vector then holds a pixel of eight classes, and a bin is a plain sum of vectors.
//
//   1. for each bin of the k x k (and image, and 32 classes): turn its maps [class][pixel] to [pixel][class], which is
//      small enough for the second cache, and take the means of all RoIs into pooled [bin][RoI][class]
//   2. for each RoI: turn [bin][class] to the output's [class][bin]
//
// Only a bin's own pixels are ever added up, so NaN and infinity stay in the bins that hold them.
#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "ps_roi_pool.h"

namespace neurips16::ps_roi_pool {
namespace {

constexpr int kLanes = 8;
constexpr int kMostVectors = 4;  // that are summed at a time: enough registers for them, and the table stays small
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

#define NEURIPS16_INLINE __attribute__((always_inline)) inline

// The bins of all RoIs, sorted by image: one list per row of bins and one per column, so that the tasks of a bin read
// both lists from start to end.
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

NEURIPS16_INLINE Lanes load(const float* from) {
  Lanes value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

NEURIPS16_INLINE void store(float* to, Lanes value) { std::memcpy(to, &value, sizeof value); }

// Rows become columns: pairs of floats, then pairs of pairs, then halves change places.
NEURIPS16_INLINE void transpose(Lanes (&m)[kLanes]) {
  Lanes pairs[kLanes], fours[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    pairs[i] = __builtin_shufflevector(m[i], m[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(m[i], m[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < kLanes; i += 4) {
    for (int half = 0; half < 2; ++half) {
      fours[i + 2 * half] = __builtin_shufflevector(pairs[i + half], pairs[i + half + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      fours[i + 2 * half + 1] =
          __builtin_shufflevector(pairs[i + half], pairs[i + half + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    m[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    m[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// [classes] maps, `stride` apart, to the table [pixel][vectors of classes], from pixel `first` to before `last`.
NEURIPS16_INLINE void classes_last(const float* maps, std::int64_t stride, int classes, std::int64_t first,
                                   std::int64_t last, float* table, int padded) {
  for (int c = 0; c < classes; c += kLanes) {
    const int used = std::min(classes - c, kLanes);
    std::int64_t pixel = first;
    for (; pixel + kLanes <= last; pixel += kLanes) {
      Lanes block[kLanes];
      for (int i = 0; i < kLanes; ++i) block[i] = i < used ? load(maps + (c + i) * stride + pixel) : Lanes{};
      transpose(block);
      for (int i = 0; i < kLanes; ++i) store(table + (pixel + i) * padded + c, block[i]);
    }
    for (; pixel < last; ++pixel) {
      Lanes values{};
      for (int i = 0; i < used; ++i) values[i] = maps[(c + i) * stride + pixel];
      store(table + pixel * padded + c, values);
    }
  }
}

// The means of `count` RoIs' bins over a table of `vectors` vectors a pixel, each RoI's `step` floats after the last's.
template <int vectors>
NEURIPS16_INLINE void means(const float* table, std::int64_t width, const Span* rows, const Span* columns,
                            std::int64_t count, float* pooled, std::int64_t step) {
  constexpr int padded = vectors * kLanes;
  for (std::int64_t at = 0; at < count; ++at, pooled += step) {
    Lanes total[vectors] = {};
    for (int y = rows[at].begin; y < rows[at].end; ++y) {
      // By rows, so that rounding errors grow with the sides of a bin and not with its area.
      Lanes sum[vectors] = {};
      const float* pixel = table + (y * width + columns[at].begin) * padded;
      for (int x = columns[at].begin; x < columns[at].end; ++x, pixel += padded) {
        for (int v = 0; v < vectors; ++v) sum[v] += load(pixel + v * kLanes);
      }
      for (int v = 0; v < vectors; ++v) total[v] += sum[v];
    }
    const int pixels = (rows[at].end - rows[at].begin) * (columns[at].end - columns[at].begin);
    const float divisor = static_cast<float>(std::max(pixels, 1));
    for (int v = 0; v < vectors; ++v) store(pooled + v * kLanes, total[v] / divisor);
  }
}

// One call of the operator, and what each thread does for it.
struct Call {
  const Sizes& sizes;
  const Plan& plan;
  const float* scores;
  float* output;
  float* pooled;  // [bin][position][padded classes]

  std::int64_t cells() const { return static_cast<std::int64_t>(sizes.k) * sizes.k; }
  std::int64_t padded_classes() const { return (sizes.classes + kLanes - 1) / kLanes * kLanes; }
  std::int64_t groups() const { return (sizes.classes + kLanes * kMostVectors - 1) / (kLanes * kMostVectors); }
  std::int64_t first_tasks() const { return sizes.images * cells() * groups(); }

  // Step 1 for one bin, image and group of classes.
  NEURIPS16_INLINE void pool(std::int64_t task) const {
    const std::int64_t group = task % groups(), cell = task / groups() % cells(), image = task / groups() / cells();
    const std::int64_t start = plan.image_start[image], count = plan.image_start[image + 1] - start;
    const Span* rows = plan.rows.data() + cell / sizes.k * sizes.rois + start;
    const Span* columns = plan.columns.data() + cell % sizes.k * sizes.rois + start;
    int top = static_cast<int>(sizes.height), bottom = 0;
    for (std::int64_t at = 0; at < count; ++at) {
      top = std::min(top, rows[at].begin);
      bottom = std::max(bottom, rows[at].end);
    }
    const std::int64_t first_class = group * kLanes * kMostVectors;
    const int classes = static_cast<int>(std::min<std::int64_t>(sizes.classes - first_class, kLanes * kMostVectors));
    const int vectors = (classes + kLanes - 1) / kLanes;

    // Kept by its thread: memory of this size would come from the system, page by page, for every task.
    static thread_local std::vector<float> table;
    const std::size_t needed = static_cast<std::size_t>(sizes.map_size() * vectors * kLanes);
    if (table.size() < needed) table.resize(needed);
    const float* maps = scores + ((image * sizes.classes + first_class) * cells() + cell) * sizes.map_size();
    classes_last(maps, cells() * sizes.map_size(), classes, top * sizes.width, bottom * sizes.width, table.data(),
                 vectors * kLanes);

    float* to = pooled + (cell * sizes.rois + start) * padded_classes() + first_class;
    const auto take = [&](auto known) __attribute__((always_inline)) {
      means<decltype(known)::value>(table.data(), sizes.width, rows, columns, count, to, padded_classes());
    };
    if (vectors == 1) take(std::integral_constant<int, 1>());
    if (vectors == 2) take(std::integral_constant<int, 2>());
    if (vectors == 3) take(std::integral_constant<int, 3>());
    if (vectors == 4) take(std::integral_constant<int, 4>());
    static_assert(kMostVectors == 4);
  }

  // Step 2 for one RoI.
  NEURIPS16_INLINE void write(std::int64_t at) const {
    float* to = output + plan.order[at] * sizes.maps();
    const std::int64_t step = sizes.rois * padded_classes();
    for (std::int64_t c = 0; c < sizes.classes; c += kLanes) {
      const std::int64_t used = std::min<std::int64_t>(sizes.classes - c, kLanes);
      const float* from = pooled + at * padded_classes() + c;
      std::int64_t cell = 0;
      for (; cell + kLanes <= cells(); cell += kLanes) {
        Lanes block[kLanes];
        for (int i = 0; i < kLanes; ++i) block[i] = load(from + (cell + i) * step);
        transpose(block);
        for (int i = 0; i < used; ++i) store(to + (c + i) * cells() + cell, block[i]);
      }
      for (; cell < cells(); ++cell) {
        for (int i = 0; i < used; ++i) to[(c + i) * cells() + cell] = from[cell * step + i];
      }
    }
  }
};

// Both steps, compiled for each kind of processor.
using Step = void (*)(const Call&, std::int64_t);
struct Steps {
  Step pool, write;
};

void pool_baseline(const Call& call, std::int64_t task) { call.pool(task); }
void write_baseline(const Call& call, std::int64_t at) { call.write(at); }

#ifdef __x86_64__
__attribute__((target("avx2"))) void pool_avx2(const Call& call, std::int64_t task) { call.pool(task); }
__attribute__((target("avx2"))) void write_avx2(const Call& call, std::int64_t at) { call.write(at); }
#endif

Steps best_steps() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return {pool_avx2, write_avx2};
#endif
  return {pool_baseline, write_baseline};
}

struct CpuKernel : Kernel<CpuKernel> {
  explicit CpuKernel(Ort::ConstKernelInfo info) : attributes_(info), steps_(best_steps()) {}

  void compute(Ort::KernelContext& context) const {
    const Ort::ConstValue scores = context.GetInput(0);
    const Ort::ConstValue rois = context.GetInput(1);
    const Sizes sizes(scores.GetTensorTypeAndShapeInfo().GetShape(), rois.GetTensorTypeAndShapeInfo().GetShape(),
                      attributes_);
    Ort::UnownedValue output = context.GetOutput(0, sizes.output_shape());
    const Plan plan(sizes, rois.GetTensorData<float>(), attributes_.spatial_scale);
    if (sizes.rois == 0 || sizes.maps() == 0) return;

    Call call{sizes, plan, scores.GetTensorData<float>(), output.GetTensorMutableData<float>(), nullptr};
    const auto pooled = std::make_unique_for_overwrite<float[]>(
        static_cast<std::size_t>(call.cells() * sizes.rois * call.padded_classes()));
    call.pooled = pooled.get();
    parallel_for(context, call.first_tasks(), 1, [&](std::int64_t task) { steps_.pool(call, task); });
    parallel_for(context, sizes.rois, kRoisPerBlock, [&](std::int64_t at) { steps_.write(call, at); });
  }

 private:
  static constexpr std::int64_t kRoisPerBlock = 16;  // what one thread takes at a time

  Attributes attributes_;
  Steps steps_;
};

struct CpuOp : Op<CpuOp, CpuKernel> {
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
};

const Registered<CpuOp> registered;

}  // namespace
}  // namespace neurips16::ps_roi_pool
