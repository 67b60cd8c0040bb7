#include "instance.h"

#include <map>

#include "log.h"
#include "memory_trim.h"

namespace neurips16 {
namespace {

// Below this, what writing in place saves is not worth the certainty that it needs.
constexpr std::uint64_t kWorthwhileBytes = 64 << 10;

constexpr int kSessionsLogLevel = -1;  // ONNX Runtime's word for a run that logs as its session does

Device device_of(TRITONBACKEND_ModelInstance* handle) {
  TRITONSERVER_InstanceGroupKind kind = TRITONSERVER_INSTANCEGROUPKIND_CPU;
  std::int32_t id = 0;
  check(TRITONBACKEND_ModelInstanceKind(handle, &kind));
  check(TRITONBACKEND_ModelInstanceDeviceId(handle, &id));
  if (kind == TRITONSERVER_INSTANCEGROUPKIND_MODEL) refuse("KIND_MODEL cannot be: KIND_CPU, KIND_GPU or KIND_AUTO");
  const bool gpu = kind == TRITONSERVER_INSTANCEGROUPKIND_GPU;
  return {gpu, gpu ? id : 0};
}

const OrtMemoryInfo* arena_memory() {
  static const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  return memory;
}

// ONNX Runtime's errors as Triton's: the one place where they are told apart, by class and by what was fed.
Error as_triton(const Ort::Exception& error, const std::vector<FedTensor>& fed) {
  if (error.GetOrtErrorCode() == ORT_INVALID_ARGUMENT) return {TRITONSERVER_ERROR_INVALID_ARG, error.what()};
  // Some models can take an axis of no length. For the others operators fail anyhow, as if it were their fault.
  std::string empty;
  for (const FedTensor& one : fed) {
    if (element_count(one.shape) == 0) empty += (empty.empty() ? "'" : ", '") + one.name + "' " + to_string(one.shape);
  }
  if (!empty.empty()) {
    return {TRITONSERVER_ERROR_INVALID_ARG,
            "this model cannot take inputs of no elements, as " + empty + ": " + error.what()};
  }
  return {TRITONSERVER_ERROR_INTERNAL, error.what()};
}

}  // namespace

Instance::Instance(Model& model, TRITONBACKEND_ModelInstance* handle)
    : model_(model),
      handle_(handle),
      slot_(model.in_flight(), model.name(), model.version()),
      device_(device_of(handle)),
      session_((slot_.begin(Activity::Loading, "a session"), model.session(device_))),
      arena_(*session_, arena_memory()),
      feed_(model.config(), model.signature(), arena_, device_.gpu),
      answer_(model.config(), model.signature()) {
  slot_.finish();
  if (const std::string shrink = model.config().parameter("memory.enable_memory_arena_shrinkage"); !shrink.empty()) {
    run_options_.AddConfigEntry("memory.enable_memory_arena_shrinkage", shrink.c_str());
  }
}

Instance::~Instance() {
  arena_ = Ort::Allocator(nullptr);
  session_.reset();
  give_memory_back();
}

void Instance::execute(std::span<TRITONBACKEND_Request* const> handles) {
  const std::uint64_t start = Times::now();
  std::vector<std::unique_ptr<Request>> requests;
  std::map<std::string, std::vector<Request*>> groups;
  requests.reserve(handles.size());
  for (TRITONBACKEND_Request* handle : handles) {
    requests.push_back(std::make_unique<Request>(handle_, handle));
    Request& request = *requests.back();
    try {
      request.read();
      if (model_.config().sequences && !request.names_sequence()) {
        request.succeed({start});  // it fills an empty slot of the batch: there is nothing to compute
        continue;
      }
      // What cannot be batched is run alone, in the order of arrival.
      const bool together = model_.config().batched() && !request.inputs().empty();
      groups[together ? feed_.key(request) : std::to_string(requests.size())].push_back(&request);
    } catch (const Error& error) {
      request.fail(error, {start});
    }
  }
  for (const auto& [key, group] : groups) run_group(group, start);
}

void Instance::run_group(Group group, std::uint64_t start) {
  Times times{start};
  try {
    run(group, times);
    return;
  } catch (const Error& error) {
    if (group.size() == 1) return group.front()->fail(error, times);
  } catch (const Unsplittable& error) {
    log(TRITONSERVER_LOG_VERBOSE, model_.name() + ": " + error.what() + "; its requests are run one by one");
  } catch (const std::exception& error) {
    if (group.size() == 1) return group.front()->fail(Error(TRITONSERVER_ERROR_INTERNAL, error.what()), times);
  }
  // One of several is at fault, or they cannot be told apart: alone, each gets what is its own.
  for (std::size_t i = 0; i < group.size(); ++i) run_group(group.subspan(i, 1), start);
}

void Instance::run(Group group, Times& times) {
  const std::vector<FedTensor> fed = feed_.of(group);
  times.compute_start = Times::now();
  std::set<std::string> in_place;  // outputs that ONNX Runtime wrote into the response itself
  slot_.begin(Activity::Running, describe(fed));
  std::vector<Output> outputs;
  try {
    outputs = compute(group, fed, in_place);
  } catch (const Ort::Exception& error) {
    slot_.finish();
    times.compute_end = Times::now();
    throw as_triton(error, fed);
  }
  slot_.finish();
  times.compute_end = Times::now();

  std::vector<std::optional<Error>> failures(group.size());
  answer_.spread(group, outputs, in_place, failures);
  report(group, times);
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (failures[i]) {
      group[i]->fail(*failures[i], times);
      continue;
    }
    try {
      group[i]->succeed(times);
    } catch (const Error& error) {
      log(TRITONSERVER_LOG_ERROR, model_.name() + ": an answer could not be sent: " + error.what());
    }
  }
}

std::vector<Output> Instance::compute(Group group, const std::vector<FedTensor>& fed, std::set<std::string>& in_place) {
  try {
    return bind_and_run(group, fed, in_place);
  } catch (const Ort::Exception&) {
    if (in_place.empty()) throw;
  }
  // Either the request is at fault, or, for once, an output has another shape than it always had: both have the same
  // error code. A second run tells; what it would log was logged.
  writes_in_place_ = false;
  in_place.clear();
  run_options_.SetRunLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
  try {
    bind_and_run(group, fed, in_place);
  } catch (const Ort::Exception&) {
    run_options_.SetRunLogSeverityLevel(kSessionsLogLevel);
    writes_in_place_ = true;
    throw;
  }
  run_options_.SetRunLogSeverityLevel(kSessionsLogLevel);
  // What was given a place in the response cannot be taken out of it.
  throw Error(TRITONSERVER_ERROR_UNAVAILABLE,
              "an output has not the shape that the file's names of axes promise; sent again, the request is answered");
}

std::vector<Output> Instance::bind_and_run(Group group, const std::vector<FedTensor>& fed,
                                           std::set<std::string>& in_place) {
  Ort::IoBinding binding(*session_);
  for (const FedTensor& one : fed) binding.BindInput(one.name.c_str(), one.value);
  std::vector<const TensorSignature*> bound;
  for (const std::string& name : answer_.needed(group)) {
    const TensorSignature* output = model_.signature().output(name);
    if (output == nullptr) refuse("the model has no output '" + name + "'");
    bound.push_back(output);
    const auto kept = keeps_promise_.find(name);
    const bool certain = writes_in_place_ && group.size() == 1 && kept != keeps_promise_.end() && kept->second;
    const auto shape = certain ? answer_.foretell(*output, fed) : std::nullopt;
    const auto size = shape ? byte_count(*shape, output->type->byte_size) : std::nullopt;
    if (!size || *size < kWorthwhileBytes || !model_.may_write_in_place(name)) {
      binding.BindOutput(name.c_str(), arena_memory());
      continue;
    }
    const Place wanted{nullptr, device_.gpu ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU, device_.id};
    const Place place = group.front()->output_place(name, *output->type, *shape, *size, wanted);
    in_place.insert(name);
    const Ort::MemoryInfo memory =
        place.on_gpu() ? Ort::MemoryInfo("Cuda", OrtDeviceAllocator, static_cast<int>(place.id), OrtMemTypeDefault)
                       : Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    binding.BindOutput(name.c_str(), Ort::Value::CreateTensor(memory, place.data, *size, shape->data(), shape->size(),
                                                              output->type->onnx));
  }
  session_->Run(run_options_, binding);
  std::vector<Ort::Value> values = binding.GetOutputValues();
  std::vector<Output> outputs;
  outputs.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) outputs.emplace_back(*bound[i], std::move(values[i]));
  learn(outputs, fed);
  return outputs;
}

void Instance::learn(const std::vector<Output>& outputs, const std::vector<FedTensor>& fed) {
  for (const Output& output : outputs) {
    const TensorSignature& signature = output.signature();
    const auto foretold = answer_.foretell(signature, fed);
    if (!foretold || signature.type->byte_size == 0) continue;
    const auto [known, fresh] = keeps_promise_.emplace(signature.name, true);
    known->second = known->second && *foretold == output.shape();
  }
}

void Instance::report(Group group, const Times& times) noexcept {
  std::int64_t total = 0;
  for (const Request* request : group) total += model_.config().batched() ? request->batch() : 1;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelInstanceReportBatchStatistics(
      handle_, static_cast<std::uint64_t>(total), times.start, times.compute_start, times.compute_end, Times::now());
  if (error != nullptr) TRITONSERVER_ErrorDelete(error);  // statistics are no reason to fail
}

}  // namespace neurips16
