// Strings as Triton has them (four bytes of length, then the bytes) and as ONNX Runtime's tensors have them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ort.h"

namespace neurips16 {

// Elements of a serialised tensor. Throws Error where they are not `count` well-formed ones, or no UTF-8.
std::vector<std::string_view> read_strings(std::string_view serialised, std::size_t count, const std::string& name);

// A tensor of strings, bytes of value 0 included.
Ort::Value make_string_tensor(const std::vector<std::string_view>& elements, const std::vector<std::int64_t>& shape);

// The strings of a tensor of `count` elements, made once for all that share it.
class StringContents {
 public:
  StringContents(const Ort::Value& tensor, std::size_t count);

  // Elements from `begin` to `end`, serialised.
  std::string serialise(std::size_t begin, std::size_t end) const;

 private:
  std::string bytes_;
  std::vector<std::size_t> offsets_;  // one more than elements
};

bool is_utf8(std::string_view text);

}  // namespace neurips16
