/* The entry of libFuzzer as a library, from the toolchain's compiler-rt. */
#ifndef MUSTER_FUZZER_H
#define MUSTER_FUZZER_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(
    int *argc, char ***argv, int (*test_one_input)(const uint8_t *bytes, size_t count));

#endif
