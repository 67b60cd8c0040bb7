#include "strings.h"

#include <cstdint>
#include <cstring>

#include "error.h"

namespace neurips16 {

std::vector<std::string_view> read_strings(std::string_view serialised, std::size_t count, const std::string& name) {
  const auto broken = [&](const std::string& what) { refuse("input '" + name + "': " + what); };
  std::vector<std::string_view> elements;
  // Each has at least its length: a shape that claims more than was sent takes no memory.
  if (count > serialised.size() / sizeof(std::uint32_t)) {
    broken("its shape has " + std::to_string(count) + " strings, fewer were sent");
  }
  elements.reserve(count);
  while (!serialised.empty()) {
    std::uint32_t length = 0;
    if (serialised.size() < sizeof length) broken("the last string's length is cut off");
    std::memcpy(&length, serialised.data(), sizeof length);
    serialised.remove_prefix(sizeof length);
    if (length > serialised.size()) broken("string " + std::to_string(elements.size()) + " is cut off");
    if (elements.size() == count) broken("more strings were sent than its shape has");
    elements.push_back(serialised.substr(0, length));
    serialised.remove_prefix(length);
    if (!is_utf8(elements.back())) broken("string " + std::to_string(elements.size() - 1) + " is not UTF-8");
  }
  if (elements.size() != count) {
    broken("its shape has " + std::to_string(count) + " strings, " + std::to_string(elements.size()) + " were sent");
  }
  return elements;
}

Ort::Value make_string_tensor(const std::vector<std::string_view>& elements, const std::vector<std::int64_t>& shape) {
  const Ort::AllocatorWithDefaultOptions allocator;
  Ort::Value tensor =
      Ort::Value::CreateTensor(allocator, shape.data(), shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    // Not FillStringTensor, which ends a string at its first byte of value 0.
    char* buffer = tensor.GetResizedStringTensorElementBuffer(i, elements[i].size());
    if (!elements[i].empty()) std::memcpy(buffer, elements[i].data(), elements[i].size());
  }
  return tensor;
}

StringContents::StringContents(const Ort::Value& tensor, std::size_t count) : offsets_(count + 1) {
  bytes_.resize(tensor.GetStringTensorDataLength());
  if (count > 0) tensor.GetStringTensorContent(bytes_.data(), bytes_.size(), offsets_.data(), count);
  offsets_[count] = bytes_.size();
}

std::string StringContents::serialise(std::size_t begin, std::size_t end) const {
  std::string out;
  out.reserve((end - begin) * sizeof(std::uint32_t) + offsets_[end] - offsets_[begin]);
  for (std::size_t i = begin; i < end; ++i) {
    const auto length = static_cast<std::uint32_t>(offsets_[i + 1] - offsets_[i]);
    out.append(reinterpret_cast<const char*>(&length), sizeof length);
    out.append(bytes_, offsets_[i], length);
  }
  return out;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      ++i;
      continue;
    }
    // The range of the second byte keeps out overlong forms, surrogates and what is beyond U+10FFFF.
    std::size_t tail = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
      tail = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
      tail = 2;
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
      tail = 3;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (tail >= text.size() - i) return false;
    for (std::size_t k = 1; k <= tail; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next < low || next > high) return false;
      low = 0x80;
      high = 0xBF;
    }
    i += tail + 1;
  }
  return true;
}

}  // namespace neurips16
