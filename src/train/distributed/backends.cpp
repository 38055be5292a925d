#include "train/distributed/backends.h"

#include <c10/util/Logging.h>
#include <dlfcn.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <filesystem>

#include "core/device.h"
#include "core/error.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr const char* kLibraryVariable = "GLM_IMAGE_GROUP_LIBRARY";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// torchrun's agent serves the store itself, so rank 0 must not; a restarted launch meets under a name of its own.
bool agent_serves() { return variable("TORCHELASTIC_USE_AGENT_STORE") == "True"; }

void* entry_in(const std::string& library, at::Device device) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!handle) {
    const char* why = ::dlerror();
    fail(ErrorKind::device, "collectives for ", device_name(device), ": ", why ? why : library,
         "; docs/distributed.md says which library offers them");
  }
  return ::dlsym(handle, kProcessGroupEntry);
}

// In the order plugin.h promises.
void* find_entry(at::Device device) {
  if (const std::string chosen = variable(kLibraryVariable); !chosen.empty()) return entry_in(chosen, device);
  if (void* loaded = ::dlsym(RTLD_DEFAULT, kProcessGroupEntry)) return loaded;
  const std::string kind = device_name(device),
                    name = concat("libglm_image_group_", kind.substr(0, kind.find(':')), ".so");
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / name;
  return entry_in(fs::exists(beside, error) ? beside.string() : name, device);
}

}  // namespace

std::string first_line(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = of_torch ? of_torch->what_without_backtrace() : error.what();
  text = text.substr(0, text.find('\n'));
  const size_t place = text.find(".cc:"), end = text.find("] ");  // Gloo begins with the line of its source
  return text.rfind('[', 0) == 0 && place < end && end != std::string::npos ? text.substr(end + 2) : text;
}

c10::intrusive_ptr<c10d::Store> open_store(const Launch& launch, std::chrono::milliseconds timeout) {
  if (launch.master_address.empty()) {
    fail(ErrorKind::usage, launch.source,
         " does not say where rank 0 is: set MASTER_ADDR (and MASTER_PORT) to an address all ranks reach");
  }
  // c10d logs what it throws, with stack traces; here an Error says it once. TORCH_CPP_LOG_LEVEL brings the log back.
  if (variable("TORCH_CPP_LOG_LEVEL").empty()) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.master_port);
  options.isServer = launch.rank == 0 && !agent_serves();
  options.numWorkers = static_cast<size_t>(launch.size);
  options.waitWorkers = false;  // the first exchange waits, and says for whom
  options.timeout = timeout;
  try {
    auto store = c10::make_intrusive<c10d::TCPStore>(launch.master_address, options);
    const std::string attempt = variable("TORCHELASTIC_RESTART_COUNT");
    return c10::make_intrusive<c10d::PrefixStore>(concat("glm-image/", attempt.empty() ? "0" : attempt), store);
  } catch (const std::exception& error) {
    fail(ErrorKind::io, "rank ", launch.rank, " of ", launch.size, " could not ",
         options.isServer ? "listen at " : "reach rank 0 at ", launch.master_address, ":", launch.master_port,
         " within ", static_cast<double>(timeout.count()) / 1000, " s: ", first_line(error));
  }
}

c10::intrusive_ptr<c10d::Backend> open_plugin(const c10::intrusive_ptr<c10d::Store>& store, at::Device device,
                                              const ProcessGroupRequest& request) {
  const auto entry = reinterpret_cast<ProcessGroupEntry>(find_entry(device));
  if (!entry) {
    fail(ErrorKind::device, "collectives for ", device_name(device), ": the library that was loaded does not offer ",
         kProcessGroupEntry);
  }
  try {
    auto group = entry(store, request);
    if (!group) fail(ErrorKind::device, "its plug-in made none");
    return group;
  } catch (const std::exception& error) {
    fail(ErrorKind::device, "collectives for ", device_name(device), ": ", first_line(error));
  }
}

}  // namespace glmimage::train
