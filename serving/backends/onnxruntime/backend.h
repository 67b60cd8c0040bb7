// What all models of this backend share.
#pragma once

#include "backend_options.h"
#include "in_flight.h"
#include "ort_runtime.h"
#include "session.h"

namespace neurips16 {

class Backend {
 public:
  explicit Backend(const BackendOptions& options)
      : options_(options), in_flight_(options.in_flight), runtime_(options), sessions_(runtime_, options_) {}
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const BackendOptions& options() const { return options_; }
  InFlight& in_flight() { return in_flight_; }
  const SessionMaker& sessions() const { return sessions_; }

 private:
  BackendOptions options_;
  InFlight in_flight_;
  OrtRuntime runtime_;
  SessionMaker sessions_;
};

}  // namespace neurips16
