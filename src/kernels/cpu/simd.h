#pragma once

// A function with this mark is compiled for three generations of x86-64 (AVX-512, AVX2 with FMA, SSE2); which of them
// runs is decided when the program is loaded. Elsewhere (Clang, older GCC) the compiler's own choice is all there is,
// SSE2 on x86-64, and nothing has been measured.
#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 12
#define GLM_IMAGE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GLM_IMAGE_CLONES
#endif
