// What a run of the session is fed with: the inputs of one request as they lie, or of several put together.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "model_config.h"
#include "ort.h"
#include "request.h"
#include "signature.h"

namespace neurips16 {

using Group = std::span<Request* const>;

struct FedTensor {
  std::string name;
  Shape shape;
  Ort::Value value{nullptr};
};

class Feed {
 public:
  // `arena` gives the memory of what has to be put together; `gpu` is where a GPU's memory may be taken as it is.
  Feed(const ModelConfig& config, const Signature& signature, OrtAllocator* arena, bool gpu)
      : config_(config), signature_(signature), arena_(arena), gpu_(gpu) {}

  // Throws Error where the requests do not fit the model.
  std::vector<FedTensor> of(Group group) const;

  // Requests with the same key can be run together.
  std::string key(const Request& request) const;

 private:
  FedTensor gather(Group group, const RequestInput& first) const;
  FedTensor batch_input(Group group, const BatchInputConfig& made, const std::string& target) const;
  Ort::Value as_it_lies(const RequestInput& input, const Shape& shape) const;

  const ModelConfig& config_;
  const Signature& signature_;
  OrtAllocator* arena_;
  bool gpu_;
};

// What runs, in few words: names and shapes.
std::string describe(const std::vector<FedTensor>& fed);

}  // namespace neurips16
