// One instance of a model version: answers the requests that Triton hands it, from one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <span>

#include "answer.h"
#include "feed.h"
#include "in_flight.h"
#include "model.h"
#include "request.h"

namespace neurips16 {

class Instance {
 public:
  // Makes the session, or takes that of the model's other instances. Throws Error.
  Instance(Model& model, TRITONBACKEND_ModelInstance* handle);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // Answers requests, together where that can be; one that fails does not fail its neighbours.
  void execute(std::span<TRITONBACKEND_Request* const> handles);

 private:
  void run_group(Group group, std::uint64_t start);
  void run(Group group, Times& times);
  std::vector<Output> compute(Group group, const std::vector<FedTensor>& fed, std::set<std::string>& in_place);
  std::vector<Output> bind_and_run(Group group, const std::vector<FedTensor>& fed, std::set<std::string>& in_place);
  void learn(const std::vector<Output>& outputs, const std::vector<FedTensor>& fed);
  void report(Group group, const Times& times) noexcept;

  Model& model_;
  TRITONBACKEND_ModelInstance* handle_;
  InFlight::Slot slot_;
  Device device_;
  std::shared_ptr<Ort::Session> session_;
  Ort::Allocator arena_{nullptr};
  Ort::RunOptions run_options_;
  Feed feed_;
  Answer answer_;
  // Whether an output had the shape that the file's names of axes promise, whenever it was looked at.
  std::map<std::string, bool> keeps_promise_;
  bool writes_in_place_ = true;
};

}  // namespace neurips16
