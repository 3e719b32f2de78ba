// Hot loops are compiled for several x86 instruction sets, the best of which is chosen as the library loads.
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define MASKCONV_CLONES __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#endif
#endif
#ifndef MASKCONV_CLONES
#define MASKCONV_CLONES
#endif

// Inlined into each clone, to be compiled for its instruction set.
#define MASKCONV_INLINE inline __attribute__((always_inline))
