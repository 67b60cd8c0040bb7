// Copies between kinds of memory, and sizes of tensors.
#pragma once

#include <cstdint>
#include <optional>

#include "model_config.h"
#include "triton_api.h"

namespace neurips16 {

// A piece of memory, on the host or on a GPU.
struct Place {
  void* data = nullptr;
  TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
  std::int64_t id = 0;

  bool on_gpu() const { return type == TRITONSERVER_MEMORY_GPU; }
};

// Throws Error where one side is on a GPU and this machine has no driver for it.
void copy(const Place& to, const Place& from, std::size_t byte_size);

// Numbers of elements, and bytes of a tensor; none where it is negative or more than 64 bits can count.
std::optional<std::int64_t> element_count(const Shape& shape);
std::optional<std::uint64_t> byte_count(const Shape& shape, std::size_t element_size);

}  // namespace neurips16
