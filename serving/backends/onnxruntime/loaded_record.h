// A note that a model is loaded, in a file that outlives a crash: who starts the server again brings back what an
// admin had loaded, with the configuration and the files that came with the call.
//
// FOLDER/NUMBER.json has the name and the configuration; FOLDER/NUMBER/ the files, where Triton keeps them in a
// temporary folder only. The reader is neurips16.serving.triton.loaded_models.
#pragma once

#include <filesystem>
#include <string>

#include "json.h"

namespace neurips16 {

class LoadedRecord {
 public:
  // An empty folder: nothing is noted. Throws Error where the note cannot be written.
  LoadedRecord(const std::string& folder, const std::string& model, const std::filesystem::path& repository,
               const Json& config);
  ~LoadedRecord();
  LoadedRecord(const LoadedRecord&) = delete;
  LoadedRecord& operator=(const LoadedRecord&) = delete;

 private:
  std::filesystem::path file_;
};

}  // namespace neurips16
