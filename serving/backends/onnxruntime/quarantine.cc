#include "quarantine.h"

#include <fstream>
#include <iterator>

#include "error.h"
#include "json.h"

namespace neurips16 {

void refuse_quarantined(const std::string& file, const std::string& model) {
  if (file.empty()) return;
  std::ifstream stream(file);
  if (!stream) return;
  const Json reasons = Json::parse(std::string(std::istreambuf_iterator<char>(stream), {}));
  if (const std::string reason = reasons[model].string(); !reason.empty()) {
    throw Error(TRITONSERVER_ERROR_UNAVAILABLE, reason);
  }
}

}  // namespace neurips16
