// How an operator's CUDA kernel is launched: `count` values, one thread each, and several where there are very many.
//
// nvcc makes it a launch on the stream that ONNX Runtime computes on. A C++ compiler makes it an emulation, blocks and
// threads in loops on the CPU, in a library that only tests build: so the arithmetic of a kernel's indices is held to
// the operator's reference where no GPU is. Threads of a block cannot wait for one another there (no __syncthreads).
#pragma once

#include "custom_op.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#define __global__
struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};
inline thread_local Dim3 gridDim, blockDim, blockIdx, threadIdx;
#endif

namespace neurips16 {

#ifdef __CUDACC__
inline constexpr const char* kDeviceProvider = "CUDAExecutionProvider";
inline constexpr unsigned kThreadsPerBlock = 256;
inline constexpr std::int64_t kMostBlocks = 1 << 16;  // beyond, each thread computes several values
#else
inline constexpr const char* kDeviceProvider = "CPUExecutionProvider";
inline constexpr unsigned kThreadsPerBlock = 8;
inline constexpr std::int64_t kMostBlocks = 5;  // so few that most tests have several values for a thread
#endif

// The values that this thread computes: `for (std::int64_t i : ThreadRange(count))` in a kernel.
struct ThreadRange {
  struct Place {
    std::int64_t value, step;
    NEURIPS16_HOST_DEVICE std::int64_t operator*() const { return value; }
    NEURIPS16_HOST_DEVICE void operator++() { value += step; }
    NEURIPS16_HOST_DEVICE bool operator!=(const Place& end) const { return value < end.value; }
  };
  std::int64_t count;

#ifdef __CUDACC__
  __device__
#endif
  Place begin() const {
    return {static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
            static_cast<std::int64_t>(gridDim.x) * blockDim.x};
  }
  NEURIPS16_HOST_DEVICE Place end() const { return {count, 0}; }
  NEURIPS16_HOST_DEVICE explicit ThreadRange(std::int64_t values) : count(values) {}
};

// Launches `kernel(arguments...)` with threads for `count` values; nothing where there are none.
template <typename... Parameters, typename... Arguments>
void launch(Ort::KernelContext& context, const char* op, std::int64_t count, void (*kernel)(Parameters...),
            Arguments... arguments) {
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>(std::min((count + kThreadsPerBlock - 1) / kThreadsPerBlock, kMostBlocks));
#ifdef __CUDACC__
  const auto stream = static_cast<cudaStream_t>(context.GetGPUComputeStream());
  kernel<<<blocks, kThreadsPerBlock, 0, stream>>>(arguments...);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw Ort::Exception(std::string(op) + " on CUDA did not start: " + cudaGetErrorString(error), ORT_EP_FAIL);
  }
#else
  static_cast<void>(context);
  static_cast<void>(op);
  gridDim.x = blocks;
  blockDim.x = kThreadsPerBlock;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    for (threadIdx.x = 0; threadIdx.x < kThreadsPerBlock; ++threadIdx.x) kernel(arguments...);
  }
#endif
}

}  // namespace neurips16
