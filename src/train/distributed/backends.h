#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>

#include "core/launch.h"
#include "train/distributed/plugin.h"

// What ProcessGroup is built on; for its own sources.
namespace glmimage::train {

// The first line of what a library threw, without LibTorch's hints and stack traces.
std::string first_line(const std::exception& error);

// Where the processes of a launch meet: c10d's TCPStore, served by rank 0 or by torchrun's agent, under a prefix of
// this attempt's own. Throws ErrorKind::usage and ErrorKind::io.
c10::intrusive_ptr<c10d::Store> open_store(const Launch& launch, std::chrono::milliseconds timeout);

// Gloo's group over the network interface that leads to the launch's master, or over the one that GLOO_SOCKET_IFNAME
// names.
c10::intrusive_ptr<c10d::Backend> open_gloo(const c10::intrusive_ptr<c10d::Store>& store, const Launch& launch,
                                            std::chrono::milliseconds timeout);

// The group that the device's plug-in makes. Throws ErrorKind::device.
c10::intrusive_ptr<c10d::Backend> open_plugin(const c10::intrusive_ptr<c10d::Store>& store, at::Device device,
                                              const ProcessGroupRequest& request);

}  // namespace glmimage::train
