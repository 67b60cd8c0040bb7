// What Triton calls. Each entry gets its object from Triton, and hands back an error instead of an exception.
#include <memory>
#include <string>

#include "backend.h"
#include "error.h"
#include "instance.h"
#include "memory_trim.h"
#include "model.h"

#define ENTRY extern "C" __attribute__((visibility("default"))) TRITONSERVER_Error*

namespace {

using namespace neurips16;

constexpr std::uint32_t kApiMajor = 1;
constexpr std::uint32_t kApiMinor = 19;  // Triton 2.51's: the oldest that has all that is called

BackendOptions options_of(TRITONBACKEND_Backend* backend) {
  TRITONSERVER_Message* message = nullptr;  // belongs to the backend
  check(TRITONBACKEND_BackendConfig(backend, &message));
  const char* base = nullptr;
  std::size_t size = 0;
  check(TRITONSERVER_MessageSerializeToJson(message, &base, &size));
  return BackendOptions::from(Json::parse({base, size}));
}

Backend& backend_of(TRITONBACKEND_Model* model) {
  TRITONBACKEND_Backend* backend = nullptr;
  void* state = nullptr;
  check(TRITONBACKEND_ModelBackend(model, &backend));
  check(TRITONBACKEND_BackendState(backend, &state));
  return *static_cast<Backend*>(state);
}

Model& model_of(TRITONBACKEND_ModelInstance* instance) {
  TRITONBACKEND_Model* model = nullptr;
  void* state = nullptr;
  check(TRITONBACKEND_ModelInstanceModel(instance, &model));
  check(TRITONBACKEND_ModelState(model, &state));
  return *static_cast<Model*>(state);
}

}  // namespace

ENTRY TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend) {
  return as_error([&] {
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    check(TRITONBACKEND_ApiVersion(&major, &minor));
    if (major != kApiMajor || minor < kApiMinor) {
      throw Error(TRITONSERVER_ERROR_UNSUPPORTED,
                  "this backend speaks interface 1.19 or a later 1.x of Triton, the server " + std::to_string(major) +
                      "." + std::to_string(minor));
    }
    auto made = std::make_unique<Backend>(options_of(backend));
    check(TRITONBACKEND_BackendSetState(backend, made.get()));
    made.release();  // until TRITONBACKEND_Finalize
  });
}

ENTRY TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend) {
  return as_error([&] {
    void* state = nullptr;
    check(TRITONBACKEND_BackendState(backend, &state));
    delete static_cast<Backend*>(state);
  });
}

ENTRY TRITONBACKEND_GetBackendAttribute(TRITONBACKEND_Backend*, TRITONBACKEND_BackendAttribute* attribute) {
  return TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(attribute, true);
}

ENTRY TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) {
  return as_error([&] {
    auto made = std::make_unique<Model>(backend_of(model), model);
    check(TRITONBACKEND_ModelSetState(model, made.get()));
    made.release();  // until TRITONBACKEND_ModelFinalize
  });
}

ENTRY TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) {
  return as_error([&] {
    void* state = nullptr;
    check(TRITONBACKEND_ModelState(model, &state));
    delete static_cast<Model*>(state);
    give_memory_back();
  });
}

ENTRY TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance) {
  return as_error([&] {
    auto made = std::make_unique<Instance>(model_of(instance), instance);
    check(TRITONBACKEND_ModelInstanceSetState(instance, made.get()));
    made.release();  // until TRITONBACKEND_ModelInstanceFinalize
  });
}

ENTRY TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance) {
  return as_error([&] {
    void* state = nullptr;
    check(TRITONBACKEND_ModelInstanceState(instance, &state));
    delete static_cast<Instance*>(state);
  });
}

// Takes the requests in any case: whatever goes wrong is answered to them.
ENTRY TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests,
                                         const std::uint32_t count) {
  void* state = nullptr;
  if (TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceState(instance, &state)) return error;
  return as_error([&] { static_cast<Instance*>(state)->execute({requests, count}); });
}
