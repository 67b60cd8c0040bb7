// What comes of a run: outputs handed to the requests that it was for, and the states of their sequences.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "feed.h"
#include "model_config.h"
#include "ort.h"
#include "signature.h"
#include "strings.h"

namespace neurips16 {

// The outputs cannot be told apart by request; each has to be run alone.
class Unsplittable : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One output of a run, as it goes to the requests.
class Output {
 public:
  Output(const TensorSignature& signature, Ort::Value value);

  const TensorSignature& signature() const { return *signature_; }
  const Shape& shape() const { return shape_; }
  // The elements from `begin` to `end`, into a place that `place(byte_size)` makes.
  template <typename MakePlace>
  void write(std::int64_t begin, std::int64_t end, MakePlace&& place) const;

 private:
  const TensorSignature* signature_;
  Ort::Value value_;
  Shape shape_;
  std::vector<StringContents> strings_;  // one, where the elements are strings
};

class Answer {
 public:
  Answer(const ModelConfig& config, const Signature& signature) : config_(config), signature_(signature) {}

  // The names of all outputs that a group of requests needs computed.
  std::set<std::string> needed(Group group) const;

  // The shape that an output will have, told by the axes that it shares by name with what is fed; none where one of
  // its axes is not among them.
  std::optional<Shape> foretell(const TensorSignature& output, const std::vector<FedTensor>& fed) const;

  // Writes each request's part into its response, in the order of the group, and its sequence's states. A request
  // that cannot be answered has its error in `failures`, at its place.
  // Throws Unsplittable before anything is written.
  void spread(Group group, const std::vector<Output>& outputs, const std::set<std::string>& in_place,
              std::vector<std::optional<Error>>& failures) const;

 private:
  const BatchOutputConfig* scattered(const std::string& name) const;
  Shape part_shape(const Request& request, const Output& output, bool alone) const;

  const ModelConfig& config_;
  const Signature& signature_;
};

}  // namespace neurips16
