#include "fields.h"

#include <algorithm>
#include <string_view>

namespace neurips16 {
namespace {

enum class Who { Core, Backend, Named, Silent, Refused };

struct Field {
  std::string_view path;
  Who here;
  std::string_view note;
};

constexpr Field kFields[] = {
#define FIELD(path, here, image, note) {path, Who::here, note},
#include "fields.def"
#undef FIELD
};

// The first entry that the path fits, or null.
const Field* find(std::string_view path) {
  const auto fits = [path](const Field& field) {
    if (!field.path.ends_with(".*")) return field.path == path;
    const std::string_view stem = field.path.substr(0, field.path.size() - 2);
    return path.starts_with(stem) && (path.size() == stem.size() || path[stem.size()] == '.');
  };
  const Field* found = std::find_if(std::begin(kFields), std::end(kFields), fits);
  return found == std::end(kFields) ? nullptr : found;
}

// What Triton writes for an enumeration that nobody set.
bool is_unset(const Json& value) {
  const std::string text = value.string();
  return value.is_default() || text == "FORMAT_NONE" || text == "PRIORITY_DEFAULT";
}

void add_once(std::vector<std::string>& list, const std::string& entry) {
  if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(entry);
}

void walk(const Json& value, const std::string& path, FieldReport& report) {
  const Field* field = path.empty() ? nullptr : find(path);
  if (field == nullptr && value.is_object()) {
    for (const auto& [name, member] : value.object()) walk(member, path.empty() ? name : path + "." + name, report);
    return;
  }
  if (field == nullptr && value.is_array() && !value.array().empty() && value.array().front().is_object()) {
    for (const Json& element : value.array()) walk(element, path, report);
    return;
  }
  if (is_unset(value)) return;
  if (field == nullptr || field->here == Who::Named) {
    add_once(report.without_effect, path);
  } else if (field->here == Who::Refused) {
    report.refused.push_back(path + " cannot be: " + std::string(field->note));
  } else if (field->here == Who::Silent && path.starts_with("parameters.")) {
    add_once(report.parameters, path.substr(std::string_view("parameters.").size()));
  }
}

}  // namespace

FieldReport examine_fields(const Json& config) {
  FieldReport report;
  for (const auto& [name, member] : config.object()) {
    if (name == "parameters") {  // by their own names, which may have dots in them
      for (const auto& [parameter, value] : member.object()) walk(value, "parameters." + parameter, report);
    } else {
      walk(member, name, report);
    }
  }
  return report;
}

}  // namespace neurips16
