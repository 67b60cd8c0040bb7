// JSON, as Triton speaks it to its backends: model configurations and the backend's own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace neurips16 {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;
  Json(bool value) : value_(value) {}
  Json(std::int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  // Throws Error (INVALID_ARG) where `text` is no JSON, with the place.
  static Json parse(std::string_view text);
  std::string dump() const;

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  // Whether it is what a field has that nobody set: null, false, 0, "", [] or {}.
  bool is_default() const;

  // What is not there, or is of another kind, is the empty value. Numbers may be written as strings: protobuf writes
  // those of 64 bits so.
  const Json& operator[](std::string_view key) const;
  const Array& array() const;
  const Object& object() const;
  std::string string() const;
  std::int64_t integer() const;
  bool boolean() const;

  // For writing: makes an object of what is none.
  Json& member(const std::string& key);
  void push_back(Json value);

 private:
  void write(std::string& out) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

}  // namespace neurips16
