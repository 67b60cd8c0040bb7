#include "backend_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "error.h"

namespace neurips16 {
namespace {

int count(const std::string& name, const std::string& text) {
  int value = 0;
  const char* end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data(), end, value); read.ec != std::errc() || read.ptr != end || value < 0) {
    refuse("--backend-config=onnxruntime," + name + "=" + text + ": expected a number, 0 or more");
  }
  return value;
}

}  // namespace

BackendOptions BackendOptions::from(const Json& config) {
  BackendOptions options;
  // Triton's own, which it tells every backend.
  constexpr std::array<std::string_view, 3> kOfTriton{"auto-complete-config", "backend-directory",
                                                      "min-compute-capability"};
  for (const auto& [name, json] : config["cmdline"].object()) {
    const std::string value = json.string();
    if (name == "library") {
      options.library = value;
    } else if (name == "ops-library") {
      options.ops_library = value;
    } else if (name == "allow-op-libraries") {
      std::istringstream paths(value);
      for (std::string path; std::getline(paths, path, ':');) options.allowed_op_libraries.push_back(path);
    } else if (name == "in-flight") {
      options.in_flight = value;
    } else if (name == "loaded") {
      options.loaded = value;
    } else if (name == "quarantined") {
      options.quarantined = value;
    } else if (name == "intra_op_thread_count") {
      options.intra_op_threads = count(name, value);
    } else if (name == "inter_op_thread_count") {
      options.inter_op_threads = count(name, value);
    } else if (name == "enable-global-threadpool") {
      if (value != "1") refuse("--backend-config=onnxruntime,enable-global-threadpool=" + value + ": there is always one");
    } else if (name == "default-max-batch-size") {
      options.default_max_batch_size = count(name, value);
    } else if (std::find(kOfTriton.begin(), kOfTriton.end(), name) == kOfTriton.end()) {
      refuse("--backend-config=onnxruntime," + name +
             " is unknown: library, ops-library, allow-op-libraries, in-flight, loaded, quarantined, "
             "intra_op_thread_count, inter_op_thread_count, enable-global-threadpool, default-max-batch-size");
    }
  }
  return options;
}

}  // namespace neurips16
