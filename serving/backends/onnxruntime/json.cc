#include "json.h"

#include <charconv>
#include <cstdio>
#include <utility>

#include "error.h"

namespace neurips16 {
namespace {

constexpr int kMaxDepth = 100;  // Triton's own messages have less than ten levels

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = any(0);
    skip_space();
    if (at_ != text_.size()) fail("nothing more");
    return value;
  }

 private:
  [[noreturn]] void fail(const char* expected) const {
    refuse("no JSON: expected " + std::string(expected) + " at byte " + std::to_string(at_));
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(char wanted) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  Json any(int depth) {
    if (depth > kMaxDepth) fail("fewer levels");
    skip_space();
    if (at_ >= text_.size()) fail("a value");
    switch (text_[at_]) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return Json(string());
      default: return word();
    }
  }

  Json object(int depth) {
    ++at_;
    Json::Object members;
    if (take('}')) return Json(std::move(members));
    do {
      skip_space();
      if (at_ >= text_.size() || text_[at_] != '"') fail("a name");
      std::string name = string();
      if (!take(':')) fail("a colon");
      members.insert_or_assign(std::move(name), any(depth + 1));
    } while (take(','));
    if (!take('}')) fail("a comma or }");
    return Json(std::move(members));
  }

  Json array(int depth) {
    ++at_;
    Json::Array elements;
    if (take(']')) return Json(std::move(elements));
    do {
      elements.push_back(any(depth + 1));
    } while (take(','));
    if (!take(']')) fail("a comma or ]");
    return Json(std::move(elements));
  }

  Json word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
    const std::string_view found = text_.substr(begin, at_ - begin);
    if (found == "true") return Json(true);
    if (found == "false") return Json(false);
    if (found == "null") return Json();
    const char* end = found.data() + found.size();
    std::int64_t integer = 0;
    if (auto read = std::from_chars(found.data(), end, integer); read.ec == std::errc() && read.ptr == end) {
      return Json(integer);
    }
    double real = 0;
    if (auto read = std::from_chars(found.data(), end, real); read.ec == std::errc() && read.ptr == end) {
      return Json(real);
    }
    at_ = begin;
    fail("a value");
  }

  std::string string() {
    ++at_;
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      if (++at_ >= text_.size()) break;
      const char escaped = text_[at_++];
      switch (escaped) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'u': append_utf8(out, code_point()); break;
        case '"':
        case '\\':
        case '/': out += escaped; break;
        default: fail("an escape");
      }
    }
    if (at_ >= text_.size()) fail("the end of a string");
    ++at_;
    return out;
  }

  std::uint32_t hex4() {
    std::uint32_t value = 0;
    const char* begin = text_.data() + at_;
    if (at_ + 4 > text_.size() || std::from_chars(begin, begin + 4, value, 16).ptr != begin + 4) fail("four hex digits");
    at_ += 4;
    return value;
  }

  std::uint32_t code_point() {
    const std::uint32_t first = hex4();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || text_.substr(at_, 2) != "\\u") fail("a pair of surrogates");
    at_ += 2;
    const std::uint32_t second = hex4();
    if (second < 0xDC00 || second > 0xDFFF) fail("a pair of surrogates");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  static void append_utf8(std::string& out, std::uint32_t code) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      tail(6);
      tail(0);
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

void write_string(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

Json Json::parse(std::string_view text) { return Parser(text).whole(); }

std::string Json::dump() const {
  std::string out;
  write(out);
  return out;
}

void Json::write(std::string& out) const {
  if (const auto* boolean = std::get_if<bool>(&value_)) {
    out += *boolean ? "true" : "false";
  } else if (const auto* integer = std::get_if<std::int64_t>(&value_)) {
    out += std::to_string(*integer);
  } else if (const auto* real = std::get_if<double>(&value_)) {
    char digits[32];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, *real).ptr);
  } else if (const auto* text = std::get_if<std::string>(&value_)) {
    write_string(out, *text);
  } else if (is_array()) {
    out += '[';
    const char* separator = "";
    for (const Json& element : array()) {
      out += std::exchange(separator, ",");
      element.write(out);
    }
    out += ']';
  } else if (is_object()) {
    out += '{';
    const char* separator = "";
    for (const auto& [name, value] : object()) {
      out += std::exchange(separator, ",");
      write_string(out, name);
      out += ':';
      value.write(out);
    }
    out += '}';
  } else {
    out += "null";
  }
}

bool Json::is_default() const {
  if (const auto* boolean = std::get_if<bool>(&value_)) return !*boolean;
  if (const auto* integer = std::get_if<std::int64_t>(&value_)) return *integer == 0;
  if (const auto* real = std::get_if<double>(&value_)) return *real == 0;
  if (const auto* text = std::get_if<std::string>(&value_)) return text->empty() || *text == "0";
  if (is_array()) return array().empty();
  return object().empty();
}

const Json& Json::operator[](std::string_view key) const {
  static const Json empty;
  const auto& members = object();
  const auto found = members.find(key);
  return found == members.end() ? empty : found->second;
}

const Json::Array& Json::array() const {
  static const Array empty;
  const auto* elements = std::get_if<Array>(&value_);
  return elements == nullptr ? empty : *elements;
}

const Json::Object& Json::object() const {
  static const Object empty;
  const auto* members = std::get_if<Object>(&value_);
  return members == nullptr ? empty : *members;
}

std::string Json::string() const {
  const auto* text = std::get_if<std::string>(&value_);
  return text == nullptr ? std::string() : *text;
}

std::int64_t Json::integer() const {
  if (const auto* number = std::get_if<std::int64_t>(&value_)) return *number;
  std::int64_t read = 0;
  if (const auto* text = std::get_if<std::string>(&value_)) {
    std::from_chars(text->data(), text->data() + text->size(), read);
  }
  return read;
}

bool Json::boolean() const {
  const auto* value = std::get_if<bool>(&value_);
  return value != nullptr && *value;
}

Json& Json::member(const std::string& key) {
  if (!is_object()) value_ = Object();
  return std::get<Object>(value_)[key];
}

void Json::push_back(Json value) {
  if (!is_array()) value_ = Array();
  std::get<Array>(value_).push_back(std::move(value));
}

}  // namespace neurips16
