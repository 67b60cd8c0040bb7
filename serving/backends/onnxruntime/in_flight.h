// What runs at this moment, in a file that outlives a crash: who starts the server again reads which model it was.
//
// The file has slots of 512 bytes: a state (four bytes, below), then MODEL NUL VERSION NUL DETAIL NUL. Its reader is
// neurips16.serving.triton.in_flight.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace neurips16 {

enum class Activity : std::uint32_t { Free, Idle, Running, Loading, Crashed };

class InFlight {
 public:
  class Slot;

  // Maps the file and, from now on, has a crash marked in the slot of the thread that crashes. An empty path: nothing
  // is written anywhere. Throws Error where the file cannot be used.
  explicit InFlight(const std::string& path);
  ~InFlight();
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  friend class Slot;
  struct Record {
    std::atomic<std::uint32_t> state;
    char text[508];
  };
  static_assert(sizeof(Record) == 512);

  Record* records_ = nullptr;
  std::size_t count_ = 0;
};

// One instance's, or one load's. Without a file, or a free slot in it, all is silently left out.
class InFlight::Slot {
 public:
  Slot(InFlight& all, std::string_view model, std::uint64_t version);
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  // Says what this thread does until `finish`.
  void begin(Activity activity, std::string_view detail);
  void finish();

 private:
  Record* record_ = nullptr;
  std::size_t used_ = 0;  // bytes of the text that name the model
};

}  // namespace neurips16
