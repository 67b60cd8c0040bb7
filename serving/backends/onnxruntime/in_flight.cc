#include "in_flight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <mutex>

#include "error.h"

namespace neurips16 {
namespace {

constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
std::array<struct sigaction, kCrashes.size()> before;

// The state of this thread's slot. Reached without an allocation, since the handler of a crash reads it.
__attribute__((tls_model("initial-exec"))) thread_local std::atomic<std::uint32_t>* own_state = nullptr;

void on_crash(int number) {
  if (own_state != nullptr) own_state->store(static_cast<std::uint32_t>(Activity::Crashed));
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    if (kCrashes[i] == number) sigaction(number, &before[i], nullptr);
  }
  raise(number);  // comes when this handler has returned, and ends the process as it would have
}

// Has crashes marked, also where the server has set handlers of its own since: its main program does so after the models
// are loaded. Cheap enough for each request: five system calls that change nothing.
void mark_crashes() {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK;
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    struct sigaction current {};
    sigaction(kCrashes[i], nullptr, &current);
    if (current.sa_handler == on_crash) continue;
    before[i] = current;
    sigaction(kCrashes[i], &action, nullptr);
  }
}

void restore_signals() {
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    struct sigaction current {};
    sigaction(kCrashes[i], nullptr, &current);
    if (current.sa_handler == on_crash) sigaction(kCrashes[i], &before[i], nullptr);
  }
}

}  // namespace

InFlight::InFlight(const std::string& path) {
  if (path.empty()) return;
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status {};
  void* mapped = MAP_FAILED;
  if (file >= 0 && fstat(file, &status) == 0 && status.st_size >= static_cast<off_t>(sizeof(Record))) {
    mapped = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  if (file >= 0) close(file);
  if (mapped == MAP_FAILED) refuse("--backend-config=onnxruntime,in-flight=" + path + " cannot be mapped");
  records_ = static_cast<Record*>(mapped);
  count_ = static_cast<std::size_t>(status.st_size) / sizeof(Record);
  mark_crashes();
}

InFlight::~InFlight() {
  if (records_ == nullptr) return;
  restore_signals();
  munmap(records_, count_ * sizeof(Record));
}

InFlight::Slot::Slot(InFlight& all, std::string_view model, std::uint64_t version) {
  for (std::size_t i = 0; i < all.count_ && record_ == nullptr; ++i) {
    std::uint32_t expected = static_cast<std::uint32_t>(Activity::Free);
    if (all.records_[i].state.compare_exchange_strong(expected, static_cast<std::uint32_t>(Activity::Idle))) {
      record_ = &all.records_[i];
    }
  }
  if (record_ == nullptr) return;
  const std::string number = std::to_string(version);
  const std::size_t shown = std::min(model.size(), sizeof(record_->text) - number.size() - 3);
  std::memset(record_->text, 0, sizeof(record_->text));
  std::memcpy(record_->text, model.data(), shown);
  std::memcpy(record_->text + shown + 1, number.data(), number.size());
  used_ = shown + number.size() + 2;
}

InFlight::Slot::~Slot() {
  if (record_ == nullptr) return;
  if (own_state == &record_->state) own_state = nullptr;
  record_->state.store(static_cast<std::uint32_t>(Activity::Free));
}

void InFlight::Slot::begin(Activity activity, std::string_view detail) {
  if (record_ == nullptr) return;
  mark_crashes();
  const std::size_t shown = std::min(detail.size(), sizeof(record_->text) - used_ - 1);
  std::memcpy(record_->text + used_, detail.data(), shown);
  record_->text[used_ + shown] = '\0';
  record_->state.store(static_cast<std::uint32_t>(activity), std::memory_order_release);
  own_state = &record_->state;
}

void InFlight::Slot::finish() {
  if (record_ == nullptr) return;
  own_state = nullptr;
  record_->state.store(static_cast<std::uint32_t>(Activity::Idle), std::memory_order_release);
}

}  // namespace neurips16
