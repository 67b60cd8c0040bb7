// PSRoIPool: what its CPU and its CUDA kernel share: attributes, shapes, and the edges of the bins.
#pragma once

#include <math.h>

#include <string>
#include <vector>

#include "../custom_op.h"

namespace neurips16::ps_roi_pool {

inline constexpr int kRoiValues = 5;           // batch index, x0, y0, x1, y1
inline constexpr float kSmallestSize = 0.1f;   // feature pixels
inline constexpr std::int64_t kLongestSide = 1 << 24;  // pixels of a map: float counts no further

// A RoI along one axis, and one of its bins, in feature pixels. As in the authors' Caffe layer, in float32: corners are
// rounded half away from zero, the last pixel counts as inside, bins grow to whole pixels and so overlap. The library
// is compiled without fused multiply-add, which could round an edge to the other side of a pixel.
struct Extent {
  float begin;
  float bin_size;
};

struct Span {
  int begin;
  int end;  // one past the last; never below begin
};

NEURIPS16_HOST_DEVICE inline Extent extent(float low, float high, float spatial_scale, int k) {
  const float begin = roundf(low) * spatial_scale;
  const float end = (roundf(high) + 1.0f) * spatial_scale;
  return {begin, fmaxf(end - begin, kSmallestSize) / static_cast<float>(k)};
}

NEURIPS16_HOST_DEVICE inline int clip(float value, int limit) {
  if (!(value > 0.0f)) return 0;  // NaN too: coordinates so large that they overflow
  return value < static_cast<float>(limit) ? static_cast<int>(value) : limit;
}

NEURIPS16_HOST_DEVICE inline Span bin(const Extent& roi, int index, int limit) {
  const int begin = clip(floorf(static_cast<float>(index) * roi.bin_size + roi.begin), limit);
  const int end = clip(ceilf(static_cast<float>(index + 1) * roi.bin_size + roi.begin), limit);
  return {begin, end < begin ? begin : end};
}

struct Attributes {
  float spatial_scale;
  std::int64_t group_size;

  Attributes(float scale, std::int64_t k) : spatial_scale(scale), group_size(k) {
    if (!(spatial_scale > 0.0f)) {
      refuse("PSRoIPool: spatial_scale is feature pixels per image pixel and above 0, got " + std::to_string(scale));
    }
    if (group_size < 1 || group_size > 1024) {
      refuse("PSRoIPool: group_size is the number of bins per side, 1 to 1024, got " + std::to_string(k));
    }
  }
  explicit Attributes(Ort::ConstKernelInfo info)
      : Attributes(info.GetAttribute<float>("spatial_scale"), info.GetAttribute<std::int64_t>("group_size")) {}
};

// The sizes of one call, checked.
struct Sizes {
  std::int64_t images, classes, height, width, rois;
  int k;

  std::int64_t maps() const { return classes * k * k; }  // score maps of one image
  std::int64_t map_size() const { return height * width; }
  std::vector<std::int64_t> output_shape() const { return {rois, classes, k, k}; }

  Sizes(const std::vector<std::int64_t>& scores, const std::vector<std::int64_t>& roi_shape,
        const Attributes& attributes)
      : k(static_cast<int>(attributes.group_size)) {
    if (scores.size() != 4) refuse("PSRoIPool: scores must be [N, C*k*k, H, W], got " + text(scores));
    if (roi_shape.size() != 2 || roi_shape[1] != kRoiValues) {
      refuse("PSRoIPool: rois must be [R, 5] (batch index, x0, y0, x1, y1), got " + text(roi_shape));
    }
    if (scores[1] % (attributes.group_size * attributes.group_size) != 0) {
      refuse("PSRoIPool: scores have " + std::to_string(scores[1]) + " channels, which " + std::to_string(k) + " x " +
             std::to_string(k) + " bins do not divide evenly");
    }
    if (scores[2] > kLongestSide || scores[3] > kLongestSide) {
      refuse("PSRoIPool: maps have at most " + std::to_string(kLongestSide) + " pixels a side, got " + text(scores));
    }
    images = scores[0];
    classes = scores[1] / k / k;
    height = scores[2];
    width = scores[3];
    rois = roi_shape[0];
  }
};

inline bool names_image(float batch_index, std::int64_t images) {
  return batch_index > -1.0f && batch_index < static_cast<float>(images);  // the index is truncated, as in Caffe
}

template <typename Self, typename TKernel>
struct Op : CustomOp<Self, TKernel> {
  const char* GetName() const { return "PSRoIPool"; }
  std::size_t GetInputTypeCount() const { return 2; }
  std::size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetInputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  ONNXTensorElementDataType GetOutputType(std::size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }

  static void infer_shape(ShapeInference& context) {
    const auto& scores = context.GetInputShape(0);
    const auto& rois = context.GetInputShape(1);
    if (scores.size() != 4 || rois.size() != 2) return;  // unknown as yet; a wrong rank is refused when it runs
    const Attributes attributes(context.GetAttrFloat("spatial_scale"), context.GetAttrInt("group_size"));
    const std::int64_t k = attributes.group_size;
    ShapeInference::Shape shape{rois[0], ShapeInference::kUnknown, k, k};
    if (scores[1].IsInt() && scores[1].AsInt() > 0) shape[1] = scores[1].AsInt() / (k * k);
    context.set_output(0, shape);
  }
};

}  // namespace neurips16::ps_roi_pool
