#include "loaded_record.h"

#include <atomic>
#include <fstream>

#include "error.h"

namespace neurips16 {
namespace {

namespace fs = std::filesystem;

std::atomic<unsigned> next_number{1};

// Triton keeps the files that came with a load call in a folder `folderXXXXXX` of the temporary one.
bool came_with_a_call(const fs::path& repository) {
  std::error_code none;
  const fs::path relative = repository.lexically_relative(fs::temp_directory_path(none));
  return !relative.empty() && relative.begin()->string().starts_with("folder") && relative.begin()->string().size() == 12;
}

}  // namespace

LoadedRecord::LoadedRecord(const std::string& folder, const std::string& model, const fs::path& repository,
                           const Json& config) {
  if (folder.empty()) return;
  const fs::path base = fs::path(folder) / std::to_string(next_number++);
  std::error_code failed;
  if (came_with_a_call(repository)) fs::copy(repository, base, fs::copy_options::recursive, failed);
  Json record;
  record.member("model") = model;
  record.member("config") = config;
  file_ = base;
  file_ += ".json";
  std::ofstream file(file_);
  file << record.dump() << std::flush;
  if (failed || !file) throw Error(TRITONSERVER_ERROR_INTERNAL, "cannot note in " + folder + " that the model is loaded");
}

LoadedRecord::~LoadedRecord() {
  if (file_.empty()) return;
  std::error_code none;
  fs::remove(file_, none);
  fs::remove_all(file_.replace_extension(), none);
}

}  // namespace neurips16
