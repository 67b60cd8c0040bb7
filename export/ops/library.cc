// The library's only exported symbol: ONNX Runtime calls it when a session registers the library.
#include <cstring>
#include <memory>
#include <string>

#include "custom_op.h"

namespace neurips16 {

std::vector<const OrtCustomOp*>& registry() {
  static std::vector<const OrtCustomOp*> ops;  // made at first use: operators register before main, in any order
  return ops;
}

namespace {

std::string provider_of(const OrtCustomOp& op) {
  const char* provider = op.GetExecutionProviderType(&op);
  return provider == nullptr ? "CPUExecutionProvider" : provider;
}

void refuse_duplicates() {
  const auto& ops = registry();
  for (std::size_t i = 0; i < ops.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const char* name = ops[i]->GetName(ops[i]);
      if (std::strcmp(name, ops[j]->GetName(ops[j])) == 0 && provider_of(*ops[i]) == provider_of(*ops[j])) {
        refuse(std::string(kDomain) + "::" + name + " is registered twice for the " + provider_of(*ops[i]));
      }
    }
  }
}

// One domain for all sessions: ONNX Runtime keeps only the pointer.
OrtCustomOpDomain* domain() {
  static const Ort::CustomOpDomain shared = [] {
    refuse_duplicates();
    Ort::CustomOpDomain made(kDomain);
    for (const OrtCustomOp* op : registry()) made.Add(op);
    return made;
  }();
  return shared;
}

}  // namespace
}  // namespace neurips16

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                                const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(neurips16::kOrtApiVersion);
  if (api == nullptr) {  // every release has the first version of the API, which is enough to say what is wrong
    const std::string text = "libneurips16_ops.so needs ONNX Runtime 1." + std::to_string(neurips16::kOrtApiVersion) +
                             " or later, this is " + base->GetVersionString() +
                             ": update it, or run the model without the library (its function bodies need none)";
    return base->GetApi(1)->CreateStatus(ORT_NOT_IMPLEMENTED, text.c_str());
  }
  Ort::InitApi(api);
  return neurips16::as_status([&] { Ort::ThrowOnError(api->AddCustomOpDomain(options, neurips16::domain())); });
}
