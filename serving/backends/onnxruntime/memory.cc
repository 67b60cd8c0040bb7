#include "memory.h"

#include <dlfcn.h>

#include <cstring>

#include "error.h"

namespace neurips16 {
namespace {

// The few calls of the CUDA driver that a copy needs. The driver is opened when the first GPU address is met: neither
// its headers nor its library are needed to build, or to run on a machine without a GPU.
class CudaDriver {
 public:
  static const CudaDriver& get() {
    static const CudaDriver driver;
    return driver;
  }

  void copy(void* to, const void* from, std::size_t byte_size, std::int64_t device) const {
    void* context = nullptr;
    int number = 0;
    // ONNX Runtime works in the device's primary context; this thread has to be in it, too.
    if (device_get_(&number, static_cast<int>(device)) != 0 || retain_(&context, number) != 0 || set_(context) != 0) {
      throw Error(TRITONSERVER_ERROR_INTERNAL, "GPU " + std::to_string(device) + " cannot be used");
    }
    const int status = copy_(reinterpret_cast<std::uintptr_t>(to), reinterpret_cast<std::uintptr_t>(from), byte_size);
    release_(number);
    if (status != 0) {
      throw Error(TRITONSERVER_ERROR_INTERNAL, "a copy of GPU memory failed with status " + std::to_string(status));
    }
  }

 private:
  CudaDriver() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      throw Error(TRITONSERVER_ERROR_UNSUPPORTED, "a tensor is in GPU memory, and this machine has no libcuda.so.1");
    }
    const auto find = [&](const char* name, auto& function) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr) throw Error(TRITONSERVER_ERROR_INTERNAL, std::string("libcuda.so.1 lacks ") + name);
    };
    find("cuDeviceGet", device_get_);
    find("cuDevicePrimaryCtxRetain", retain_);
    find("cuDevicePrimaryCtxRelease_v2", release_);
    find("cuCtxSetCurrent", set_);
    find("cuMemcpy", copy_);
  }

  int (*device_get_)(int*, int) = nullptr;
  int (*retain_)(void**, int) = nullptr;
  int (*release_)(int) = nullptr;
  int (*set_)(void*) = nullptr;
  int (*copy_)(std::uintptr_t, std::uintptr_t, std::size_t) = nullptr;  // between any two addresses
};

}  // namespace

void copy(const Place& to, const Place& from, std::size_t byte_size) {
  if (byte_size == 0) return;
  if (!to.on_gpu() && !from.on_gpu()) {
    std::memcpy(to.data, from.data, byte_size);
  } else {
    CudaDriver::get().copy(to.data, from.data, byte_size, to.on_gpu() ? to.id : from.id);
  }
}

std::optional<std::int64_t> element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      empty = true;  // but the others must be countable all the same
    } else if (__builtin_mul_overflow(count, dim, &count)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : count;
}

std::optional<std::uint64_t> byte_count(const Shape& shape, std::size_t element_size) {
  const auto count = element_count(shape);
  std::uint64_t bytes = 0;
  if (!count || __builtin_mul_overflow(static_cast<std::uint64_t>(*count), element_size, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace neurips16
