#include "ort_runtime.h"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "error.h"
#include "log.h"

namespace neurips16 {
namespace {

// ONNX Runtime's own lines, at their own level. Those that it calls information are for who asked for verbose ones.
void ORT_API_CALL to_triton(void*, OrtLoggingLevel level, const char* category, const char* id, const char* location,
                            const char* message) {
  TRITONSERVER_LogLevel ours = TRITONSERVER_LOG_VERBOSE;
  if (level == ORT_LOGGING_LEVEL_WARNING) ours = TRITONSERVER_LOG_WARN;
  if (level >= ORT_LOGGING_LEVEL_ERROR) ours = TRITONSERVER_LOG_ERROR;
  // `location` is FILE:LINE FUNCTION, and Triton wants the first two apart.
  const std::string place(location == nullptr ? "" : location);
  const auto colon = place.find(':');
  const std::string file = place.substr(0, colon);
  const int line = colon == std::string::npos ? 0 : std::atoi(place.c_str() + colon + 1);
  std::string text(message);
  if (id != nullptr && *id != '\0') text += std::string(" [") + id + "]";
  (void)category;
  log(ours, text, file.c_str(), line);
}

std::filesystem::path own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

const OrtApiBase* open_library(const std::string& named) {
  std::string path = named;
  if (named.find('/') == std::string::npos) {
    const auto beside = own_folder() / named;
    if (std::error_code none; std::filesystem::exists(beside, none)) path = beside.string();
  }
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // for as long as the process lives
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw Error(TRITONSERVER_ERROR_UNAVAILABLE,
                "ONNX Runtime cannot be opened (--backend-config=onnxruntime,library=PATH names it): " +
                    std::string(reason == nullptr ? path : reason));
  }
  using GetApiBase = const OrtApiBase* (*)();
  const auto get = reinterpret_cast<GetApiBase>(dlsym(handle, "OrtGetApiBase"));
  if (get == nullptr) throw Error(TRITONSERVER_ERROR_UNAVAILABLE, path + " is not ONNX Runtime");
  return get();
}

const OrtApiBase* api_base = nullptr;

void init_api(const std::string& library) {
  api_base = open_library(library);
  const OrtApi* api = api_base->GetApi(kOrtApiVersion);
  if (api == nullptr) {
    throw Error(TRITONSERVER_ERROR_UNAVAILABLE, "ONNX Runtime " + std::string(api_base->GetVersionString()) +
                                                    " is too old: 1." + std::to_string(kOrtApiVersion) + " or later");
  }
  Ort::InitApi(api);
}

}  // namespace

OrtRuntime::OrtRuntime(const BackendOptions& options)
    : threads_(options.intra_op_threads > 0 ? options.intra_op_threads : usable_cores()) {
  init_api(options.library);
  const OrtLoggingLevel level =
      TRITONSERVER_LogIsEnabled(TRITONSERVER_LOG_VERBOSE) ? ORT_LOGGING_LEVEL_INFO : ORT_LOGGING_LEVEL_WARNING;
  Ort::ThreadingOptions threading;
  threading.SetGlobalIntraOpNumThreads(threads_);
  threading.SetGlobalInterOpNumThreads(options.inter_op_threads > 0 ? options.inter_op_threads : threads_);
  // Threads that wait by spinning keep the cores from Triton's own, which then bring in no requests to batch.
  threading.SetGlobalSpinControl(0);
  env_ = Ort::Env(threading, to_triton, nullptr, level, "");
  // One arena, which grows by what is asked for: of a doubling one each model keeps up to twice what it needs.
  constexpr int kSameAsRequested = 1;
  const Ort::ArenaCfg arena(0, kSameAsRequested, -1, -1);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  env_.CreateAndRegisterAllocator(memory, arena);
  log(TRITONSERVER_LOG_INFO,
      "ONNX Runtime " + version() + ", a pool of " + std::to_string(threads_) + " threads for all models");
}

std::string OrtRuntime::version() const { return api_base->GetVersionString(); }

namespace {

// Cores that a control group may use on average: of version 2 from one file, of version 1 from two. Infinite without a
// quota.
double quota_of(const std::filesystem::path& folder) {
  std::string quota;
  double period_us = 0;
  if (std::ifstream file(folder / "cpu.max"); file) {
    file >> quota >> period_us;
  } else {
    std::ifstream(folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(folder / "cpu.cfs_period_us") >> period_us;
  }
  const double quota_us = quota == "max" ? -1 : std::atof(quota.c_str());
  return quota_us > 0 && period_us > 0 ? quota_us / period_us : std::numeric_limits<double>::infinity();
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  double cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  std::ifstream own("/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {  // number:controllers:path
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    // In a container the path may be the host's, and then only the root of the mounted tree is there.
    std::filesystem::path root("/sys/fs/cgroup");
    if (!controllers.empty()) root /= controllers;
    std::filesystem::path inner = std::filesystem::path(line.substr(second + 1)).relative_path();
    for (; !inner.empty(); inner = inner.parent_path()) cores = std::min(cores, std::ceil(quota_of(root / inner)));
    cores = std::min(cores, std::ceil(quota_of(root)));
  }
  return std::max(1, static_cast<int>(cores));
}

}  // namespace neurips16
