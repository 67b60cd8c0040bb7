// The models that crashed the server too often, in a file that who starts it again writes: while it is there they are
// refused, so that Triton's own index of models says why they are missing. neurips16.serving.triton.quarantine writes it.
#pragma once

#include <string>

namespace neurips16 {

// Throws Error with the reason where `file` has one for `model`. No file, or an empty path: nothing is refused.
void refuse_quarantined(const std::string& file, const std::string& model);

}  // namespace neurips16
