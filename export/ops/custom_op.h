// What every operator of the library is made of: registration, and the border between C++ exceptions and ONNX Runtime.
//
// An operator registers itself: a file that ends with `const Registered<MyOp> registered;` is all that is needed. The
// library is not linked to libonnxruntime: the API comes from the OrtApiBase that RegisterCustomOps is given.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#undef ORT_API_MANUAL_INIT

// On what both kernels of an operator compute with.
#ifdef __CUDACC__
#define NEURIPS16_HOST_DEVICE __host__ __device__
#else
#define NEURIPS16_HOST_DEVICE
#endif

namespace neurips16 {

inline constexpr const char* kDomain = "neurips16";

// The oldest API that has all the kernels call: ParallelFor and shape inference came with ONNX Runtime 1.17.
inline constexpr std::uint32_t kOrtApiVersion = 17;

// The operators of this library, in the order in which their files were initialised.
std::vector<const OrtCustomOp*>& registry();

template <typename Op>
struct Registered {
  Registered() {
    static const Op op;
    registry().push_back(&op);
  }
};

// Runs `body`, and turns what it throws into the status that ONNX Runtime expects at its C interface.
template <typename Body>
OrtStatus* as_status(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Ort::Exception& error) {
    return Ort::Status(error).release();
  } catch (const std::exception& error) {
    return Ort::Status(error.what(), ORT_RUNTIME_EXCEPTION).release();
  }
}

[[noreturn]] inline void refuse(std::string what) { throw Ort::Exception(std::move(what), ORT_INVALID_ARGUMENT); }

inline std::string text(const std::vector<std::int64_t>& shape) {
  std::string out;
  for (const std::int64_t dim : shape) out += (out.empty() ? "[" : ", ") + std::to_string(dim);
  return out.empty() ? "[]" : out + "]";
}

// Runs `body(task)` for every task below `tasks`, `per_block` of them at a time on one of the session's threads.
template <typename Body>
void parallel_for(Ort::KernelContext& context, std::int64_t tasks, std::int64_t per_block, const Body& body) {
  struct Work {
    const Body& body;
    std::int64_t tasks, per_block;
  } work{body, tasks, per_block};
  context.ParallelFor(
      [](void* data, std::size_t block) {
        const Work& mine = *static_cast<const Work*>(data);
        const std::int64_t first = static_cast<std::int64_t>(block) * mine.per_block;
        const std::int64_t last = std::min(first + mine.per_block, mine.tasks);
        for (std::int64_t task = first; task < last; ++task) mine.body(task);
      },
      static_cast<std::size_t>((tasks + per_block - 1) / per_block), 0, &work);
}

// A kernel implements `void compute(Ort::KernelContext&)`.
template <typename Self>
struct Kernel {
  OrtStatus* ComputeV2(OrtKernelContext* raw) noexcept {
    return as_status([&] {
      Ort::KernelContext context(raw);
      static_cast<Self*>(this)->compute(context);
    });
  }
};

// The shapes of a node's inputs, and a way to state those of its outputs. The headers' own SetOutputShape writes -2 for
// a named dimension, which later releases of ONNX Runtime refuse (and then go on without any shape).
class ShapeInference : public Ort::ShapeInferContext {
 public:
  static constexpr std::int64_t kUnknown = -1;  // a dimension without a length and without a name

  explicit ShapeInference(OrtShapeInferContext* raw) : Ort::ShapeInferContext(&Ort::GetApi(), raw), raw_(raw) {}

  // Says nothing where a dimension is unknown: ONNX Runtime would take -1 for its length, and a made-up name for a
  // promise that all dimensions of that name are equal.
  void set_output(std::size_t index, const Shape& shape,
                  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
    std::vector<std::int64_t> lengths;
    std::vector<const char*> names;
    for (const SymbolicInteger& dim : shape) {
      if (dim.IsInt() && dim.AsInt() < 0) return;
      lengths.push_back(dim.IsInt() ? dim.AsInt() : -1);
      names.push_back(dim.IsInt() ? "" : dim.AsSym());
    }
    const OrtApi& api = Ort::GetApi();
    OrtTensorTypeAndShapeInfo* made = nullptr;
    Ort::ThrowOnError(api.CreateTensorTypeAndShapeInfo(&made));
    const Ort::TensorTypeAndShapeInfo info(made);  // releases it
    Ort::ThrowOnError(api.SetTensorElementType(made, type));
    Ort::ThrowOnError(api.SetDimensions(made, lengths.data(), lengths.size()));
    Ort::ThrowOnError(api.SetSymbolicDimensions(made, names.data(), names.size()));
    Ort::ThrowOnError(api.ShapeInferContext_SetOutputTypeShape(raw_, index, made));
  }

 private:
  OrtShapeInferContext* raw_;
};

// An operator implements the name and types of Ort::CustomOpBase and `static void infer_shape(ShapeInference&)`.
template <typename Op, typename TKernel>
struct CustomOp : Ort::CustomOpBase<Op, TKernel, /*WithStatus=*/true> {
  CustomOp() {
    OrtCustomOp::version = kOrtApiVersion;  // not that of the headers: an older ONNX Runtime would refuse it
    OrtCustomOp::InferOutputShapeFn = [](const OrtCustomOp*, OrtShapeInferContext* raw) -> OrtStatus* {
      return as_status([&] {
        ShapeInference context(raw);
        Op::infer_shape(context);
      });
    };
  }

  OrtStatus* CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const noexcept {
    return as_status([&] { *kernel = new TKernel(Ort::ConstKernelInfo(info)); });
  }
};

}  // namespace neurips16
