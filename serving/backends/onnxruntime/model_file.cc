#include "model_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <set>
#include <string_view>

#include "error.h"

namespace neurips16 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultName = "model.onnx";
constexpr int kMaxDepth = 200;  // of graphs within graphs

class MappedFile {
 public:
  explicit MappedFile(const fs::path& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (file < 0 || fstat(file, &status) != 0) {
      if (file >= 0) close(file);
      throw Error(TRITONSERVER_ERROR_UNAVAILABLE, path.string() + " cannot be read");
    }
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ > 0) data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (data_ == MAP_FAILED) throw Error(TRITONSERVER_ERROR_UNAVAILABLE, path.string() + " cannot be mapped");
  }
  ~MappedFile() {
    if (data_ != nullptr) munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(data_), data_ == nullptr ? 0 : size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Walks a serialised protobuf message field by field. What is no message ends the walk: ONNX Runtime refuses it later.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  // The next field that has a length (a message, a string or bytes); false at the end.
  bool next(std::uint32_t& number, std::string_view& content) {
    std::uint64_t tag = 0;
    std::uint64_t value = 0;
    while (varint(tag)) {
      switch (tag & 7) {
        case 0:
          if (!varint(value)) return false;
          break;
        case 1:
          if (!skip(8)) return false;
          break;
        case 2:
          if (!varint(value) || value > rest_.size()) return false;
          number = static_cast<std::uint32_t>(tag >> 3);
          content = rest_.substr(0, value);
          rest_.remove_prefix(value);
          return true;
        case 5:
          if (!skip(4)) return false;
          break;
        default: return false;
      }
    }
    return false;
  }

 private:
  bool varint(std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool skip(std::size_t count) {
    if (count > rest_.size()) return false;
    rest_.remove_prefix(count);
    return true;
  }

  std::string_view rest_;
};

// The places that a model names, wherever it may keep a tensor: field numbers of onnx.proto.
class Locations {
 public:
  explicit Locations(std::string_view model) {
    each(model, [&](std::uint32_t number, std::string_view content) {
      if (number == 7) graph(content, 0);      // ModelProto.graph
      if (number == 25) function(content, 0);  // ModelProto.functions
    });
  }

  const std::set<std::string, std::less<>>& found() const { return found_; }

 private:
  template <typename Visit>
  static void each(std::string_view message, Visit&& visit) {
    Message fields(message);
    std::uint32_t number = 0;
    for (std::string_view content; fields.next(number, content);) visit(number, content);
  }

  void graph(std::string_view message, int depth) {
    if (depth > kMaxDepth) refuse("the model nests graphs more than " + std::to_string(kMaxDepth) + " deep");
    each(message, [&](std::uint32_t number, std::string_view content) {
      if (number == 1) node(content, depth);   // GraphProto.node
      if (number == 5) tensor(content);        // GraphProto.initializer
      if (number == 15) sparse(content);       // GraphProto.sparse_initializer
    });
  }

  void function(std::string_view message, int depth) {
    each(message, [&](std::uint32_t number, std::string_view content) {
      if (number == 7) node(content, depth);         // FunctionProto.node
      if (number == 11) attribute(content, depth);   // FunctionProto.attribute_proto
    });
  }

  void node(std::string_view message, int depth) {
    each(message, [&](std::uint32_t number, std::string_view content) {
      if (number == 5) attribute(content, depth);  // NodeProto.attribute
    });
  }

  void attribute(std::string_view message, int depth) {
    each(message, [&](std::uint32_t number, std::string_view content) {
      if (number == 5 || number == 10) tensor(content);             // AttributeProto.t, .tensors
      if (number == 6 || number == 11) graph(content, depth + 1);   // AttributeProto.g, .graphs
      if (number == 22 || number == 23) sparse(content);            // AttributeProto.sparse_tensor, .sparse_tensors
    });
  }

  void sparse(std::string_view message) {
    each(message, [&](std::uint32_t number, std::string_view content) {
      if (number == 1 || number == 2) tensor(content);  // SparseTensorProto.values, .indices
    });
  }

  void tensor(std::string_view message) {
    each(message, [&](std::uint32_t number, std::string_view content) {
      if (number != 13) return;  // TensorProto.external_data
      std::string_view key;
      std::string_view value;
      each(content, [&](std::uint32_t part, std::string_view text) { (part == 1 ? key : value) = text; });
      if (key == "location") found_.emplace(value);
    });
  }

  std::set<std::string, std::less<>> found_;
};

bool is_within(const fs::path& folder, const fs::path& path) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

fs::path find_model_file(const fs::path& version_folder, const std::string& named) {
  fs::path path = version_folder / (named.empty() ? kDefaultName : named);
  std::error_code none;
  if (fs::is_directory(path, none)) path /= kDefaultName;  // a model with external data may be a folder
  if (!is_within(version_folder, path.lexically_normal())) {
    refuse("default_model_filename '" + named + "' leads out of the model's folder");
  }
  if (!fs::is_regular_file(path, none)) throw Error(TRITONSERVER_ERROR_UNAVAILABLE, "there is no " + path.string());
  return path;
}

void check_external_data(const fs::path& model) {
  const MappedFile file(model);
  std::error_code failed;
  const fs::path folder = fs::weakly_canonical(model.parent_path(), failed);
  const Locations locations(file.bytes());
  for (const std::string& location : locations.found()) {
    const fs::path target = fs::weakly_canonical(folder / location, failed);
    if (failed || fs::path(location).is_absolute() || !is_within(folder, target)) {
      refuse("the model keeps weights in '" + location + "', which is outside of its own folder");
    }
  }
}

}  // namespace neurips16
