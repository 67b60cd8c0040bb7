// Holds a model configuration against the table of fields: what has no effect is named, what cannot be is refused.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace neurips16 {

struct FieldReport {
  std::vector<std::string> without_effect;  // paths that the configuration sets
  std::vector<std::string> parameters;      // names of parameters that mean nothing to the backend
  std::vector<std::string> refused;         // with the reason
};

FieldReport examine_fields(const Json& config);

}  // namespace neurips16
