#include "execution_providers.h"

#include <algorithm>
#include <memory>

#include "error.h"
#include "session.h"

namespace neurips16 {
namespace {

constexpr const char* kCuda = "CUDAExecutionProvider";
constexpr const char* kTensorRt = "TensorrtExecutionProvider";
constexpr const char* kOpenVino = "OpenVINOExecutionProvider";

void need(const char* provider) {
  const auto offered = Ort::GetAvailableProviders();
  if (std::find(offered.begin(), offered.end(), provider) != offered.end()) return;
  std::string listed;
  for (const std::string& one : offered) listed += (listed.empty() ? "" : ", ") + one;
  refuse("the configuration asks for " + std::string(provider) + ", but this ONNX Runtime offers only " + listed +
         ": install onnxruntime-gpu in place of onnxruntime, or take the accelerator (or KIND_GPU) out of config.pbtxt");
}

// Names and values as ONNX Runtime's C interface takes them.
class Pairs {
 public:
  explicit Pairs(const ProviderOptions& options) {
    for (const auto& [name, value] : options) {
      names_.push_back(name.c_str());
      values_.push_back(value.c_str());
    }
  }
  const char* const* names() const { return names_.data(); }
  const char* const* values() const { return values_.data(); }
  std::size_t size() const { return names_.size(); }

 private:
  std::vector<const char*> names_;
  std::vector<const char*> values_;
};

void append_cuda(Ort::SessionOptions& session, const ProviderOptions& options) {
  need(kCuda);
  const OrtApi& api = Ort::GetApi();
  OrtCUDAProviderOptionsV2* made = nullptr;
  Ort::ThrowOnError(api.CreateCUDAProviderOptions(&made));
  const std::unique_ptr<OrtCUDAProviderOptionsV2, void (*)(OrtCUDAProviderOptionsV2*)> owner(
      made, api.ReleaseCUDAProviderOptions);
  const Pairs pairs(options);
  Ort::ThrowOnError(api.UpdateCUDAProviderOptions(made, pairs.names(), pairs.values(), pairs.size()));
  session.AppendExecutionProvider_CUDA_V2(*made);
}

void append_tensorrt(Ort::SessionOptions& session, const ProviderOptions& options) {
  need(kTensorRt);
  const OrtApi& api = Ort::GetApi();
  OrtTensorRTProviderOptionsV2* made = nullptr;
  Ort::ThrowOnError(api.CreateTensorRTProviderOptions(&made));
  const std::unique_ptr<OrtTensorRTProviderOptionsV2, void (*)(OrtTensorRTProviderOptionsV2*)> owner(
      made, api.ReleaseTensorRTProviderOptions);
  const Pairs pairs(options);
  Ort::ThrowOnError(api.UpdateTensorRTProviderOptions(made, pairs.names(), pairs.values(), pairs.size()));
  session.AppendExecutionProvider_TensorRT_V2(*made);
}

// A recorded graph reads and writes where the buffers of its first run were, and each request brings its own.
void refuse_recorded_graphs(const Accelerator& accelerator) {
  for (const char* name : {"enable_cuda_graph", "trt_cuda_graph_enable"}) {
    if (const auto found = accelerator.options.find(name); found != accelerator.options.end() && found->second != "0") {
      refuse("accelerator " + accelerator.name + ": " + name + " cannot be, since requests' buffers move");
    }
  }
}

void append_gpu_providers(Ort::SessionOptions& session, const ModelConfig& config, int device_id) {
  for (const Accelerator& accelerator : config.gpu_accelerators) {
    refuse_recorded_graphs(accelerator);
    if (accelerator.name == "tensorrt") {
      ProviderOptions options = tensorrt_options(accelerator.options);
      options["device_id"] = std::to_string(device_id);
      append_tensorrt(session, options);
    } else if (accelerator.name != "cuda") {
      refuse("GPU accelerator '" + accelerator.name + "' is unknown: cuda or tensorrt");
    }
  }
  append_cuda(session, cuda_options(config, device_id));
}

void append_cpu_providers(Ort::SessionOptions& session, const ModelConfig& config) {
  if (!config.gpu_accelerators.empty() && !config.any_gpu_group) {
    refuse("the configuration asks for the GPU accelerator " + config.gpu_accelerators.front().name +
           ", but all instances run on the CPU: give an instance_group of KIND_GPU, on a machine with a GPU");
  }
  for (const Accelerator& accelerator : config.cpu_accelerators) {
    if (accelerator.name != "openvino") refuse("CPU accelerator '" + accelerator.name + "' is unknown: openvino");
    need(kOpenVino);
    std::unordered_map<std::string, std::string> options(accelerator.options.begin(), accelerator.options.end());
    options.emplace("device_type", "CPU");
    session.AppendExecutionProvider_OpenVINO_V2(options);
  }
}

}  // namespace

void append_providers(Ort::SessionOptions& session, const ModelConfig& config, Device device) {
  if (device.gpu) {
    append_gpu_providers(session, config, device.id);
  } else {
    append_cpu_providers(session, config);
  }
}

ProviderOptions tensorrt_options(const ProviderOptions& configured) {
  // config.pbtxt's own words; the others carry ONNX Runtime's names already.
  static const ProviderOptions renamed{
      {"max_workspace_size_bytes", "trt_max_workspace_size"},
      {"int8_calibration_table_name", "trt_int8_calibration_table_name"},
      {"int8_use_native_calibration_table", "trt_int8_use_native_calibration_table"},
  };
  static const ProviderOptions precisions{
      {"FP32", ""}, {"FP16", "trt_fp16_enable"}, {"BF16", "trt_bf16_enable"}, {"INT8", "trt_int8_enable"}};
  ProviderOptions named;
  for (const auto& [name, value] : configured) {
    if (name == "precision_mode") {
      const auto precision = precisions.find(value);
      if (precision == precisions.end()) refuse("precision_mode is '" + value + "': FP32, FP16, BF16, INT8");
      if (!precision->second.empty()) named[precision->second] = "1";
    } else if (const auto other = renamed.find(name); other != renamed.end()) {
      named[other->second] = value;
    } else if (name.starts_with("trt_")) {
      named[name] = value;
    } else {
      refuse("TensorRT option '" + name + "' is unknown");
    }
  }
  return named;
}

ProviderOptions cuda_options(const ModelConfig& config, int device_id) {
  ProviderOptions options{
      // An exhaustive search would repeat at every new shape, and a doubling arena never gives back what one long
      // request took. Answers are those of the CPU: no TF32, unless it is asked for.
      {"cudnn_conv_algo_search", "HEURISTIC"},
      {"arena_extend_strategy", "kSameAsRequested"},
      {"use_tf32", "0"},
  };
  const auto search = config.choice_parameter("cudnn_conv_algo_search",
                                              {{"0", "EXHAUSTIVE"}, {"1", "HEURISTIC"}, {"2", "DEFAULT"}});
  if (search) options["cudnn_conv_algo_search"] = *search;
  const auto strategy =
      config.choice_parameter("arena_extend_strategy", {{"0", "kNextPowerOfTwo"}, {"1", "kSameAsRequested"}});
  if (strategy) options["arena_extend_strategy"] = *strategy;
  for (const char* name : {"gpu_mem_limit", "do_copy_in_default_stream"}) {
    if (const std::string value = config.parameter(name); !value.empty()) options[name] = value;
  }
  for (const Accelerator& accelerator : config.gpu_accelerators) {
    if (accelerator.name != "cuda") continue;
    for (const auto& [name, value] : accelerator.options) options[name] = value;
  }
  options["device_id"] = std::to_string(device_id);
  return options;
}

}  // namespace neurips16
