#include "session.h"

#include <algorithm>
#include <array>

#include "error.h"
#include "execution_providers.h"
#include "log.h"

namespace neurips16 {
namespace {

// Our exporter writes its operators into each model as functions of standard operators too: right without the
// library, only slower. Any other library is needed.
constexpr std::string_view kOurOps = "libneurips16_ops.so";

// Session settings that tune the arithmetic, and nothing else. Others name files to read or to write.
constexpr std::array<std::string_view, 17> kSessionSettings{
    "session.allow_released_opsets_only",
    "session.debug_layout_transformation",
    "session.disable_aot_function_inlining",
    "session.disable_cpu_ep_fallback",
    "session.disable_double_qdq_remover",
    "session.disable_prepacking",
    "session.disable_quant_qdq",
    "session.disable_specified_optimizers",
    "session.dynamic_block_base",
    "session.enable_gelu_approximation",
    "session.enable_quant_qdq_cleanup",
    "session.force_spinning_stop",
    "session.inter_op.allow_spinning",
    "session.intra_op.allow_spinning",
    "session.qdqisint8allowed",
    "session.set_denormal_as_zero",
    "session.strict_shape_type_inference",
};
constexpr std::string_view kDeviceInitializers = "session.use_device_allocator_for_initializers";

GraphOptimizationLevel graph_level(std::int64_t level) {
  switch (level) {
    case -1: return ORT_ENABLE_BASIC;
    case 1: return ORT_ENABLE_EXTENDED;
    case 2: return ORT_DISABLE_ALL;
    default: return ORT_ENABLE_ALL;
  }
}

}  // namespace

Ort::SessionOptions SessionMaker::options_of(const ModelConfig& config) const {
  Ort::SessionOptions made;
  made.SetGraphOptimizationLevel(graph_level(config.graph_level));

  const auto mode = config.choice_parameter("execution_mode", {{"0", "sequential"}, {"1", "parallel"}});
  made.SetExecutionMode(mode == "parallel" ? ORT_PARALLEL : ORT_SEQUENTIAL);
  const int intra = config.count_parameter("intra_op_thread_count");
  const int inter = config.count_parameter("inter_op_thread_count");
  bool own_pool = intra > 0 || inter > 0;

  std::map<std::string, std::string> settings{
      {"session.intra_op.allow_spinning", "0"}, {"session.inter_op.allow_spinning", "0"},
      // Weights stay out of the arena that all models share, which would keep them after an unload.
      {std::string(kDeviceInitializers), "1"}};
  for (const auto& [name, value] : config.parameters) {
    if (!name.starts_with("session.")) continue;
    if (std::find(kSessionSettings.begin(), kSessionSettings.end(), name) == kSessionSettings.end() &&
        name != kDeviceInitializers) {
      refuse("parameter " + name + " is none of the session settings that a configuration may make");
    }
    settings[name] = value;
    own_pool = own_pool || name.ends_with(".allow_spinning");
  }

  // A model of several instances shares the cores among them: what runs side by side is not split besides.
  const int threads = std::max(1, runtime_.threads() / static_cast<int>(std::clamp<std::int64_t>(config.instances, 1, 1024)));
  if (own_pool || threads < runtime_.threads()) {
    made.SetIntraOpNumThreads(intra > 0 ? intra : threads);
    made.SetInterOpNumThreads(inter > 0 ? inter : threads);
  } else {
    made.DisablePerSessionThreads();
  }
  if (config.flag_parameter("enable_mem_arena").value_or(true)) {
    settings["session.use_env_allocators"] = "1";
  } else {
    made.DisableCpuMemArena();
  }
  if (!config.flag_parameter("enable_mem_pattern").value_or(true)) made.DisableMemPattern();
  for (const auto& [name, value] : settings) made.AddConfigEntry(name.c_str(), value.c_str());
  register_ops(made, config);
  return made;
}

void SessionMaker::register_ops(Ort::SessionOptions& made, const ModelConfig& config) const {
  for (const std::string& library : config.op_libraries) {
    std::string path = library;
    if (library == kOurOps) {
      if (options_.ops_library.empty()) continue;  // where a model has no bodies, ONNX Runtime says which op it lacks
      path = options_.ops_library;
    } else if (std::find(options_.allowed_op_libraries.begin(), options_.allowed_op_libraries.end(), library) ==
               options_.allowed_op_libraries.end()) {
      refuse("the op library '" + library + "' is not ours, and a library is a program: allow it with " +
             "`neurips16 serve --allow-op-library " + library + "`, or take it out of config.pbtxt");
    }
    try {
      made.RegisterCustomOpsLibrary(path.c_str());
    } catch (const Ort::Exception& error) {
      refuse("the op library '" + library + "' cannot be loaded: " + error.what());
    }
  }
}

Ort::Session SessionMaker::make(const std::filesystem::path& model, const ModelConfig& config, Device device,
                                const std::string& name) const {
  Ort::SessionOptions made = options_of(config);
  made.SetLogId(name.c_str());
  append_providers(made, config, device);
  return Ort::Session(runtime_.env(), model.c_str(), made);
}

Ort::Session SessionMaker::make_plain(const std::filesystem::path& model, const ModelConfig& config) const {
  Ort::SessionOptions made;
  made.SetGraphOptimizationLevel(ORT_DISABLE_ALL);
  made.DisablePerSessionThreads();
  made.AddConfigEntry("session.use_env_allocators", "1");
  made.AddConfigEntry(std::string(kDeviceInitializers).c_str(), "1");
  register_ops(made, config);
  return Ort::Session(runtime_.env(), model.c_str(), made);
}

}  // namespace neurips16
