#include <stdexcept>
#include <string>

#include "kernels/ptx_probe.cuh"
#include "launch/ptx_probe.h"

namespace maskconv {

int64_t ptx_probe_output_words(const char* name, int64_t input_words) {
  int64_t output_words = 0;
  const bool known = probe::visit(name, [&]<class Probe>() {
    if (Probe::kInputWords >= 0 && input_words != Probe::kInputWords) {
      throw std::invalid_argument(std::string(name) + " takes " + std::to_string(Probe::kInputWords) +
                                  " words, got " + std::to_string(input_words));
    }
    output_words = Probe::output_words(input_words);
  });
  if (!known) throw std::invalid_argument(std::string("no such probe: ") + name);
  return output_words;
}

void launch_ptx_probe(const char* name, const uint32_t* input, int64_t input_words, uint32_t* output,
                      void* stream) {
  ptx_probe_output_words(name, input_words);  // refuses what the kernel could not run on
  probe::visit(name, [&]<class Probe>() {
    probe::kernel<Probe><<<1, Probe::kThreads, Probe::kSmemBytes, static_cast<cudaStream_t>(stream)>>>(
        probe::Params{input, output, input_words});
  });
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(status));
}

}  // namespace maskconv
