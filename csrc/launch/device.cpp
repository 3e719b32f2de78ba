#include "launch/device.h"

#include <cuda_runtime_api.h>

#include <map>
#include <stdexcept>

namespace maskconv {

void check_cuda(int error, const std::string& what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(what + ": " + cudaGetErrorString(static_cast<cudaError_t>(error)));
}

namespace {

DeviceProperties properties_of(int device) {
  const auto attribute = [device](cudaDeviceAttr wanted) {
    int value = 0;
    check_cuda(cudaDeviceGetAttribute(&value, wanted, device),
               "asking for the properties of the CUDA device");
    return value;
  };
  DeviceProperties properties;
  properties.compute_capability =
      attribute(cudaDevAttrComputeCapabilityMajor) * 10 + attribute(cudaDevAttrComputeCapabilityMinor);
  properties.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  properties.shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  constexpr double kKilohertzInGigahertz = 1e6;
  properties.clock_ghz = attribute(cudaDevAttrClockRate) / kKilohertzInGigahertz;
  const double transfers =
      2.0 * attribute(cudaDevAttrMemoryClockRate) / kKilohertzInGigahertz;  // per pin, per ns
  properties.memory_gb_per_s = transfers * attribute(cudaDevAttrGlobalMemoryBusWidth) / 8;
  return properties;
}

}  // namespace

DeviceProperties current_device_properties() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "asking for the current CUDA device");
  // Every launch wants to know, and would ask the driver seven times; clock rates may be read from the
  // device.
  thread_local std::map<int, DeviceProperties> known;
  const auto found = known.find(device);
  return found != known.end() ? found->second : known.emplace(device, properties_of(device)).first->second;
}

}  // namespace maskconv
