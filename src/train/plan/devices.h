#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glmimage::train {

// What a vendor says of a device, and of the machine it is usually in. Peaks are those of dense matrices; no program
// reaches them, which is what the plan's utilisation is for.
struct DeviceFigures {
  std::string name;
  double bfloat16_flops = 0, float32_flops = 0;  // a second, in products of matrices as this program computes them
  int64_t memory_bytes = 0;
  double memory_bandwidth = 0;   // bytes a second
  double link_bandwidth = 0;     // bytes a second and direction, of one device to the others of its machine
  double network_bandwidth = 0;  // bytes a second and direction, of one device's share of its machine's network
  int64_t devices_per_machine = 8;
  std::string source;  // whose figures these are
};

const std::vector<DeviceFigures>& known_devices();

// Throws ErrorKind::usage naming all there are.
const DeviceFigures& find_device_figures(const std::string& name);

}  // namespace glmimage::train
