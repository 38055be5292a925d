#pragma once

// The processor's own instructions, on x86-64. Functions that use more than SSE2 say so by a target of their own.
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own header reads a register that it leaves undefined on purpose (GCC bug 105593). Warnings come where its
// functions are inlined, so they are off for the file that includes this.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif
