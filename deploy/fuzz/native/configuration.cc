// A model's configuration, and the backend's own, out of any bytes: read, or refused with an Error, and nothing else.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "backend_options.h"
#include "error.h"
#include "fields.h"
#include "json.h"
#include "model_config.h"
#include "triton.h"

using namespace neurips16;

namespace {

template <typename Read>
void may_refuse(Read&& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Json json;
  try {
    json = Json::parse({reinterpret_cast<const char*>(data), size});
  } catch (const Error&) {
    return 0;
  }
  const std::string written = json.dump();
  if (Json::parse(written).dump() != written) std::abort();  // what is written is read as the same
  examine_fields(json);
  may_refuse([&] { BackendOptions::from(json); });
  may_refuse([&] {
    const ModelConfig config = ModelConfig::from(json);
    for (const auto& parameter : config.parameters) {
      const std::string& name = parameter.first;
      may_refuse([&] { config.count_parameter(name); });
      may_refuse([&] { config.flag_parameter(name); });
      may_refuse([&] { config.choice_parameter(name, {{"0", "no"}, {"1", "yes"}}); });
    }
  });
  return 0;
}
