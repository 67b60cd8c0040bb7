// One version of a model: its configuration, what its file says, and the sessions of its instances.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "backend.h"
#include "loaded_record.h"
#include "model_config.h"
#include "session.h"
#include "signature.h"
#include "triton_api.h"

namespace neurips16 {

class Model {
 public:
  // Completes the configuration where the server wants that. Throws Error.
  Model(Backend& backend, TRITONBACKEND_Model* handle);

  const std::string& name() const { return name_; }
  std::uint64_t version() const { return version_; }
  const ModelConfig& config() const { return config_; }
  const Signature& signature() const { return signature_; }  // of the file, once there is a session
  InFlight& in_flight() { return backend_.in_flight(); }

  // The session for a device, whose file the configuration fits; instances on the CPU share one, unless the
  // configuration says otherwise. Throws Error.
  std::shared_ptr<Ort::Session> session(Device device);

  // Whether ONNX Runtime may write this output into a response by itself: neither a state nor scattered.
  bool may_write_in_place(const std::string& output) const;

 private:
  void read_config();
  void complete_config();
  void name_what_has_no_effect() const;
  std::shared_ptr<Ort::Session> make_session(Device device);

  Backend& backend_;
  TRITONBACKEND_Model* handle_;
  std::string name_;
  std::uint64_t version_ = 0;
  std::filesystem::path file_;
  Json json_;
  ModelConfig config_;
  std::optional<LoadedRecord> record_;
  std::mutex mutex_;  // of what follows
  bool known_ = false;
  Signature signature_;
  std::map<Device, std::weak_ptr<Ort::Session>> shared_;
};

}  // namespace neurips16
