// Runs one of kernels/ptx_probe.cuh on the device.
#pragma once

#include <cstdint>

namespace maskconv {

// Words the probe writes for an input of so many; throws std::invalid_argument on an unknown name or a wrong
// size.
int64_t ptx_probe_output_words(const char* name, int64_t input_words);

// On device pointers, on a cudaStream_t; throws std::runtime_error if the launch fails.
void launch_ptx_probe(const char* name, const uint32_t* input, int64_t input_words, uint32_t* output,
                      void* stream);

}  // namespace maskconv
