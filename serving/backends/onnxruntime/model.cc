#include "model.h"

#include <algorithm>
#include <memory>
#include <regex>

#include "error.h"
#include "fields.h"
#include "in_flight.h"
#include "log.h"
#include "model_file.h"
#include "quarantine.h"

namespace neurips16 {
namespace {

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

// Who wrote the file or its configuration is at fault where ONNX Runtime says so.
TRITONSERVER_Error_Code class_of(const Ort::Exception& error) {
  switch (error.GetOrtErrorCode()) {
    case ORT_NOT_IMPLEMENTED: return TRITONSERVER_ERROR_UNSUPPORTED;
    case ORT_INVALID_ARGUMENT:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH: return TRITONSERVER_ERROR_INVALID_ARG;
    case ORT_NO_SUCHFILE:
    case ORT_NO_MODEL: return TRITONSERVER_ERROR_UNAVAILABLE;
    default: return TRITONSERVER_ERROR_INTERNAL;
  }
}

template <typename Make>
auto loaded(Make&& make) {
  try {
    return make();
  } catch (const Ort::Exception& error) {
    throw Error(class_of(error), error.what());
  }
}

}  // namespace

Model::Model(Backend& backend, TRITONBACKEND_Model* handle) : backend_(backend), handle_(handle) {
  const char* text = nullptr;
  check(TRITONBACKEND_ModelName(handle, &text));
  name_ = text;
  refuse_quarantined(backend.options().quarantined, name_);
  check(TRITONBACKEND_ModelVersion(handle, &version_));
  TRITONBACKEND_ArtifactType kind = TRITONBACKEND_ARTIFACT_FILESYSTEM;
  check(TRITONBACKEND_ModelRepository(handle, &kind, &text));
  const std::filesystem::path folder(text);

  InFlight::Slot slot(backend.in_flight(), name_, version_);
  slot.begin(Activity::Loading, "its configuration and file");
  read_config();
  file_ = find_model_file(folder / std::to_string(version_), config_.model_file);
  check_external_data(file_);
  bool wanted = false;
  check(TRITONBACKEND_ModelAutoCompleteConfig(handle, &wanted));
  if (wanted && (config_.inputs.empty() || config_.outputs.empty())) complete_config();
  name_what_has_no_effect();
  const std::string shrink = config_.parameter("memory.enable_memory_arena_shrinkage");
  if (!shrink.empty() && !std::regex_match(shrink, std::regex("(cpu|gpu):[0-9]+(;(cpu|gpu):[0-9]+)*"))) {
    refuse("parameter memory.enable_memory_arena_shrinkage is '" + shrink + "': for example cpu:0;gpu:0");
  }
  record_.emplace(backend.options().loaded, name_, folder, json_);
  slot.finish();
}

void Model::read_config() {
  TRITONSERVER_Message* raw = nullptr;
  check(TRITONBACKEND_ModelConfig(handle_, 1, &raw));
  const std::unique_ptr<TRITONSERVER_Message, TRITONSERVER_Error* (*)(TRITONSERVER_Message*)> message(
      raw, TRITONSERVER_MessageDelete);
  const char* base = nullptr;
  std::size_t size = 0;
  check(TRITONSERVER_MessageSerializeToJson(raw, &base, &size));
  json_ = Json::parse({base, size});
  config_ = ModelConfig::from(json_);
}

void Model::complete_config() {
  const Ort::Session session = loaded([&] { return backend_.sessions().make_plain(file_, config_); });
  Signature::of(session).complete(json_, backend_.options().default_max_batch_size);
  const std::string text = json_.dump();
  TRITONSERVER_Message* raw = nullptr;
  check(TRITONSERVER_MessageNewFromSerializedJson(&raw, text.data(), text.size()));
  const std::unique_ptr<TRITONSERVER_Message, TRITONSERVER_Error* (*)(TRITONSERVER_Message*)> message(
      raw, TRITONSERVER_MessageDelete);
  check(TRITONBACKEND_ModelSetConfig(handle_, 1, raw));
  config_ = ModelConfig::from(json_);
}

void Model::name_what_has_no_effect() const {
  const FieldReport report = examine_fields(json_);
  if (!report.refused.empty()) throw Error(TRITONSERVER_ERROR_UNSUPPORTED, join(report.refused));
  if (!report.without_effect.empty()) {
    log(TRITONSERVER_LOG_WARN, "model '" + name_ + "': without effect here: " + join(report.without_effect));
  }
  if (!report.parameters.empty()) {
    log(TRITONSERVER_LOG_INFO, "model '" + name_ + "': parameters for clients only: " + join(report.parameters));
  }
}

std::shared_ptr<Ort::Session> Model::session(Device device) {
  const bool share = config_.flag_parameter("share_session_between_instances").value_or(!device.gpu);
  const std::lock_guard lock(mutex_);
  if (share) {
    if (auto found = shared_[device].lock()) return found;
  }
  auto made = make_session(device);
  if (share) shared_[device] = made;
  return made;
}

std::shared_ptr<Ort::Session> Model::make_session(Device device) {
  auto made = loaded([&] {
    return std::make_shared<Ort::Session>(backend_.sessions().make(file_, config_, device, name_));
  });
  if (!known_) {
    signature_ = Signature::of(*made);
    signature_.check(config_);
    known_ = true;
  }
  return made;
}

bool Model::may_write_in_place(const std::string& output) const {
  const auto is_state = [&](const StateConfig& state) { return state.output == output; };
  const auto scatters = [&](const BatchOutputConfig& one) {
    return std::find(one.targets.begin(), one.targets.end(), output) != one.targets.end();
  };
  return std::none_of(config_.states.begin(), config_.states.end(), is_state) &&
         std::none_of(config_.batch_outputs.begin(), config_.batch_outputs.end(), scatters);
}

}  // namespace neurips16
