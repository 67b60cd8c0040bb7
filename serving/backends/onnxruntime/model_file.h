// The ONNX file of a model version, and the files outside of it that it keeps weights in.
#pragma once

#include <filesystem>
#include <string>

namespace neurips16 {

// Where the file is. Throws Error where it does not exist.
std::filesystem::path find_model_file(const std::filesystem::path& version_folder, const std::string& named);

// Throws Error where the file keeps weights in a place outside of its own folder: by a path that leads out, or by a
// link. ONNX Runtime before 1.22 follows them all.
void check_external_data(const std::filesystem::path& model);

}  // namespace neurips16
