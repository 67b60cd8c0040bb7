// Preloaded into `tritonserver`, before its main: makes it end with the process that started it, and hands it options
// that no list of processes is to show.
//
// An argument `@NAME` stands for the value of the environment variable NAME. Everybody can read a command line; an
// environment is read by its owner only.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace {

// glibc hands main's own arguments to the constructors of a library.
__attribute__((constructor)) void prepare(int count, char** arguments, char**) {
  unsetenv("LD_PRELOAD");  // for the server only, not for what it may start
  if (const char* parent = std::getenv("NEURIPS16_PARENT")) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != std::atoi(parent)) _exit(1);  // it died before the request was made
  }
  for (int i = 1; i < count; ++i) {
    if (arguments[i][0] != '@') continue;
    if (char* value = std::getenv(arguments[i] + 1)) arguments[i] = value;
  }
}

}  // namespace
